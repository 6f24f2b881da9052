//! From verdicts and running remediations to what is done next, with a reason for everything that is not done.
//!
//! A plan is made in two rounds: first every node is looked at, which ends, continues or asks to start something; then
//! those that ask are put in order and go through the [gates](GATES) one after another.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use palisade_api::node_health_check::UnhealthyNode;

use super::condition::Judgement;
use super::storm::{Storm, StormChange};
use super::surroundings::Surroundings;
use super::view::{NodeView, ObjectKey, Policy, RemediationView};

mod climb;
mod describe;
mod extensions;
mod gates;
mod index;
mod planner;
mod record;
mod release;
mod skip;

pub use extensions::{Extras, Flag, Memory, Note};
pub use gates::{Candidate, GATES, Gate, Snapshot};
pub use index::Index;
pub use planner::plan;
pub use skip::{Held, Scope, Skip, SkipReason};

/// A remediation that runs for longer is flagged and counted: somebody should look.
pub const OLD: Duration = Duration::from_hours(48);

/// Everything a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Outlook<'a> {
    /// The policy.
    pub policy: Policy<'a>,
    /// The nodes it selects.
    pub nodes: &'a [NodeView],
    /// Their verdicts.
    pub judgement: &'a Judgement,
    /// Remediations of the kinds that its templates make, by whomever.
    pub remediations: &'a [RemediationView],
    /// The cluster around them.
    pub surroundings: &'a Surroundings,
    /// Why nothing new may start, if so.
    pub hold: Option<&'a Hold>,
    /// Now.
    pub now: Timestamp,
}

/// Why a policy starts nothing new although its thresholds would allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Reason of the condition `Disabled`.
    pub reason: &'static str,
    /// Names object, field and remedy.
    pub message: String,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make a remediation of a node, after its lease was obtained.
    Create {
        /// The node.
        node: String,
        /// Index into [`steps`](super::steps).
        step: usize,
    },
    /// Give up on a remediation whose time ran out or that failed; the next step takes over.
    GiveUp {
        /// The remediation.
        remediation: ObjectKey,
        /// Its node.
        node: String,
        /// Whether it has to be told; not if it says that it succeeded.
        tell: bool,
        /// It failed by its own account, or else ran out of time.
        failed: bool,
    },
    /// Note on the remediation that its node looks healthy from now on.
    StartHealthyDelay {
        /// The remediation.
        remediation: ObjectKey,
    },
    /// Take that note back: the node is sick again.
    ClearHealthyDelay {
        /// The remediation.
        remediation: ObjectKey,
    },
    /// Note on the remediation that it runs for very long, and count it once.
    FlagOld {
        /// The remediation.
        remediation: ObjectKey,
        /// Its node.
        node: String,
    },
    /// Delete a remediation.
    Delete {
        /// The remediation.
        remediation: ObjectKey,
        /// Its node.
        node: String,
        /// The node is not selected any more or was made anew, or else is healthy.
        orphaned: bool,
    },
    /// Keep others off the node for this long.
    RenewLease {
        /// The node.
        node: String,
        /// From now.
        duration: Duration,
    },
    /// The node needs nothing any more: let others have it.
    ReleaseLease {
        /// Name of the lease.
        lease: String,
    },
    /// Remove the user's confirmation from a node: it has served.
    ForgetConfirmation {
        /// The node.
        node: String,
    },
}

impl Action {
    /// The node that the action is about, as far as it matters for the order: actions of one node are applied one after
    /// another, those of different nodes in any order.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Create { node, .. }
            | Self::GiveUp { node, .. }
            | Self::FlagOld { node, .. }
            | Self::Delete { node, .. }
            | Self::RenewLease { node, .. }
            | Self::ForgetConfirmation { node } => Some(node),
            Self::StartHealthyDelay { .. } | Self::ClearHealthyDelay { .. } | Self::ReleaseLease { .. } => None,
        }
    }
}

/// What to do and what to report.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Selected nodes.
    pub observed: usize,
    /// Nodes that are healthy and have no remediation left.
    pub healthy: usize,
    /// Healthy nodes needed.
    pub needed: usize,
    /// In the order in which they are to be applied.
    pub actions: Vec<Action>,
    /// What is not done, and why.
    pub skips: Vec<Skip>,
    /// Nodes seen unhealthy for the first time.
    pub detected: Vec<String>,
    /// Nodes whose exclude label has no value.
    pub invalid_labels: Vec<String>,
    /// For the status.
    pub unhealthy: Vec<UnhealthyNode>,
    /// Why the policy is not acted on, if so.
    pub disabled: Option<Hold>,
    /// For the status.
    pub storm: Storm,
    /// What became of the storm in this plan.
    pub storm_change: Option<StormChange>,
    /// For the status.
    pub phase: &'static str,
    /// For the status.
    pub reason: String,
    /// When to plan again if nothing happens.
    pub again_in: Option<Duration>,
    /// What the optional rules say.
    pub extras: Extras,
}

/// What is left of `length` since `start`; `None` when it is over.
pub(super) fn remaining(start: Timestamp, length: Duration, now: Timestamp) -> Option<Duration> {
    let end =
        start.saturating_add(SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX);
    (now <= end).then(|| Duration::try_from(end.duration_since(now)).unwrap_or_default())
}
