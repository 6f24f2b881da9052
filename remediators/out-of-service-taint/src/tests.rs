//! What differs from `self-node`: the taint, and that it goes again.

use palisade_remediator::Verdict;
use palisade_remediator::fencing::{Method, ProofKind};
use palisade_remediator::testing::{Effect, Scenario};
use palisade_remediator::workloads::{ReleaseMethod, Restoration};

use super::OutOfServiceTaint;

#[test]
fn without_a_proof_it_only_asks_for_fencing() {
    let played = Scenario::new().play::<OutOfServiceTaint>();
    assert_eq!(played.effects, [("fence".into(), Effect::RequestFence(Method::SelfFence))]);
}

#[test]
fn the_taint_is_set_with_the_proof_and_removed_when_all_is_gone() {
    // given a proof, the taint is asked for
    let mut scenario = Scenario::new().proven(ProofKind::AgentAcknowledged);
    let release = Effect::Release("proof-1".into(), ReleaseMethod::OutOfServiceTaint);
    assert!(scenario.play::<OutOfServiceTaint>().asks(&release));

    // when pods and volumes are gone but the taint is still there, it is removed
    scenario.remains.released = Some(ReleaseMethod::OutOfServiceTaint);
    scenario.remains.out_of_service = true;
    assert!(scenario.play::<OutOfServiceTaint>().asks(&release), "not before: pods are left");
    scenario.remains.pods = 0;
    assert!(scenario.play::<OutOfServiceTaint>().asks(&release), "not before: a volume is left");
    scenario.remains.volume_attachments = 0;
    let played = scenario.play::<OutOfServiceTaint>();
    assert_eq!(played.effects.len(), 1);
    assert!(played.asks(&Effect::Restore(Restoration::OutOfServiceTaint)), "{played:?}");

    // then it is done
    scenario.remains.out_of_service = false;
    let played = scenario.play::<OutOfServiceTaint>();
    assert_eq!((played.effects.len(), played.answer.unwrap().verdict), (0, Verdict::Succeeded));
}

#[test]
fn a_node_that_is_back_is_never_tainted() {
    let played = Scenario::new().proven(ProofKind::BootChanged).play::<OutOfServiceTaint>();
    assert_eq!(played.effects.len(), 1);
    assert!(played.asks(&Effect::Release("proof-1".into(), ReleaseMethod::ResourceDeletion)), "{played:?}");
}

#[test]
fn a_cluster_that_ignores_the_taint_is_told_so() {
    let mut scenario = Scenario::new().proven(ProofKind::LeaseExpired);
    scenario.remains.out_of_service_supported = false;
    let played = scenario.play::<OutOfServiceTaint>();
    assert!(played.effects.is_empty());
    assert!(matches!(played.answer.unwrap().verdict, Verdict::Failed(why) if why.contains("ResourceDeletion")));
}

#[test]
fn the_taint_goes_even_after_a_time_out() {
    let mut scenario = Scenario::new().proven(ProofKind::LeaseExpired);
    scenario.remediation.timed_out = true;
    scenario.remains.released = Some(ReleaseMethod::OutOfServiceTaint);
    scenario.remains.out_of_service = true;
    (scenario.remains.pods, scenario.remains.volume_attachments) = (0, 0);
    assert!(scenario.play::<OutOfServiceTaint>().asks(&Effect::Restore(Restoration::OutOfServiceTaint)));
}
