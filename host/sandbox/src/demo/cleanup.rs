//! Removes what one scenario left on a cluster that the next one uses too.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{CSINode, VolumeAttachment};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use palisade_api::{NodeHealthCheck, SelfNodeRemediation, SelfNodeRemediationTemplate};
use serde_json::json;

use super::options::Scenario;
use crate::lab::{NAMESPACE, workload};

/// How long the objects may take to go.
const LIMIT: Duration = Duration::from_secs(20);

/// Best effort: what stays behind carries names of its own and disturbs nobody.
pub async fn remove(client: &Client, scenario: &Scenario, nodes: &[String]) {
    if tokio::time::timeout(LIMIT, sweep(client, scenario, nodes)).await.is_err() {
        tracing::warn!(scenario = scenario.title(), "the clean-up took too long");
    }
}

async fn sweep(client: &Client, scenario: &Scenario, nodes: &[String]) {
    let now = DeleteParams::default().grace_period(0);
    let namespace = scenario.namespace();
    let remediations: Api<SelfNodeRemediation> = Api::namespaced(client.clone(), NAMESPACE);
    // Nobody is left to remove finalizers, and a health check with remediations may not be deleted.
    for remediation in remediations.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
        let name = remediation.name_any();
        let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        let _ = remediations.patch(&name, &PatchParams::default(), &free).await;
        let _ = remediations.delete(&name, &now).await;
    }
    let _ = Api::<NodeHealthCheck>::all(client.clone()).delete(&scenario.policy(), &now).await;
    let templates: Api<SelfNodeRemediationTemplate> = Api::namespaced(client.clone(), NAMESPACE);
    let _ = templates.delete(&scenario.policy(), &now).await;
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &namespace);
    for set in [workload::NAME, workload::CROWD] {
        let _ = sets.delete(set, &DeleteParams::background()).await;
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let _ = pods.delete_collection(&now, &ListParams::default()).await;
    let attachments: Api<VolumeAttachment> = Api::all(client.clone());
    for attachment in attachments.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
        if nodes.contains(&attachment.spec.node_name) {
            let _ = attachments.delete(&attachment.name_any(), &now).await;
        }
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    let _ = claims.delete_collection(&now, &ListParams::default()).await;
    for volume in 0..scenario.nodes {
        let volumes: Api<PersistentVolume> = Api::all(client.clone());
        let _ = volumes.delete(&format!("{namespace}-ledger-{volume}"), &now).await;
    }
    for node in nodes {
        let _ = Api::<Node>::all(client.clone()).delete(node, &now).await;
        let _ = Api::<CSINode>::all(client.clone()).delete(node, &now).await;
        for leases in [NAMESPACE, "kube-node-lease"] {
            let leases: Api<Lease> = Api::namespaced(client.clone(), leases);
            let _ = leases.delete(node, &now).await;
        }
    }
}
