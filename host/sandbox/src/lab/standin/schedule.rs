//! Scheduler: binds pending pods to the ready, untainted node with the fewest pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams, PostParams};
use kube::core::Status;
use kube::{Client, ResourceExt};
use serde_json::json;

use super::outrun;

/// One pass.
pub async fn bind_pending(client: &Client) -> kube::Result<()> {
    let pods: Vec<Pod> = Api::all(client.clone()).list(&ListParams::default()).await?.items;
    let node_of = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let pending: Vec<&Pod> =
        pods.iter().filter(|pod| node_of(pod).is_none() && pod.metadata.deletion_timestamp.is_none()).collect();
    if pending.is_empty() {
        return Ok(());
    }
    let nodes: Vec<Node> = Api::all(client.clone()).list(&ListParams::default()).await?.items;
    let mut load: BTreeMap<String, usize> = BTreeMap::new();
    for node in pods.iter().filter_map(node_of) {
        *load.entry(node).or_default() += 1;
    }
    for pod in pending {
        let wanted = pod.spec.as_ref().and_then(|spec| spec.node_selector.clone()).unwrap_or_default();
        let fitting = nodes.iter().filter(|node| accepts(node, &wanted)).map(ResourceExt::name_any);
        let Some(node) = fitting.min_by_key(|name| load.get(name).copied().unwrap_or_default()) else { continue };
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        let bind = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": { "name": pod.name_any(), "uid": pod.uid() },
            "target": { "apiVersion": "v1", "kind": "Node", "name": node },
        });
        let pod = pod.name_any();
        let bound = api.create_subresource::<_, Status>("binding", &pod, &PostParams::default(), &bind).await;
        outrun(bound)?;
        *load.entry(node).or_default() += 1;
    }
    Ok(())
}

fn accepts(node: &Node, wanted: &BTreeMap<String, String>) -> bool {
    let ready = node.status.as_ref().and_then(|status| status.conditions.as_ref()).is_some_and(|conditions| {
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    });
    let spec = node.spec.clone().unwrap_or_default();
    let tainted = spec.taints.unwrap_or_default().iter().any(|taint| taint.effect != "PreferNoSchedule");
    let labels = node.labels();
    ready
        && !tainted
        && !spec.unschedulable.unwrap_or_default()
        && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}
