//! `palisade sandbox matrix`: every fault with every strategy, and the special cases, on one back end.

use std::path::Path;
use std::time::Instant;

use futures::StreamExt;

use super::options::{BackendKind, KILL_STAGES, Kill, Parts, Scenario};
use super::outcome::Outcome;
use super::run::Stand;
use super::timeline::{Style, Timeline};
use crate::lab::fault::Fault;
use crate::lab::timings::Timings;

/// `palisade sandbox matrix`.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The back end that all cases share.
    pub backend: BackendKind,
    /// Only cases whose title contains this.
    pub filter: Option<String>,
    /// Programs and files.
    pub parts: Parts,
    /// Show the timeline of every case.
    pub verbose: bool,
    /// Only name the cases.
    pub list: bool,
    /// How many cases run side by side on the sandbox.
    pub lanes: usize,
}

/// Strategies that every fault is played with.
const STRATEGIES: [&str; 2] = ["ResourceDeletion", "OutOfServiceTaint"];

/// All cases: faults × strategies, a long silence, and a controller killed at each stage.
fn cases() -> Vec<Scenario> {
    let mut cases: Vec<Scenario> = Vec::new();
    for fault in Fault::ALL {
        cases.extend(STRATEGIES.map(|strategy| Scenario::new(fault, strategy)));
    }
    cases.extend(STRATEGIES.map(|strategy| Scenario { long_silence: true, ..Scenario::new(Fault::Isolate, strategy) }));
    let kills = KILL_STAGES.map(Kill::At).into_iter().chain([Kill::Each]);
    cases.extend(
        kills.map(|kill| Scenario { kill_controller: Some(kill), ..Scenario::new(Fault::Isolate, "ResourceDeletion") }),
    );
    cases.push(Scenario { kill_controller: Some(Kill::Each), ..Scenario::new(Fault::Isolate, "OutOfServiceTaint") });
    cases.push(Scenario { kill_controller: Some(Kill::Each), ..Scenario::new(Fault::Kubelet, "ResourceDeletion") });
    for (number, case) in cases.iter_mut().enumerate() {
        case.name = format!("c{:02}", number + 1);
    }
    cases
}

/// Plays the cases one after the other and prints a table. True if all passed.
pub async fn matrix(matrix: Matrix) -> anyhow::Result<bool> {
    let cases: Vec<Scenario> = cases()
        .into_iter()
        .filter(|case| matrix.filter.as_ref().is_none_or(|filter| case.title().contains(filter.as_str())))
        .collect();
    anyhow::ensure!(!cases.is_empty(), "--filter {}: no such case", matrix.filter.unwrap_or_default());
    if matrix.list {
        for case in &cases {
            println!("{}", case.title());
        }
        return Ok(true);
    }
    super::check_parts(&matrix.parts, matrix.backend)?;
    let dir = super::work_dir()?;
    let passed = tokio::select! {
        passed = play_all(&matrix, cases, &dir) => passed,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("\ninterrupted; logs are in {}", dir.display());
            Ok(false)
        }
    };
    match &passed {
        Ok(true) => drop(std::fs::remove_dir_all(&dir)),
        _ => eprintln!("logs and stamps are kept in {}", dir.display()),
    }
    passed
}

async fn play_all(matrix: &Matrix, cases: Vec<Scenario>, dir: &Path) -> anyhow::Result<bool> {
    let total = cases.len();
    // Agents find each other through the API: only cases with an API of their own may run side by side.
    let (shared, lanes) = match matrix.backend {
        BackendKind::Sandbox => (None, matrix.lanes.max(1)),
        BackendKind::Real => (Some(bare_stand(matrix, dir).await?), 1),
    };
    let played = cases.into_iter().enumerate().map(|(number, case)| {
        let shared = shared.as_ref();
        async move { (number, Box::pin(play_one(matrix, shared, case, dir)).await) }
    });
    let mut played = futures::stream::iter(played).buffer_unordered(lanes);
    let mut outcomes = Vec::new();
    while let Some((number, outcome)) = played.next().await {
        println!("[{}/{total}] {} {}", outcomes.len() + 1, matrix.backend, line(&outcome));
        for failure in &outcome.failures {
            println!("        {failure}");
        }
        if !outcome.passed {
            super::show_logs(&dir.join(slug(&outcome.title)));
        }
        outcomes.push((number, outcome));
    }
    drop(played);
    if let Some(stand) = shared {
        stand.backend.stop().await;
    }
    outcomes.sort_by_key(|(number, _)| *number);
    println!("\n{:<10} {:<46} {:<7} {:>8} {:>14}", "back end", "case", "result", "seconds", "intent→proof");
    for (_, outcome) in &outcomes {
        println!("{:<10} {}", matrix.backend.to_string(), line(outcome));
    }
    let failed = outcomes.iter().filter(|(_, outcome)| !outcome.passed).count();
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    Ok(failed == 0)
}

