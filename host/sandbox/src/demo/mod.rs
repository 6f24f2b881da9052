//! `palisade sandbox demo`: one remediation from fault to recovery, told while it happens, judged at the end.

mod backend;
mod cleanup;
mod controller;
mod eyes;
mod follow;
mod judge;
mod matrix;
mod options;
mod orders;
mod outcome;
mod run;
mod serve;
mod setup;
mod timeline;
mod world;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;

pub use backend::Backend;
pub use matrix::{Matrix, cases, matrix};
pub use options::{BackendKind, KILL_STAGES, Kill, Parts, Scenario};
pub use outcome::Outcome;
pub use run::{Running, Stand};
pub use serve::{Serve, serve};
pub use setup::{
    AGENT, CONTROLLER, accounts as apply_accounts, configuration as apply_configuration, crds as apply_crds,
};
pub use timeline::{Style, Timeline, Word};
pub use world::World;

use crate::lab::fault::Fault;
use crate::lab::kubeconfig;
use crate::lab::process::{self, Launcher};
use crate::lab::timings::Timings;

/// `palisade sandbox demo`.
#[derive(Debug, Clone)]
pub struct Demo {
    /// What the nodes register with.
    pub backend: BackendKind,
    /// What to show.
    pub scenario: Scenario,
    /// Programs and files.
    pub parts: Parts,
    /// One JSON object per line instead of text.
    pub json: bool,
    /// Leave the cluster up afterwards.
    pub keep: bool,
}

/// Fewest and most nodes of a lab: a jury needs peers, and each agent is a process.
const NODES: std::ops::RangeInclusive<u8> = 3..=60;

/// Runs the demonstration until its end or until the process is interrupted. True if it passed.
pub async fn demo(demo: Demo) -> anyhow::Result<bool> {
    let scenario = &demo.scenario;
    let fewest = scenario.fault.fewest_nodes();
    anyhow::ensure!(
        NODES.contains(&scenario.nodes) && scenario.nodes >= fewest,
        "--nodes {}: fault {} needs {fewest} to {} nodes",
        scenario.nodes,
        scenario.fault,
        NODES.end()
    );
    check_parts(&demo.parts, demo.backend)?;
    let dir = work_dir()?;
    let result = tokio::select! {
        result = play(&demo, &dir) => result,
        _ = tokio::signal::ctrl_c() => {
            // Whatever is still running ends with us: the kernel was asked to see to it.
            eprintln!("\ninterrupted; logs are in {}", dir.display());
            return Ok(false);
        }
    };
    let (passed, stage) = match result {
        Ok(played) => played,
        Err(error) => {
            show_logs(&dir);
            return Err(error);
        }
    };
    if !passed {
        show_logs(&dir);
    }
    if demo.keep {
        let kubeconfig = stage.1.backend.admin_kubeconfig.display();
        eprintln!("\nThe cluster stays up:  export KUBECONFIG={kubeconfig}\nLogs: {}\nCtrl-C ends it.", dir.display());
        tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")?;
    }
    let (running, stand) = *stage;
    Box::pin(running.stop(false)).await;
    stand.backend.stop().await;
    if passed {
        let _ = std::fs::remove_dir_all(&dir);
    }
    Ok(passed)
}

/// Whether it passed, and what still runs.
type Played = (bool, Box<(Running, Stand)>);

async fn play(demo: &Demo, dir: &Path) -> anyhow::Result<Played> {
    let started = Instant::now();
    let timeline = Timeline::new(Style::of_stdout(demo.json));
    let scenario = demo.scenario.clone();
    timeline.print(&timeline.style().bold(&format!(
        "Palisade demonstration: {} nodes on the {} back end, fault {}, strategy {}",
        scenario.nodes, demo.backend, scenario.fault, scenario.strategy
    )));
    let stand = stand(demo.backend, &demo.parts, dir, 0, &scenario.effective_timings(), &timeline).await?;
    let mut running = stand.prepare(scenario, &dir.join("lab"), timeline.clone()).await?;
    let played = running.play().await.map_err(|error| format!("{error:#}"));
    if let Err(error) = &played {
        timeline.say(Word::Wrong, error.clone(), None);
    }
    let outcome = running.outcome(played, started.elapsed().as_secs_f64());
    report(&timeline, &outcome)?;
    Ok((outcome.passed, Box::new((running, stand))))
}

