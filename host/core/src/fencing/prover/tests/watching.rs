//! A controller that comes after the release only looks.

use std::time::Duration;

use super::super::*;
use super::bench::{World, boot, bound, terms};
use crate::fencing::proof::ProofKind;

/// A world whose release is done, and the prover of the next process.
fn released() -> World {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n4", world.now, None);
    world.run(bound() + 1_000);
    let proof = world.prover.proof().unwrap().clone();
    let settings =
        Settings { node: "n1".into(), owner: "snr-1".into(), require: Grade::Assumed, floor: Duration::ZERO };
    world.prover = Prover::watching(settings, proof, world.now);
    world.effects.clear();
    world
}

#[test]
fn it_marks_and_intends_nothing_and_stays_quiet_while_the_node_does() {
    let mut world = released();
    world.run(60_000);
    assert!(world.effects.iter().all(|effect| matches!(effect, Effect::Read | Effect::Wait { .. })));
    assert_eq!(world.prover.contradiction(), None);
}

#[test]
fn a_heartbeat_of_the_ended_boot_is_told() {
    let mut world = released();
    world.run(1_000);
    world.heartbeat = ("h2".into(), world.now);
    world.run(1_000);
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::Contradiction { .. })));
}

#[test]
fn what_was_there_before_the_first_read_is_no_news() {
    let mut world = released();
    // First seen by this process, but not new: it began only now.
    world.heartbeat = ("h-old".into(), world.now);
    world.run(30_000);
    assert_eq!(world.prover.contradiction(), None);
}

#[test]
fn the_next_boot_ends_the_matter_and_so_does_an_intent_that_is_gone() {
    let mut world = released();
    world.run(1_000);
    world.node_boot = Some(boot("b2"));
    world.heartbeat = ("h2".into(), world.now);
    world.run(5_000);
    assert_eq!(world.prover.contradiction(), None);

    let mut world = released();
    world.change_lease(|lease| lease.intent = None);
    world.heartbeat = ("h2".into(), world.now);
    world.run(5_000);
    assert_eq!(world.prover.contradiction(), None);
}

#[test]
fn a_kubelet_that_was_heard_just_before_d_is_listened_to_for_one_more_heartbeat() {
    let mut world = World::new(terms()).intended();
    world.promise("n2", world.now, None);
    world.promise("n4", world.now, None);
    world.run(bound() - 500);
    world.heartbeat = ("h2".into(), world.now);
    // A heartbeat's period, or T if that is shorter, as here: 10 s.
    world.run(9_500);
    assert_eq!(world.kind(), None);
    world.run(1_000);
    assert_eq!(world.kind(), Some(ProofKind::LeaseExpired));
}
