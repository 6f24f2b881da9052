//! Why nothing is started.

use std::fmt;
use std::time::Duration;

use palisade_api::keys::remediation as keys;
use palisade_api::reasons::event;

/// Whether a skip is about one node or stops the whole policy, so that it is said once and not for every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The node alone.
    Node,
    /// Every node of the policy.
    Policy,
}

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
    /// Too many nodes were unhealthy at once, and the cooldown is not over.
    Storm {
        /// What is left of the cooldown; `None` if it has not begun.
        left: Option<Duration>,
    },
    /// The node carries the exclude label.
    Excluded,
    /// Another control-plane node is being remediated; names node and remediation.
    ControlPlaneBusy(String),
    /// Somebody else made a remediation for the node from the same template.
    Foreign(String),
    /// The remediation is being deleted and still cleans up.
    Terminating(String),
    /// Somebody else holds the lease of the node.
    LeaseHeld {
        /// Who.
        holder: String,
        /// When it expires if it is not renewed.
        left: Duration,
    },
    /// Every template was tried.
    NoTemplateLeft,
    /// Another rule; the open end of this list.
    Held(Held),
}

/// A skip by a rule that needs no variant of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// Name of the rule, in `camelCase`, for metrics and for `explain`. One of a fixed set: it becomes a metric label.
    pub rule: &'static str,
    /// What holds, with the numbers that were compared.
    pub why: String,
    /// What would let it go on.
    pub unblock: String,
    /// Whether it stops the whole policy.
    pub scope: Scope,
    /// Whether somebody should look: a Warning event, or else a Normal one.
    pub warn: bool,
    /// When to look again if nothing happens.
    pub again_in: Option<Duration>,
}

impl SkipReason {
    /// Name of the rule, for metrics and for `explain`; one of a fixed set.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Disabled(_) => "disabled",
            Self::Paused(_) => "paused",
            Self::BelowThreshold { .. } => "threshold",
            Self::Storm { .. } => "storm",
            Self::Excluded => "excluded",
            Self::ControlPlaneBusy(_) => "controlPlane",
            Self::Foreign(_) => "foreignRemediation",
            Self::Terminating(_) => "terminating",
            Self::LeaseHeld { .. } => "lease",
            Self::NoTemplateLeft => "noTemplateLeft",
            Self::Held(held) => held.rule,
        }
    }

    /// Whether it is about the node alone.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Disabled(_) | Self::Paused(_) | Self::BelowThreshold { .. } | Self::Storm { .. } => Scope::Policy,
            Self::Held(held) => held.scope,
            _ => Scope::Node,
        }
    }

    /// Reason of the event that says it and whether it is a warning; `None` if it is not worth an event: the policy's
    /// condition says it already, or it is how a remediation usually ends.
    pub fn event(&self) -> Option<(&'static str, bool)> {
        match self {
            Self::Disabled(_) | Self::Terminating(_) => None,
            Self::Paused(_) => Some((event::SKIPPED, false)),
            Self::NoTemplateLeft => Some((event::NO_TEMPLATE_LEFT, true)),
            Self::Held(held) => Some((event::SKIPPED, held.warn)),
            _ => Some((event::SKIPPED, true)),
        }
    }

    /// The text without what changes from second to second, for a status that is written only when something changed.
    pub fn lasting(&self) -> String {
        match self {
            Self::Storm { .. } => Self::Storm { left: None }.to_string(),
            Self::LeaseHeld { holder, .. } => {
                format!("{holder} holds the lease of this node; the node is taken over when it is released or expires")
            }
            other => other.to_string(),
        }
    }

    /// When to look again if nothing happens; most reasons end with a change that is watched.
    pub fn again_in(&self) -> Option<Duration> {
        // Also what is watched is looked at once a minute: a watch may be broken without saying so.
        const MINUTE: Duration = Duration::from_mins(1);
        match self {
            Self::LeaseHeld { left, .. } => Some((*left + Duration::from_secs(1)).min(MINUTE)),
            Self::ControlPlaneBusy(_) => Some(MINUTE),
            Self::Storm { left } => left.map(|left| left + Duration::from_secs(1)),
            Self::Held(held) => held.again_in,
            _ => None,
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled(why) => write!(f, "the policy is disabled: {why}"),
            Self::Paused(requests) => write!(
                f,
                "the policy is paused by pauseRequests: {}; it goes on when the list is empty",
                requests.join(", ")
            ),
            Self::BelowThreshold { healthy, needed, observed } => write!(
                f,
                "only {healthy} of {observed} selected nodes are healthy, but at least {needed} must be before a new remediation starts; it starts when {} more recover, or with a lower minHealthy",
                needed.saturating_sub(*healthy)
            ),
            Self::Storm { left: None } => f.write_str(
                "too many nodes were unhealthy at once (StormActive); remediation starts again once enough are healthy and stormCooldownDuration is over",
            ),
            Self::Storm { left: Some(left) } => write!(
                f,
                "too many nodes were unhealthy at once (StormActive); stormCooldownDuration ends in {}s, if no further node gets unhealthy",
                left.as_secs()
            ),
            Self::Excluded => {
                write!(f, "the node carries label {}=true; remove the label to have it remediated", keys::EXCLUDE)
            }
            Self::ControlPlaneBusy(other) => write!(
                f,
                "control-plane node {other} is being remediated, and only one at a time may be; it is this node's turn when that remediation is gone"
            ),
            Self::Foreign(what) => {
                write!(f, "{what} is for this node and belongs to somebody else; delete it, or leave the node to its owner")
            }
            Self::Terminating(what) => write!(f, "{what} is being deleted; a new one is made when it is gone"),
            Self::LeaseHeld { holder, left } => write!(
                f,
                "{holder} holds the lease of this node for another {}s unless it renews it; the node is taken over when it is released or expires",
                left.as_secs()
            ),
            Self::NoTemplateLeft => {
                f.write_str("every template of the policy was tried; look at the node, or add a template")
            }
            Self::Held(held) => write!(f, "{}; {}", held.why, held.unblock),
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
