//! `palisade sandbox matrix`: every fault with every strategy, and the special cases, on one back end.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::options::{BackendKind, KILL_STAGES, Kill, Parts, Scenario};
use super::outcome::Outcome;
use super::run::Stand;
use super::timeline::{Style, Timeline};
use crate::lab::fault::Fault;
use crate::lab::timings::Timings;

/// `palisade sandbox matrix`.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The kind of back end of all cases.
    pub backend: BackendKind,
    /// What to play.
    pub cases: Vec<Scenario>,
    /// Only cases whose title contains this.
    pub filter: Option<String>,
    /// Programs and files.
    pub parts: Parts,
    /// Show the timeline of every case.
    pub verbose: bool,
    /// Only name the cases.
    pub list: bool,
    /// One JSON object per case instead of the table.
    pub json: bool,
    /// How many cases run side by side.
    pub lanes: usize,
}

/// Strategies that every fault is played with.
const STRATEGIES: [&str; 2] = ["ResourceDeletion", "OutOfServiceTaint"];

/// All cases of `palisade sandbox matrix`: faults × strategies, a long silence, and a controller killed at each stage.
pub fn cases() -> Vec<Scenario> {
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
    cases
}

/// Plays the cases in lanes side by side and prints a table. True if all passed.
pub async fn matrix(mut matrix: Matrix) -> anyhow::Result<bool> {
    let mut cases = std::mem::take(&mut matrix.cases);
    for (number, case) in cases.iter_mut().enumerate() {
        case.name = format!("c{:02}", number + 1);
    }
    let cases: Vec<Scenario> = cases
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
    let queue = Mutex::new(cases.into_iter().enumerate().collect::<VecDeque<_>>());
    // Agents find each other through the API, so every lane has one of its own.
    let lanes = matrix.lanes.clamp(1, total);
    let done = AtomicUsize::new(0);
    let told = |outcome: Outcome| {
        eprintln!("[{}/{total}] {} {}", done.fetch_add(1, Ordering::Relaxed) + 1, matrix.backend, line(&outcome));
        for failure in &outcome.failures {
            eprintln!("        {failure}");
        }
        if !outcome.passed {
            super::show_logs(&dir.join(slug(&outcome.title)));
        }
        outcome
    };
    let played =
        (0..lanes).map(|lane| Box::pin(play_lane(matrix, &queue, dir.join(format!("lane-{lane}")), dir, &told)));
    let played = futures::future::join_all(played).await;
    let mut outcomes: Vec<(usize, Outcome)> = played.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat();
    outcomes.sort_by_key(|(number, _)| *number);
    let failed = outcomes.iter().filter(|(_, outcome)| !outcome.passed).count();
    if matrix.json {
        for (_, outcome) in &outcomes {
            println!("{}", serde_json::to_string(outcome)?);
        }
        return Ok(failed == 0);
    }
    println!("\n{:<10} {:<46} {:<7} {:>8} {:>14}", "back end", "case", "result", "seconds", "intent→proof");
    for (_, outcome) in &outcomes {
        println!("{:<10} {}", matrix.backend.to_string(), line(outcome));
    }
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    Ok(failed == 0)
}

async fn bare_stand(matrix: &Matrix, dir: &Path) -> anyhow::Result<Stand> {
    let timeline = Timeline::new(Style::Silent);
    super::stand(matrix.backend, &matrix.parts, dir, 0, &Timings::default(), &timeline).await
}

/// Takes cases from the queue until it is empty. A real control plane is started once and serves them all in turn;
/// the sandbox starts so fast that every case has a fresh one.
async fn play_lane(
    matrix: &Matrix,
    queue: &Mutex<VecDeque<(usize, Scenario)>>,
    lane: PathBuf,
    dir: &Path,
    told: &impl Fn(Outcome) -> Outcome,
) -> anyhow::Result<Vec<(usize, Outcome)>> {
    let shared = match matrix.backend {
        BackendKind::Sandbox => None,
        BackendKind::Real => {
            std::fs::create_dir_all(&lane)?;
            Some(bare_stand(matrix, &lane).await?)
        }
    };
    let mut outcomes = Vec::new();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((number, case)) = next else { break };
        let outcome = Box::pin(play_one(matrix, shared.as_ref(), case, dir)).await;
        outcomes.push((number, told(outcome)));
    }
    if let Some(stand) = shared {
        stand.backend.stop().await;
    }
    Ok(outcomes)
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
    fn every_fault_is_played_with_every_strategy_and_titles_differ() {
        let cases = cases();
        for fault in Fault::ALL {
            for strategy in STRATEGIES {
                assert!(cases.iter().any(|case| case.fault == fault && case.strategy == strategy));
            }
        }
        let titles: std::collections::BTreeSet<_> = cases.iter().map(Scenario::title).collect();
        assert_eq!(titles.len(), cases.len());
    }
}
