//! Named runs, and as many seeds as wanted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail loudly

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use palisade_simulation::network::Cut;
use palisade_simulation::scenario::{Fault, Planned};
use palisade_simulation::{Breakage, Keep, Report, Scenario, Shared, shared, simulate};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn parts() -> Shared {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let guests = std::env::var_os("PALISADE_GUESTS").map_or_else(|| target.join("guests"), PathBuf::from);
    shared(&root, guests, Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules")).unwrap()
}

fn run(scenario: Scenario) -> Report {
    simulate(scenario, &parts(), None, Keep::Happenings, runtime)
}

#[track_caller]
fn well(report: &Report) {
    assert!(report.fouls.is_empty(), "{}\n{:#?}", report.lines.join("\n"), report.fouls);
}

#[test]
fn an_isolated_node_is_fenced_proven_released_and_recovers() {
    // Given four nodes
    let mut scenario = Scenario::quiet(1, 4);
    // When one of them is isolated for long
    scenario.faults = vec![Planned {
        at: Duration::from_secs(5),
        length: Duration::from_mins(5),
        fault: Fault::Isolate(vec![0], Cut::Silent),
    }];
    scenario.healed_at = Duration::from_mins(5);
    scenario.exactly = Some(vec![0]);
    // Then it alone ends, a proof by time is made, and everything converges
    let report = run(scenario);
    well(&report);
    assert_eq!(report.waits.len(), 1, "{}", report.lines.join("\n"));
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 4, 10] {
        let twice = [(), ()].map(|()| simulate(Scenario::generate(seed), &parts(), None, Keep::Requests, runtime));
        let [first, second] = &twice;
        let differ = first.lines.iter().zip(&second.lines).enumerate().find(|(_, (one, other))| one != other);
        assert!(differ.is_none(), "seed {seed}: {differ:?}, after {:#?}", &first.lines[differ.unwrap().0.saturating_sub(6)..differ.unwrap().0]);
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert!(first.events > 100);
    }
}

/// A number from the environment: how `cargo xtask simulate` passes its options on.
fn option(name: &str, otherwise: u64) -> u64 {
    std::env::var(format!("PALISADE_SIMULATE_{name}")).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn breakage(name: &str) -> Breakage {
    match name {
        "controller-does-not-wait" => Breakage::ControllerDoesNotWait,
        "promises-of-nobody" => Breakage::PromisesOfNobody,
        "agent-ignores-its-end" => Breakage::AgentIgnoresItsEnd,
        "agent-ignores-intents" => Breakage::AgentIgnoresIntents,
        "no-api-for-everybody" => Breakage::NoApiForEverybody,
        "host-file-forgotten" => Breakage::HostFileForgotten,
        other => panic!("there is no breakage {other:?}"),
    }
}

#[test]
#[ignore = "as many seeds as wanted: cargo xtask simulate"]
fn seeds() {
    let (first, count) = (option("FIRST", 1), option("SEEDS", 20));
    let (workers, seconds) = (option("WORKERS", 2), option("SECONDS", u64::MAX));
    let broken = std::env::var("PALISADE_SIMULATE_BREAKAGE").ok().map(|name| breakage(&name));
    let keep = if option("TRACE", 0) > 0 { Keep::Requests } else { Keep::Happenings };
    let shared = parts();
    let next = AtomicU64::new(first);
    let reports: Mutex<Vec<Report>> = Mutex::default();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= first.saturating_add(count) || began.elapsed().as_secs() >= seconds {
                        return;
                    }
                    let report = simulate(Scenario::generate(seed), &shared, broken, keep, runtime);
                    if !report.fouls.is_empty() {
                        println!("seed {seed}: {}", report.fouls.join("; "));
                    }
                    reports.lock().unwrap().push(report);
                }
            });
        }
    });
    let elapsed = began.elapsed().as_secs_f64();
    let mut reports = reports.into_inner().unwrap();
    reports.sort_by_key(|report| report.seed);
    if count == 1 {
        for line in &reports[0].lines {
            println!("{line}");
        }
    }
    let bad: Vec<u64> = reports.iter().filter(|report| !report.fouls.is_empty()).map(|report| report.seed).collect();
    let total = |part: fn(&Report) -> f64| reports.iter().map(part).sum::<f64>();
    println!(
        "{} seeds in {elapsed:.1} s: {:.2} seeds/s, {:.1} virtual hours, {:.0} events, {:.0} boots ended, {:.0} proofs; {} bad: {bad:?}",
        reports.len(),
        reports.len() as f64 / elapsed,
        total(|report| report.virtual_seconds) / 3600.0,
        total(|report| report.events as f64),
        total(|report| report.boots_ended as f64),
        total(|report| report.proofs as f64),
        bad.len(),
    );
    if let Some(file) = std::env::var_os("PALISADE_SIMULATE_JSON") {
        let seconds_per = elapsed / reports.len().max(1) as f64;
        let json = serde_json::json!({ "seconds": elapsed, "seedsPerSecond": 1.0 / seconds_per, "bad": bad, "runs": reports });
        std::fs::write(file, json.to_string()).unwrap();
    }
    assert!(broken.is_some() || bad.is_empty(), "{} seeds failed: {bad:?}", bad.len());
}
