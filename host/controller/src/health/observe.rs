//! Others who want to know what the detector does: metrics, notifications.

use std::fmt::Debug;

use palisade_api::NodeHealthCheck;
use palisade_api::node_health_check::NodeHealthCheckStatus;
use palisade_core::health::{Action, Plan};

/// Is told what happens, at once and in order; must not block. Every method does nothing unless it is implemented.
pub trait Observe: Debug + Send + Sync {
    /// A pass came to its end: the policy as it was before, with its former status; the status as it is now; and the
    /// plan that describes it. Also told when nothing changed, so gauges may be set from it.
    fn passed(&self, before: &NodeHealthCheck, after: &NodeHealthCheckStatus, plan: &Plan) {
        let _ = (before, after, plan);
    }

    /// An action was applied. [`Action::FlagOld`] is applied once per remediation that runs for 48 hours.
    fn applied(&self, policy: &NodeHealthCheck, action: &Action) {
        let _ = (policy, action);
    }

    /// A policy does not exist any more.
    fn forgotten(&self, policy: &str) {
        let _ = policy;
    }
}
