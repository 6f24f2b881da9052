//! Named runs, and as many seeds as wanted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail loudly

use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_simulation::boot::Boot;
use palisade_simulation::machine::Role;
use palisade_simulation::network::Cut;
use palisade_simulation::oracle::Oracle;
use palisade_simulation::scenario::DEFAULT_TUNING;
use palisade_simulation::trace::Trace;
use palisade_simulation::{Breakage, Fault, Keep, Planned, Report, Scenario, Shared, shared, simulate};

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

/// A cluster of so many nodes, of which the first is cut from everything. The reset by software has no effect: only the
/// watchdog ends it.
fn isolated_among(nodes: u16, agents: u16) -> Report {
    let mut scenario = Scenario::quiet(7, nodes);
    for node in &mut scenario.nodes {
        node.reset_works = false;
        node.has_agent = node.number < agents;
        // A kubelet without pods has little to do.
        node.pace = Duration::from_secs(if node.has_agent { 3 } else { 60 });
        node.heartbeat = Duration::from_secs(9);
    }
    // Noticed before its life can have ended: otherwise there would be nothing to wait for.
    scenario.grace = Duration::from_secs(20);
    scenario.unhealthy_for = Duration::from_secs(1);
    let length = Duration::from_mins(4);
    let fault = Fault::Isolate(vec![0], Cut::Silent);
    scenario.faults = vec![Planned { at: Duration::from_secs(5), length, fault }];
    scenario.healed_at = length;
    scenario.exactly = Some(vec![0]);
    run(scenario)
}

/// Two nodes of one zone lose the API, the controller and the other zones, and reach each other.
fn zone_cut(diagnose: bool) -> Report {
    let mut scenario = Scenario::quiet(3, 5);
    for node in scenario.nodes.iter_mut().filter(|node| node.zone == "zone-0") {
        node.reset_works = false;
        if diagnose {
            node.role = Role::ControlPlane { labelled: false };
        }
    }
    scenario.grace = Duration::from_secs(20);
    scenario.unhealthy_for = Duration::from_secs(1);
    let length = Duration::from_mins(4);
    let fault = Fault::ZoneCut("zone-0".into());
    scenario.faults = vec![Planned { at: Duration::from_secs(5), length, fault }];
    scenario.healed_at = length;
    let report = run(scenario);
    well(&report);
    report
}

#[test]
fn control_plane_nodes_that_vouch_for_each_other_live_on_and_time_alone_proves_nothing_of_them() {
    let before_healing = |report: &Report, what: &str| {
        report.lines.iter().take_while(|line| !line.contains("HEALED")).filter(|line| line.contains(what)).count()
    };
    // Given two nodes that are cut off together: as workers both end, and both ends are proven by time
    let workers = zone_cut(false);
    assert_eq!(before_healing(&workers, " ended: "), 2, "{}", workers.lines.join("\n"));
    assert_eq!(workers.waits.len(), 2, "{}", workers.lines.join("\n"));
    // When they are control-plane nodes under `controlPlanePolicy: Diagnose`
    let exempt = zone_cut(true);
    // Then each lives on by the other's answer (R4), and so no lapse of time is a proof of their end.
    assert!(exempt.diagnosed > 0);
    assert_eq!(before_healing(&exempt, " ended: "), 0, "{}", exempt.lines.join("\n"));
    assert_eq!(before_healing(&exempt, "PROOF"), 0, "{}", exempt.lines.join("\n"));
    assert!(exempt.waits.is_empty(), "{:?}", exempt.kinds);
}

