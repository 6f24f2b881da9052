//! Strategy `OutOfServiceTaint`: fencing as in `self-node`; once the boot is proven dead, the host sets the
//! out-of-service taint and Kubernetes frees pods and volumes. The taint goes before the node takes pods again.

use palisade_remediator::fencing::ProofKind;
use palisade_remediator::flow::{self, Flow};
use palisade_remediator::workloads::{self, ReleaseMethod, Restoration};
use palisade_remediator::{Failure, Outcome, Remediation, Remediator};

/// The remediator.
#[derive(Debug)]
pub struct OutOfServiceTaint;

impl Remediator for OutOfServiceTaint {
    fn reconcile(remediation: Remediation) -> Result<Outcome, Failure> {
        match flow::fence(&remediation)? {
            Flow::Answer(outcome) => Ok(outcome),
            Flow::Released(remains) if remains.out_of_service => {
                workloads::restore("remove-out-of-service-taint", Restoration::OutOfServiceTaint)?;
                Ok(Outcome::working("removing-taint"))
            }
            Flow::Released(_) => Ok(Outcome::succeeded("released")),
            Flow::Proven(proof, remains) => {
                // A node that is back with a new boot must not be tainted: its kubelet confirms the marked pods itself.
                let back = proof.kind() == ProofKind::BootChanged;
                if !back && !remains.out_of_service_supported {
                    let reason = "this cluster does not act on the out-of-service taint; use strategy ResourceDeletion";
                    return Ok(Outcome::failed("unsupported", reason));
                }
                let how = if back { ReleaseMethod::ResourceDeletion } else { ReleaseMethod::OutOfServiceTaint };
                flow::release(&proof, how)?;
                Ok(Outcome::working("releasing"))
            }
        }
    }
}

palisade_remediator::remediator! {
    name: "out-of-service-taint",
    remediator: OutOfServiceTaint,
    capabilities: [fencing, workloads],
}

#[cfg(test)]
mod tests;
