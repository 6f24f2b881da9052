//! Strategy `ResourceDeletion`: the node's own agent and watchdog end its boot; once that is proven, the host deletes
//! its pods and volume attachments, so that they can start elsewhere.

use palisade_remediator::flow::{self, Flow};
use palisade_remediator::workloads::ReleaseMethod;
use palisade_remediator::{Failure, Outcome, Remediation, Remediator};

/// The remediator.
#[derive(Debug)]
pub struct SelfNode;

impl Remediator for SelfNode {
    fn reconcile(remediation: Remediation) -> Result<Outcome, Failure> {
        match flow::fence(&remediation)? {
            Flow::Answer(outcome) => Ok(outcome),
            Flow::Released(_) => Ok(Outcome::succeeded("released")),
            Flow::Proven(proof, _) => {
                flow::release(&proof, ReleaseMethod::ResourceDeletion)?;
                Ok(Outcome::working("releasing"))
            }
        }
    }
}

palisade_remediator::remediator! {
    name: "self-node",
    remediator: SelfNode,
    capabilities: [fencing, workloads],
}

#[cfg(test)]
mod tests;
