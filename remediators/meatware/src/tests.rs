//! What is done before, and after, people answered.

use palisade_remediator::approval::{Answer, AnswerState, Person, Question};
use palisade_remediator::fencing::{Method, ProofKind, Stage};
use palisade_remediator::testing::{Effect, Scenario};
use palisade_remediator::workloads::ReleaseMethod;
use palisade_remediator::{Refusal, Verdict};

use super::Meatware;

fn answer(state: AnswerState) -> Answer {
    let person = Person { name: "alice".into(), reason: "saw it".into(), age: 1 };
    Answer { state, persons: vec![person], missing: 1, left: None, boot_id: "boot-1".into() }
}

fn fence() -> Effect {
    Effect::RequestFence(Method::External)
}

#[test]
fn ha_02_before_consent_only_a_question_is_asked() {
    for state in [AnswerState::NotAsked, AnswerState::Pending] {
        let mut scenario = Scenario::new();
        scenario.approved = Ok(answer(state));
        let played = scenario.play::<Meatware>();
        let harmless =
            |effect: &Effect| matches!(effect, Effect::Ask(Question::ApproveAction, ..) | Effect::Condition(..));
        assert!(played.effects.iter().all(|(_, effect)| harmless(effect)), "{played:?}");
        assert_eq!(played.step(), "waiting-for-approval");
    }
}

#[test]
fn ha_04_an_approval_fences_and_asks_for_the_confirmation_and_releases_nothing() {
    let mut scenario = Scenario::new();
    scenario.approved = Ok(answer(AnswerState::Given));
    let played = scenario.play::<Meatware>();
    assert_eq!(played.effects, [("fence".into(), fence())], "not asked before the pods are marked");

    scenario.fencing.stage = Stage::Intended;
    let played = scenario.play::<Meatware>();
    let asks = |(_, effect): &(String, Effect)| matches!(effect, Effect::Ask(Question::ConfirmIsolated, ..));
    assert!(played.effects.iter().any(asks), "{played:?}");
    assert!(!played.effects.iter().any(|(_, effect)| matches!(effect, Effect::Release(..))), "{played:?}");
}

#[test]
fn even_a_confirmation_releases_nothing_without_the_hosts_proof() {
    let mut scenario = Scenario::new();
    scenario.approved = Ok(answer(AnswerState::Given));
    scenario.confirmed = Ok(answer(AnswerState::Given));
    scenario.fencing.stage = Stage::Intended;
    let played = scenario.play::<Meatware>();
    assert!(!played.effects.iter().any(|(_, effect)| matches!(effect, Effect::Release(..))), "{played:?}");

    let played = scenario.proven(ProofKind::HumanConfirmed).play::<Meatware>();
    assert!(played.asks(&Effect::Release("proof-1".into(), ReleaseMethod::ResourceDeletion)), "{played:?}");
}

#[test]
fn ha_09_a_no_ends_it_with_its_own_reason_and_so_does_silence() {
    for (state, step) in [
        (AnswerState::Denied, "rejected-by-person"),
        (AnswerState::Expired, "expired-without-answer"),
        (AnswerState::Stale, "cannot-apply-to-this-boot"),
        (AnswerState::Withdrawn, "withdrawn"),
    ] {
        let mut scenario = Scenario::new();
        scenario.approved = Ok(answer(state));
        let played = scenario.play::<Meatware>();
        assert_eq!(played.step(), step);
        assert!(matches!(played.answer.unwrap().verdict, Verdict::Failed(_)));
    }
}

#[test]
fn parameters_are_handed_on() {
    let mut scenario = Scenario::new();
    scenario.remediation.parameters = r#"{"approvals":1,"confirmations":2,"expiresAfterSeconds":60}"#.into();
    let asked = scenario.play::<Meatware>();
    let found = asked.effects.iter().any(|(_, effect)| matches!(effect, Effect::Ask(_, _, 1, Some(60_000))));
    assert!(found, "{asked:?}");
    scenario.approved = Ok(answer(AnswerState::Given));
    scenario.fencing.stage = Stage::Intended;
    let asked = scenario.play::<Meatware>();
    assert!(asked.effects.iter().any(|(_, effect)| matches!(effect, Effect::Ask(_, _, 2, _))), "{asked:?}");
}

#[test]
fn where_nobody_checks_who_answers_nothing_is_done() {
    let mut scenario = Scenario::new();
    scenario.approved = Err(Refusal::Unavailable("no admission policy".into()));
    let played = scenario.play::<Meatware>();
    assert!(played.effects.is_empty() && played.answer.is_err());
}
