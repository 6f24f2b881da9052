//! Which node a remediation is about.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Client, ResourceExt};
use palisade_api::keys;

use super::kind::Remediation;
use super::outside::machines;
use crate::error::{Error, within};

/// Reading a Machine takes no longer.
const LIMIT: Duration = Duration::from_secs(5);

/// Ends the name that stands for the node of a machine without one. No node is called so.
const NO_NODE: &str = "machine-without-node.invalid";

/// What a remediation names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// This node, whether it exists or not.
    Node(String),
    /// Something through which a node would have been found, and which does not exist.
    Nothing(String),
}

/// The node's name without asking anybody: what was found when the remediation was taken up, else by annotation, else
/// the name of the remediation. An annotation that is empty names no node.
pub fn node_name<K: Remediation>(object: &K) -> String {
    latched(object).unwrap_or_else(|| named_by_itself(object))
}

/// Once it holds the object, a remediation stays with its node, whatever is written into annotations or machines.
fn latched<K: Remediation>(object: &K) -> Option<String> {
    object.status().palisade.and_then(|progress| progress.node).filter(|node| object.held() && !node.is_empty())
}

fn named_by_itself<K: Remediation>(object: &K) -> String {
    match object.annotations().get(keys::remediation::NODE_NAME) {
        Some(name) => name.trim().to_owned(),
        None => object.name_any(),
    }
}

/// The node that a remediation is about. One made by a machine's health check is about the node of the Machine that owns
/// it; one made by a node's health check names its node, even if a Machine owns it too. Owners count by kind and API
/// group: other projects have a kind Machine as well.
pub async fn resolve<K: Remediation>(client: &Client, object: &K) -> Result<Named, Error> {
    if let Some(node) = latched(object) {
        return Ok(Named::Node(node));
    }
    match detecting_machine(object) {
        None => Ok(Named::Node(named_by_itself(object))),
        Some(machine) => {
            let namespace = object.namespace().unwrap_or_default();
            match within(LIMIT, "reading the Machine", node_of(client, &namespace, machine)).await {
                // A machine that never had a node, or that is gone, is a matter of its own remediator.
                Ok(Named::Nothing(_)) | Err(Error::Blocked(_)) if K::OUTLIVES_NODE => {
                    Ok(Named::Node(format!("{}.{NO_NODE}", machine.name)))
                }
                found => found,
            }
        }
    }
}

/// The Machine whose health check made the remediation.
pub fn detecting_machine<K: Remediation>(object: &K) -> Option<&OwnerReference> {
    object.owner_references().iter().find(|owner| is_machine(owner)).filter(|_| !is_of_node_check(object))
}

/// Whether a `NodeHealthCheck` made the remediation, and holds the lease of the node for it.
pub fn is_of_node_check<K: Remediation>(object: &K) -> bool {
    let group = keys::node_health_check::GROUP;
    object
        .owner_references()
        .iter()
        .any(|owner| owner.kind == "NodeHealthCheck" && machines::group(&owner.api_version) == group)
}

pub fn is_machine(owner: &OwnerReference) -> bool {
    owner.kind == "Machine"
        && ["machine.openshift.io", "cluster.x-k8s.io"].contains(&machines::group(&owner.api_version))
}

async fn node_of(client: &Client, namespace: &str, owner: &OwnerReference) -> Result<Named, Error> {
    let Some(machine) = machines::api(client, &owner.api_version, namespace).get_opt(&owner.name).await? else {
        return Ok(Named::Nothing(format!("Machine {namespace}/{} does not exist", owner.name)));
    };
    if machine.uid().as_deref() != Some(owner.uid.as_str()) {
        let uid = machine.uid().unwrap_or_default();
        return Ok(Named::Nothing(format!(
            "Machine {namespace}/{} has UID {uid} now, not {}: the one that owns this remediation is gone",
            owner.name, owner.uid
        )));
    }
    match machine.data.pointer("/status/nodeRef/name").and_then(serde_json::Value::as_str) {
        Some(node) => Ok(Named::Node(node.to_owned())),
        None => Err(Error::Blocked(format!("Machine {namespace}/{} has no status.nodeRef yet", owner.name))),
    }
}

/// Whether every remediator has to keep away from the node.
pub fn is_excluded(node: &Node) -> bool {
    node.labels().get(keys::remediation::EXCLUDE).is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_api::SelfNodeRemediation;
    use palisade_api::progress::Progress;
    use palisade_api::self_node_remediation::SelfNodeRemediationStatus;

    #[test]
    fn the_annotation_wins_over_the_name() {
        let mut remediation = SelfNodeRemediation::default();
        remediation.metadata.name = Some("node-1".into());
        assert_eq!(node_name(&remediation), "node-1");
        remediation.annotations_mut().insert(keys::remediation::NODE_NAME.into(), "node-2".into());
        assert_eq!(node_name(&remediation), "node-2");
        remediation.annotations_mut().insert(keys::remediation::NODE_NAME.into(), String::new());
        assert_eq!(node_name(&remediation), "");
    }

    #[test]
    fn a_remediation_that_was_taken_up_stays_with_its_node() {
        let mut remediation = SelfNodeRemediation::default();
        remediation.metadata.name = Some("node-1".into());
        let progress = Progress { node: Some("node-1".into()), ..Progress::default() };
        remediation.status = Some(SelfNodeRemediationStatus { palisade: Some(progress), ..Default::default() });
        remediation.annotations_mut().insert(keys::remediation::NODE_NAME.into(), "node-2".into());
        assert_eq!(node_name(&remediation), "node-2", "nothing was touched yet");
        remediation.finalizers_mut().push(SelfNodeRemediation::FINALIZER.into());
        assert_eq!(node_name(&remediation), "node-1");
    }

    #[test]
    fn a_machine_of_another_project_is_no_machine() {
        let owner =
            |api: &str| OwnerReference { api_version: api.into(), kind: "Machine".into(), ..Default::default() };
        assert!(is_machine(&owner("machine.openshift.io/v1beta1")));
        assert!(is_machine(&owner("cluster.x-k8s.io/v1beta2")));
        assert!(!is_machine(&owner("vending.example.com/v1")) && !is_machine(&owner("v1")));
    }
}
