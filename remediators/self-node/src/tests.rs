//! The story of one node, call by call.

use palisade_remediator::fencing::{Method, ProofKind, Stage};
use palisade_remediator::testing::{Effect, Scenario};
use palisade_remediator::workloads::{ReleaseMethod, Restoration};
use palisade_remediator::{Refusal, Verdict};

use super::SelfNode;

fn released(mut scenario: Scenario) -> Scenario {
    scenario.remains.released = Some(ReleaseMethod::ResourceDeletion);
    scenario.remains.held = true;
    scenario
}

fn empty(mut scenario: Scenario) -> Scenario {
    scenario.remains.pods = 0;
    scenario.remains.volume_attachments = 0;
    scenario
}

#[test]
fn asks_for_fencing_and_releases_nothing_without_a_proof() {
    let mut scenario = Scenario::new();
    for stage in [Stage::Idle, Stage::Requested, Stage::Marked, Stage::Intended, Stage::Promised, Stage::Proven] {
        scenario.fencing.stage = stage;
        let played = scenario.play::<SelfNode>();
        assert_eq!(played.effects, [("fence".into(), Effect::RequestFence(Method::SelfFence))], "{stage:?}");
        assert_eq!(played.step(), "waiting-for-proof");
    }
}

#[test]
fn comes_back_when_the_proof_is_due() {
    let mut scenario = Scenario::new();
    scenario.fencing.due = Some(7_500);
    assert_eq!(scenario.play::<SelfNode>().answer.unwrap().verdict, Verdict::Working(Some(7_500)));
}

#[test]
fn releases_with_the_proof_until_nothing_is_left() {
    let proven = Scenario::new().proven(ProofKind::LeaseExpired);
    let release = Effect::Release("proof-1".into(), ReleaseMethod::ResourceDeletion);
    let played = proven.play::<SelfNode>();
    assert!(played.asks(&release), "{played:?}");

    let played = released(proven.clone()).play::<SelfNode>();
    assert!(played.asks(&release), "a pod that came late is released too: {played:?}");

    let played = empty(released(proven)).play::<SelfNode>();
    assert_eq!((played.effects.len(), played.answer.unwrap().verdict), (0, Verdict::Succeeded));
}

#[test]
fn never_fences_the_boot_that_came_after() {
    // given: released, and the controller holds no proof any more because the node is back
    let played = released(Scenario::new()).play::<SelfNode>();
    assert_eq!((played.effects.len(), played.step()), (0, "releasing"));
}

#[test]
fn a_withdrawn_proof_ends_it() {
    let mut scenario = released(Scenario::new().proven(ProofKind::LeaseExpired));
    scenario.fencing.stage = Stage::Contradicted;
    scenario.fencing.waiting_for = "heartbeat of boot-1 after the deadline".into();
    let played = scenario.play::<SelfNode>();
    assert!(played.effects.is_empty());
    assert!(matches!(played.answer.unwrap().verdict, Verdict::Failed(why) if why.contains("heartbeat")));
}

#[test]
fn a_timed_out_remediation_starts_nothing_but_finishes_what_it_began() {
    let mut scenario = Scenario::new().proven(ProofKind::LeaseExpired);
    scenario.remediation.timed_out = true;
    let played = scenario.play::<SelfNode>();
    assert!(played.effects.is_empty());
    assert!(matches!(played.answer.unwrap().verdict, Verdict::Failed(_)));

    let played = empty(released(scenario)).play::<SelfNode>();
    assert_eq!(played.answer.unwrap().verdict, Verdict::Succeeded);
}

#[test]
fn a_deleted_remediation_puts_everything_back() {
    let mut scenario = released(Scenario::new().proven(ProofKind::LeaseExpired));
    scenario.remediation.deleting = true;
    let played = scenario.play::<SelfNode>();
    assert_eq!(played.effects, [("restore".into(), Effect::Restore(Restoration::Everything))]);
    assert_eq!(played.step(), "restoring");

    scenario.remains.held = false;
    let played = scenario.play::<SelfNode>();
    assert_eq!((played.effects.len(), played.answer.unwrap().verdict), (0, Verdict::Succeeded));
}

#[test]
fn a_refusal_ends_the_call_and_says_why() {
    let mut scenario = Scenario::new();
    scenario.refuse = Some(Refusal::PermissionDenied("fencing is not granted".into()));
    let played = scenario.play::<SelfNode>();
    assert!(played.effects.is_empty());
    assert!(format!("{:?}", played.answer.unwrap_err()).contains("fencing is not granted"));
}
