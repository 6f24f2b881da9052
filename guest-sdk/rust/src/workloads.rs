//! Capability `workloads`: what runs on the node, and giving it free once its boot is proven dead.

pub use crate::__bindings::palisade::remediation::workloads::{ReleaseMethod, Remains, Restoration};

use crate::fencing::Proof;
use crate::{Refusal, host};

/// What is left on the node.
pub fn remaining() -> Remains {
    host::remaining()
}

/// Gives the workloads of the dead boot free.
pub fn release(key: &str, proof: &Proof, how: ReleaseMethod) -> Result<(), Refusal> {
    host::release(key, &proof.0, how)
}

/// Takes back what this remediation put on the node.
pub fn restore(key: &str, what: Restoration) -> Result<(), Refusal> {
    host::restore(key, what)
}

impl Remains {
    /// Nothing is left that a release removes.
    pub fn gone(&self) -> bool {
        self.pods == 0 && self.volume_attachments == 0
    }
}
