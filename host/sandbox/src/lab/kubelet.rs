//! A fake kubelet: registers its node, keeps heartbeats, runs the pods bound to it, confirms terminating ones.
//!
//! Two habits of real kubelets carry weight in the fencing protocol and are kept exactly: the boot id is published
//! before any pod is started, and a pod with a deletion timestamp is never started. Pods come from consistent lists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::boot::Boot;
use super::workload::{self, CSI_DRIVER};
use super::writer::Containers;

/// Namespace of the kubelets' own leases.
const NODE_LEASES: &str = "kube-node-lease";

/// What a kubelet needs.
#[derive(Clone)]
pub struct KubeletSpec {
    /// Node name.
    pub node: String,
    /// Name of the lab, as a label of the node.
    pub lab: String,
    /// Zone label.
    pub zone: String,
    /// Address in the node's status.
    pub address: String,
    /// Client through the node's API proxy.
    pub client: Client,
    /// Pause between renewals of the node's lease; a status goes out every third time.
    pub heartbeat: Duration,
}

/// Pause between two looks at the pods.
const POD_PACE: Duration = Duration::from_millis(400);

/// How long it waits for one answer of the API, or for the few that belong together.
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs until aborted.
pub async fn run(spec: Arc<KubeletSpec>, boot: Arc<Boot>, containers: Containers) {
    let kubelet = Kubelet { spec, boot, containers, volumes_changed: Notify::new() };
    Box::pin(kubelet.register()).await;
    tokio::join!(kubelet.renew_lease(), kubelet.report_status(), kubelet.sync_pods());
}

struct Kubelet {
    spec: Arc<KubeletSpec>,
    boot: Arc<Boot>,
    containers: Containers,
    volumes_changed: Notify,
}

impl Kubelet {
    fn nodes(&self) -> Api<Node> {
        Api::all(self.spec.client.clone())
    }

