//! Shared by the integration tests: the built components, one host, and a node in trouble.
#![allow(dead_code, reason = "every test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of tests: failing is how it reports")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use palisade_runtime::{
    AgentReach, AgentView, CallInput, CallReport, EngineSettings, FenceStage, FencingView, Grade, Granted, Host,
    Limits, Module, NodeCondition, Proof, ProofAuthority, ProofClaim, ProofKind, RemediationView, SECTION, Snapshot,
    TargetView, WorkloadsView,
};

/// The bytes of a built component.
pub fn guest(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("PALISADE_GUESTS").map_or_else(default_folder, PathBuf::from);
    let file = folder.join(format!("{name}.wasm"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}. Run `cargo xtask guests` first.", file.display()))
}

fn default_folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    target.join("guests")
}

/// One host for all tests of a binary, with compiled components kept between runs.
pub fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| Host::new(&settings()).unwrap())
}

pub fn settings() -> EngineSettings {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules");
    EngineSettings { cache_dir: Some(cache), ..EngineSettings::default() }
}

pub fn module(name: &str) -> Arc<Module> {
    host().load(&guest(name)).unwrap()
}

/// A remediation of node `worker-1`, which was silent for a minute, with three pods on it.
pub fn input() -> CallInput {
    let ready = NodeCondition {
        kind: "Ready".into(),
        status: "Unknown".into(),
        reason: "NodeStatusUnknown".into(),
        age_millis: 60_000,
    };
    CallInput {
        remediation: RemediationView {
            uid: "uid-1".into(),
            kind: "SelfNodeRemediation".into(),
            namespace: "palisade-system".into(),
            name: "worker-1".into(),
            node: "worker-1".into(),
            parameters: serde_json::json!({}),
            ..RemediationView::default()
        },
        snapshot: Snapshot {
            target: Some(TargetView {
                name: "worker-1".into(),
                boot_id: "boot-1".into(),
                conditions: vec![ready],
                labels: [("zone".to_owned(), "a".to_owned())].into(),
                ..TargetView::default()
            }),
            agent: AgentView { reach: AgentReach::Silent, boot_id: "boot-1".into(), jury: 3, ..AgentView::default() },
            fencing: FencingView { stage: FenceStage::Intended, boot_id: "boot-1".into(), ..FencingView::default() },
            workloads: WorkloadsView {
                pods: 3,
                volume_attachments: 1,
                out_of_service_supported: true,
                held: true,
                ..WorkloadsView::default()
            },
            ..Snapshot::default()
        },
        ..CallInput::default()
    }
}

pub fn claim() -> ProofClaim {
    ProofClaim {
        remediation_uid: "uid-1".into(),
        node: "worker-1".into(),
        boot_id: "boot-1".into(),
        intent_uid: "intent-1".into(),
        kind: ProofKind::LeaseExpired,
        grade: Grade::Certain,
        age_millis: 5,
    }
}

/// The process's authority.
pub fn authority() -> &'static ProofAuthority {
    static AUTHORITY: OnceLock<ProofAuthority> = OnceLock::new();
    AUTHORITY.get_or_init(ProofAuthority::new)
}

pub fn proof() -> Proof {
    authority().mint(claim()).unwrap()
}

/// A call with default limits and everything granted.
pub fn call(module: &Module, input: &CallInput) -> CallReport {
    module.call(input, &Limits::default(), &Granted::all())
}

/// Appends a custom section, as any tool can.
pub fn with_manifest(mut bytes: Vec<u8>, content: &str) -> Vec<u8> {
    let mut body = vec![SECTION.len() as u8];
    body.extend_from_slice(SECTION.as_bytes());
    body.extend_from_slice(content.as_bytes());
    bytes.push(0);
    let mut size = body.len();
    while size >= 0x80 {
        bytes.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    bytes.push(size as u8);
    bytes.extend(body);
    bytes
}
