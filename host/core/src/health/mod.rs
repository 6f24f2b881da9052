//! Watch and judge: which nodes are unhealthy, whether a policy may act, and what it does next.
//!
//! [`judge`] turns what the nodes report into one verdict per node; [`plan`] turns verdicts, running remediations and
//! the policy into actions and skips, each with its reason. The controller applies them, `explain` prints them.

mod condition;
mod ladder;
mod outage;
mod plan;
mod selector;
mod threshold;
mod view;

pub use condition::{Judgement, Verdict, evaluate, judge};
pub use ladder::{Step, steps};
pub use outage::{SETTLE, calm_since, recovered};
pub use plan::{Action, Hold, Outlook, Plan, Skip, SkipReason, plan};
pub use selector::{Selector, SelectorError};
pub use threshold::{ThresholdError, needed_healthy};
pub use view::{NodeCondition, NodeView, ObjectKey, Policy, RemediationView};

#[cfg(test)]
mod tests;
