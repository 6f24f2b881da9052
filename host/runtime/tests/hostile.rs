//! What a remediator may try, and that nothing comes of it: no effect, bounded time and memory, others go on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use common::{authority, call, input, module, proof};
use palisade_runtime::{
    CallInput, CallReport, Capability, Effect, FailureCause, GateContext, Granted, Limits, Outcome, RefusalReason,
    StagedEffect, gate,
};

fn attack(name: &str) -> CallInput {
    let mut input = input();
    input.remediation.strategy = name.into();
    input.remediation.step = "before".into();
    input.remediation.memory = vec![9];
    input
}

fn run(name: &str) -> CallReport {
    let mut input = attack(name);
    input.proof = Some(proof());
    call(&module("hostile"), &input)
}

/// The call failed for this reason, says so in full, and left everything as it was.
fn assert_contained(name: &str, report: &CallReport, cause: FailureCause) {
    let failure = report.outcome.as_ref().expect_err(name);
    assert_eq!(failure.cause, cause, "{name}: {failure}");
    for part in ["hostile 0.1.0", "SelfNodeRemediation palisade-system/worker-1", "Remedy: "] {
        assert!(failure.message.contains(part), "{name}: {part:?} is missing in: {failure}");
    }
    assert!(failure.message.len() < 2_000, "{name}");
    assert_eq!(report.effects, [], "{name}: a failed call does nothing");
    assert_eq!((report.step.as_str(), report.memory.as_slice()), ("before", &[9][..]), "{name}");
    assert!(report.fuel <= Limits::default().fuel, "{name}: fuel {}", report.fuel);
}

#[test]
fn every_attack_ends_in_its_own_failure() {
    let cases = [
        ("loop", FailureCause::OutOfFuel),
        ("allocate", FailureCause::Memory),
        ("recurse", FailureCause::Stack),
        ("recurse-wide", FailureCause::Trap),
        ("call-host-for-ever", FailureCause::Excess),
        ("read-for-ever", FailureCause::Excess),
        ("panic-after-effects", FailureCause::Trap),
        ("error-after-effects", FailureCause::Error),
        ("loop-after-effects", FailureCause::OutOfFuel),
        ("bad-memory", FailureCause::BadMemory),
        ("forge-proof", FailureCause::Handle),
        ("forge-many-proofs", FailureCause::Handle),
        ("use-proof-after-drop", FailureCause::Handle),
        ("drop-proof-twice", FailureCause::Handle),
        ("collect-proofs", FailureCause::Excess),
        ("huge-string", FailureCause::Excess),
        ("alias-strings", FailureCause::Excess),
        ("huge-answer", FailureCause::Excess),
        ("huge-memory", FailureCause::Contract),
        ("huge-step", FailureCause::Contract),
    ];
    for (name, cause) in cases {
        let report = run(name);
        assert_contained(name, &report, cause);
        // Contained the same way every time: what a journal says about an attack can be checked later.
        module("hostile").replay(&report.journal).expect(name);
    }
}

#[test]
fn the_attack_can_be_a_parameter_too() {
    let mut input = attack("");
    input.remediation.parameters = serde_json::json!({ "attack": "loop" });
    assert_contained("parameter", &call(&module("hostile"), &input), FailureCause::OutOfFuel);
}

#[test]
fn no_attack_takes_longer_than_the_deadline_allows() {
    // The deadline is the bound that holds whatever a guest does; generous, because test machines are busy.
    let bound = Limits::default().deadline() * 10;
    for name in ["loop", "allocate", "recurse", "call-host-for-ever", "read-for-ever", "alias-strings", "flood-effects"]
    {
        let report = run(name);
        assert!(report.took < bound, "{name} took {:?}", report.took);
        println!("{name}: {:?}, {} fuel", report.took, report.fuel);
    }
}

#[test]
fn the_deadline_ends_what_has_fuel_left() {
    let limits = Limits { deadline_millis: 50, ..Limits::default() };
    // More fuel than the engine's ceiling would allow is cut to it, so a host of its own has the fuel here.
    let mut settings = common::settings();
    settings.ceiling.fuel = u64::MAX / 2;
    let host = palisade_runtime::Host::new(&settings).unwrap();
    let module = host.load(&common::guest("hostile")).unwrap();
    let limits = Limits { fuel: u64::MAX / 2, ..limits };
    let report = module.call(&attack("loop"), &limits, &Granted::all());
    assert_eq!(report.outcome.unwrap_err().cause, FailureCause::Deadline);
    assert!(report.took >= Duration::from_millis(50) && report.took < Duration::from_secs(5), "{:?}", report.took);
}

