//! The workload that must never run twice: a StatefulSet `ledger` with one `ReadWriteOnce` volume per pod.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode};
use kube::api::{Api, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// Driver of the volumes; the lab plays its attacher.
pub const CSI_DRIVER: &str = "csi.lab.palisade.dev";
/// Name of the StatefulSet.
pub const NAME: &str = "ledger";
/// Name of the StatefulSet of those that share a node with it.
pub const CROWD: &str = "crowd";

/// The identity that must be unique: namespace and name of the pod.
pub fn identity(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

/// Names of the claims that a pod mounts.
pub fn claims(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    volumes
        .iter()
        .filter_map(|volume| volume.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone()))
        .collect()
}

/// Creates an object; one that is there already stays as it is.
pub async fn ensure<K>(api: &Api<K>, object: serde_json::Value) -> anyhow::Result<()>
where
    K: Resource + Serialize + DeserializeOwned + Clone + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object)?;
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(anyhow::anyhow!("cannot create {}: {error}", object.meta().name.as_deref().unwrap_or("?"))),
    }
}

/// Creates namespace, volumes, claims and the StatefulSet.
pub async fn create(client: &Client, namespace: &str, replicas: u8, nodes: &str) -> anyhow::Result<()> {
    let all = |kind: &str| json!({ "metadata": { "name": kind } });
    ensure::<Namespace>(&Api::all(client.clone()), all(namespace)).await?;
    let driver = json!({ "metadata": { "name": CSI_DRIVER },
        "spec": { "attachRequired": true, "podInfoOnMount": false } });
    ensure::<CSIDriver>(&Api::all(client.clone()), driver).await?;
    for ordinal in 0..replicas {
        let claim = format!("data-{NAME}-{ordinal}");
        let volume = format!("{namespace}-{NAME}-{ordinal}");
        let size = json!({ "storage": "1Gi" });
        ensure::<PersistentVolume>(
            &Api::all(client.clone()),
            json!({ "metadata": { "name": volume }, "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": size, "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": { "namespace": namespace, "name": claim },
                "csi": { "driver": CSI_DRIVER, "volumeHandle": volume } } }),
        )
        .await?;
        ensure::<PersistentVolumeClaim>(
            &Api::namespaced(client.clone(), namespace),
            json!({ "metadata": { "name": claim }, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": { "requests": size }, "storageClassName": "",
                "volumeName": volume } }),
        )
        .await?;
    }
    ensure::<StatefulSet>(&Api::namespaced(client.clone(), namespace), stateful_set(replicas, nodes)).await
}

/// Creates pods without volumes that run on this node and nowhere else.
pub async fn crowd(client: &Client, namespace: &str, node: &str, count: u16) -> anyhow::Result<()> {
    let labels = json!({ "app": CROWD });
    let pod = json!({
        "nodeSelector": { "kubernetes.io/hostname": node },
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 30,
        "containers": [{ "name": "writer", "image": "lab.palisade.dev/ledger" }],
    });
    let set = json!({
        "metadata": { "name": CROWD },
        "spec": {
            "serviceName": CROWD, "replicas": count, "podManagementPolicy": "Parallel",
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": pod },
        },
    });
    ensure::<StatefulSet>(&Api::namespaced(client.clone(), namespace), set).await
}

fn stateful_set(replicas: u8, nodes: &str) -> serde_json::Value {
    let labels = BTreeMap::from([("app", NAME)]);
    json!({
        "metadata": { "name": NAME },
        "spec": {
            "serviceName": NAME,
            "replicas": replicas,
            "podManagementPolicy": "Parallel",
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    // Cases of a test run share a cluster, not their nodes.
                    "nodeSelector": { NODES_LABEL: nodes },
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 30,
                    "containers": [{
                        "name": "writer", "image": "lab.palisade.dev/ledger",
                        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                    }],
                },
            },
            "volumeClaimTemplates": [{
                "metadata": { "name": "data" },
                "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                    "resources": { "requests": { "storage": "1Gi" } } },
            }],
        },
    })
}

/// Label of all nodes of one lab; its value is the lab's name.
pub const NODES_LABEL: &str = "lab.palisade.dev/name";

/// Says that the driver is installed on a node, as its registrar would.
pub async fn install_driver(client: &Client, node: &str) -> anyhow::Result<()> {
    let drivers = json!([{ "name": CSI_DRIVER, "nodeID": node }]);
    let object = json!({ "metadata": { "name": node }, "spec": { "drivers": drivers } });
    ensure::<CSINode>(&Api::all(client.clone()), object).await
}
