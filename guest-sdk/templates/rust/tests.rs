//! The story of one node, without Wasm and without a cluster.

use palisade_remediator::fencing::ProofKind;
use palisade_remediator::testing::Scenario;

use super::Custom;

#[test]
fn a_dead_node_is_fenced_proven_and_released() {
    let mut story = Scenario::node("n1").boot("b1").pods(2).start::<Custom>();

    story.call();
    assert!(story.fencing() && !story.released(), "nothing is released before the proof");

    story.prove(ProofKind::LeaseExpired);
    story.call();
    assert!(story.released());

    story.workloads_are_gone();
    assert!(story.call().succeeded());
}

#[test]
fn it_keeps_the_promise_whatever_it_is_shown() {
    palisade_remediator::testing::keeps_the_promise::<Custom>(500);
}