#[test]
fn memory_of_the_host_stays_bounded() {
    for name in
        ["allocate", "huge-string", "alias-strings", "huge-answer", "flood-log", "large-effects", "collect-proofs"]
    {
        run(name);
    }
    let before = resident();
    for _ in 0..20 {
        for name in ["allocate", "huge-string", "alias-strings", "huge-answer", "flood-log", "large-effects"] {
            run(name);
        }
    }
    let grown = resident().saturating_sub(before);
    // 120 attacks; were a single byte of each megabyte kept, this would be hundreds of megabytes.
    assert!(grown < 64 << 20, "grew by {} KiB", grown >> 10);
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_proof_kept_from_an_earlier_call_opens_nothing() {
    // given: a call that held a real proof and wrote down its number
    let first = run("keep-proof");
    assert_eq!(first.outcome, Ok(Outcome::Working { requeue_after_millis: None }));
    assert_ne!(first.memory, [0; 4], "it did get a handle");

    // when the next call uses the number, with or without a proof in the host's hands
    for proof in [None, Some(proof())] {
        let mut input = attack("use-kept-proof");
        input.remediation.memory.clone_from(&first.memory);
        input.proof = proof;
        let report = call(&module("hostile"), &input);

        // then it is a number and nothing else
        assert_eq!(report.outcome.unwrap_err().cause, FailureCause::Handle);
        assert_eq!(report.effects, []);
    }
}

#[test]
fn a_component_written_by_hand_cannot_invent_a_proof() {
    let text = include_str!("../../../tests/components/by-hand/forge.wat");
    let manifest = r#"{"name":"by-hand","version":"1.0.0","contract":"palisade:remediation@0.1.0",
        "capabilities":["fencing","workloads"]}"#;
    for number in [0, 1, 2, 7, i32::MAX, -1] {
        let bytes = wat::parse_str(text.replace("HANDLE", &number.to_string())).unwrap();
        let module = common::host().load(&common::with_manifest(bytes, manifest)).unwrap();
        for proof in [None, Some(proof())] {
            let report = call(&module, &CallInput { proof, ..attack("") });
            assert_eq!(report.outcome.unwrap_err().cause, FailureCause::Handle, "handle {number}");
            assert_eq!(report.effects, []);
        }
    }
}

#[test]
fn without_a_proof_no_handle_is_given() {
    let report = call(&module("hostile"), &attack("keep-proof"));
    assert_eq!(report.memory, [0; 4]);
}

#[test]
fn a_proof_of_something_else_is_not_even_shown() {
    let of = |change: fn(&mut palisade_runtime::ProofClaim)| {
        let mut claim = common::claim();
        change(&mut claim);
        authority().mint(claim).unwrap()
    };
    let foreign = [
        of(|claim| claim.remediation_uid = "uid-2".into()),
        of(|claim| claim.node = "worker-2".into()),
        of(|claim| claim.boot_id = "boot-0".into()),
    ];
    for proof in foreign {
        let mut input = attack("keep-proof");
        input.proof = Some(proof);
        let report = call(&module("hostile"), &input);
        assert_eq!(report.memory, [0; 4], "no handle");
        assert_eq!(report.refusals.len(), 1);
        module("hostile").replay(&report.journal).unwrap();
    }
}

