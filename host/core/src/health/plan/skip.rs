//! Why nothing is started.

use std::fmt;

/// Why nothing is started for an unhealthy node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// The policy is not acted on.
    Disabled(String),
    /// The user paused it.
    Paused(Vec<String>),
    /// Too few nodes are healthy.
    BelowThreshold {
        /// Healthy nodes.
        healthy: usize,
        /// Healthy nodes needed.
        needed: usize,
        /// Selected nodes.
        observed: usize,
    },
    /// The node carries the exclude label.
    Excluded,
    /// Another control-plane node is being remediated.
    ControlPlaneBusy(String),
    /// Somebody else made a remediation for the node from the same template.
    Foreign(String),
    /// The remediation is being deleted and still cleans up.
    Terminating(String),
    /// Every template was tried.
    NoTemplateLeft,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled(why) => write!(f, "the policy is disabled: {why}"),
            Self::Paused(requests) => write!(f, "the policy is paused by pauseRequests: {}", requests.join(", ")),
            Self::BelowThreshold { healthy, needed, observed } => write!(
                f,
                "only {healthy} of {observed} selected nodes are healthy, but at least {needed} must be before a new remediation starts"
            ),
            Self::Excluded => write!(f, "the node carries label {}=true", palisade_api::keys::remediation::EXCLUDE),
            Self::ControlPlaneBusy(other) => {
                write!(f, "control-plane node {other} is being remediated, and only one at a time may be")
            }
            Self::Foreign(what) => write!(f, "{what} is for this node and belongs to somebody else"),
            Self::Terminating(what) => write!(f, "{what} is being deleted; a new one is made when it is gone"),
            Self::NoTemplateLeft => f.write_str("every template was tried"),
        }
    }
}

/// An unhealthy node for which nothing new is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The node.
    pub node: String,
    /// Why.
    pub reason: SkipReason,
}
