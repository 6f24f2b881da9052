//! The story of one machine, call by call.

use palisade_remediator::fencing::{Method, ProofKind, Stage};
use palisade_remediator::power::{Action, PowerState, PowerStatus, Progress};
use palisade_remediator::testing::{Effect, Played, Scenario};
use palisade_remediator::workloads::{ReleaseMethod, Restoration};
use palisade_remediator::{Refusal, Verdict};

use super::FenceAgents;

fn status(action: Option<Action>, progress: Progress, state: PowerState) -> PowerStatus {
    PowerStatus { state, age: None, action, progress, attempts: 1, detail: "said the device".into() }
}

fn scenario(parameters: &str) -> Scenario {
    let mut scenario = Scenario::new();
    scenario.remediation.parameters = parameters.into();
    scenario.power = Ok(status(None, Progress::Waiting, PowerState::Unknown));
    scenario
}

fn reboot() -> Scenario {
    scenario(r#"{"action":"reboot","strategy":"ResourceDeletion"}"#)
}

fn released(mut scenario: Scenario) -> Scenario {
    scenario.remains.released = Some(ReleaseMethod::ResourceDeletion);
    scenario.remains.pods = 0;
    scenario.remains.volume_attachments = 0;
    scenario
}

fn destructive(played: &Played) -> Vec<&Effect> {
    let effects = played.effects.iter().map(|(_, effect)| effect);
    effects.filter(|effect| !matches!(effect, Effect::Condition(..) | Effect::Event(..))).collect()
}

fn failed(played: &Played) -> &str {
    match &played.answer.as_ref().unwrap().verdict {
        Verdict::Failed(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn marks_first_and_cuts_the_power_then() {
    let mut scenario = reboot();
    for stage in [Stage::Idle, Stage::Requested, Stage::Marked] {
        scenario.fencing.stage = stage;
        assert_eq!(destructive(&scenario.play::<FenceAgents>()), [&Effect::RequestFence(Method::External)]);
    }
    scenario.fencing.stage = Stage::Intended;
    let played = scenario.play::<FenceAgents>();
    assert_eq!(destructive(&played), [&Effect::RequestFence(Method::External), &Effect::PowerOff]);
}

#[test]
fn an_agent_that_says_off_releases_nothing_without_the_hosts_proof() {
    let mut scenario = reboot();
    scenario.fencing.stage = Stage::Intended;
    scenario.power = Ok(status(Some(Action::Off), Progress::Done, PowerState::Off));
    let played = scenario.play::<FenceAgents>();
    assert!(!played.effects.iter().any(|(_, effect)| matches!(effect, Effect::Release(..))));
    assert_eq!(played.step(), "waiting-for-proof");
}

#[test]
fn releases_with_the_proof_and_switches_on_after_that() {
    let mut scenario = reboot().proven(ProofKind::PoweredOff);
    scenario.power = Ok(status(Some(Action::Off), Progress::Done, PowerState::Off));
    let played = scenario.play::<FenceAgents>();
    let release = Effect::Release("proof-1".into(), ReleaseMethod::ResourceDeletion);
    assert_eq!(destructive(&played), [&release]);

    let mut scenario = released(scenario);
    assert_eq!(destructive(&scenario.play::<FenceAgents>()), [&Effect::PowerOn]);
    scenario.power = Ok(status(Some(Action::On), Progress::Done, PowerState::On));
    let played = scenario.play::<FenceAgents>();
    assert_eq!((destructive(&played).len(), played.answer.unwrap().verdict), (0, Verdict::Succeeded));
}

#[test]
fn action_off_leaves_it_off_and_the_taint_strategy_sets_the_taint() {
    let parameters = r#"{"action":"off","strategy":"OutOfServiceTaint"}"#;
    let scenario = scenario(parameters).proven(ProofKind::PoweredOff);
    let release = Effect::Release("proof-1".into(), ReleaseMethod::OutOfServiceTaint);
    assert_eq!(destructive(&scenario.play::<FenceAgents>()), [&release]);
    let played = released(scenario).play::<FenceAgents>();
    assert_eq!((destructive(&played).len(), played.answer.unwrap().verdict), (0, Verdict::Succeeded));
}

#[test]
fn fa_34_invalid_parameters_end_it_before_anything_is_touched() {
    let mut scenario = reboot();
    scenario.power = Err(Refusal::Refused("spec.retrycount is -1".into()));
    let played = scenario.play::<FenceAgents>();
    assert_eq!((destructive(&played).len(), failed(&played)), (0, "spec.retrycount is -1"));
}

#[test]
fn fa_11_a_missing_secret_is_waited_for() {
    let mut scenario = reboot();
    scenario.power = Err(Refusal::Unavailable("Secret a/b does not exist".into()));
    let played = scenario.play::<FenceAgents>();
    assert_eq!((destructive(&played).len(), played.step()), (0, "waiting-for-device"));
}

#[test]
fn fa_16_a_device_that_fails_ends_it_without_a_release() {
    for progress in [Progress::Failed, Progress::TimedOut] {
        let mut scenario = reboot();
        scenario.fencing.stage = Stage::Intended;
        scenario.power = Ok(status(Some(Action::Off), progress, PowerState::On));
        let played = scenario.play::<FenceAgents>();
        assert_eq!((destructive(&played).len(), failed(&played)), (0, "said the device"));
    }
}

#[test]
fn a_machine_that_does_not_come_back_is_told_and_no_failure() {
    let mut scenario = released(reboot().proven(ProofKind::PoweredOff));
    scenario.power = Ok(status(Some(Action::On), Progress::Failed, PowerState::Off));
    let played = scenario.play::<FenceAgents>();
    assert!(
        played
            .effects
            .iter()
            .any(|(_, effect)| matches!(effect, Effect::Event(true, reason, _) if reason == "PowerOnFailed"))
    );
    assert_eq!(played.answer.unwrap().verdict, Verdict::Succeeded);
}

#[test]
fn x_07_a_timed_out_remediation_switches_nothing() {
    let mut scenario = reboot();
    scenario.remediation.timed_out = true;
    scenario.fencing.stage = Stage::Intended;
    let played = scenario.play::<FenceAgents>();
    assert_eq!(destructive(&played).len(), 0);
    assert!(failed(&played).contains("gave up"));
}

#[test]
fn a_deleted_remediation_puts_everything_back() {
    let mut scenario = reboot();
    scenario.remediation.deleting = true;
    scenario.remains.held = true;
    assert_eq!(destructive(&scenario.play::<FenceAgents>()), [&Effect::Restore(Restoration::Everything)]);
}
