//! Watch and judge: which nodes are unhealthy, whether a policy may act, and what it does next.
//!
//! [`judge`] turns what the nodes report into one verdict per node; [`plan`] turns verdicts, running remediations and
//! the policy into actions and skips, each with its reason. The controller applies them, `explain` prints them.

mod attempts;
mod budget;
mod classify;
mod condition;
mod ladder;
mod lease;
mod maintenance;
mod outage;
mod plan;
pub mod quorum;
mod selector;
mod storm;
mod surroundings;
mod threshold;
mod veto;
mod view;

pub use budget::Tally;
pub use classify::{Class, Failure, Failures, classify};
pub use condition::{Judgement, Verdict, evaluate, judge};
pub use ladder::{METAL3_TEMPLATE, Step, steps};
pub use lease::{BUFFER, CLASSIC, Claim, NodeLease, claim, claim_as, holder, lease_name};
pub use maintenance::{LIFECYCLE, SHUTDOWN, SHUTTING_DOWN};
pub use outage::{SETTLE, calm_since, recovered};
pub use plan::{
    Action, Candidate, Extras, Flag, GATES, Gate, Held, Hold, Index, Memory, Note, OLD, Outlook, Plan, Scope, Skip,
    SkipReason, Snapshot, plan,
};
pub use selector::{Selector, SelectorError};
pub use storm::{Storm, StormChange, Weather};
pub use surroundings::{Elsewhere, GuardAnswer, Refusal, Surroundings};
pub use threshold::{ThresholdError, needed_healthy};
pub use veto::{Standing, Veto, VetoError, parse as parse_veto, standing as veto_standing};
pub use view::{NODE_ANNOTATIONS, NodeCondition, NodeView, ObjectKey, Policy, RemediationView};

#[cfg(test)]
mod tests;
