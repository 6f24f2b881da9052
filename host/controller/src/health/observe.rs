//! Others who want to know what the detector does: metrics, notifications.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Node;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use palisade_api::NodeHealthCheck;
use palisade_api::node_health_check::NodeHealthCheckStatus;
use palisade_core::health::{Action, Judgement, Plan};

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub struct News<'a> {
    /// Reason of the event, such as `RemediationCreated`.
    pub reason: &'a str,
    /// Whether somebody should look.
    pub warning: bool,
    /// The text.
    pub message: &'a str,
    /// The node, if it is about one.
    pub node: Option<&'a str>,
}

/// Is told what happens, at once and in order; must not block. Every method does nothing unless it is implemented.
pub trait Observe: Debug + Send + Sync {
    /// A pass came to its end: the policy as it was before, with its former status; the status as it is now; and the
    /// plan that describes it, with the verdicts it was made from. Also told when nothing changed, so gauges may be set
    /// from it.
    fn passed(&self, before: &NodeHealthCheck, after: &NodeHealthCheckStatus, plan: &Plan, judgement: &Judgement) {
        let _ = (before, after, plan, judgement);
    }

    /// The watch of the policies said something; told by every process, whether it acts or not.
    fn seen(&self, event: &Event<DeserializeGuard<NodeHealthCheck>>) {
        let _ = event;
    }

    /// The watch of the nodes said something; told by every process, whether it acts or not.
    fn node(&self, event: &Event<Node>) {
        let _ = event;
    }

    /// A pass over a policy ended; one that failed is tried again.
    fn ended(&self, policy: &str, failed: bool) {
        let _ = (policy, failed);
    }

    /// Nodes may have gone; the question is whether the node of this name exists.
    fn nodes(&self, exist: &dyn Fn(&str) -> bool) {
        let _ = exist;
    }

    /// An action was applied. [`Action::FlagOld`] is applied once per remediation that runs for 48 hours.
    fn applied(&self, policy: &NodeHealthCheck, action: &Action) {
        let _ = (policy, action);
    }

    /// Something is said about a policy or one of its nodes, as in an Event of the API.
    fn happened(&self, policy: &NodeHealthCheck, news: &News<'_>) {
        let _ = (policy, news);
    }

    /// A policy does not exist any more.
    fn forgotten(&self, policy: &str) {
        let _ = policy;
    }
}
