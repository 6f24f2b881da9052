//! The way to a proof, and the lines of the review that concern it.

use std::time::Duration;

use super::super::*;
use super::bench::{T, WD, World, boot, bound, terms};
use crate::fencing::proof::{Grade, ProofKind};
use crate::fencing::record::{Claims, Terms};

#[test]
fn the_whole_way_to_a_proof_by_time() {
    // Given a silent node; when marked, intended and promised by two of three;
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n4", world.now, None);
    assert!(world.prover.waiting_for().contains("2 of 3 jurors promised (n2, n4)"));
    // then nothing is proven before D,
    world.run(bound() - 100);
    assert_eq!(world.kind(), None);
    // and D proves it.
    world.run(200);
    let proof = world.prover.proof().unwrap();
    assert_eq!((proof.kind, proof.grade, proof.quorum), (ProofKind::LeaseExpired, Grade::Certain, 2));
    assert_eq!(proof.jurors.len(), 2);
}

#[test]
fn line_1_marks_come_before_the_read_and_the_intent() {
    let mut world = World::new(terms());
    world.on(Event::Tick);
    assert!(matches!(world.effects[0], Effect::Mark));
    // A read begun before the marks were stored decides nothing.
    let early = world.snapshot();
    world.now = world.now + Duration::from_millis(10);
    world.on(Event::Marked);
    world.on(Event::Read(Box::new(early)));
    assert!(world.pending_write().is_none());
    world.read();
    assert!(world.pending_write().is_some());
}

#[test]
fn line_1_a_new_boot_is_proof_but_forces_nothing() {
    let mut world = World::new(terms()).intended();
    world.node_boot = Some(boot("b2"));
    world.read();
    let proof = world.prover.proof().unwrap();
    assert_eq!((proof.kind, proof.new_boot.clone()), (ProofKind::BootChanged, Some(boot("b2"))));
    assert!(!proof.kind.forces());
}

#[test]
fn line_3_the_intent_needs_both_sources_to_name_one_boot() {
    for (node, lease) in [(Some("b2"), "b1"), (Some("b1"), "b2"), (None, "b1")] {
        let mut world = World::new(terms());
        world.node_boot = node.map(boot);
        world.change_record(|record| record.boot_id = boot(lease));
        world.on(Event::Tick);
        world.on(Event::Marked);
        world.read();
        assert!(world.pending_write().is_none(), "{node:?} {lease}");
        assert!(world.prover.refusal().is_some());
    }
}

#[test]
fn line_3_an_empty_boot_id_proves_nothing() {
    let mut world = World::new(terms()).intended();
    world.node_boot = None;
    world.read();
    assert_eq!(world.kind(), None);
}

#[test]
fn line_5_promises_far_apart_do_not_make_a_majority() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    // The second juror answers more than Wd + margin later.
    world.on(Event::RoundEnded);
    world.pass(WD + 1_000);
    world.promise("n3", world.now, None);
    assert!(!world.prover.quorum_reached());
    // The older one is asked again, and then it counts.
    assert!(world.asked().last().unwrap().contains(&"n2".to_owned()));
    world.promise("n2", world.now, None);
    assert!(world.prover.quorum_reached());
}

#[test]
fn line_5_a_slow_answer_counts_from_when_it_was_asked() {
    let mut world = World::new(terms()).intended();
    let asked = world.now;
    world.promise("n2", asked, None);
    world.pass(WD + 1_000);
    world.promise("n3", asked, None);
    assert!(!world.prover.quorum_reached());
}

#[test]
fn a_repeated_name_in_the_jury_has_one_vote() {
    let mut doubled = terms();
    doubled.jury = vec!["n2".into(), "n2".into(), "n3".into(), "n4".into()];
    let mut world = World::new(doubled).intended();
    world.promise("n2", world.now, None);
    assert!(!world.prover.quorum_reached());
    world.promise("stranger", world.now, None);
    assert!(!world.prover.quorum_reached());
}