    /// Until the boot id stands in the Node object.
    async fn register(&self) {
        let mut pace = tokio::time::interval(self.spec.heartbeat);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            if self.attempt("register", Box::pin(self.publish())).await {
                return;
            }
        }
    }

    async fn publish(&self) -> kube::Result<()> {
        let node = match self.nodes().get_opt(&self.spec.node).await? {
            Some(node) => node,
            None => self.nodes().create(&PostParams::default(), &self.new_node()).await?,
        };
        let status = self.status(&node);
        let patch = Patch::Merge(json!({ "status": status }));
        self.nodes().patch_status(&self.spec.node, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    fn new_node(&self) -> Node {
        let mut node = Node::default();
        node.metadata.name = Some(self.spec.node.clone());
        // Without it the attach/detach controller leaves the node's volumes to the kubelet.
        let managed = ("volumes.kubernetes.io/controller-managed-attach-detach".to_owned(), "true".to_owned());
        node.metadata.annotations = Some(BTreeMap::from([managed]));
        node.metadata.labels = Some(BTreeMap::from([
            ("kubernetes.io/hostname".to_owned(), self.spec.node.clone()),
            ("kubernetes.io/os".to_owned(), "linux".to_owned()),
            (workload::NODES_LABEL.to_owned(), self.spec.lab.clone()),
            ("node-role.kubernetes.io/worker".to_owned(), String::new()),
            ("topology.kubernetes.io/zone".to_owned(), self.spec.zone.clone()),
        ]));
        node
    }

    fn status(&self, node: &Node) -> serde_json::Value {
        let now = Timestamp::now();
        let conditions = [
            ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ]
        .map(|(kind, status, reason, message)| {
            let before = node.status.as_ref().and_then(|status| status.conditions.as_ref());
            let before = before.and_then(|all| all.iter().find(|condition| condition.type_ == kind));
            let since = before
                .filter(|before| before.status == status)
                .and_then(|before| before.last_transition_time.as_ref())
                .map_or(now, |time| time.0);
            json!({ "type": kind, "status": status, "reason": reason, "message": message,
                "lastHeartbeatTime": seconds(now), "lastTransitionTime": seconds(since) })
        });
        let resources = json!({ "cpu": "8", "memory": "16Gi", "pods": "110" });
        json!({
            "conditions": conditions,
            "addresses": [
                { "type": "InternalIP", "address": self.spec.address },
                { "type": "Hostname", "address": self.spec.node },
            ],
            "capacity": resources,
            "allocatable": resources,
            "volumesInUse": self.containers.volumes(),
            "nodeInfo": {
                "bootID": self.boot.id, "machineID": self.spec.node, "systemUUID": self.spec.node,
                "kernelVersion": "palisade-lab", "osImage": "palisade-lab", "containerRuntimeVersion": "lab://1",
                "kubeletVersion": "v1.36.0-lab", "kubeProxyVersion": "", "operatingSystem": "linux",
                "architecture": "amd64",
            },
        })
    }

    async fn report_status(&self) {
        loop {
            tokio::select! {
                () = self.volumes_changed.notified() => {}
                () = tokio::time::sleep(self.spec.heartbeat * 3) => {}
            }
            self.attempt("report the node's status", Box::pin(self.publish())).await;
        }
    }

    async fn renew_lease(&self) {
        let mut pace = tokio::time::interval(self.spec.heartbeat);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            self.attempt("renew the node's lease", self.renew_once()).await;
        }
    }

    async fn renew_once(&self) -> kube::Result<()> {
        let leases: Api<Lease> = Api::namespaced(self.spec.client.clone(), NODE_LEASES);
        let spec = json!({
            "holderIdentity": self.spec.node,
            "leaseDurationSeconds": 40,
            "renewTime": format!("{:.6}", Timestamp::now()),
        });
        let renewal = Patch::Merge(json!({ "spec": spec }));
        match leases.patch(&self.spec.node, &PatchParams::default(), &renewal).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                let metadata = json!({ "name": self.spec.node, "namespace": NODE_LEASES });
                let lease = serde_json::from_value::<Lease>(json!({ "metadata": metadata, "spec": spec }));
                let lease = lease.map_err(kube::Error::SerdeError)?;
                leases.create(&PostParams::default(), &lease).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    /// Whether it worked; what did not is tried again by whoever asks, at its own pace.
    async fn attempt(&self, what: &str, action: impl Future<Output = kube::Result<()>>) -> bool {
        let node = &self.spec.node;
        match tokio::time::timeout(PATIENCE, action).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => tracing::debug!(node, %error, "cannot {what}"),
            Err(_) => tracing::debug!(node, "cannot {what}: no answer"),
        }
        false
    }

    async fn sync_pods(&self) {
        let mut pace = tokio::time::interval(POD_PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            self.attempt("look after the pods", self.sync_once()).await;
        }
    }

    async fn sync_once(&self) -> kube::Result<()> {
        let all: Api<Pod> = Api::all(self.spec.client.clone());
        let mine = ListParams::default().fields(&format!("spec.nodeName={}", self.spec.node));
        let pods = all.list(&mine).await?.items;
        let present: BTreeSet<String> = pods.iter().filter_map(ResourceExt::uid).collect();
        for forgotten in self.containers.running().into_iter().filter(|uid| !present.contains(uid)) {
            self.containers.stop(&forgotten);
            self.volumes_changed.notify_one();
        }
        for pod in &pods {
            self.sync_pod(pod).await?;
        }
        Ok(())
    }

    async fn sync_pod(&self, pod: &Pod) -> kube::Result<()> {
        let (Some(uid), Some(namespace)) = (pod.uid(), pod.namespace()) else { return Ok(()) };
        let api: Api<Pod> = Api::namespaced(self.spec.client.clone(), &namespace);
        if pod.metadata.deletion_timestamp.is_some() {
            return self.confirm(&api, pod, &uid).await;
        }
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) || self.containers.running().contains(&uid) {
            return Ok(());
        }
        let Some(volumes) = self.attached_volumes(pod, &namespace).await? else { return Ok(()) };
        if self.containers.start(&uid, &workload::identity(pod), volumes) {
            self.volumes_changed.notify_one();
            let status = json!({ "metadata": { "uid": uid }, "status": running(pod, &self.spec.address) });
            api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await?;
        }
        Ok(())
    }

    /// Ends a terminating pod and says so: only this lets its name be used again without force.
    async fn confirm(&self, api: &Api<Pod>, pod: &Pod, uid: &str) -> kube::Result<()> {
        self.containers.stop(uid);
        self.volumes_changed.notify_one();
        let delete = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        match api.delete(&pod.name_any(), &delete).await {
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
            other => other.map(drop),
        }
    }

    /// The pod's volumes in the form of `volumesInUse`, or `None` while one of them is not attached here.
    async fn attached_volumes(&self, pod: &Pod, namespace: &str) -> kube::Result<Option<Vec<String>>> {
        let claims = workload::claims(pod);
        if claims.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.spec.client.clone(), namespace);
        let attachments: Api<VolumeAttachment> = Api::all(self.spec.client.clone());
        let attachments = attachments.list(&ListParams::default()).await?.items;
        let mut volumes = Vec::new();
        for claim in claims {
            let claim = api.get_opt(&claim).await?;
            let Some(volume) = claim.and_then(|claim| claim.spec).and_then(|spec| spec.volume_name) else {
                return Ok(None);
            };
            let here = attachments.iter().any(|attachment| {
                attachment.spec.node_name == self.spec.node
                    && attachment.spec.source.persistent_volume_name.as_deref() == Some(&volume)
                    && attachment.metadata.deletion_timestamp.is_none()
                    && attachment.status.as_ref().is_some_and(|status| status.attached)
            });
            if !here {
                return Ok(None);
            }
            volumes.push(format!("kubernetes.io/csi/{CSI_DRIVER}^{volume}"));
        }
        Ok(Some(volumes))
    }
}

fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn running(pod: &Pod, address: &str) -> serde_json::Value {
    let now = seconds(Timestamp::now());
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let restarts = |name: &str| {
        let before = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        let before = before.and_then(|all| all.iter().find(|container| container.name == name));
        before.map_or(0, |before| before.restart_count + 1)
    };
    let containers: Vec<_> = containers
        .iter()
        .map(|container| {
            json!({ "name": container.name, "image": container.image, "imageID": "", "ready": true, "started": true,
                "restartCount": restarts(&container.name), "state": { "running": { "startedAt": now } } })
        })
        .collect();
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"]
        .map(|kind| json!({ "type": kind, "status": "True", "lastTransitionTime": now }));
    json!({ "phase": "Running", "podIP": address, "startTime": now, "conditions": conditions,
        "containerStatuses": containers })
}