#[test]
#[ignore = "a minute: cargo xtask simulate"]
fn the_bound_between_intent_and_proof_is_the_same_for_3_30_and_300_nodes() {
    // 300 real agents would only repeat what 30 do: the others are nodes with a kubelet.
    let reports = [(3, 3), (30, 30), (300, 30)].map(|(nodes, agents)| isolated_among(nodes, agents));
    let mut waits = Vec::new();
    for report in &reports {
        well(report);
        assert_eq!(report.waits.len(), 1, "{}", report.lines.join("\n"));
        // The same bound is in every certificate: T, Wd and margin of the agents, and nothing of the cluster's size.
        assert_eq!(report.bounds, reports[0].bounds);
        waits.push(report.waits[0]);
    }
    println!("from intent to proof with 3, 30 and 300 nodes: {waits:?} s, bounds {:?}", reports[0].bounds);
    // T + 2 Wd + margin of these agents is 27 s + 20 s + 0.97 s; it counts from the last renewal, some time before the
    // intent. One read more sees that it is over.
    assert!(waits.iter().all(|wait| (10.0..=48.5).contains(wait)), "{waits:?}");
}

#[test]
#[ignore = "two minutes: cargo xtask simulate"]
fn an_outage_of_ten_minutes_with_50_agents_reboots_nobody_and_then_only_those_that_stay_cut() {
    // Given 50 agents with the default timings (T is 72 s)
    let mut scenario = Scenario::quiet(11, 50);
    for node in &mut scenario.nodes {
        node.tuning = DEFAULT_TUNING;
        (node.heartbeat, node.pace) = (Duration::from_secs(20), Duration::from_mins(1));
    }
    scenario.grace = Duration::from_mins(1);
    // When nobody reaches the API for ten minutes, then it is back, but 40 % stay cut off
    let cut: Vec<u16> = (0..50).filter(|number| number % 5 < 2).collect();
    let outage = Duration::from_mins(10);
    let fault = Fault::OutageThenCut(Cut::Silent, cut.clone(), Duration::from_mins(8));
    scenario.faults = vec![Planned { at: Duration::from_secs(5), length: outage, fault }];
    scenario.healed_at = outage + Duration::from_mins(9);
    // Then those reboot and no others
    scenario.exactly = Some(cut);
    let report = run(scenario);
    well(&report);
    // And none of them during the outage.
    let returned = report.lines.iter().position(|line| line.contains("OUTAGE ENDS")).expect("it ends");
    let first = report.lines.iter().position(|line| line.contains(" ended: ")).expect("some are fenced");
    assert!(returned < first, "{}", report.lines.join("\n"));
}

/// A cluster that notices a silent node before its life can have ended: every second of the wait counts.
fn impatient(faults: Vec<Fault>) -> Scenario {
    let mut scenario = Scenario::quiet(5, 4);
    scenario.grace = Duration::from_secs(14);
    scenario.unhealthy_for = Duration::from_secs(1);
    for node in &mut scenario.nodes {
        node.heartbeat = Duration::from_secs(4);
        node.reset_works = false;
    }
    let length = Duration::from_mins(4);
    let planned = |fault| Planned { at: Duration::from_secs(5), length, fault };
    scenario.faults = faults.into_iter().map(planned).collect();
    scenario.healed_at = length + Duration::from_secs(10);
    scenario
}

/// What is broken on purpose is seen by the oracle, in a scenario that goes well when nothing is broken.
fn is_seen(broken: Breakage, scenario: &Scenario) {
    well(&run(scenario.clone()));
    let report = simulate(scenario.clone(), &parts(), Some(broken), Keep::Happenings, runtime);
    let seen = report.fouls.iter().any(|foul| foul.contains("runs twice") || foul.contains(" lives"));
    assert!(seen, "{broken:?} is not seen: {:?}\n{}", report.fouls, report.lines.join("\n"));
}

#[test]
fn a_controller_that_does_not_wait_is_seen() {
    is_seen(Breakage::ControllerDoesNotWait, &impatient(vec![Fault::Isolate(vec![0], Cut::Silent)]));
}

#[test]
fn an_agent_that_goes_on_after_its_end_is_seen() {
    is_seen(Breakage::AgentIgnoresItsEnd, &impatient(vec![Fault::Isolate(vec![0], Cut::Silent)]));
}

