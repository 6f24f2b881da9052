//! {{name}}: says what it is about, fences the node, and releases its workloads once its end is proven.

use palisade_remediator::flow::{self, Flow};
use palisade_remediator::workloads::ReleaseMethod;
use palisade_remediator::{Failure, Outcome, Remediation, Remediator, report};

/// The remediator.
pub struct Custom;

impl Remediator for Custom {
    fn reconcile(remediation: Remediation) -> Result<Outcome, Failure> {
        match flow::fence(&remediation)? {
            Flow::Proven(proof, _) => {
                flow::release(&proof, ReleaseMethod::ResourceDeletion)?;
                Ok(Outcome::working("releasing"))
            }
            Flow::Released(_) => Ok(Outcome::succeeded("released")),
            Flow::Answer(outcome) => {
                if outcome.step == "waiting-for-proof" {
                    let message = format!("{} is asked to end its boot", remediation.node);
                    report::event("asked", false, "Fencing", &message)?;
                }
                Ok(outcome)
            }
        }
    }
}

palisade_remediator::remediator! {
    name: "{{name}}",
    remediator: Custom,
    capabilities: [fencing, workloads],
}

#[cfg(test)]
mod tests;
