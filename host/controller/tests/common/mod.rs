//! A cluster for the controller: the sandbox's API store, four nodes with scripted agents, and pods on one of them.
#![allow(dead_code, reason = "every test binary uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of tests: failing is how it reports"
)]

pub mod agent;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use palisade_api::{SelfNodeRemediation, Stage};
use palisade_controller::{Grade, Options};
use palisade_core::fencing::record::{INTENT, LeaseView};
use palisade_sandbox::api::{ApiStore, Settings};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub use agent::Agents;

pub const NAMESPACE: &str = "palisade-system";
pub const VICTIM: &str = "n1";

pub struct World {
    pub store: ApiStore,
    pub client: Client,
    pub agents: Agents,
    /// Whether its controllers roll out the agents.
    rollout: Option<palisade_controller::rollout::Options>,
    controllers: Vec<JoinHandle<()>>,
    /// Folder of compiled components.
    cache: PathBuf,
    refresh: Duration,
}

impl World {
    /// A healthy cluster with a running controller and agents that have published their leases.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// The same, with a controller that rolls out the agents, which nobody starts here.
    pub async fn rolling_out() -> Self {
        Self::start_with(Some(palisade_controller::rollout::Options { image: "registry.example/agent:1".into() })).await
    }

    /// The same, with components in a folder of its own, and a controller that looks at registries all the time.
    pub async fn refreshing(cache: &Path) -> Self {
        Self::start_all(None, cache.to_owned(), Duration::from_millis(500)).await
    }

