//! Stand-ins for what a control plane does around the API: node lifecycle, workload controllers, scheduler,
//! attach/detach, eviction. They read the store directly and write through it; each does what moving a workload needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use palisade_sandbox::api::ApiStore;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::kubelet::{ready, seconds, volumes};
use crate::network::Network;
use crate::way::Raw;

/// CSI driver of the volumes.
pub const DRIVER: &str = "csi.simulation.palisade.dev";
/// Namespace of the workloads.
pub const SHOP: &str = "shop";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Taint by which a node is said to be really off.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
const PACE: Duration = Duration::from_millis(1500);

/// What sort of controller keeps a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Waits until the old pod's object is gone; with a volume.
    StatefulSet,
    /// The same without a volume.
    StatefulSetWithoutVolume,
    /// Replaces a pod that terminates at once; a `ReadWriteOnce` volume keeps it to one node.
    ReplicaSet,
    /// A Job that replaces only failed pods: waits until the old one is gone.
    PatientJob,
    /// Nobody replaces it.
    Bare,
}

/// One workload of one replica.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Its sort.
    pub sort: Sort,
}

/// A text inside an object, empty if it is not there.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The control plane of one run.
pub struct ControlPlane {
    /// The API server.
    pub store: ApiStore,
    /// Straight to it.
    pub api: Raw,
    /// Tells when the API server is down for controllers, too.
    pub network: Network,
    /// What has to run.
    pub workloads: Vec<Workload>,
    /// Silence after which a node is Unknown.
    pub grace: Duration,
    /// Last sign of life by node, and when it was first seen.
    pub beats: BTreeMap<String, (String, Instant)>,
    /// For names of pods.
    pub made: u64,
}

