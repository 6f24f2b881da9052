//! Pods: the StatefulSet controller, eviction by `NoExecute` taints, and garbage collection by the out-of-service taint.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

use super::outrun;

/// Taint by which an administrator, or we, say that a node is really off.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// Taints that real pods tolerate for five minutes, which no demo lasts.
const TOLERATED_FOR_LONG: [&str; 2] = ["node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"];

/// One pass of the StatefulSet controller: a pod is created once no object of its name exists, not before.
pub async fn recreate(client: &Client) -> kube::Result<()> {
    let sets: Vec<StatefulSet> = Api::all(client.clone()).list(&ListParams::default()).await?.items;
    for set in sets.iter().filter(|set| set.metadata.deletion_timestamp.is_none()) {
        let api: Api<Pod> = Api::namespaced(client.clone(), &set.namespace().unwrap_or_default());
        let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        for ordinal in 0..replicas {
            let name = format!("{}-{ordinal}", set.name_any());
            if api.get_opt(&name).await?.is_none()
                && let Some(pod) = pod_of(set, &name)
            {
                outrun(api.create(&PostParams::default(), &pod).await)?;
            }
        }
    }
    Ok(())
}

fn pod_of(set: &StatefulSet, name: &str) -> Option<Pod> {
    let spec = set.spec.as_ref()?;
    let mut pod = Pod { spec: spec.template.spec.clone(), ..Pod::default() };
    pod.metadata.name = Some(name.to_owned());
    pod.metadata.namespace = set.namespace();
    pod.metadata.owner_references = Some(vec![set.controller_owner_ref(&())?]);
    let mut labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), name.to_owned());
    pod.metadata.labels = Some(labels);
    for template in spec.volume_claim_templates.iter().flatten() {
        let volume = template.name_any();
        let source = json!({ "name": volume, "persistentVolumeClaim": { "claimName": format!("{volume}-{name}") } });
        pod.spec.as_mut()?.volumes.get_or_insert_default().push(serde_json::from_value(source).ok()?);
    }
    Some(pod)
}

/// One pass of taint eviction and pod garbage collection.
pub async fn evict_and_collect(client: &Client) -> kube::Result<()> {
    let nodes: Vec<Node> = Api::all(client.clone()).list(&ListParams::default()).await?.items;
    let evicting: BTreeMap<String, Vec<Taint>> =
        nodes.iter().map(|node| (node.name_any(), no_execute(node))).filter(|(_, taints)| !taints.is_empty()).collect();
    if evicting.is_empty() {
        return Ok(());
    }
    let pods: Vec<Pod> = Api::all(client.clone()).list(&ListParams::default()).await?.items;
    for pod in pods {
        let spec = pod.spec.clone().unwrap_or_default();
        let Some(taints) = spec.node_name.and_then(|node| evicting.get(&node)) else { continue };
        let tolerations = spec.tolerations.unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
        let terminating = pod.metadata.deletion_timestamp.is_some();
        if terminating && taints.iter().any(|taint| taint.key == OUT_OF_SERVICE) {
            let force = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
            outrun(api.delete(&pod.name_any(), &force).await)?;
        } else if !terminating && taints.iter().any(|taint| !tolerates(&tolerations, taint)) {
            let graceful = DeleteParams { preconditions, ..DeleteParams::default() };
            outrun(api.delete(&pod.name_any(), &graceful).await)?;
        }
    }
    Ok(())
}

fn no_execute(node: &Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let acting = |taint: &Taint| taint.effect == "NoExecute" && !TOLERATED_FOR_LONG.contains(&taint.key.as_str());
    taints.into_iter().filter(acting).collect()
}

fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| {
        let effect = toleration.effect.as_deref().unwrap_or_default();
        let key = toleration.key.as_deref().unwrap_or_default();
        let exists = toleration.operator.as_deref() == Some("Exists");
        (effect.is_empty() || effect == taint.effect)
            && ((key.is_empty() && exists)
                || (key == taint.key
                    && (exists
                        || toleration.value.as_deref().unwrap_or_default()
                            == taint.value.as_deref().unwrap_or_default())))
    })
}
