//! A fence agent switches the machine off; once the device is read back as off, its workloads are released, and unless
//! the action is `off`, it is switched on again. `reboot` as the agents know it is never used: a machine that comes back
//! by itself was never proven off.

use palisade_remediator::cycle::Cycle;
use palisade_remediator::workloads::ReleaseMethod;
use palisade_remediator::{Failure, Outcome, Remediation, Remediator};

/// The remediator.
#[derive(Debug)]
pub struct FenceAgents;

impl Remediator for FenceAgents {
    fn reconcile(remediation: Remediation) -> Result<Outcome, Failure> {
        // Made by the host, without blanks: {"action":"reboot","strategy":"ResourceDeletion"}.
        let says = |what: &str| remediation.parameters.contains(what);
        let release = if says(r#""strategy":"OutOfServiceTaint""#) {
            ReleaseMethod::OutOfServiceTaint
        } else {
            ReleaseMethod::ResourceDeletion
        };
        let on_again = !says(r#""action":"off""#);
        Cycle { release, on_again, condition: "FenceAgentActionSucceeded" }.run(&remediation)
    }
}

palisade_remediator::remediator! {
    name: "fence-agents",
    remediator: FenceAgents,
    capabilities: [fencing, workloads, power],
}

#[cfg(test)]
mod tests;
