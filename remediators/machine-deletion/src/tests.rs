//! The story of one machine, call by call. `b_1_N` is the unsafe behaviour of that number in part B.1 of the
//! specification.

use palisade_remediator::machines::{Fate, Machine, MachineApi, Owner, Replacement};
use palisade_remediator::report::ConditionStatus;
use palisade_remediator::testing::{Effect, Played, Scenario};
use palisade_remediator::{Refusal, Verdict};

use super::MachineDeletion;

fn machine() -> Machine {
    Machine {
        api: MachineApi::Openshift,
        namespace: "openshift-machine-api".into(),
        name: "m1".into(),
        uid: "machine-uid".into(),
        provider_id: "aws:///zone/i-1".into(),
        phase: "Running".into(),
        deleting: false,
        age: 1_000_000,
        control_plane: false,
        owner: Some(Owner { kind: "MachineSet".into(), name: "set".into(), uid: "set-uid".into() }),
    }
}

fn replacement(fate: Fate, waiting_for: &str) -> Replacement {
    Replacement { fate, wanted: Some(3), ready: 0, needed: 1, waiting_for: waiting_for.into() }
}

fn scenario(machine: Machine) -> Scenario {
    let mut scenario = Scenario::new();
    scenario.machine = Ok(machine);
    scenario.replacement = Ok(replacement(Fate::Kept, ""));
    scenario
}

fn delete() -> Effect {
    Effect::DeleteMachine("machine-uid".into())
}

fn expects(played: &Played) -> ConditionStatus {
    let mut found = played.effects.iter().filter_map(|(_, effect)| match effect {
        Effect::Condition(kind, status, ..) if kind == "PermanentNodeDeletionExpected" => Some(*status),
        _ => None,
    });
    found.next().unwrap()
}

fn fails(played: &Played, step: &str, text: &str) {
    assert!(!played.asks(&delete()), "{played:?}");
    assert_eq!(played.step(), step);
    assert!(
        matches!(&played.answer.as_ref().unwrap().verdict, Verdict::Failed(why) if why.contains(text)),
        "{played:?}"
    );
}

#[test]
fn md_02_03_04_says_what_becomes_of_the_node_and_deletes_by_uid() {
    for (provider, status) in [
        ("aws:///zone/i-1", ConditionStatus::True),
        ("baremetalhost:///ns/host/uid", ConditionStatus::False),
        ("metal3://ns/host/m", ConditionStatus::False),
        ("", ConditionStatus::Unknown),
    ] {
        let played = scenario(Machine { provider_id: provider.into(), ..machine() }).play::<MachineDeletion>();
        assert_eq!(expects(&played), status, "{provider:?}");
        assert!(played.asks(&delete()), "{provider:?}: {played:?}");
    }
}

#[test]
fn md_05_without_a_controller_nothing_is_deleted() {
    let mut scenario = scenario(Machine { owner: None, ..machine() });
    scenario.deletable = Err(Refusal::Refused("has no controller".into()));
    fails(&scenario.play::<MachineDeletion>(), "cannot-start-no-controller-owner", "no controller");
}

#[test]
fn b_1_10_md_08_a_control_plane_machine_that_is_needed_stays() {
    let mut scenario = scenario(Machine { control_plane: true, ..machine() });
    scenario.deletable = Err(Refusal::Refused("quorum".into()));
    fails(&scenario.play::<MachineDeletion>(), "cannot-start-control-plane", "quorum");
}

#[test]
fn md_09_waits_while_another_one_is_replaced() {
    let mut scenario = scenario(Machine { control_plane: true, ..machine() });
    scenario.deletable = Err(Refusal::Unavailable("another one is being deleted".into()));
    let played = scenario.play::<MachineDeletion>();
    assert!(!played.asks(&delete()));
    assert_eq!(played.step(), "waiting");
    assert_eq!(played.answer.unwrap().verdict, Verdict::Working(None));
}

#[test]
fn b_1_8_a_machine_of_another_node_is_not_touched() {
    let mut scenario = scenario(machine());
    scenario.machine = Err(Refusal::Refused("status.nodeRef names node b".into()));
    fails(&scenario.play::<MachineDeletion>(), "failed", "nodeRef");
}

#[test]
fn md_12_a_missing_machine_has_its_own_reason() {
    let mut scenario = scenario(machine());
    scenario.machine = Err(Refusal::NotFound("machine ns/m does not exist".into()));
    fails(&scenario.play::<MachineDeletion>(), "cannot-start-machine-not-found", "does not exist");
}

#[test]
fn b_1_6_done_only_with_a_ready_replacement() {
    let mut scenario = scenario(machine());
    scenario.machine = Err(Refusal::NotFound("gone".into()));
    for (fate, waits, step) in [
        (Fate::Deleting, "the machine", "machine-deleting"),
        (Fate::Gone, "1 of 1 replacements", "waiting-for-replacement"),
        (Fate::Gone, "", "machine-replaced"),
    ] {
        scenario.replacement = Ok(replacement(fate, waits));
        let played = scenario.play::<MachineDeletion>();
        assert_eq!(played.effects.len(), 0);
        assert_eq!(played.step(), step);
        assert_eq!(played.answer.unwrap().verdict == Verdict::Succeeded, waits.is_empty(), "{step}");
    }
}

#[test]
fn a_timed_out_or_deleted_remediation_deletes_nothing() {
    let mut scenario = scenario(machine());
    scenario.remediation.timed_out = true;
    fails(&scenario.play::<MachineDeletion>(), "timed-out", "gave up");
    scenario.remediation.deleting = true;
    let played = scenario.play::<MachineDeletion>();
    assert_eq!((played.effects.len(), played.answer.unwrap().verdict), (0, Verdict::Succeeded));
}
