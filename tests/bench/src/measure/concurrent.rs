//! Many remediations at once: calls of one component on the runtime as the controller sets it up, each answered from
//! memory. Everything of a pass but the API: the input, the thread, the call, the gate.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use palisade_runtime::{
    AgentReach, AgentView, CallInput, EngineSettings, FencingView, GateContext, Granted, Host, Limits, Module,
    NodeCondition, ProofAuthority, RemediationView, Snapshot, TargetView, WorkloadsView, gate,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Report;
use super::kernel::Account;

/// How many, how often.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Remediations at once.
    #[arg(long, default_value_t = 1_000)]
    pub remediations: usize,
    /// So many of them are worked on at the same time: by default as many as the controller works on of one kind, of all
    /// its seven, and all.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [64, 448, 1_000])]
    pub passes: Vec<usize>,
    /// Calls that have a thread at the same time; 0 gives one to every call, as the controller does.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// The component; the stock one that ends nodes by their agents if not given.
    #[arg(long, value_name = "FILE")]
    pub component: Option<PathBuf>,
    /// Rounds.
    #[arg(long, default_value_t = 10)]
    pub runs: usize,
    /// Figures as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// The stock components are taken from here; the rest is not used.
    #[command(flatten)]
    pub parts: crate::plane::Parts,
}

/// Measures and prints.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let mut report = Report::begin();
    let file = options.component.clone().unwrap_or_else(|| options.parts.remediators().join("self-node.wasm"));
    let bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
    let host = Host::new(&EngineSettings::default())?;
    let module = host.load(&bytes)?;
    let input = Arc::new(input());
    let threads = if options.threads == 0 { Semaphore::MAX_PERMITS } else { options.threads };
    let stage = Stage { module, input, authority: ProofAuthority::new(), threads: Semaphore::new(threads) };
    let stage = Arc::new(stage);
    for &passes in &options.passes {
        forget_peak();
        let before = Account::of(std::process::id())?;
        let [mut half, mut late, mut all, mut cpu] = [const { Vec::new() }; 4];
        let mut failed = BTreeMap::new();
        for _ in 0..options.runs {
            let (begun, spent) = (Instant::now(), Account::of(std::process::id())?.cpu);
            let mut took = round(&stage, options.remediations, passes, &mut failed).await?;
            all.push(begun.elapsed().as_secs_f64() * 1e3);
            let spent = Account::of(std::process::id())?.cpu.saturating_sub(spent);
            cpu.push(spent.as_secs_f64() * 1e6 / options.remediations as f64);
            took.sort_unstable();
            half.push(millis(took[took.len() / 2]));
            late.push(millis(took[(took.len() * 99 / 100).min(took.len() - 1)]));
        }
        let after = Account::of(std::process::id())?;
        let of = format!("{} remediations, {passes} at a time", options.remediations);
        report.add_of(&of, "a pass, p50", "ms", half)?;
        report.add_of(&of, "a pass, p99 (bar 50)", "ms", late)?;
        report.add_of(&of, "until the last is done", "ms", all)?;
        report.add_of(&of, "CPU of a pass", "µs", cpu)?;
        let grown = after.peak.saturating_sub(before.resident) as f64 / 1024.0;
        report.add_of(&of, "memory at its peak, above before", "MiB", vec![grown])?;
        let count: usize = failed.values().sum();
        report.add_of(&of, "calls without an answer", "of all", vec![count as f64])?;
        for (why, count) in failed {
            report.note(format!("{of}: {count} times {why}"));
        }
    }
    report.print(options.json)
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// The kernel's mark of the most memory that there ever was begins anew.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// What all passes share.
struct Stage {
    module: Arc<Module>,
    input: Arc<CallInput>,
    authority: ProofAuthority,
    threads: Semaphore,
}

/// How long each pass took, from when somebody works on it.
async fn round(
    stage: &Arc<Stage>,
    remediations: usize,
    passes: usize,
    failed: &mut BTreeMap<String, usize>,
) -> anyhow::Result<Vec<Duration>> {
    let places = Arc::new(Semaphore::new(passes));
    let mut tasks = JoinSet::new();
    for _ in 0..remediations {
        let (places, stage) = (places.clone(), stage.clone());
        tasks.spawn(async move {
            let _place = places.acquire_owned().await?;
            let begun = Instant::now();
            let outcome = pass(&stage).await?;
            anyhow::Ok((begun.elapsed(), outcome))
        });
    }
    let mut took = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let (time, outcome) = ended??;
        took.push(time);
        if let Err(why) = outcome {
            *failed.entry(why).or_default() += 1;
        }
    }
    Ok(took)
}

/// What the controller does between two requests to the API server.
async fn pass(stage: &Stage) -> anyhow::Result<Result<(), String>> {
    let (module, input) = (stage.module.clone(), CallInput::clone(&stage.input));
    let call = {
        let _thread = stage.threads.acquire().await?;
        tokio::task::spawn_blocking(move || module.call(&input, &Limits::default(), &Granted::all())).await?
    };
    if let Err(failure) = call.outcome {
        return Ok(Err(format!("{:?}", failure.cause)));
    }
    let (granted, ledger) = (Granted::all(), BTreeMap::new());
    let context = GateContext {
        remediation_uid: &stage.input.remediation.uid,
        node: &stage.input.remediation.node,
        granted: &granted,
        authority: &stage.authority,
        proof: None,
        ledger: &ledger,
    };
    Ok(gate(call.effects, &context).map(drop).map_err(|refusal| refusal.to_string()))
}

/// A node that was silent for a minute, with pods on it, at the beginning of its remediation.
fn input() -> CallInput {
    let condition = |kind: &str, status: &str| NodeCondition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: "NodeStatusUnknown".to_owned(),
        age_millis: 60_000,
    };
    let kinds = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
    CallInput {
        remediation: RemediationView {
            uid: "7e0ab8b5-57e1-4a5a-9a3b-6a6c8a6b8f01".to_owned(),
            kind: "SelfNodeRemediation".to_owned(),
            namespace: "palisade-system".to_owned(),
            name: "worker-1".to_owned(),
            node: "worker-1".to_owned(),
            strategy: "ResourceDeletion".to_owned(),
            parameters: serde_json::json!({}),
            ..RemediationView::default()
        },
        snapshot: Snapshot {
            target: Some(TargetView {
                name: "worker-1".to_owned(),
                boot_id: "boot-1".to_owned(),
                conditions: kinds.iter().map(|kind| condition(kind, "Unknown")).collect(),
                labels: (0..12).map(|number| (format!("label-{number}"), "value".to_owned())).collect(),
                ..TargetView::default()
            }),
            agent: AgentView {
                reach: AgentReach::Silent,
                boot_id: "boot-1".to_owned(),
                jury: 15,
                ..AgentView::default()
            },
            fencing: FencingView::default(),
            workloads: WorkloadsView { pods: 20, volume_attachments: 2, held: true, ..WorkloadsView::default() },
            ..Snapshot::default()
        },
        ..CallInput::default()
    }
}
