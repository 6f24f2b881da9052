//! Capability `power`: the management device of the node's machine.

pub use crate::__bindings::palisade::remediation::power::{Action, PowerState, PowerStatus, Progress};

use crate::fencing::Proof;
use crate::{Refusal, host};

/// The machine off.
pub fn off(key: &str) -> Result<(), Refusal> {
    host::power_off(key)
}

/// The machine on again.
pub fn on(key: &str) -> Result<(), Refusal> {
    host::power_on(key)
}

/// What the device says.
pub fn status() -> Result<PowerStatus, Refusal> {
    host::power_status()
}

/// Proof that the device was read back as off.
pub fn proof() -> Result<Option<Proof>, Refusal> {
    Ok(host::power_proof()?.map(Proof))
}
