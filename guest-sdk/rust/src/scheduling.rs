//! Capability `scheduling`: keep new pods away.

pub use crate::__bindings::palisade::remediation::scheduling::{Ours, OwnTaint, OwnTaintEffect};

use crate::{Refusal, host};

/// What this remediation did to scheduling.
pub fn ours() -> Ours {
    host::ours()
}

/// Marks the node unschedulable.
pub fn cordon(key: &str) -> Result<(), Refusal> {
    host::cordon(key)
}

/// Undoes our cordon.
pub fn uncordon(key: &str) -> Result<(), Refusal> {
    host::uncordon(key)
}

/// Sets a taint of our own.
pub fn set_taint(key: &str, taint: &OwnTaint) -> Result<(), Refusal> {
    host::set_taint(key, taint)
}

/// Removes a taint of our own.
pub fn remove_taint(key: &str, taint: &OwnTaint) -> Result<(), Refusal> {
    host::remove_taint(key, taint)
}
