//! Restarts, several remediations, policy, what comes after the proof.

use std::time::Duration;

use super::super::*;
use super::bench::{T, WD, World, boot, bound, terms};
use crate::fencing::proof::{Grade, ProofKind};
use crate::fencing::record::{Terms, Watchdog};

#[test]
fn a_second_remediation_attaches_to_the_same_intent() {
    let first = World::new(terms()).intended();
    let uid = first.prover.intent().unwrap().uid.clone();
    let mut second = World::new(terms());
    second.prover.settings.owner = "snr-2".into();
    second.lease = first.lease.clone();
    second.version = first.version;
    let second = second.intended();
    let intent = second.prover.intent().unwrap();
    assert_eq!((intent.uid.as_str(), intent.owners.len()), (uid.as_str(), 2));
}

#[test]
fn a_restarted_controller_takes_up_its_own_intent_without_writing() {
    let mut world = World::new(terms()).intended();
    world.effects.clear();
    world.prover = Prover::new(world.prover.settings.clone(), world.now);
    world.on(Event::Tick);
    world.on(Event::Marked);
    world.read();
    assert!(world.pending_write().is_none());
    assert!(world.prover.intent().is_some());
    assert_eq!(world.asked().len(), 1, "the promises are asked for again");
}

#[test]
fn a_restarted_controller_sees_that_the_boot_changed_meanwhile() {
    let mut world = World::new(terms()).intended();
    world.prover = Prover::new(world.prover.settings.clone(), world.now);
    world.node_boot = Some(boot("b2"));
    world.on(Event::Tick);
    world.on(Event::Marked);
    world.read();
    assert_eq!(world.kind(), Some(ProofKind::BootChanged));
}

#[test]
fn an_intent_for_an_ended_boot_makes_room() {
    let mut world = World::new(terms()).intended();
    world.prover = Prover::new(Settings { owner: "snr-2".into(), ..world.prover.settings.clone() }, world.now);
    world.node_boot = Some(boot("b2"));
    world.change_record(|record| record.boot_id = boot("b2"));
    let world = world.intended();
    assert_eq!(world.prover.intent().unwrap().boot_id, boot("b2"));
}

#[test]
fn an_empty_jury_suffices_only_with_min_peers_zero() {
    for (min_peers, expected) in [(0, Some(ProofKind::LeaseExpired)), (1, None)] {
        let mut world = World::new(Terms { jury: vec![], min_peers, ..terms() }).intended();
        world.run(bound() + 200);
        assert_eq!(world.kind(), expected, "minPeers {min_peers}");
    }
}

#[test]
fn a_missing_majority_is_named_with_its_jurors() {
    let mut world = World::new(terms()).intended();
    let uid = world.prover.intent().unwrap().uid.clone();
    world.promise("n2", world.now, None);
    for juror in ["n3", "n4"] {
        world.on(Event::PromiseAnswer {
            intent_uid: uid.clone(),
            juror: juror.into(),
            asked: world.now,
            answer: JurorAnswer::Unreachable { why: "connection refused".into() },
        });
    }
    world.read();
    let text = world.prover.waiting_for();
    assert!(text.contains("n3: connection refused") && text.contains("promises of 2 jurors"), "{text}");
}

#[test]
fn policy_certain_refuses_an_assumed_proof_and_says_so() {
    for watchdog in [None, Some(Watchdog { identity: "softdog".into(), timeout_millis: WD, resets: false })] {
        let mut world = World::new(Terms { watchdog, ..terms() });
        world.prover.settings.require = Grade::Certain;
        let mut world = world.intended();
        world.promise("n2", world.now, None);
        world.promise("n3", world.now, None);
        world.run(60_000);
        assert_eq!(world.kind(), None);
        assert!(world.prover.waiting_for().contains("policy requires Certain"));
        // Another proof stays open.
        world.node_boot = Some(boot("b2"));
        world.read();
        assert_eq!(world.kind(), Some(ProofKind::BootChanged));
    }
}

