//! One story, on a control plane of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use palisade_sandbox::demo::{self, Backend, BackendKind, Outcome, Scenario, Stand, Style, Timeline};
use palisade_sandbox::lab::fault::Fault;
use palisade_sandbox::lab::process::Launcher;
use palisade_sandbox::lab::timings::Timings;

use super::requests::Requests;
use super::{Configuration, Options, Told, crowd};
use crate::audit::AuditLog;
use crate::fleet;

/// How late a renewal of the kubelets around may come.
const SLACK: Duration = Duration::from_secs(15);

/// Plays it; its folder is kept if it does not pass.
pub async fn play(options: &Options, fault: &str, strategy: &str, nodes: usize) -> anyhow::Result<Told> {
    let name = format!("palisade-failover-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let scenario = scenario(options, fault, strategy, nodes)?;
    let told = told(options, scenario, nodes, &dir).await;
    let told = told.and_then(|told| {
        anyhow::ensure!(told.outcome.passed, "{}", told.outcome.failures.join("; "));
        Ok(told)
    });
    match told {
        Ok(told) => {
            let _ = std::fs::remove_dir_all(&dir);
            Ok(told)
        }
        Err(error) => {
            Err(error.context(format!("{nodes} nodes, {fault} {strategy}: everything is kept in {}", dir.display())))
        }
    }
}

fn scenario(options: &Options, fault: &str, strategy: &str, nodes: usize) -> anyhow::Result<Scenario> {
    let silence = fault == "silence";
    let named: Fault = if silence { "isolate" } else { fault }.parse().map_err(anyhow::Error::msg)?;
    let agents = u8::try_from(nodes.min(options.agents.into()))?;
    anyhow::ensure!(agents >= named.fewest_nodes(), "{fault} needs {} nodes", named.fewest_nodes());
    let mut timings = match options.config {
        Configuration::Tuned => Timings::default(),
        Configuration::Default => Timings::unchanged(),
    };
    if nodes > usize::from(agents) {
        // The kubelets around renew as rarely as real ones do, and none of them may look dead.
        timings.node_grace = timings.node_grace.max(fleet::lease_period(nodes) + SLACK);
    }
    Ok(Scenario { nodes: agents, pods: options.pods, long_silence: silence, timings, ..Scenario::new(named, strategy) })
}

async fn told(options: &Options, scenario: Scenario, nodes: usize, dir: &Path) -> anyhow::Result<Told> {
    let programs = options.programs();
    let launcher = Launcher { palisade: programs.palisade.clone(), logs: dir.join("logs") };
    let timings = scenario.effective_timings();
    let backend = Backend::start(BackendKind::Real, dir, 0, &programs, &launcher, &timings).await?;
    let audit = AuditLog::new(backend.audit_log.clone().context("a control plane without audit log")?);
    let stand = Stand { backend, parts: programs, launcher, dir: dir.to_owned() };
    let timeline = Timeline::new(Style::Silent);
    demo::install(&stand, &timings, &timeline).await?;
    let others = nodes.saturating_sub(scenario.nodes.into());
    let fleet = crowd::gather(&stand, &scenario, others).await?;
    let (outcome, requests) = play_on(options, &stand, scenario, &timeline, &audit).await?;
    drop(fleet);
    stand.backend.stop().await;
    Ok(Told { outcome, requests })
}

async fn play_on(
    options: &Options,
    stand: &Stand,
    scenario: Scenario,
    timeline: &Timeline,
    audit: &AuditLog,
) -> anyhow::Result<(Outcome, Requests)> {
    let started = Instant::now();
    let folder: PathBuf = stand.dir.join("lab");
    let mut running = stand.prepare(scenario, &folder, timeline.clone()).await?;
    let played = running.play().await.map_err(|error| format!("{error:#}"));
    let (now, since_fault) = (jiff::Timestamp::now(), timeline.seconds());
    let outcome = running.outcome(played, started.elapsed().as_secs_f64());
    let requests = Requests::of(audit, &outcome, now, since_fault)?;
    if options.requests {
        eprintln!("{}\n{}", requests.controller.table(), requests.controller.lines(usize::MAX));
    }
    Box::pin(running.stop(false)).await;
    Ok((outcome, requests))
}
