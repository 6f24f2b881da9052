//! Capability `agent`: the native agent of the node.

pub use crate::__bindings::palisade::remediation::agent::{AgentState, Reach, Watchdog};

/// What is known of the agent.
pub fn get() -> AgentState {
    crate::host::agent()
}
