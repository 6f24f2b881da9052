//! Machines, power, people and jobs: what a component hears, what it cannot have, and what of it reaches the gate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{authority, call, input, module, proof};
use palisade_runtime::{
    AnswerState, AnswerView, ApprovalView, CallInput, CallReport, Capability, Effect, FailureCause, FenceMethod,
    FenceStage, GateContext, Granted, JobView, JobsView, Limits, MachineView, Outcome, OwnerView, PowerView, ProofKind,
    Question, RefusalReason, ReplacementView, StagedEffect, gate,
};

/// Everything is there: a machine, a device, people, one job.
fn world() -> CallInput {
    let mut input = input();
    let outside = &mut input.snapshot.outside;
    outside.machine = Ok(MachineView {
        namespace: "ns".into(),
        name: "m1".into(),
        uid: "machine-uid".into(),
        provider_id: "aws:///zone/i-1".into(),
        owner: Some(OwnerView { kind: "MachineSet".into(), name: "set".into(), uid: "set-uid".into() }),
        ..MachineView::default()
    });
    outside.deletable = Ok(());
    outside.replacement = Ok(ReplacementView::default());
    outside.power = Ok(PowerView::default());
    outside.approval = Ok(ApprovalView::default());
    outside.jobs = Ok(JobsView { listed: [("known".to_owned(), Ok(JobView::default()))].into() });
    input
}

fn attack(mut input: CallInput) -> CallReport {
    input.remediation.strategy = "outside".into();
    let report = call(&module("hostile"), &input);
    module("hostile").replay(&report.journal).expect("the same answer, bit for bit");
    report
}

fn told(report: &CallReport) -> Vec<String> {
    match &report.outcome {
        Ok(Outcome::Failed { reason }) => reason.lines().map(str::to_owned).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_its_own_is_refused_with_a_reason_for_people() {
    // given: nothing was marked yet
    let mut input = world();
    input.snapshot.fencing.stage = FenceStage::Idle;
    let report = attack(input);

    // then only what harms nobody is staged, and each refusal says which one it is
    let told = told(&report);
    for (line, kind, text) in [
        (0, "Refused", "has UID machine-uid"),
        (2, "Refused", "only after the pods of the node were marked"),
        (3, "Refused", "persons is 0"),
        (4, "NotFound", "is on the administrator's list (known)"),
    ] {
        assert!(told[line].contains(kind) && told[line].contains(text), "{}", told[line]);
    }
    assert_eq!(report.effects, [StagedEffect { key: "off".into(), effect: Effect::PowerOff }]);
    assert_eq!(report.refusals.len(), 4);
}

#[test]
fn what_was_not_granted_is_permission_denied_and_nothing_is_staged() {
    let mut input = world();
    input.remediation.strategy = "outside".into();
    let granted: Granted = [Capability::Report].into_iter().collect();
    let report = module("hostile").call(&input, &Limits::default(), &granted);
    for (line, capability) in told(&report).iter().zip(["machines", "power", "approval", "approval", "jobs"]) {
        assert!(line.contains("PermissionDenied") && line.contains(capability), "{line}");
        assert!(line.contains("grant it in the Remediator object"), "{line}");
    }
    assert_eq!(report.effects, []);

    // and the gate would not let it through either
    let ledger = std::collections::BTreeMap::new();
    let context = GateContext {
        remediation_uid: "uid-1",
        node: "worker-1",
        granted: &granted,
        authority: authority(),
        proof: None,
        ledger: &ledger,
    };
    let effects = [
        Effect::PowerOff,
        Effect::PowerOn,
        Effect::DeleteMachine { uid: "u".into() },
        Effect::RunJob { name: "j".into() },
        Effect::Ask { question: Question::ApproveAction, message: "?".into(), persons: 1, expires_millis: None },
    ];
    for effect in effects {
        let refusal = gate(vec![StagedEffect { key: "k".into(), effect }], &context).unwrap_err();
        assert!(matches!(refusal.reason, RefusalReason::PermissionDenied(_)), "{refusal}");
    }
}

#[test]
fn what_cannot_be_had_now_is_unavailable() {
    let report = attack(input());
    for line in told(&report).iter().filter(|line| !line.contains("persons is 0")) {
        assert!(line.contains("Unavailable"), "{line}");
    }
    assert_eq!(report.effects, []);
}

#[test]
fn a_proof_of_another_kind_is_not_handed_out_as_one() {
    // given: the host holds a proof by expiry of the lease
    let mut input = world();
    input.proof = Some(proof());
    assert_eq!(attack(input).step, "0 proofs");

    // when it holds one of each kind from outside, exactly one interface hands it out
    for kind in [ProofKind::MachineGone, ProofKind::PoweredOff, ProofKind::HumanConfirmed] {
        let mut input = world();
        input.proof = authority().mint(palisade_runtime::ProofClaim { kind, ..common::claim() });
        assert_eq!(attack(input).step, "1 proofs", "{kind:?}");
    }
}

#[test]
fn machine_deletion_says_what_becomes_of_the_node_and_deletes_the_machine_it_saw() {
    let report = call(&module("machine-deletion"), &world());
    assert_eq!(report.step, "machine-deleting");
    let effects: Vec<_> = report.effects.iter().map(|staged| &staged.effect).collect();
    assert!(matches!(effects[0], Effect::Condition { kind, .. } if kind == "PermanentNodeDeletionExpected"));
    assert!(effects.contains(&&Effect::DeleteMachine { uid: "machine-uid".into() }), "{effects:?}");
    module("machine-deletion").replay(&report.journal).unwrap();
}

#[test]
fn meatware_asks_then_fences_then_asks_again() {
    let answered = |state| AnswerView { state, ..AnswerView::default() };
    let asks = |report: &CallReport, wanted| {
        report
            .effects
            .iter()
            .any(|staged| matches!(&staged.effect, Effect::Ask { question, .. } if *question == wanted))
    };
    let mut input = world();
    input.snapshot.fencing.stage = FenceStage::Idle;
    let first = call(&module("meatware"), &input);
    assert!(asks(&first, Question::ApproveAction) && first.effects.len() == 2, "{:?}", first.effects);

    input.snapshot.outside.approval =
        Ok(ApprovalView { action: answered(AnswerState::Given), isolation: AnswerView::default() });
    let second = call(&module("meatware"), &input);
    assert_eq!(second.effects.len(), 1);
    assert_eq!(second.effects[0].effect, Effect::RequestFence { method: FenceMethod::External });

    input.snapshot.fencing.stage = FenceStage::Intended;
    assert!(asks(&call(&module("meatware"), &input), Question::ConfirmIsolated));
}

#[test]
fn reads_count_as_host_calls() {
    let limits = Limits { host_calls: 3, ..Limits::default() };
    let mut input = world();
    input.remediation.strategy = "outside".into();
    let report = module("hostile").call(&input, &limits, &Granted::all());
    assert_eq!(report.outcome.unwrap_err().cause, FailureCause::Excess);
}