#[test]
fn the_gate_wants_the_proof_itself() {
    let release = |proof: &palisade_runtime::Proof| {
        let how = palisade_runtime::ReleaseMethod::ResourceDeletion;
        vec![StagedEffect { key: "k".into(), effect: Effect::Release { proof: proof.id(), how } }]
    };
    let held = proof();
    let ledger = std::collections::BTreeMap::new();
    let granted = Granted::all();
    let context = |proof| GateContext {
        remediation_uid: "uid-1",
        node: "worker-1",
        granted: &granted,
        authority: authority(),
        proof,
        ledger: &ledger,
    };
    assert!(gate(release(&held), &context(Some(&held))).is_ok());

    // No proof in the controller's hands; one of another process; one for another intent; one of another node.
    let refused = |effects, context: &GateContext<'_>, why: &str| {
        let refusal = gate(effects, context).unwrap_err().to_string();
        assert!(refusal.contains(why), "{refusal}");
    };
    refused(release(&held), &context(None), "holds no proof");
    let stranger = palisade_runtime::ProofAuthority::new().mint(common::claim()).unwrap();
    refused(release(&held), &context(Some(&stranger)), "not made by this controller");
    let mut claim = common::claim();
    claim.intent_uid = "intent-2".into();
    let newer = authority().mint(claim).unwrap();
    refused(release(&held), &context(Some(&newer)), "another proof");
    let elsewhere = GateContext { node: "worker-2", ..context(Some(&held)) };
    refused(release(&held), &elsewhere, "another remediation or node");
    let other = GateContext { remediation_uid: "uid-2", ..context(Some(&held)) };
    refused(release(&held), &other, "another remediation or node");

    // One bad effect stops all of them.
    let mut both = vec![StagedEffect { key: "cordon".into(), effect: Effect::Cordon }];
    both.extend(release(&held));
    refused(both, &context(None), "holds no proof");
}

#[test]
fn a_key_means_one_thing_for_the_life_of_the_remediation() {
    let within = run("reuse-key");
    assert_eq!(within.effects, [StagedEffect { key: "one".into(), effect: Effect::Cordon }]);
    assert!(within.refusals[0].to_string().contains("already names another effect"), "{:?}", within.refusals);

    let mut input = attack("reuse-key");
    input.ledger.insert("one".into(), Effect::Uncordon);
    let later = call(&module("hostile"), &input);
    assert_eq!(later.outcome.unwrap_err().cause, FailureCause::Error, "it gives up on the refusal");
    assert_eq!(later.effects, []);
}

#[test]
fn no_effect_reaches_another_node() {
    let report = run("other-node");
    // The only thing staged is about the remediation's own node, under a name that pretends otherwise.
    let fence = Effect::RequestFence { method: palisade_runtime::FenceMethod::SelfFence };
    assert_eq!(report.effects, [StagedEffect { key: "worker-2".into(), effect: fence }]);
    assert_eq!(report.refusals.len(), 3, "{:?}", report.refusals);
}

#[test]
fn floods_are_cut_and_the_rest_is_refused() {
    let limits = Limits::default();
    let log: usize = run("flood-log").log.iter().map(String::len).sum();
    assert!(log > limits.log_bytes / 2 && log < limits.log_bytes * 2, "{log}");

    let flood = run("flood-effects");
    assert_eq!((flood.effects.len(), flood.refusals.len()), (limits.effects, 500 - limits.effects));

    for staged in run("large-effects").effects {
        let Effect::Event { message, .. } = staged.effect else { panic!("only events") };
        assert_eq!(message.len(), 1_024, "as much as the API server takes");
    }
    let tight = Limits { effect_bytes: 5_000, ..Limits::default() };
    let report = module("hostile").call(&attack("large-effects"), &tight, &Granted::all());
    assert_eq!((report.effects.len(), report.refusals.len()), (4, 28));
}

#[test]
fn what_was_not_granted_is_refused_or_stops_the_call() {
    let module = module("hostile");
    let granted: Granted = [Capability::Workloads, Capability::Report].into_iter().collect();

    let report = module.call(&attack("reuse-key"), &Limits::default(), &granted);
    assert_eq!(report.effects, []);
    assert!(matches!(&report.refusals[0].reason, RefusalReason::PermissionDenied(why) if why.contains("scheduling")));

    let report = module.call(&attack("agent"), &Limits::default(), &granted);
    assert_contained("agent", &report, FailureCause::NotGranted);
    assert!(report.outcome.unwrap_err().message.contains("agent, which is not granted"));
    assert_eq!(granted.missing(&module.manifest().capabilities).len(), 8);
}

#[test]
fn what_people_read_has_no_control_characters() {
    let report = run("escape-terminal");
    assert_eq!(report.log, ["info:  [2J all clear"]);
    assert_eq!(report.outcome, Ok(Outcome::Failed { reason: " [31mred".into() }));
}