async fn bare_stand(matrix: &Matrix, dir: &Path) -> anyhow::Result<Stand> {
    let timeline = Timeline::new(Style::Silent);
    super::stand(matrix.backend, &matrix.parts, dir, 0, &Timings::default(), &timeline).await
}

/// One case, on the shared back end or on one of its own.
async fn play_one(matrix: &Matrix, shared: Option<&Stand>, case: Scenario, dir: &Path) -> Outcome {
    let style = if matrix.verbose { Style::of_stdout(false) } else { Style::Silent };
    if let Some(stand) = shared {
        return one(stand, case, dir, style, true).await;
    }
    let own = dir.join(slug(&case.title()));
    let title = case.title();
    let stand = match std::fs::create_dir_all(&own) {
        Ok(()) => bare_stand(matrix, &own).await,
        Err(error) => Err(error.into()),
    };
    match stand {
        Ok(stand) => {
            let outcome = one(&stand, case, dir, style, false).await;
            stand.backend.stop().await;
            outcome
        }
        Err(error) => Outcome::failed(&title, format!("{error:#}"), 0.0),
    }
}

fn line(outcome: &Outcome) -> String {
    let result = if outcome.passed { "passed" } else { "FAILED" };
    let wait = outcome.wait().map_or_else(|| "-".to_owned(), |wait| format!("{wait:.1} s"));
    format!("{:<46} {result:<7} {:>8.1} {wait:>14}", outcome.title, outcome.seconds)
}

fn slug(title: &str) -> String {
    title.replace([' ', '='], "-")
}

async fn one(stand: &Stand, case: Scenario, dir: &Path, style: Style, shared: bool) -> Outcome {
    let started = Instant::now();
    let title = case.title();
    let dir = dir.join(slug(&title));
    // Every case has its own logs; the back end's stay where they are.
    let mut launcher = stand.launcher.clone();
    launcher.logs = dir.join("logs");
    let timeline = Timeline::new(style);
    let failed = |failure: String| Outcome::failed(&title, failure, started.elapsed().as_secs_f64());
    let mut running = match stand.prepare_with(&launcher, case, &dir, timeline.clone()).await {
        Ok(running) => running,
        Err(error) => return failed(format!("{error:#}")),
    };
    let played = running.play().await.map_err(|error| format!("{error:#}"));
    let outcome = running.outcome(played, started.elapsed().as_secs_f64());
    if let Err(error) = record(&dir, &timeline, &outcome) {
        tracing::warn!(%error, "cannot keep the timeline");
    }
    Box::pin(running.stop(shared)).await;
    outcome
}

fn record(dir: &Path, timeline: &Timeline, outcome: &Outcome) -> anyhow::Result<()> {
    let mut text = String::new();
    for entry in timeline.entries() {
        text.push_str(&serde_json::to_string(&entry)?);
        text.push('\n');
    }
    text.push_str(&serde_json::to_string(outcome)?);
    std::fs::write(dir.join("timeline.jsonl"), text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_played_with_every_strategy_and_names_differ() {
        let cases = cases();
        for fault in Fault::ALL {
            for strategy in STRATEGIES {
                assert!(cases.iter().any(|case| case.fault == fault && case.strategy == strategy));
            }
        }
        let names: std::collections::BTreeSet<_> = cases.iter().map(|case| case.name.clone()).collect();
        assert_eq!(names.len(), cases.len());
    }
}