#[test]
fn an_agent_that_takes_silence_for_an_outage_is_seen() {
    is_seen(Breakage::NoApiForEverybody, &impatient(vec![Fault::Isolate(vec![0], Cut::Silent)]));
}

#[test]
fn a_controller_that_needs_no_promises_is_seen() {
    // Given that all agents, but not the controller, lose the API: every juror truly says that it has none
    let all = impatient(vec![]).nodes.iter().map(|node| node.number).collect();
    // When somebody asks for the remediation of one of them, then only a promise ends what prolongs its life.
    is_seen(Breakage::PromisesOfNobody, &impatient(vec![Fault::ApiCut(all, Cut::Silent), Fault::Remediate(0)]));
}

#[test]
fn a_pod_that_is_taken_away_without_a_proof_is_seen() {
    // Given a node that is isolated and goes on running for a while
    // When somebody with a controller's rights takes its pods away by force before any proof
    let mut scenario = impatient(vec![Fault::Isolate(vec![0], Cut::Silent), Fault::Rogue(0)]);
    scenario.nodes.truncate(3);
    scenario.faults[1].at += Duration::from_secs(1);
    let report = run(scenario);
    // Then the oracle reports the release itself, and the run ends with it.
    let seen = report.fouls.iter().any(|foul| foul.contains("released a pod") && foul.contains(" lives"));
    assert!(seen, "{:?}\n{}", report.fouls, report.lines.join("\n"));
}

#[test]
fn a_workload_that_runs_twice_is_seen() {
    // Given the same, where nobody looks at what controllers do
    let trace = Trace::new(Keep::Happenings);
    let oracle = Oracle::new(trace);
    let boots = ["node-0", "node-1"].map(|node| Boot::new(node, format!("{node}-boot-1")));
    // When a second container starts under the identity of one whose boot lives
    let identity = ["volume ledger".to_owned()];
    oracle.starts("pod-1", &identity, &boots[0]);
    oracle.starts("pod-2", &identity, &boots[1]);
    // Then that is a foul; and it is none once the first boot has ended.
    assert_eq!(oracle.fouls().len(), 1, "{:?}", oracle.fouls());
    assert!(oracle.fouls()[0].contains("runs twice"), "{:?}", oracle.fouls());
    boots[1].end();
    oracle.stops("pod-1");
    oracle.starts("pod-3", &identity, &boots[0]);
    assert_eq!(oracle.fouls().len(), 1, "{:?}", oracle.fouls());
}

#[test]
#[ignore = "half a minute: cargo xtask simulate"]
fn random_seeds_find_a_controller_that_does_not_wait() {
    const SEEDS: u64 = 20;
    let shared = parts();
    let found = (1..=SEEDS).find(|seed| {
        let scenario = Scenario::generate(*seed);
        let report = simulate(scenario, &shared, Some(Breakage::ControllerDoesNotWait), Keep::Nothing, runtime);
        report.fouls.iter().any(|foul| foul.contains("runs twice") || foul.contains(" lives"))
    });
    assert!(found.is_some(), "none of {SEEDS} seeds finds it");
}

#[test]
fn a_seed_replays_exactly() {
    // And the first small cluster with control-plane nodes under R4.
    let control_plane = |seed: &u64| {
        let Scenario { nodes, controllers, faults, .. } = Scenario::generate(*seed);
        nodes.len() == 3 && controllers == 1 && faults.len() <= 2 && nodes[0].role.diagnoses()
    };
    for seed in [3, 10].into_iter().chain((11..200).find(control_plane)) {
        let twice = [(), ()].map(|()| simulate(Scenario::generate(seed), &parts(), None, Keep::Requests, runtime));
        let [first, second] = &twice;
        let differ = first.lines.iter().zip(&second.lines).enumerate().find(|(_, (one, other))| one != other);
        assert!(
            differ.is_none(),
            "seed {seed}: {differ:?}, after {:#?}",
            &first.lines[differ.unwrap().0.saturating_sub(6)..differ.unwrap().0]
        );
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert!(first.events > 100);
    }
}

mod seeds;
