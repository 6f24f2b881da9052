//! Capability `machines`: the machine behind the node.

pub use crate::__bindings::palisade::remediation::machines::{Fate, Machine, MachineApi, Owner, Replacement};

use crate::fencing::Proof;
use crate::{Refusal, host};

/// The node's machine, verified to be the node's.
pub fn get() -> Result<Machine, Refusal> {
    host::machine()
}

/// What came in the place of the machine that was deleted.
pub fn replacement() -> Result<Replacement, Refusal> {
    host::replacement()
}

/// Deletes the machine with this UID. It cannot be undone.
pub fn delete(key: &str, expected_uid: &str) -> Result<(), Refusal> {
    host::delete_machine(key, expected_uid)
}

/// Proof that machine and instance are gone.
pub fn proof() -> Result<Option<Proof>, Refusal> {
    Ok(host::machine_proof()?.map(Proof))
}
