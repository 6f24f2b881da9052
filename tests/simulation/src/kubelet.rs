//! A kubelet: registers its node, keeps heartbeats, runs bound pods, confirms terminating ones.
//!
//! Two habits of real kubelets carry weight in the protocol and are kept exactly: the boot id is published before any
//! pod is started, and a pod with a deletion timestamp is never started.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use palisade_api::keys::cluster::CONTROL_PLANE_ROLE;
use serde_json::{Value, json};

use crate::boot::Boot;
use crate::control_plane::{DRIVER, text};
use crate::oracle::Oracle;
use crate::trace::Trace;
use crate::way::{Code, Raw};

/// How long it waits for one answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// A kubelet of one boot.
pub struct Kubelet {
    /// Node name.
    pub node: String,
    /// Zone label.
    pub zone: String,
    /// Whether the node is labelled as one of the control plane.
    pub control_plane: bool,
    /// Its way to the API.
    pub api: Raw,
    /// The boot it runs in.
    pub boot: Arc<Boot>,
    /// Sees containers start and stop.
    pub oracle: Oracle,
    /// Notes them.
    pub trace: Trace,
    /// Pause between renewals of the node's lease; a status goes out every third time.
    pub heartbeat: Duration,
    /// Pause between two looks at the pods.
    pub pace: Duration,
}

impl Kubelet {
    /// Runs until dropped.
    pub async fn run(self) {
        while !self.within(self.publish()).await {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let lease = async {
            loop {
                self.within(self.renew()).await;
                tokio::time::sleep(self.heartbeat).await;
            }
        };
        let status = async {
            loop {
                tokio::time::sleep(self.heartbeat * 3).await;
                self.within(self.publish()).await;
            }
        };
        let pods = async {
            loop {
                self.within(self.sync()).await;
                tokio::time::sleep(self.pace).await;
            }
        };
        tokio::join!(biased; lease, status, pods);
    }

    async fn within(&self, action: impl Future<Output = Result<(), Code>>) -> bool {
        matches!(tokio::time::timeout(PATIENCE, action).await, Ok(Ok(())))
    }

    async fn publish(&self) -> Result<(), Code> {
        let path = format!("/api/v1/nodes/{}", self.node);
        let node = match self.api.get(&path).await {
            Ok(node) => node,
            Err(Code(404)) => {
                let mut new = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": self.node,
                    "annotations": { "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
                    "labels": { "kubernetes.io/hostname": self.node, "kubernetes.io/os": "linux",
                        "node-role.kubernetes.io/worker": "", "topology.kubernetes.io/zone": self.zone } } });
                if self.control_plane {
                    new["metadata"]["labels"][CONTROL_PLANE_ROLE] = json!("");
                }
                self.api.create("/api/v1/nodes", &new).await?
            }
            Err(code) => return Err(code),
        };
        let now = seconds();
        let before = ready(&node);
        let since = before
            .filter(|ready| ready["status"] == "True")
            .map_or(now.as_str(), |ready| ready["lastTransitionTime"].as_str().unwrap_or(&now));
        let volumes: Vec<String> =
            self.boot.volumes().iter().map(|volume| format!("kubernetes.io/csi/{DRIVER}^{volume}")).collect();
        let status = json!({ "metadata": { "uid": text(&node, "/metadata/uid") }, "status": {
            "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
                "lastHeartbeatTime": now, "lastTransitionTime": since }],
            "volumesInUse": volumes,
            "nodeInfo": { "bootID": self.boot.id, "machineID": self.node, "systemUUID": self.node,
                "kernelVersion": "simulated", "osImage": "simulated", "containerRuntimeVersion": "sim://1",
                "kubeletVersion": "v1.36.0", "kubeProxyVersion": "", "operatingSystem": "linux",
                "architecture": "amd64" } } });
        self.api.merge(&format!("{path}/status"), &status).await.map(drop)
    }

    async fn renew(&self) -> Result<(), Code> {
        let collection = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        let spec = json!({ "holderIdentity": self.node, "leaseDurationSeconds": 40,
            "renewTime": format!("{:.6}", Timestamp::now()) });
        match self.api.merge(&format!("{collection}/{}", self.node), &json!({ "spec": spec })).await {
            Err(Code(404)) => {
                let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": { "name": self.node }, "spec": spec });
                self.api.create(collection, &lease).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    async fn sync(&self) -> Result<(), Code> {
        let pods = self.api.list(&format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", self.node)).await?;
        let present: BTreeSet<&str> = pods.iter().map(|pod| text(pod, "/metadata/uid")).collect();
        for gone in self.boot.running().into_iter().filter(|uid| !present.contains(uid.as_str())) {
            self.stop(&gone, "its object is gone");
        }
        for pod in &pods {
            self.look_after(pod).await?;
        }
        Ok(())
    }

    fn stop(&self, uid: &str, why: &str) {
        if self.boot.stop(uid) {
            self.oracle.stops(uid);
            self.trace.say(&format!("{} stops {uid}: {why}", self.node));
        }
    }

    async fn look_after(&self, pod: &Value) -> Result<(), Code> {
        let uid = text(pod, "/metadata/uid");
        let path =
            format!("/api/v1/namespaces/{}/pods/{}", text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
        if pod.pointer("/metadata/deletionTimestamp").is_some() {
            self.stop(uid, "it is terminating");
            // The volume has to be out of use before the pod is.
            self.publish().await?;
            return match self.api.delete(&path, uid, Some(0)).await {
                Err(Code(404 | 409)) => Ok(()),
                other => other.map(drop),
            };
        }
        if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") || self.boot.running().iter().any(|r| r == uid)
        {
            return Ok(());
        }
        let volumes = volumes(pod);
        let mut identities: Vec<String> = volumes.iter().map(|volume| format!("volume {volume}")).collect();
        let identity = text(pod, "/metadata/annotations/identity");
        if !identity.is_empty() {
            identities.push(identity.to_owned());
        }
        // As kubelets do: first it is said that the volume will be in use, then it is looked whether it is attached.
        if !self.boot.start(uid, volumes.clone()) {
            return Ok(());
        }
        if !volumes.is_empty() && !matches!(self.mountable(&volumes).await, Ok(true)) {
            self.boot.stop(uid);
            return Ok(());
        }
        self.trace.say(&format!("{} starts {uid}: {}", self.node, identities.join(", ")));
        self.oracle.starts(uid, &identities, &self.boot);
        let status = json!({ "metadata": { "uid": uid }, "status": { "phase": "Running", "startTime": seconds() } });
        self.api.merge(&format!("{path}/status"), &status).await.map(drop)
    }

    async fn mountable(&self, volumes: &[String]) -> Result<bool, Code> {
        self.publish().await?;
        let attached = self.api.list("/apis/storage.k8s.io/v1/volumeattachments").await?;
        Ok(volumes.iter().all(|volume| {
            attached.iter().any(|attachment| {
                text(attachment, "/spec/nodeName") == self.node
                    && text(attachment, "/spec/source/persistentVolumeName") == volume
                    && attachment.pointer("/metadata/deletionTimestamp").is_none()
                    && attachment.pointer("/status/attached") == Some(&Value::Bool(true))
            })
        }))
    }
}

/// The Ready condition of a node.
pub fn ready(node: &Value) -> Option<&Value> {
    node.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == "Ready")
}

/// Volumes of a pod: here a claim has the volume of its own name.
pub fn volumes(pod: &Value) -> Vec<String> {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    volumes.iter().map(|volume| text(volume, "/persistentVolumeClaim/claimName").to_owned()).collect()
}

/// Now, as `metav1.Time`.
pub fn seconds() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