#[test]
fn more_calls_at_once_than_the_host_has_room_for_wait_for_their_turn() {
    let mut settings = common::settings();
    settings.concurrent_calls = 1;
    let host = palisade_runtime::Host::new(&settings).unwrap();
    let good = module_of(&host, "self-node");
    let limits = Limits { deadline_millis: 10_000, ..Limits::default() };
    std::thread::scope(|scope| {
        let many: Vec<_> =
            (0..24).map(|_| scope.spawn(|| good.call(&input(), &limits, &Granted::all()).outcome)).collect();
        for one in many {
            assert!(one.join().unwrap().is_ok());
        }
    });
}

#[test]
fn a_call_that_finds_no_room_in_its_time_is_nobodys_fault() {
    let mut settings = common::settings();
    settings.concurrent_calls = 1;
    settings.ceiling.fuel = u64::MAX / 2;
    let host = palisade_runtime::Host::new(&settings).unwrap();
    let (good, bad) = (module_of(&host, "self-node"), module_of(&host, "hostile"));
    let long = Limits { fuel: u64::MAX / 2, deadline_millis: 300, ..Limits::default() };
    let short = Limits { deadline_millis: 1, ..Limits::default() };
    // Who gets the one place is up to the scheduler; what matters is that whoever does not is told so.
    let crowded = |outcome: Result<Outcome, palisade_runtime::CallFailure>| match outcome {
        Err(failure) if failure.cause == FailureCause::Host => {
            assert!(!failure.cause.blames_module());
            true
        }
        Err(failure) => {
            // On a busy machine the time of a call can run out while it runs.
            assert_eq!(failure.cause, FailureCause::Deadline, "{failure}");
            false
        }
        Ok(_) => false,
    };
    let met = (0..50).any(|_| {
        std::thread::scope(|scope| {
            let busy = scope.spawn(|| bad.call(&attack("loop"), &long, &Granted::all()));
            let mut met = false;
            while !busy.is_finished() {
                met |= crowded(good.call(&input(), &short, &Granted::all()).outcome);
            }
            let cause = busy.join().unwrap().outcome.unwrap_err().cause;
            assert!([FailureCause::Host, FailureCause::Deadline].contains(&cause), "{cause:?}");
            met || cause == FailureCause::Host
        })
    });
    assert!(met, "two calls never met");
    assert!(call(&good, &input()).outcome.is_ok(), "and once there is room, it works");
}

fn module_of(host: &palisade_runtime::Host, name: &str) -> std::sync::Arc<palisade_runtime::Module> {
    host.load(&common::guest(name)).unwrap()
}

#[test]
fn a_panic_leaves_its_message() {
    let message = run("panic-after-effects").outcome.unwrap_err().message;
    assert!(message.contains("boom with a message"), "{message}");
}

#[test]
fn others_keep_being_answered_while_attacks_run() {
    let (good, bad) = (module("self-node"), module("hostile"));
    let until = Instant::now() + Duration::from_millis(500);
    let attacks = ["loop", "allocate", "recurse", "forge-proof", "alias-strings", "read-for-ever"];
    let (attacked, answered, slowest) = std::thread::scope(|scope| {
        let attackers: Vec<_> = attacks
            .iter()
            .map(|name| {
                let bad = &bad;
                scope.spawn(move || {
                    let mut count = 0_u32;
                    while Instant::now() < until {
                        assert!(call(bad, &attack(name)).outcome.is_err());
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let (mut answered, mut slowest) = (0_u32, Duration::ZERO);
        while Instant::now() < until {
            let report = call(&good, &input());
            assert_eq!((report.outcome.is_ok(), report.effects.len()), (true, 1));
            slowest = slowest.max(report.took);
            answered += 1;
        }
        let attacked: u32 = attackers.into_iter().map(|attacker| attacker.join().unwrap()).sum();
        (attacked, answered, slowest)
    });
    println!("{attacked} attacks, {answered} answers meanwhile, the slowest after {slowest:?}");
    assert!(attacked > 6 && answered > 10, "{attacked} attacks, {answered} answers");
    assert!(slowest < Limits::default().deadline() * 5, "{slowest:?}");
}
