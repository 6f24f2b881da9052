//! What every scenario has to show, besides getting through it.

use std::collections::BTreeMap;

use palisade_api::Stage;

use super::outcome::Outcome;
use super::run::Running;
use super::world::World;
use crate::lab::fault::Expected;
use crate::lab::oracle::Verdict;

/// Longest wait between intent and proof after a long silence.
const NO_WAIT: f64 = 2.0;

/// Judges a scenario that was played.
pub fn outcome(running: &Running, played: Result<(), String>, seconds: f64) -> Outcome {
    let mut failures: Vec<String> = played.err().into_iter().collect();
    let oracle = running.lab.ledger.verdict().unwrap_or_else(|error| {
        failures.push(format!("the stamp files cannot be read: {error}"));
        Verdict::default()
    });
    failures.extend(oracle.violations.iter().map(ToString::to_string));
    if oracle.stamps == 0 {
        failures.push("nothing was stamped: the oracle saw nothing".to_owned());
    }
    let mut outcome = running.shared.read(|world| {
        failures.extend(expectations(running, world));
        let certificates: BTreeMap<_, _> = world
            .remediations
            .values()
            .filter_map(|remediation| Some((remediation.node.clone(), remediation.certificate.clone()?)))
            .collect();
        Outcome {
            title: running.scenario.title(),
            passed: false,
            failures: Vec::new(),
            seconds,
            oracle,
            milestones: world.milestones.clone(),
            certificates,
            boots_ended: world.boots_ended.clone(),
        }
    });
    if failures.is_empty() && running.scenario.long_silence {
        failures.extend(silence(&outcome));
    }
    outcome.passed = failures.is_empty();
    outcome.failures = failures;
    outcome
}

fn expectations(running: &Running, world: &World) -> Vec<String> {
    let mut failures = Vec::new();
    for crash in &world.crashes {
        failures.push(format!("a process died by itself: {crash}"));
    }
    for (node, ends) in &world.boots_ended {
        if !running.hit.contains(node) || running.scenario.fault.expected() == Expected::Nothing {
            failures.push(format!("{node} rebooted {ends} time(s) although nothing was wrong with it"));
        }
    }
    for (node, milestones) in &world.milestones {
        if milestones.stages.contains_key(&Stage::Contradicted) {
            failures.push(format!("a sign of the old boot of {node} appeared after the proof"));
        }
        let Some(released) = milestones.stages.get(&Stage::Released) else { continue };
        match milestones.boot_ended {
            Some(ended) if ended <= *released => {}
            Some(ended) => {
                failures.push(format!("{node} was released at {released:.1} s, before its boot ended at {ended:.1} s"));
            }
            None => failures.push(format!("{node} was released although its boot never ended")),
        }
    }
    if running.scenario.fault.expected() == Expected::Remediation {
        for node in &running.hit {
            if !world.boots_ended.contains_key(node) {
                failures.push(format!("{node} never rebooted"));
            }
        }
        for node in running.hit.iter().filter(|node| !world.reached(node, Stage::Proven)) {
            failures.push(format!("nothing was proven about {node}"));
        }
    }
    if running.scenario.kill_controller.is_some() && world.kills == 0 {
        failures.push("the controller was to be killed, but the stage was never seen".to_owned());
    }
    failures
}

fn silence(outcome: &Outcome) -> Vec<String> {
    let mut failures = Vec::new();
    match outcome.wait() {
        Some(wait) if wait < NO_WAIT => {}
        Some(wait) => failures.push(format!("after a long silence the wait was {wait:.1} s, not about zero")),
        None => failures.push("the wait between intent and proof was not seen".to_owned()),
    }
    if !outcome.certificates.values().all(|certificate| certificate.explanation.is_some()) {
        failures.push("the certificate does not say why there was nothing to wait for".to_owned());
    }
    failures
}
