//! `MachineDeletionRemediation`: the machine behind the node is deleted, and its owner makes another one. It is done when
//! the machine is gone and what came in its place has a Ready node.
//!
//! Nothing is released here: the machine's controller takes the instance away before the node object goes, and pods go
//! with the node. The deletion cannot be taken back, so everything is verified before it is asked for.

use std::time::Duration;

use palisade_remediator::machines::{self, Fate, Machine};
use palisade_remediator::report::{self, ConditionStatus};
use palisade_remediator::{Failure, Outcome, Refusal, Remediation, Remediator, workloads};

/// The remediator.
#[derive(Debug)]
pub struct MachineDeletion;

/// Whether a node that comes back in the machine's place has another name.
const NODE_GOES: &str = "PermanentNodeDeletionExpected";
/// Nothing announces what becomes of machines: they are looked at so often.
const LOOK: Duration = Duration::from_secs(5);

impl Remediator for MachineDeletion {
    fn reconcile(remediation: Remediation) -> Result<Outcome, Failure> {
        if remediation.deleting {
            // A machine that was deleted stays so; there is nothing else of ours.
            return palisade_remediator::flow::restore(&workloads::remaining());
        }
        match machines::replacement() {
            Ok(replacement) if replacement.fate != Fate::Kept => {
                return Ok(match replacement.waiting_for.as_str() {
                    "" => Outcome::succeeded("machine-replaced"),
                    _ if replacement.fate == Fate::Deleting => Outcome::working("machine-deleting").within(LOOK),
                    _ => Outcome::working("waiting-for-replacement").within(LOOK),
                });
            }
            // What it says about a machine that was not deleted yet is said better below.
            Ok(_) | Err(_) => {}
        }
        if remediation.timed_out {
            let reason = "its owner gave up waiting before the machine was deleted";
            return Ok(Outcome::failed("timed-out", reason));
        }
        let machine = match machines::get() {
            Ok(machine) => machine,
            Err(Refusal::NotFound(why)) if why.contains("machine ") && why.contains("does not exist") => {
                return Ok(Outcome::failed("cannot-start-machine-not-found", why));
            }
            Err(refusal) => return end(refusal, "failed"),
        };
        expect_node(&machine)?;
        match machines::delete(&format!("delete/{}", machine.uid), &machine.uid) {
            Ok(()) => Ok(Outcome::working("machine-deleting").within(LOOK)),
            Err(refusal) if machine.owner.is_none() => end(refusal, "cannot-start-no-controller-owner"),
            Err(refusal) if machine.control_plane => end(refusal, "cannot-start-control-plane"),
            Err(refusal) => end(refusal, "failed"),
        }
    }
}

/// What cannot be done now is tried again; what is forbidden, or does not exist, is not.
fn end(refusal: Refusal, step: &str) -> Result<Outcome, Failure> {
    match refusal {
        Refusal::Unavailable(why) => {
            report::condition("MachineDeletionWaits", ConditionStatus::True, "Unavailable", &why)?;
            Ok(Outcome::working("waiting"))
        }
        Refusal::PermissionDenied(_) => Err(refusal.into()),
        Refusal::NotFound(why) | Refusal::Refused(why) => Ok(Outcome::failed(step, why)),
    }
}

/// Tells the detector whether this node object will come back; stored before the machine is deleted.
fn expect_node(machine: &Machine) -> Result<(), Refusal> {
    let provider = machine.provider_id.as_str();
    let keeps = ["baremetal", "metal3"].iter().any(|start| provider.starts_with(start));
    let (status, reason, message) = if provider.is_empty() {
        (
            ConditionStatus::Unknown,
            "MachineDeletionUndefinedNodeNameExpectation",
            "the machine has no provider id: whether a node of this name comes back is not known",
        )
    } else if keeps {
        (
            ConditionStatus::False,
            "MachineDeletionOnBareMetalProviderKeepsNodeName",
            "a node of this name comes back after the machine was deleted",
        )
    } else {
        (
            ConditionStatus::True,
            "MachineDeletionOnCloudProviderCausesNewNodeName",
            "the node object goes with the machine, and a node of another name comes in its place",
        )
    };
    report::condition(NODE_GOES, status, reason, message)?;
    report::event("expect-node", false, NODE_GOES, message)
}

palisade_remediator::remediator! {
    name: "machine-deletion",
    remediator: MachineDeletion,
    capabilities: [machines, workloads],
}

#[cfg(test)]
mod tests;
