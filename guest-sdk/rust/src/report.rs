//! Capability `report`: tell people. Every remediator has it.

pub use crate::__bindings::palisade::remediation::report::{ConditionStatus, Level};

use crate::{Refusal, host};

/// Sets a condition on the remediation's status.
pub fn condition(kind: &str, status: ConditionStatus, reason: &str, message: &str) -> Result<(), Refusal> {
    host::condition(kind, status, reason, message)
}

/// Records an event about the remediation, once for its life under this key.
pub fn event(key: &str, warning: bool, reason: &str, message: &str) -> Result<(), Refusal> {
    host::event(key, warning, reason, message)
}

/// Writes a line to the host's log.
pub fn log(level: Level, message: &str) {
    host::log(level, message);
}