/// Starts a back end and brings the installation to it.
async fn stand(
    kind: BackendKind,
    parts: &Parts,
    dir: &Path,
    port: u16,
    timings: &Timings,
    timeline: &Timeline,
) -> anyhow::Result<Stand> {
    let launcher = Launcher { palisade: parts.palisade.clone(), logs: dir.join("logs") };
    timeline.progress("waiting for the back end");
    let backend = Backend::start(kind, dir, port, parts, &launcher, timings).await?;
    let ready = format!("ready after {:.1} s", backend.ready_seconds);
    timeline.say(Word::Setup, format!("{} is up", backend.description), Some(ready));
    let stand = Stand { backend, parts: parts.clone(), launcher, dir: dir.to_owned() };
    install(&stand, timings, timeline).await?;
    Ok(stand)
}

/// Brings CRDs, accounts and configuration to a back end, as an installation does.
pub async fn install(stand: &Stand, timings: &Timings, timeline: &Timeline) -> anyhow::Result<()> {
    let client = kubeconfig::client_of(&stand.backend.admin_kubeconfig).await?;
    let count = setup::crds(&client, &stand.parts.crds).await?;
    setup::accounts(&client).await?;
    setup::configuration(&client, timings).await?;
    timeline.say(Word::Setup, format!("{count} CRDs, accounts and configuration are applied"), None);
    Ok(())
}

fn report(timeline: &Timeline, outcome: &Outcome) -> anyhow::Result<()> {
    let style = timeline.style();
    if style == Style::Json {
        println!("{}", serde_json::to_string(&serde_json::json!({ "result": outcome }))?);
        return Ok(());
    }
    timeline.print(&outcome.report(style));
    for failure in &outcome.failures {
        timeline.print(&format!("FAILED: {failure}"));
    }
    let verdict = if outcome.passed { "PASSED" } else { "FAILED" };
    timeline.print(&style.bold(&format!("{verdict}: {} in {:.0} s", outcome.title, outcome.seconds)));
    Ok(())
}

/// Everything that will be started has to be there before anything is.
fn check_parts(parts: &Parts, backend: BackendKind) -> anyhow::Result<()> {
    let missing = |path: &Path, option: &str, how: &str| {
        anyhow::ensure!(path.exists(), "{option} {}: not found; {how}", path.display());
        Ok(())
    };
    missing(&parts.agent, "--agent", "build it with `cargo build -p palisade-agent`, or use `cargo xtask demo`")?;
    missing(&parts.remediators, "--remediators", "build them with `cargo xtask guests`, or use `cargo xtask demo`")?;
    missing(&parts.crds, "--crds", "write them with `cargo xtask crds`")?;
    match (backend, &parts.controlplane) {
        (BackendKind::Sandbox, _) => Ok(()),
        (BackendKind::Real, Some(path)) => {
            missing(path, "--controlplane", "build it with `cargo xtask demo --backend real`")
        }
        (BackendKind::Real, None) => anyhow::bail!("--backend real needs --controlplane; `cargo xtask demo` gives it"),
    }
}

fn work_dir() -> anyhow::Result<PathBuf> {
    let name = format!("palisade-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    Ok(dir)
}

/// Lines shown of each log after a failure.
const SHOWN: usize = 12;

fn show_logs(dir: &Path) {
    eprintln!("\nEverything is kept in {}", dir.display());
    let mut logs: Vec<PathBuf> = std::fs::read_dir(dir.join("logs"))
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    logs.sort();
    for log in logs {
        let lines = process::tail(&log, SHOWN);
        if !lines.is_empty() {
            eprintln!("\n--- {}\n{}", log.display(), lines.join("\n"));
        }
    }
}

/// Faults that can be asked for, for help texts.
pub fn faults() -> String {
    Fault::ALL.map(Fault::name).join(", ")
}