impl ControlPlane {
    /// Creates the owners, claims and volumes of the workloads.
    pub fn install(&self) -> anyhow::Result<()> {
        let put = |object: Value| self.store.apply_value(&object).map_err(|error| anyhow::anyhow!("{error:?}"));
        put(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SHOP } }))?;
        for workload in &self.workloads {
            let name = &workload.name;
            let labels = json!({ "app": name });
            let template = json!({ "metadata": { "labels": labels },
                "spec": { "restartPolicy": "Always", "containers": [{ "name": "c", "image": "i" }] } });
            match workload.sort {
                Sort::StatefulSet | Sort::StatefulSetWithoutVolume => drop(put(json!({ "apiVersion": "apps/v1",
                    "kind": "StatefulSet", "metadata": { "name": name, "namespace": SHOP },
                    "spec": { "replicas": 1, "serviceName": name, "selector": { "matchLabels": labels },
                        "template": template } }))?),
                Sort::ReplicaSet => drop(put(json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet",
                    "metadata": { "name": name, "namespace": SHOP },
                    "spec": { "replicas": 1, "selector": { "matchLabels": labels }, "template": template } }))?),
                Sort::PatientJob => drop(put(json!({ "apiVersion": "batch/v1", "kind": "Job",
                    "metadata": { "name": name, "namespace": SHOP },
                    "spec": { "podReplacementPolicy": "Failed", "template": { "metadata": { "labels": labels },
                        "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] } } } }))?),
                Sort::Bare => {}
            }
            if matches!(workload.sort, Sort::StatefulSet | Sort::ReplicaSet) {
                put(json!({ "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": name }, "spec": {
                    "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Gi" },
                    "csi": { "driver": DRIVER, "volumeHandle": name } } }))?;
                put(json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                    "metadata": { "name": name, "namespace": SHOP }, "spec": { "accessModes": ["ReadWriteOnce"],
                        "resources": { "requests": { "storage": "1Gi" } }, "volumeName": name } }))?;
            }
        }
        Ok(())
    }

    /// Runs until dropped.
    pub async fn run(mut self) {
        loop {
            if !self.network.is_api_down() {
                self.lifecycle().await;
                self.evict().await;
                self.replace().await;
                self.schedule().await;
                self.attach().await;
            }
            tokio::time::sleep(PACE).await;
        }
    }

    fn nodes(&self) -> Vec<Arc<Value>> {
        self.store.objects("", "nodes")
    }

    fn pods(&self) -> Vec<Arc<Value>> {
        self.store.objects("", "pods")
    }

    async fn lifecycle(&mut self) {
        let leases = self.store.objects("coordination.k8s.io", "leases");
        for node in self.nodes() {
            let name = text(&node, "/metadata/name");
            let lease = leases.iter().find(|lease| {
                text(lease, "/metadata/name") == name && text(lease, "/metadata/namespace") == "kube-node-lease"
            });
            let renewed = lease.map(|lease| text(lease, "/spec/renewTime")).unwrap_or_default();
            let beat = format!(
                "{renewed} {}",
                ready(&node).map(|ready| text(ready, "/lastHeartbeatTime")).unwrap_or_default()
            );
            let entry = self.beats.entry(name.to_owned()).or_insert_with(|| (beat.clone(), Instant::now()));
            if entry.0 != beat {
                *entry = (beat, Instant::now());
            }
            let silent = entry.1.elapsed() > self.grace;
            let is_ready = ready(&node).is_some_and(|ready| ready["status"] == "True");
            let path = format!("/api/v1/nodes/{name}");
            if silent && ready(&node).is_some_and(|ready| ready["status"] != "Unknown") {
                let mut condition = ready(&node).cloned().unwrap_or_default();
                condition["status"] = json!("Unknown");
                condition["reason"] = json!("NodeStatusUnknown");
                condition["lastTransitionTime"] = json!(seconds());
                let version = text(&node, "/metadata/resourceVersion");
                let unknown =
                    json!({ "metadata": { "resourceVersion": version }, "status": { "conditions": [condition] } });
                let _ = self.api.merge(&format!("{path}/status"), &unknown).await;
                continue;
            }
            let taints = items(&node, "/spec/taints");
            let has = taints.iter().any(|taint| taint["key"] == UNREACHABLE);
            if (silent && !has) || (!silent && is_ready && has) {
                let mut kept: Vec<Value> = taints.iter().filter(|taint| taint["key"] != UNREACHABLE).cloned().collect();
                if silent {
                    for effect in ["NoSchedule", "NoExecute"] {
                        kept.push(json!({ "key": UNREACHABLE, "effect": effect, "timeAdded": seconds() }));
                    }
                }
                let mut changed = Value::clone(&node);
                changed["spec"]["taints"] = json!(kept);
                let _ = self.api.replace(&path, &changed).await;
            }
        }
    }

    /// `NoExecute` taints, except those that pods tolerate for long; and the out-of-service taint.
    async fn evict(&self) {
        let mut evicting: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for node in self.nodes() {
            let keys: Vec<String> = items(&node, "/spec/taints")
                .iter()
                .filter(|taint| taint["effect"] == "NoExecute" && taint["key"] != UNREACHABLE)
                .map(|taint| text(taint, "/key").to_owned())
                .collect();
            if !keys.is_empty() {
                evicting.insert(text(&node, "/metadata/name").to_owned(), keys);
            }
        }
        for pod in self.pods() {
            let Some(keys) = evicting.get(text(&pod, "/spec/nodeName")) else { continue };
            let terminating = pod.pointer("/metadata/deletionTimestamp").is_some();
            let uid = text(&pod, "/metadata/uid");
            if terminating && keys.iter().any(|key| key == OUT_OF_SERVICE) {
                let _ = self.api.delete(&path_of(&pod), uid, Some(0)).await;
            } else if !terminating {
                let _ = self.api.delete(&path_of(&pod), uid, None).await;
            }
        }
    }

    async fn replace(&mut self) {
        let pods = self.pods();
        for workload in self.workloads.clone() {
            let mine: Vec<_> = pods.iter().filter(|pod| text(pod, "/metadata/labels/app") == workload.name).collect();
            let there = mine
                .iter()
                .any(|pod| workload.sort != Sort::ReplicaSet || pod.pointer("/metadata/deletionTimestamp").is_none());
            if there || (workload.sort == Sort::Bare && self.made > self.workloads.len() as u64) {
                continue;
            }
            self.made += 1;
            if let Some(pod) = self.pod(&workload) {
                let _ = self.api.create(&format!("/api/v1/namespaces/{SHOP}/pods"), &pod).await;
            }
        }
    }

    fn pod(&self, workload: &Workload) -> Option<Value> {
        let name = &workload.name;
        let (kind, group, plural) = match workload.sort {
            Sort::StatefulSet | Sort::StatefulSetWithoutVolume => ("StatefulSet", "apps", "statefulsets"),
            Sort::ReplicaSet => ("ReplicaSet", "apps", "replicasets"),
            Sort::PatientJob => ("Job", "batch", "jobs"),
            Sort::Bare => ("", "", ""),
        };
        let mut metadata = json!({ "name": format!("{name}-0"), "namespace": SHOP, "labels": { "app": name },
            "annotations": {} });
        if !kind.is_empty() {
            let owners = self.store.objects(group, plural);
            let owner = owners.iter().find(|owner| text(owner, "/metadata/name") == name)?;
            metadata["ownerReferences"] = json!([{ "apiVersion": format!("{group}/v1"), "kind": kind, "name": name,
                "uid": text(owner, "/metadata/uid"), "controller": true }]);
        }
        if matches!(workload.sort, Sort::ReplicaSet | Sort::PatientJob) {
            metadata["name"] = json!(format!("{name}-{}", self.made));
        }
        if !matches!(workload.sort, Sort::ReplicaSet) {
            metadata["annotations"]["identity"] = json!(format!("{kind} {name}"));
        }
        let mut spec = json!({ "terminationGracePeriodSeconds": 30, "containers": [{ "name": "c", "image": "i" }] });
        if matches!(workload.sort, Sort::StatefulSet | Sort::ReplicaSet) {
            spec["volumes"] = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": name } }]);
        }
        Some(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec }))
    }

    async fn schedule(&self) {
        let pods = self.pods();
        let mut load: BTreeMap<&str, usize> = BTreeMap::new();
        for pod in &pods {
            *load.entry(text(pod, "/spec/nodeName")).or_default() += 1;
        }
        let nodes = self.nodes();
        for pod in &pods {
            if !text(pod, "/spec/nodeName").is_empty() || pod.pointer("/metadata/deletionTimestamp").is_some() {
                continue;
            }
            let fitting = nodes.iter().filter(|node| {
                ready(node).is_some_and(|ready| ready["status"] == "True")
                    && node.pointer("/metadata/deletionTimestamp").is_none()
                    && items(node, "/spec/taints").iter().all(|taint| taint["effect"] == "PreferNoSchedule")
            });
            let best = fitting.map(|node| text(node, "/metadata/name")).min_by_key(|name| load.get(name).copied());
            let Some(node) = best else { continue };
            let name = text(pod, "/metadata/name");
            let bind = json!({ "apiVersion": "v1", "kind": "Binding",
                "metadata": { "name": name, "uid": text(pod, "/metadata/uid") },
                "target": { "apiVersion": "v1", "kind": "Node", "name": node } });
            let _ = self.api.create(&format!("{}/binding", path_of(pod)), &bind).await;
            *load.entry(node).or_default() += 1;
        }
    }

    /// A volume leaves a node only if its kubelet says that it is not in use, or the node is out of service or gone.
    async fn attach(&self) {
        let collection = "/apis/storage.k8s.io/v1/volumeattachments";
        let present = self.store.objects("storage.k8s.io", "volumeattachments");
        let pods = self.pods();
        let needed: BTreeSet<(String, String)> = pods
            .iter()
            .filter(|pod| !text(pod, "/spec/nodeName").is_empty())
            .flat_map(|pod| volumes(pod).into_iter().map(|volume| (volume, text(pod, "/spec/nodeName").to_owned())))
            .collect();
        let nodes = self.nodes();
        let place = |attachment: &Value| {
            let volume = text(attachment, "/spec/source/persistentVolumeName").to_owned();
            (volume, text(attachment, "/spec/nodeName").to_owned())
        };
        for attachment in present.iter().filter(|attachment| !needed.contains(&place(attachment))) {
            let (volume, node) = place(attachment);
            let node = nodes.iter().find(|found| text(found, "/metadata/name") == node);
            // A node that was deleted says nothing about its machine; the real controller would wait, too.
            let lets_go = node.is_some_and(|node| {
                items(node, "/spec/taints").iter().any(|taint| taint["key"] == OUT_OF_SERVICE)
                    || !text(node, "/status/nodeInfo/bootID").is_empty()
                        && !items(node, "/status/volumesInUse")
                            .contains(&json!(format!("kubernetes.io/csi/{DRIVER}^{volume}")))
            });
            if lets_go {
                let _ =
                    self.api.delete(&format!("{collection}/{}", text(attachment, "/metadata/name")), "", None).await;
            }
        }
        for (volume, node) in needed {
            if present.iter().any(|attachment| place(attachment).0 == volume) {
                continue;
            }
            let name = format!("csi-{volume}-{node}");
            let object = json!({ "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
                "metadata": { "name": name },
                "spec": { "attacher": DRIVER, "nodeName": node, "source": { "persistentVolumeName": volume } } });
            if self.api.create(collection, &object).await.is_ok() {
                let done = json!({ "status": { "attached": true } });
                let _ = self.api.merge(&format!("{collection}/{name}/status"), &done).await;
            }
        }
    }
}

/// URL path of a pod.
pub fn path_of(pod: &Value) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", text(pod, "/metadata/namespace"), text(pod, "/metadata/name"))
}
