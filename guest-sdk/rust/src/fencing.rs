//! Capability `fencing`: end the node's boot, and know that it ended.

pub use crate::__bindings::palisade::remediation::fencing::{FenceStatus, Grade, Method, ProofKind, Stage};

use crate::{Refusal, host};

/// Proof that the boot of this remediation's node ended. Only the host makes one, and it is good for one call.
#[derive(Debug)]
pub struct Proof(pub(crate) host::ProofHandle);

impl Proof {
    /// Name of the proof, the same in every call.
    pub fn id(&self) -> String {
        self.0.id()
    }

    /// Kind of evidence.
    pub fn kind(&self) -> ProofKind {
        self.0.kind()
    }

    /// How sure it is.
    pub fn grade(&self) -> Grade {
        self.0.grade()
    }

    /// How long ago it was proven, in milliseconds.
    pub fn age(&self) -> u64 {
        self.0.age()
    }

    /// The boot that ended.
    pub fn boot_id(&self) -> String {
        self.0.boot_id()
    }
}

/// Begins, or keeps up, fencing of the node's current boot.
pub fn request(key: &str, method: Method) -> Result<(), Refusal> {
    host::request_fence(key, method)
}

/// Where fencing stands.
pub fn progress() -> FenceStatus {
    host::progress()
}

/// The proof, once the host holds one.
pub fn proof() -> Option<Proof> {
    host::proof().map(Proof)
}