#[test]
fn without_a_watchdog_the_agent_must_have_lived_as_long_as_the_kubelet() {
    for (after, expected) in [
        (Some(Duration::from_millis(T)), Some(ProofKind::LeaseExpired)),
        (Some(Duration::from_millis(T + 1)), None),
        (None, None),
    ] {
        let mut world = World::new(Terms { watchdog: None, ..terms() });
        world.after_agent = after;
        let mut world = world.intended();
        world.promise("n2", world.now, None);
        world.promise("n3", world.now, None);
        world.run(60_000);
        assert_eq!(world.kind(), expected, "{after:?}");
        if let Some(proof) = world.prover.proof() {
            assert_eq!(proof.grade, Grade::Assumed);
        }
    }
}

#[test]
fn a_user_floor_lengthens_the_wait_and_never_shortens_it() {
    let mut world = World::new(terms());
    world.prover.settings.floor = Duration::from_mins(3);
    let mut world = world.intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.run(179_000);
    assert_eq!(world.kind(), None);
    world.run(1_500);
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
}

#[test]
fn life_after_the_proof_withdraws_it_until_another_boot_is_named() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.run(bound() + 200);
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
    world.change_record(|record| record.sequence += 1);
    world.read();
    assert_eq!(world.kind(), None);
    assert!(world.prover.contradiction().is_some());
    world.run(60_000);
    assert_eq!(world.kind(), None, "it stays withdrawn");
    world.node_boot = Some(boot("b2"));
    world.read();
    assert_eq!(world.kind(), Some(ProofKind::BootChanged));
}

#[test]
fn a_kubelet_lease_names_no_boot_so_its_renewal_only_withholds_the_proof_until_the_node_names_one() {
    for comes_back in [true, false] {
        let mut world = World::new(terms()).intended();
        world.promise("n2", world.now, None);
        world.promise("n3", world.now, None);
        world.run(bound() + 200);
        assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
        // The kubelet renews its lease: the old boot's, or the new one's before it has updated its Node?
        world.kubelet_lease = Some(Beat { token: "l2".into(), first_seen: world.now });
        world.read();
        assert_eq!(world.kind(), None, "nothing is released meanwhile");
        assert_eq!(world.prover.contradiction(), None);
        if comes_back {
            world.run(3_000);
            world.node_boot = Some(boot("b2"));
            world.read();
            assert_eq!(world.kind(), Some(ProofKind::BootChanged));
        } else {
            world.run(16_000);
            assert!(world.prover.contradiction().is_some());
        }
    }
}

#[test]
fn a_late_relay_of_the_acknowledgement_is_no_contradiction() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.run(bound() + 200);
    let uid = world.prover.proof().unwrap().intent_uid.clone();
    world.change_record(|record| {
        record.sequence += 1;
        record.acknowledged = Some(uid);
    });
    world.read();
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
}

#[test]
fn a_node_that_came_back_after_the_proof_turns_it_into_p1() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.run(bound() + 200);
    world.node_boot = Some(boot("b2"));
    world.read();
    assert_eq!(world.kind(), Some(ProofKind::BootChanged));
}

#[test]
fn evidence_from_outside_counts_only_after_the_last_mark() {
    let mut world = World::new(terms()).intended();
    let evidence = |observed| {
        Event::Evidence(Evidence {
            kind: ProofKind::PoweredOff,
            grade: Grade::Certain,
            boot: boot("b1"),
            observed,
            explanation: "read back as off".into(),
        })
    };
    world.on(evidence(world.now - Duration::from_secs(1)));
    world.read();
    assert_eq!(world.kind(), None);
    world.pass(100);
    world.on(evidence(world.now));
    world.read();
    assert_eq!(world.kind(), Some(ProofKind::PoweredOff));
}

