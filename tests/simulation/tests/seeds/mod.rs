//! As many random seeds as wanted. `cargo xtask simulate` passes its options by the environment.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use palisade_simulation::{Breakage, Keep, Report, Scenario, simulate};

use super::{parts, runtime};

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

/// In how many seeds what happened: faults, proofs, releases, contradictions.
fn coverage(reports: &[Report]) -> BTreeMap<String, usize> {
    let mut coverage: BTreeMap<String, usize> = BTreeMap::new();
    for report in reports {
        let faults = report.faults.iter().map(|fault| format!("fault {fault}"));
        let mut proofs: Vec<String> = report.kinds.iter().map(|kind| format!("proof {kind}")).collect();
        proofs.sort();
        proofs.dedup();
        let outcomes = [
            ("a release", report.released > 0),
            ("a contradiction", report.contradicted > 0),
            ("control-plane nodes under R4", report.control_plane > 0),
            ("self diagnostics that passed", report.diagnosed > 0),
            ("no boot ended", report.boots_ended == 0),
        ];
        let outcomes = outcomes.into_iter().filter(|(_, is)| *is).map(|(what, _)| what.to_owned());
        for what in faults.chain(proofs).chain(outcomes) {
            *coverage.entry(what).or_default() += 1;
        }
    }
    coverage
}

#[test]
#[ignore = "as many seeds as wanted: cargo xtask simulate"]
fn as_many_as_wanted() {
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
    let coverage = coverage(&reports);
    println!(
        "seeds with: {}",
        coverage.iter().map(|(what, seeds)| format!("{what} {seeds}")).collect::<Vec<_>>().join(", ")
    );
    if let Some(file) = std::env::var_os("PALISADE_SIMULATE_JSON") {
        let seconds_per = elapsed / reports.len().max(1) as f64;
        let json = serde_json::json!({ "seconds": elapsed, "seedsPerSecond": 1.0 / seconds_per, "bad": bad, "coverage": coverage, "runs": reports });
        std::fs::write(file, json.to_string()).unwrap();
    }
    assert!(broken.is_some() || bad.is_empty(), "{} seeds failed: {bad:?}", bad.len());
}
