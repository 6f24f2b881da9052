//! The stock remediators as components: the same story as their native tests, now through the host.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{authority, call, input, module, proof};
use palisade_runtime::{
    CallInput, Effect, FenceMethod, FenceStage, GateContext, Granted, Outcome, ReleaseMethod, ReplayError, Restoration,
    gate,
};

fn proven() -> CallInput {
    let mut input = input();
    input.snapshot.fencing.stage = FenceStage::Proven;
    input.proof = Some(proof());
    input
}

#[test]
fn both_ask_for_fencing_first_and_for_nothing_else() {
    for name in ["self-node", "out-of-service-taint"] {
        let report = call(&module(name), &input());
        assert_eq!(report.outcome, Ok(Outcome::Working { requeue_after_millis: None }), "{name}");
        assert_eq!(report.step, "waiting-for-proof");
        let effects: Vec<_> = report.effects.into_iter().map(|staged| staged.effect).collect();
        assert_eq!(effects, [Effect::RequestFence { method: FenceMethod::SelfFence }]);
        assert!(report.refusals.is_empty() && report.log.is_empty());
    }
}

#[test]
fn with_a_proof_each_releases_its_way_and_the_gate_lets_it_through() {
    let cases =
        [("self-node", ReleaseMethod::ResourceDeletion), ("out-of-service-taint", ReleaseMethod::OutOfServiceTaint)];
    for (name, how) in cases {
        let input = proven();
        let report = call(&module(name), &input);
        let context = GateContext {
            remediation_uid: "uid-1",
            node: "worker-1",
            granted: &Granted::all(),
            authority: authority(),
            proof: input.proof.as_ref(),
            ledger: &input.ledger,
        };
        let let_through = gate(report.effects, &context).unwrap();
        assert_eq!(let_through.len(), 1, "{name}");
        assert_eq!(let_through[0].effect, Effect::Release { proof: proof().id(), how });
    }
}

#[test]
fn a_release_fits_into_its_key_with_names_as_long_as_they_get() {
    let mut input = proven();
    let mut claim = common::claim();
    claim.remediation_uid = "3c0c2d0e-7e0f-4f3c-9a57-3b7d6c1f2a10".into();
    claim.boot_id = "b1f0c2d0-7e0f-4f3c-9a57-3b7d6c1f2a10".into();
    claim.node = "n".repeat(253);
    input.remediation.uid.clone_from(&claim.remediation_uid);
    input.remediation.node.clone_from(&claim.node);
    input.snapshot.fencing.boot_id.clone_from(&claim.boot_id);
    input.proof = authority().mint(claim);
    for name in ["self-node", "out-of-service-taint"] {
        let report = call(&module(name), &input);
        assert_eq!((report.refusals, report.effects.len()), (vec![], 1), "{name}");
    }
}

#[test]
fn when_all_is_gone_the_taint_goes_too() {
    let mut input = proven();
    input.snapshot.workloads.released = Some(ReleaseMethod::OutOfServiceTaint);
    (input.snapshot.workloads.pods, input.snapshot.workloads.volume_attachments) = (0, 0);
    assert_eq!(call(&module("self-node"), &input).outcome, Ok(Outcome::Succeeded));

    input.snapshot.workloads.out_of_service = true;
    let module = module("out-of-service-taint");
    let report = call(&module, &input);
    assert_eq!(report.effects[0].effect, Effect::Restore { what: Restoration::OutOfServiceTaint });

    input.snapshot.workloads.out_of_service = false;
    assert_eq!(call(&module, &input).outcome, Ok(Outcome::Succeeded));
}

#[test]
fn a_deleted_remediation_restores() {
    let mut input = input();
    input.remediation.deleting = true;
    let report = call(&module("self-node"), &input);
    assert_eq!(report.effects[0].effect, Effect::Restore { what: Restoration::Everything });
    input.snapshot.workloads.held = false;
    assert_eq!(call(&module("self-node"), &input).outcome, Ok(Outcome::Succeeded));
}

#[test]
fn a_call_replays_bit_for_bit_also_from_json() {
    let module = module("self-node");
    let report = call(&module, &proven());
    let text = serde_json::to_string(&report.journal).unwrap();
    let journal = serde_json::from_str(&text).unwrap();
    assert_eq!(report.journal, journal);
    module.replay(&journal).unwrap();

    // A journal that was changed, and one of another component, are told apart.
    let mut changed = journal.clone();
    changed.record.fuel += 1;
    assert_eq!(module.replay(&changed), Err(ReplayError::Differs { fields: vec!["fuel"] }));
    let mut other = journal;
    other.digest = "sha256:0".into();
    assert!(matches!(module.replay(&other), Err(ReplayError::OtherModule { .. })));
}

#[test]
fn two_hundred_runs_are_one() {
    let module = module("out-of-service-taint");
    let first = call(&module, &proven()).journal;
    for _ in 0..200 {
        assert_eq!(call(&module, &proven()).journal, first);
    }
}

#[test]
fn manifests_say_what_is_used() {
    for name in ["self-node", "out-of-service-taint"] {
        let module = module(name);
        let manifest = module.manifest();
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), (name, env!("CARGO_PKG_VERSION")));
        let capabilities: Vec<_> = manifest.capabilities.iter().map(|capability| capability.name()).collect();
        assert_eq!(capabilities, ["fencing", "workloads", "report"]);
    }
}