#[test]
fn line_10_an_intent_that_went_away_begins_again() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    // Somebody cleared it and the node renewed; the old D passes.
    world.change_lease(|lease| lease.intent = None);
    world.change_record(|record| record.sequence += 1);
    world.now = world.now + Duration::from_mins(1);
    world.read();
    assert_eq!(world.kind(), None);
    assert!(world.prover.intent().is_none());
}

#[test]
fn line_10_every_write_of_an_intent_has_a_fresh_uid() {
    let mut world = World::new(terms());
    world.on(Event::Tick);
    world.on(Event::Marked);
    world.read();
    let first = world.pending_write().unwrap().intent.uid;
    // The node renewed in between: conflict.
    world.change_record(|record| record.sequence += 1);
    let outcome = world.store();
    assert_eq!(outcome, WriteOutcome::Conflict);
    world.on(Event::IntentWritten(outcome));
    world.read();
    assert_ne!(world.pending_write().unwrap().intent.uid, first);
}

#[test]
fn line_11_a_node_that_did_not_claim_to_fence_itself_is_never_proven_by_time() {
    for claims in [Claims { self_fences: false, may_exempt: false }, Claims { self_fences: true, may_exempt: true }] {
        let mut world = World::new(Terms { claims, ..terms() }).intended();
        world.promise("n2", world.now, None);
        world.promise("n3", world.now, None);
        world.run(60_000);
        assert_eq!(world.kind(), None);
        assert!(world.prover.waiting_for().contains("what would unblock it"));
    }
}

#[test]
fn a_disarmed_node_is_never_proven_by_time() {
    let mut world = World::new(terms());
    world.change_record(|record| record.disarmed = true);
    let mut world = world.intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.run(60_000);
    assert_eq!(world.kind(), None);
}

#[test]
fn line_12_two_watchdog_timeouts_count() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.run(T + WD + 1_000);
    assert_eq!(world.kind(), None);
    world.run(WD + 1_000);
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
}

#[test]
fn line_12_an_acknowledgement_counts_two_watchdog_timeouts_after_its_first_sight() {
    let mut world = World::new(terms()).intended();
    let uid = world.prover.intent().unwrap().uid.clone();
    world.pass(1_000);
    world.change_record(|record| {
        record.sequence += 1;
        record.acknowledged = Some(uid);
    });
    world.run(2 * WD);
    assert_eq!(world.kind(), None);
    world.run(1_000);
    assert_eq!(world.kind(), Some(ProofKind::AgentAcknowledged));
}

#[test]
fn an_acknowledgement_of_another_intent_is_none() {
    let mut world = World::new(terms()).intended();
    world.change_record(|record| record.acknowledged = Some("intent-of-last-week".into()));
    world.run(2 * WD + 2_000);
    assert_eq!(world.kind(), None);
}

#[test]
fn line_17_and_16_nothing_is_proven_before_its_time_even_with_a_silent_past() {
    // A node silent since long: D is past when the majority promises, and the wait is about zero.
    let mut world = World::new(terms());
    world.now = world.now + Duration::from_mins(10);
    world.prover = Prover::new(world.prover.settings.clone(), world.now);
    let mut world = world.intended();
    world.read();
    assert_eq!(world.kind(), None, "no proof before the promises");
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.read();
    let proof = world.prover.proof().unwrap();
    assert_eq!((proof.kind, proof.waited()), (ProofKind::LeaseExpired, Duration::ZERO));
}

#[test]
fn a_kubelet_heard_after_d_is_a_contradiction_and_not_a_proof() {
    // The agent fell silent long ago, the kubelet did not.
    let mut world = World::new(terms());
    world.now = world.now + Duration::from_mins(10);
    world.heartbeat = ("h2".into(), world.now - Duration::from_secs(1));
    world.prover = Prover::new(world.prover.settings.clone(), world.now);
    let mut world = world.intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.now = world.now + Duration::from_millis(1);
    world.read();
    assert_eq!(world.kind(), None, "heard a second ago: it would be heard again");
    assert_eq!(world.prover.contradiction(), None, "first seen now, but it may be old");
    world.now = world.now + Duration::from_secs(2);
    world.heartbeat = ("h3".into(), world.now);
    world.read();
    assert_eq!(world.kind(), None);
    assert!(world.prover.contradiction().unwrap().contains("kubelet"));
}