    async fn start_with(rollout: Option<palisade_controller::rollout::Options>) -> Self {
        Self::start_all(rollout, Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules"), Duration::from_mins(1)).await
    }

    async fn start_all(
        rollout: Option<palisade_controller::rollout::Options>,
        cache: PathBuf,
        refresh: Duration,
    ) -> Self {
        // The owners of the pods are only names here.
        let store = ApiStore::new(Settings { collect_garbage: false, ..Settings::default() });
        for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds")).unwrap() {
            store.apply_yaml(&std::fs::read_to_string(file.unwrap().path()).unwrap()).unwrap();
        }
        for namespace in [NAMESPACE, "kube-node-lease", "default", "shop"] {
            store
                .apply_value(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }))
                .unwrap();
        }
        let client = store.client();
        let mut world = Self { agents: Agents::default(), store, client, rollout, controllers: vec![], cache, refresh };
        for node in ["n1", "n2", "n3", "n4"] {
            world.put_node(node, "b1", "True");
        }
        world.start_controller();
        world.agents = Agents::start(&world.client).await;
        world
    }

    pub fn start_controller(&mut self) {
        let options = Options {
            remediators: guests(),
            module_cache: Some(self.cache.clone()),
            registry_refresh: self.refresh,
            require: Grade::Assumed,
            rollout: self.rollout.clone(),
            ..Options::default()
        };
        let client = self.client.clone();
        self.controllers.push(tokio::spawn(async move {
            palisade_controller::run_with(client, options, std::future::pending()).await.unwrap();
        }));
    }

    /// Drops all controllers at whatever line they are.
    pub async fn kill_controllers(&mut self) {
        for controller in self.controllers.drain(..) {
            controller.abort();
            let _ = controller.await;
        }
    }

    pub async fn restart_controller(&mut self) {
        self.kill_controllers().await;
        self.start_controller();
    }

    pub fn put_node(&self, name: &str, boot: &str, ready: &str) {
        // Whole seconds, as a real API server keeps them: a rewrite must not look like another heartbeat.
        let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap().to_string();
        self.store
            .apply_value(&json!({
                "apiVersion": "v1", "kind": "Node", "metadata": { "name": name },
                "status": {
                    "nodeInfo": { "architecture": "amd64", "bootID": boot, "containerRuntimeVersion": "x",
                        "kernelVersion": "x", "kubeProxyVersion": "x", "kubeletVersion": "x", "machineID": "x",
                        "operatingSystem": "linux", "osImage": "x", "systemUUID": "x" },
                    "conditions": [{ "type": "Ready", "status": ready, "lastHeartbeatTime": now, "lastTransitionTime": now }]
                }
            }))
            .unwrap();
    }

    /// The node fell silent: the control plane notices, nothing else happens.
    pub async fn silence(&self) {
        self.patch_ready(VICTIM, "Unknown", None).await;
    }

    /// The machine is back: kubelet and agent run with a new boot.
    pub async fn boot(&mut self, boot: &str) {
        // The kubelet is first: a boot that nobody has named gets no other key.
        self.patch_ready(VICTIM, "Unknown", Some(boot)).await;
        self.agents.boot(&self.client, VICTIM, boot).await;
        self.patch_ready(VICTIM, "True", Some(boot)).await;
    }

    /// The same while no controller is there to answer the new boot's signing request: only the kubelet is heard.
    pub async fn boot_unanswered(&mut self, boot: &str) {
        self.patch_ready(VICTIM, "True", Some(boot)).await;
    }

    /// Somebody else's finalizer, so that a deleted object can still be looked at.
    pub async fn hold(&self, name: &str, finalizer: &str) {
        let mut finalizers = self.remediation(name).await.finalizers().to_vec();
        finalizers.push(finalizer.to_owned());
        let patch = json!({ "metadata": { "finalizers": finalizers } });
        self.remediations().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    pub async fn patch_ready(&self, name: &str, ready: &str, boot: Option<&str>) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let mut conditions = nodes.get(name).await.unwrap().status.unwrap().conditions.unwrap();
        conditions[0].status = ready.into();
        let mut status = json!({});
        if let Some(boot) = boot {
            status["nodeInfo"] = json!({ "bootID": boot });
            conditions[0].last_heartbeat_time =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::now()));
        }
        status["conditions"] = json!(conditions);
        // As a kubelet does it: the controller writes the same object, and its taints must not make this fail.
        let patch = json!({ "status": status });
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// A pod that runs on the victim.
    pub async fn pod(&self, name: &str, owner: Option<&str>) -> Pod {
        let owners = owner.map(|kind| {
            json!([{ "apiVersion": "apps/v1", "kind": kind, "name": "owner", "uid": format!("{kind}-uid"), "controller": true }])
        });
        let pod = serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "shop", "ownerReferences": owners },
            "spec": { "nodeName": VICTIM, "terminationGracePeriodSeconds": 0,
                "containers": [{ "name": "c", "image": "i" }] },
        }))
        .unwrap();
        self.pods().create(&PostParams::default(), &pod).await.unwrap()
    }

    /// Whether somebody's finalizer keeps a pod.
    pub async fn finalize(&self, name: &str, kept: bool) {
        let finalizers = if kept { json!(["example.com/keep"]) } else { Value::Null };
        let patch = json!({ "metadata": { "finalizers": finalizers } });
        self.pods().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "shop")
    }

    pub fn remediations(&self) -> Api<SelfNodeRemediation> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub async fn remediate(&self, name: &str, strategy: &str) -> SelfNodeRemediation {
        let object = serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": NAMESPACE,
                "annotations": { "remediation.medik8s.io/node-name": VICTIM } },
            "spec": { "remediationStrategy": strategy },
        }))
        .unwrap();
        self.remediations().create(&PostParams::default(), &object).await.unwrap()
    }

    pub async fn remediation(&self, name: &str) -> SelfNodeRemediation {
        self.remediations().get(name).await.unwrap()
    }

    pub async fn stages(&self, name: &str) -> Vec<Stage> {
        let status = self.remediation(name).await.status.unwrap_or_default();
        status.palisade.unwrap_or_default().timeline.into_iter().map(|entry| entry.stage).collect()
    }

    pub async fn reaches(&self, name: &str, stage: Stage) {
        eventually(&format!("{name} reaches {stage}"), || async { self.stages(name).await.contains(&stage) }).await;
    }

    pub async fn phase(&self, name: &str) -> Option<String> {
        self.remediation(name).await.status.unwrap_or_default().phase
    }

    pub async fn completes(&self, name: &str) {
        eventually(&format!("{name} completes"), || async {
            self.phase(name).await.as_deref() == Some("Fencing-Completed")
        })
        .await;
    }

    pub async fn delete(&self, name: &str) {
        self.remediations().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn drop_finalizers(&self, name: &str) {
        let patch = json!({ "metadata": { "finalizers": null } });
        self.remediations().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// Deleted and let go.
    pub async fn vanishes(&self, name: &str) {
        eventually(&format!("{name} vanishes"), || async {
            self.remediations().get_opt(name).await.unwrap().is_none()
        })
        .await;
    }

    pub async fn taints(&self) -> Vec<String> {
        let node = Api::<Node>::all(self.client.clone()).get(VICTIM).await.unwrap();
        node.spec.unwrap_or_default().taints.unwrap_or_default().into_iter().map(|taint| taint.key).collect()
    }

    pub async fn intent(&self) -> Option<String> {
        let lease = self.leases().get(VICTIM).await.unwrap();
        LeaseView::from_annotations(lease.annotations()).unwrap().intent.map(|intent| intent.uid)
    }

    pub fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// What a kubelet that is back does with pods that carry a deletion timestamp.
    pub async fn confirm_marked(&self) {
        for pod in self.pods().list(&kube::api::ListParams::default()).await.unwrap() {
            if pod.metadata.deletion_timestamp.is_some() {
                self.pods().delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await.unwrap();
            }
        }
    }

    /// What the garbage collection of pods does for a node that carries the out-of-service taint.
    pub async fn take(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default().grace_period(0)).await.unwrap();
    }

    pub async fn label(&self, node: &str, key: &str, value: &str) {
        let patch = json!({ "metadata": { "labels": { key: value } } });
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.patch(node, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    pub async fn has_pod(&self, name: &str) -> bool {
        self.pods().get_opt(name).await.unwrap().is_some()
    }

    pub async fn is_terminating(&self, name: &str) -> bool {
        self.pods().get_opt(name).await.unwrap().is_some_and(|pod| pod.metadata.deletion_timestamp.is_some())
    }

    pub async fn annotate(&self, name: &str, key: &str, value: &str) {
        let patch = json!({ "metadata": { "annotations": { key: value } } });
        self.remediations().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// Clears the intent behind everybody's back, as another controller that is its owner might.
    pub async fn clear_intent(&self) {
        let patch = json!({ "metadata": { "annotations": { INTENT: null } } });
        self.leases().patch(VICTIM, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for controller in &self.controllers {
            controller.abort();
        }
    }
}

/// What takes a second may take much longer where many programs share a core. Only a failure takes that long.
const PATIENCE: Duration = Duration::from_mins(3);

/// Polls a condition with a deadline.
pub async fn eventually<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "did not happen in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Watches that a condition holds for a while.
pub async fn stays<F, Fut>(what: &str, length: Duration, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let started = Instant::now();
    while started.elapsed() < length {
        assert!(condition().await, "did not stay: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn guests() -> PathBuf {
    let default = || {
        std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from)
            .join("guests")
    };
    let folder = std::env::var_os("PALISADE_GUESTS").map_or_else(default, PathBuf::from);
    assert!(
        folder.join("self-node.wasm").exists(),
        "no components in {}; run `cargo xtask guests` first",
        folder.display()
    );
    folder
}