#[test]
fn a_lease_made_again_begins_again() {
    let mut world = World::new(terms()).intended();
    world.lease.as_mut().unwrap().uid = "another".into();
    world.read();
    assert!(world.prover.intent().is_none());
}

#[test]
fn a_write_with_an_unknown_end_is_settled_by_reading() {
    let mut world = World::new(terms());
    world.on(Event::Tick);
    world.on(Event::Marked);
    world.read();
    assert_eq!(world.store(), WriteOutcome::Stored);
    let uid = world.pending_write().unwrap().intent.uid;
    world.on(Event::IntentWritten(WriteOutcome::Unknown { why: "timeout".into() }));
    assert!(!matches!(world.effects.last(), Some(Effect::Read)), "a full store must not make us spin");
    world.read();
    assert_eq!(world.prover.intent().unwrap().uid, uid);
}

#[test]
fn an_acknowledgement_counts_by_the_longer_and_weaker_of_the_two_devices_that_were_named() {
    // The intent was based on a record without a watchdog; the device was opened before the agent saw the intent.
    let mut world = World::new(Terms { watchdog: None, ..terms() }).intended();
    let uid = world.prover.intent().unwrap().uid.clone();
    world.change_record(|record| {
        record.sequence += 1;
        record.terms.watchdog = Some(Watchdog { identity: "iTCO".into(), timeout_millis: 60_000, resets: true });
        record.acknowledged = Some(uid);
    });
    world.run(119_000);
    assert_eq!(world.kind(), None, "the device that was opened fires after up to 2 Wd");
    world.run(5_000);
    assert_eq!(world.kind(), Some(ProofKind::AgentAcknowledged));
    assert_eq!(world.prover.proof().unwrap().grade, Grade::Assumed);
}

#[test]
fn an_acknowledgement_of_a_disarmed_node_rests_on_no_watchdog() {
    // A graceful stop disarmed the device; the record still names it.
    let mut world = World::new(terms());
    world.change_record(|record| record.disarmed = true);
    let mut world = world.intended();
    assert_eq!(world.prover.intent().unwrap().terms.watchdog, None);
    let uid = world.prover.intent().unwrap().uid.clone();
    world.change_record(|record| {
        record.sequence += 1;
        record.acknowledged = Some(uid);
    });
    world.run(60_000);
    assert_eq!(world.prover.proof().unwrap().grade, Grade::Assumed);
}

#[test]
fn a_restarted_controller_does_not_fence_the_boot_that_followed_its_own() {
    // P1 was proven, both sources have caught up with the new boot, and the controller forgot everything.
    let mut world = World::new(terms()).intended();
    world.prover = Prover::new(world.prover.settings.clone(), world.now);
    world.node_boot = Some(boot("b2"));
    world.change_record(|record| record.boot_id = boot("b2"));
    world.asked_write = None;
    world.effects.clear();
    world.on(Event::Tick);
    world.on(Event::Marked);
    world.read();
    assert!(world.pending_write().is_none(), "the healthy boot gets no intent");
    let proof = world.prover.proof().unwrap();
    assert_eq!((proof.kind, proof.boot.clone()), (ProofKind::BootChanged, boot("b1")));
}

#[test]
fn a_new_boot_that_fell_silent_is_fenced_in_its_turn() {
    let mut world = World::new(terms()).intended();
    world.prover = Prover::after(world.prover.settings.clone(), boot("b1"), world.now);
    world.node_boot = Some(boot("b2"));
    world.change_record(|record| record.boot_id = boot("b2"));
    let world = world.intended();
    assert_eq!(world.prover.intent().unwrap().boot_id, boot("b2"));
}

#[test]
fn a_new_boot_ends_the_matter_also_when_the_intent_is_gone() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.run(bound() + 200);
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
    world.node_boot = Some(boot("b2"));
    world.change_lease(|lease| lease.intent = None);
    world.read();
    assert_eq!(world.kind(), Some(ProofKind::BootChanged));
}
