//! Who is asked before a control-plane node is taken down.

use std::fmt::Debug;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use palisade_api::NodeHealthCheck;
use palisade_core::health::{GuardAnswer, NodeView, Refusal, Selector};

/// Knows whether the control plane can do without a node. Asked only about control-plane nodes for which everything
/// else says that a remediation starts now.
pub trait ControlPlaneGuard: Debug + Send + Sync {
    /// The answer for this node under this policy; `None`: this guard has no say here. Must answer within seconds; what
    /// it cannot find out it refuses, with the reason.
    fn ask<'a>(&'a self, node: &'a NodeView, policy: &'a NodeHealthCheck) -> BoxFuture<'a, Option<GuardAnswer>>;
}

/// Namespace of etcd on OpenShift.
const NAMESPACE: &str = "openshift-etcd";

/// OpenShift guards its etcd with a disruption budget over guard pods, one on each control-plane node.
pub(super) struct OpenShiftGuard {
    pub client: Client,
}

impl OpenShiftGuard {
    /// What its disruption budget says.
    pub async fn ask(&self, node: &NodeView) -> GuardAnswer {
        match self.look(node).await {
            Ok(answer) => answer,
            Err(error) => refusal(
                format!("the disruption budget in namespace {NAMESPACE} cannot be read: {error}"),
                "grant list on poddisruptionbudgets and pods there, or wait until the API server answers".to_owned(),
            ),
        }
    }

    async fn look(&self, node: &NodeView) -> Result<GuardAnswer, kube::Error> {
        let budgets = Api::<PodDisruptionBudget>::namespaced(self.client.clone(), NAMESPACE);
        let budgets = budgets.list(&ListParams::default()).await?.items;
        let [budget] = budgets.as_slice() else {
            return Ok(refusal(
                format!(
                    "namespace {NAMESPACE} must have exactly one PodDisruptionBudget to tell whether etcd can lose a member, but has {}",
                    budgets.len()
                ),
                "restore the budget that the etcd operator makes".to_owned(),
            ));
        };
        let pods = Api::<Pod>::namespaced(self.client.clone(), NAMESPACE);
        let pods = pods.list(&ListParams::default().fields(&format!("spec.nodeName={}", node.name))).await?.items;
        Ok(judge(node, budget, &pods))
    }
}

/// Whether a budget allows the loss of a node with these pods.
fn judge(node: &NodeView, budget: &PodDisruptionBudget, pods: &[Pod]) -> GuardAnswer {
    let name = budget.name_any();
    let allowed = budget.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or_default();
    let counted = format!("PodDisruptionBudget {NAMESPACE}/{name} allows {allowed} disruptions");
    if allowed >= 1 {
        return GuardAnswer { refused: None, counted };
    }
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let Ok(selector) = Selector::new(selector) else {
        return refusal(format!("the selector of {NAMESPACE}/{name} cannot be understood"), "correct it".to_owned());
    };
    let standing = pods
        .iter()
        .filter(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node.name.as_str()))
        .filter(|pod| selector.matches(pod.labels()))
        .find(|pod| {
            let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            let ready = conditions.filter(|condition| condition.type_ == "Ready").map(|condition| &condition.status);
            // Unknown: the kubelet is silent, but the member may well live.
            ready.into_iter().any(|status| status == "True" || status == "Unknown")
        });
    match standing {
        Some(pod) => refusal(
            format!("{counted}, and guard pod {} on this node is not known to be down", pod.name_any()),
            "it may be remediated when all etcd members are well, or when its own guard pod is not Ready".to_owned(),
        ),
        // What is down already cannot be disrupted.
        None => GuardAnswer { refused: None, counted: format!("{counted}, and this node has no working guard pod") },
    }
}

pub(super) fn refusal(why: String, unblock: String) -> GuardAnswer {
    GuardAnswer { counted: why.clone(), refused: Some(Refusal { why, unblock }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn budget(allowed: i32) -> PodDisruptionBudget {
        serde_json::from_value(json!({
            "metadata": { "name": "etcd-guard-pdb", "namespace": NAMESPACE },
            "spec": { "selector": { "matchLabels": { "app": "guard" } } },
            "status": { "currentHealthy": 2, "desiredHealthy": 2, "disruptionsAllowed": allowed, "expectedPods": 3 },
        }))
        .unwrap()
    }

    fn pod(node: &str, ready: Option<&str>) -> Pod {
        let conditions: Vec<_> = ready.map(|status| json!({ "type": "Ready", "status": status })).into_iter().collect();
        serde_json::from_value(json!({
            "metadata": { "name": format!("guard-{node}"), "labels": { "app": "guard" } },
            "spec": { "nodeName": node, "containers": [] },
            "status": { "conditions": conditions },
        }))
        .unwrap()
    }

    #[test]
    fn a_node_is_spared_while_its_member_may_live_and_none_may_be_lost() {
        let node = NodeView { name: "m0".to_owned(), ..NodeView::default() };
        let refused = |allowed, pods: &[Pod]| judge(&node, &budget(allowed), pods).refused;
        assert_eq!(refused(1, &[pod("m0", Some("True"))]), None);
        for ready in ["True", "Unknown"] {
            let why = refused(0, &[pod("m0", Some(ready))]).unwrap().why;
            assert!(why.contains("allows 0 disruptions") && why.contains("guard-m0"), "{why}");
        }
        assert_eq!(refused(0, &[pod("m0", Some("False"))]), None);
        assert_eq!(refused(0, &[pod("m0", None)]), None);
        assert_eq!(refused(0, &[]), None);
        assert_eq!(refused(0, &[pod("m1", Some("True"))]), None);
    }
}
