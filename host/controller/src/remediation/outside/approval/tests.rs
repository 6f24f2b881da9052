//! What counts as an answer.

use super::*;
use crate::fence::FenceState;
use palisade_api::progress::MarkedPod;

fn target() -> Target {
    Target {
        kind: "WasmRemediation",
        api_version: "palisade.dev/v1alpha1".into(),
        namespace: "ns".into(),
        name: "n1".into(),
        uid: "uid-1".into(),
        node: "n1".into(),
    }
}

fn boot() -> BootId {
    BootId::new("b1").unwrap()
}

fn asked(question: Question, persons: u32, expires: Option<u64>) -> Progress {
    let mut progress = Progress::default();
    assert!(ask(&mut progress, &target(), question, "look at it", persons, expires, &boot()).is_some());
    assert!(ask(&mut progress, &target(), question, "again", persons, expires, &boot()).is_none(), "once for its life");
    progress
}

fn scene(boot: &BootId) -> Scene<'_> {
    Scene { boot: Some(boot), ready: false, fence: None, untrusted: false, requester: None }
}

fn said(progress: &Progress, key: &str, who: &str) -> Annotations {
    let code = &progress.questions[0].code;
    [(key.to_owned(), format!("by={who}; code={code}; why=pulled the plug; twice"))].into()
}

fn state(progress: &Progress) -> &str {
    &progress.questions[0].state
}

#[test]
fn who_when_and_why_are_recorded_once() {
    let mut progress = asked(Question::ApproveAction, 1, None);
    let yes = said(&progress, APPROVE, "alice");
    let boot = boot();
    assert_eq!(take_in(&mut progress, &yes, scene(&boot)).len(), 1);
    assert_eq!(take_in(&mut progress, &yes, scene(&boot)).len(), 0);
    assert_eq!(state(&progress), "Given");
    let answer = &progress.questions[0].answers[0];
    assert_eq!((answer.who.as_str(), answer.why.as_str()), ("alice", "pulled the plug; twice"));
    assert!(answer.at.is_some());
}

#[test]
fn ha_04_an_approval_is_no_confirmation() {
    let mut progress = asked(Question::ConfirmIsolated, 1, None);
    let boot = boot();
    let approval = said(&progress, APPROVE, "alice");
    take_in(&mut progress, &approval, scene(&boot));
    assert_eq!(state(&progress), "Pending");
}

#[test]
fn two_persons_are_two_persons() {
    let mut progress = asked(Question::ConfirmIsolated, 2, None);
    let boot = boot();
    for _ in 0..3 {
        let alice = said(&progress, CONFIRM, "alice");
        take_in(&mut progress, &alice, scene(&boot));
    }
    assert_eq!((state(&progress), answers::missing(&progress.questions[0])), ("Pending", 1));
    let bob = said(&progress, CONFIRM, "bob");
    take_in(&mut progress, &bob, scene(&boot));
    assert_eq!(state(&progress), "Given");
}

#[test]
fn ha_19_breaking_the_glass_is_told_apart() {
    let mut progress = asked(Question::ConfirmIsolated, 2, None);
    let boot = boot();
    let alice = said(&progress, BREAK_GLASS, "alice");
    let news = take_in(&mut progress, &alice, scene(&boot));
    assert_eq!((news[0].0, news[0].1), (crate::events::Kind::Warning, "ApprovalBreakGlass"));
    assert_eq!(state(&progress), "Given");
}

#[test]
fn an_answer_given_before_the_question_does_not_count() {
    let mut progress = asked(Question::ConfirmIsolated, 1, None);
    let boot = boot();
    let early = [(CONFIRM.to_owned(), "by=alice; code=0000000000; why=early".to_owned())].into();
    let news = take_in(&mut progress, &early, scene(&boot));
    assert_eq!(news[0].1, "ApprovalRefused");
    assert_eq!(take_in(&mut progress, &early, scene(&boot)).len(), 0, "told once");
    assert_eq!(state(&progress), "Pending");
}

#[test]
fn ha_11_ha_12_late_and_stale_answers_do_not_count() {
    let (boot, other) = (boot(), BootId::new("b2").unwrap());
    let mut late = asked(Question::ConfirmIsolated, 1, Some(1_000));
    late.questions[0].expires = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    let yes = said(&late, CONFIRM, "alice");
    take_in(&mut late, &yes, scene(&boot));
    assert_eq!(state(&late), "Expired");

    let mut stale = asked(Question::ConfirmIsolated, 1, None);
    let yes = said(&stale, CONFIRM, "alice");
    take_in(&mut stale, &yes, scene(&other));
    take_in(&mut stale, &yes, scene(&boot));
    assert_eq!(state(&stale), "Stale", "also when the old boot seems to be back");
}

#[test]
fn ha_14_a_healthy_node_withdraws_the_question() {
    let mut progress = asked(Question::ApproveAction, 1, None);
    let boot = boot();
    let yes = said(&progress, APPROVE, "alice");
    take_in(&mut progress, &yes, Scene { ready: true, ..scene(&boot) });
    assert_eq!(state(&progress), "Withdrawn");
}

#[test]
fn ha_07_who_asked_may_not_answer() {
    let mut progress = asked(Question::ApproveAction, 1, None);
    let boot = boot();
    let own = said(&progress, APPROVE, "alice");
    take_in(&mut progress, &own, Scene { requester: Some("alice"), ..scene(&boot) });
    assert_eq!(state(&progress), "Pending");
    let other = said(&progress, APPROVE, "bob");
    take_in(&mut progress, &other, Scene { requester: Some("alice"), ..scene(&boot) });
    assert_eq!(state(&progress), "Given");
}

#[test]
fn where_nobody_checks_who_answers_no_answer_counts() {
    let mut progress = asked(Question::ApproveAction, 1, None);
    let boot = boot();
    let yes = said(&progress, APPROVE, "alice");
    take_in(&mut progress, &yes, Scene { untrusted: true, ..scene(&boot) });
    assert_eq!(state(&progress), "Pending");
    assert!(view(&progress, Some("no policy")).is_err());
}

#[test]
fn line_p6_a_confirmation_older_than_a_mark_is_asked_for_again() {
    let mut progress = asked(Question::ConfirmIsolated, 1, None);
    let boot = boot();
    let yes = said(&progress, CONFIRM, "alice");
    take_in(&mut progress, &yes, scene(&boot));
    assert_eq!(state(&progress), "Given");

    // when a later session (of another process) marks a pod that was not marked when it was asked
    let pod = MarkedPod { namespace: "ns".into(), name: "late".into(), uid: "late".into() };
    let fence = FenceState { marked: vec![pod], tainted: true, boot: Some(boot.clone()), ..FenceState::default() };
    take_in(&mut progress, &yes, Scene { fence: Some(&fence), ..scene(&boot) });

    // then the old answer, with the old code, does not count
    assert_eq!(state(&progress), "Pending");
    take_in(&mut progress, &yes, Scene { fence: Some(&fence), ..scene(&boot) });
    assert_eq!(state(&progress), "Pending");
    let again = said(&progress, CONFIRM, "alice");
    take_in(&mut progress, &again, Scene { fence: Some(&fence), ..scene(&boot) });
    assert_eq!(state(&progress), "Given");
}