#[test]
fn finding_14_a_heartbeat_from_before_the_end_that_a_controller_sees_late_is_no_contradiction() {
    // The controller had no sight of the cluster while D passed; the kubelet's last heartbeat came in that gap.
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.now = world.now + Duration::from_millis(bound() + 1);
    world.heartbeat = ("in the gap".into(), world.now);
    world.read();
    assert_eq!((world.kind(), world.prover.contradiction()), (None, None));
    world.run(15_000);
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired), "silent since: it was old");
}

#[test]
fn finding_14_life_is_counted_from_the_first_read_after_the_end_though_the_promises_came_later() {
    let mut world = World::new(terms()).intended();
    world.now = world.now + Duration::from_millis(bound() + 1);
    world.read();
    world.now = world.now + Duration::from_secs(2);
    world.heartbeat = ("alive".into(), world.now);
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    world.now = world.now + Duration::from_millis(1);
    world.read();
    assert!(world.prover.contradiction().is_some(), "the first read after D knew another heartbeat");
}

#[test]
fn finding_17_what_cannot_be_fenced_is_looked_at_with_patience_and_not_marked_again() {
    let mut world = World::new(terms()).intended();
    // The lease is gone, and does not come back.
    world.lease = None;
    world.read();
    world.effects.clear();
    world.idle(300_000);
    let (marks, reads) = (world.count(|e| matches!(e, Effect::Mark)), world.count(|e| matches!(e, Effect::Read)));
    assert_eq!(marks, 0, "marked once, before the first intent, and never again");
    assert!((8..20).contains(&reads), "five minutes at intervals of up to 30 s: {reads}");
}

#[test]
fn finding_10_a_new_boot_that_falls_silent_is_fenced_in_its_turn() {
    let mut world = World::new(terms()).intended();
    world.change_record(|record| record.boot_id = boot("b2"));
    world.read();
    assert_eq!(world.kind(), Some(ProofKind::BootChanged));
    // Both sources name it, and it is silent: it is fenced in its turn, although the own intent still names b1.
    world.node_boot = Some(boot("b2"));
    let settings = world.prover.settings.clone();
    world.prover = Prover::after(settings, boot("b1"), world.now);
    world.idle(10_000);
    assert_eq!(world.pending_write().map(|write| write.intent.boot_id), Some(boot("b2")));
}

#[test]
fn line_22_no_api_given_by_a_promising_juror_moves_d() {
    let mut world = World::new(terms());
    world.now = world.now + Duration::from_mins(10);
    world.prover = Prover::new(world.prover.settings.clone(), world.now);
    let mut world = world.intended();
    world.promise("n2", world.now, Some(1_000));
    world.promise("n3", world.now, None);
    world.run(bound() - 1_200);
    assert_eq!(world.kind(), None, "D counts from the last NoApi");
    world.run(400);
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
}

#[test]
fn line_22_the_decision_rests_on_a_read_begun_after_d() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    let early = world.snapshot();
    world.now = world.now + Duration::from_mins(1);
    world.on(Event::Read(Box::new(early)));
    assert_eq!(world.kind(), None);
    world.read();
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
}

#[test]
fn line_23_the_intents_copies_count_not_todays_configuration() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    // A shorter T shows up in the lease (it cannot have been confirmed, but say it is there).
    world.change_record(|record| record.terms.time_to_live_millis = 1_000);
    world.run(bound() - 200);
    assert_eq!(world.kind(), None);
}

#[test]
fn line_23_d_counts_from_the_first_sight_of_the_base_and_not_from_the_write() {
    let mut world = World::new(terms());
    let seen = world.now;
    world.pass(5_000);
    let mut world = world.intended();
    world.promise("n2", world.now, None);
    world.promise("n3", world.now, None);
    assert_eq!(world.prover.deadline(), Some(seen + terms().life_bound()));
}
