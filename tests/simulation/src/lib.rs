//! Deterministic simulation: the real controller and the real agents over a simulated network and clock.
//!
//! - [`seam`]: time and chance of everything, below the standard library.
//! - [`network`], [`way`], [`peers`]: who reaches whom; requests to the sandbox's API store; calls between agents.
//! - [`machine`], [`boot`], [`agent`], [`diagnose`], [`kubelet`]: a node; its agent is the real one.
//! - [`control_plane`]: what a control plane does around the API.
//! - [`scenario`], [`fault`], [`play`]: what goes wrong, by seed. [`world`]: a run. [`oracle`], [`verdict`]: the judge. [`report`]: the result. [`trace`]: the proof
//!   that two runs were the same.
//!
//! A run needs a runtime with one thread and a paused clock, which only test builds of tokio have: whoever calls
//! [`simulate`] brings it.

pub mod agent;
pub mod boot;
pub mod chance;
pub mod control_plane;
pub mod diagnose;
pub mod fault;
pub mod kubelet;
pub mod machine;
pub mod network;
pub mod oracle;
pub mod peers;
mod play;
mod random;
pub mod report;
pub mod scenario;
pub mod seam;
pub mod trace;
mod verdict;
pub mod way;
pub mod world;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use palisade_runtime::{EngineSettings, Host};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::runtime::Runtime;

pub use fault::{Fault, Planned};
pub use report::Report;
pub use scenario::Scenario;
pub use trace::Keep;
pub use world::{Breakage, Shared};

/// Runs a scenario on a thread of its own: hash maps get their keys per thread.
///
/// `runtime` makes a current-thread runtime with time enabled and paused.
pub fn simulate(
    scenario: Scenario,
    shared: &Shared,
    breakage: Option<Breakage>,
    keep: Keep,
    runtime: fn() -> Runtime,
) -> Report {
    let shared = shared.clone();
    let seed = scenario.seed;
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
        seam::prepare(seed);
        let runtime = runtime();
        let factor = if breakage == Some(Breakage::ControllerDoesNotWait) { 40 } else { 1 };
        let report = runtime.block_on(async move {
            let simulated = seam::enter(seed, factor);
            let report = world::run(scenario, shared, breakage, keep).await;
            drop(simulated);
            report
        });
        // Tasks that are still there end with their runtime.
        drop(runtime);
        report
    });
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(report)) => report,
        Ok(Err(panic)) => {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Report::broken(seed, format!("the run panicked: {}", said.unwrap_or_default()))
        }
        Err(error) => Report::broken(seed, format!("no thread: {error}")),
    }
}

/// Loads what all runs share: components, their engine, and the CRDs of this repository.
pub fn shared(root: &Path, remediators: PathBuf, cache: PathBuf) -> anyhow::Result<Shared> {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    if let Some(shared) = SHARED.get() {
        return Ok(shared.clone());
    }
    // Fails only when a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    anyhow::ensure!(
        remediators.join("self-node.wasm").exists(),
        "no components in {}; run `cargo xtask guests` first",
        remediators.display()
    );
    let settings = EngineSettings { cache_dir: Some(cache), ..EngineSettings::default() };
    let engine = Arc::new(Host::new(&settings)?);
    let mut crds = Vec::new();
    let mut files: Vec<PathBuf> = std::fs::read_dir(root.join("crds"))?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "yaml")) {
        let yaml = std::fs::read_to_string(file)?;
        for document in serde_yaml_ng::Deserializer::from_str(&yaml) {
            let value = Value::deserialize(document).with_context(|| file.display().to_string())?;
            // Preparing a definition costs more than using it: only those that take part.
            let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            if ["selfnode", "nodehealthcheck", "palisade.dev"].iter().any(|part| name.contains(part)) {
                crds.push(value);
            }
        }
    }
    let shared = Shared { engine, remediators, crds: Arc::new(crds) };
    Ok(SHARED.get_or_init(|| shared).clone())
}
