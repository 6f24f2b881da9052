//! A cluster on the sandbox with a node that is silent, and devices to switch it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use palisade_controller::Options;
use palisade_controller::power::catalogue::Catalogue;
use palisade_sandbox::api::{ApiStore, Settings};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub const NODE: &str = "n1";
pub const NAMESPACE: &str = "palisade-system";
pub const SECRET: &str = "pw-4711-hidden";

/// An agent whose device is a file. It logs how it was called, and what it was asked to do.
pub const AGENT: &str = r#"#!/bin/sh
cd FOLDER
input=$(cat)
action=$(printf '%s\n' "$input" | sed -n 's/^action=//p')
plug=$(printf '%s\n' "$input" | sed -n 's/^plug=//p')
[ "$action" = metadata ] && exit 1
echo "argc=$# action=$action plug=$plug" >> log
case $action in
status) grep -q off power && { echo "Status: OFF"; exit 2; }; echo "Status: ON";;
off) sleep DELAY; echo off > power;;
on) echo on > power;;
esac
"#;

pub struct Bench {
    store: ApiStore,
    client: Client,
    folder: tempfile::TempDir,
    controller: Option<JoinHandle<()>>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(controller) = &self.controller {
            controller.abort();
        }
    }
}

fn node(name: &str, ready: &str) -> Value {
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap().to_string();
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": name },
        "status": {
            "nodeInfo": { "architecture": "amd64", "bootID": format!("boot-{name}"), "containerRuntimeVersion": "x",
                "kernelVersion": "x", "kubeProxyVersion": "x", "kubeletVersion": "x", "machineID": "x",
                "operatingSystem": "linux", "osImage": "x", "systemUUID": "x" },
            "conditions": [{ "type": "Ready", "status": ready, "lastHeartbeatTime": now, "lastTransitionTime": now }]
        }
    })
}

fn definition(group: &str, version: &str, kind: &str) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") },
            "versions": [{ "name": version, "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }],
        },
    })
}

impl Bench {
    pub async fn start() -> Self {
        let store = ApiStore::new(Settings { collect_garbage: false, ..Settings::default() });
        for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds")).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            // Counts that got past the schema are the controller's to refuse (X-22).
            store.apply_yaml(&text.replace("rule: self >= 1 && self <= 100", "rule: 'true'")).unwrap();
        }
        for namespace in [NAMESPACE, "kube-node-lease", "default", "shop", "metal"] {
            let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
            store.apply_value(&object).unwrap();
        }
        store.apply_value(&node(NODE, "Unknown")).unwrap();
        store.apply_value(&node("n2", "True")).unwrap();
        let client = store.client();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("agents")).unwrap();
        std::fs::write(folder.path().join("power"), "on\n").unwrap();
        let mut bench = Self { store, client, folder, controller: None };
        bench.secret("creds").await;
        bench.restart_controller().await;
        bench
    }

    pub async fn restart_controller(&mut self) {
        if let Some(controller) = self.controller.take() {
            controller.abort();
            let _ = controller.await;
        }
        let options = Options {
            remediators: guests(),
            module_cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules")),
            fence_agents: Catalogue { folders: vec![self.folder.path().join("agents")], ..Catalogue::default() },
            ..Options::default()
        };
        let client = self.client.clone();
        self.controller = Some(tokio::spawn(async move {
            palisade_controller::run_with(client, options, std::future::pending()).await.unwrap();
        }));
    }

    fn api(&self, group: &str, version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    async fn create(&self, api: &Api<DynamicObject>, object: Value) {
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }

    pub async fn secret(&self, name: &str) {
        use base64::Engine as _;
        let value = base64::engine::general_purpose::STANDARD.encode(SECRET);
        let object = json!({ "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": name, "namespace": NAMESPACE }, "data": { "--password": value } });
        self.create(&self.api("", "v1", "Secret", NAMESPACE), object).await;
    }

    // ---- the device

    pub fn agent(&self, name: &str, text: &str) {
        let agents = self.folder.path().join("agents");
        let new = agents.join("new");
        std::fs::write(&new, text.replace("FOLDER", &self.folder.path().display().to_string())).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(new, agents.join(name)).unwrap();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn power(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("power")).unwrap().trim().to_owned()
    }

    /// What the machine was switched to, in order, each by the right plug.
    pub fn switches(&self) -> Vec<String> {
        let lines: Vec<String> = self.log().lines().map(str::to_owned).collect();
        assert!(lines.iter().all(|line| line.ends_with("plug=1")), "{lines:?}");
        let actions =
            lines.iter().filter_map(|line| line.split("action=").nth(1)?.split(' ').next().map(str::to_owned));
        actions.filter(|action| action != "status").collect()
    }

    // ---- remediation by a fence agent

    fn remediations(&self) -> Api<DynamicObject> {
        self.api("fence-agents-remediation.medik8s.io", "v1alpha1", "FenceAgentsRemediation", NAMESPACE)
    }

    fn object(spec: &Value, name: &str) -> Value {
        let mut whole = json!({
            "agent": "fence_fake", "sharedSecretName": "creds", "retryinterval": "1s",
            "sharedparameters": { "--ip": "10.0.0.1" }, "nodeparameters": { "--plug": { "n1": "1", "n2": "2" } },
        });
        for (key, value) in spec.as_object().unwrap() {
            if key == "sharedparameters" {
                whole[key].as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            } else {
                whole[key] = value.clone();
            }
        }
        json!({
            "apiVersion": "fence-agents-remediation.medik8s.io/v1alpha1", "kind": "FenceAgentsRemediation",
            "metadata": { "name": name, "namespace": NAMESPACE, "annotations": { "remediation.medik8s.io/node-name": NODE } },
            "spec": whole,
        })
    }

    pub async fn remediate(&self, spec: &Value, name: &str) {
        self.create(&self.remediations(), Self::object(spec, name)).await;
    }

    pub async fn remediate_timed_out(&self, name: &str) {
        let mut object = Self::object(&json!({}), name);
        object["metadata"]["annotations"]["remediation.medik8s.io/nhc-timed-out"] = json!("2026-01-01T00:00:00Z");
        self.create(&self.remediations(), object).await;
    }

    pub async fn remediation(&self, name: &str) -> Option<Value> {
        self.remediations().get_opt(name).await.unwrap().map(|object| serde_json::to_value(object).unwrap())
    }

    fn templates(&self) -> Api<DynamicObject> {
        self.api("fence-agents-remediation.medik8s.io", "v1alpha1", "FenceAgentsRemediationTemplate", NAMESPACE)
    }

    pub async fn template(&self, name: &str, sample: &Value) {
        let object = json!({
            "apiVersion": "fence-agents-remediation.medik8s.io/v1alpha1", "kind": "FenceAgentsRemediationTemplate",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "spec": { "statusValidationSample": sample, "template": { "spec": Self::object(&json!({}), name)["spec"] } },
        });
        self.create(&self.templates(), object).await;
    }

    pub async fn template_status(&self, name: &str) -> Value {
        serde_json::to_value(self.templates().get(name).await.unwrap()).unwrap()["status"].take()
    }

    /// Status and reason of a condition.
    pub async fn condition(&self, name: &str, kind: &str) -> (String, String) {
        condition(&self.remediation(name).await.unwrap_or_default(), kind)
    }

    pub async fn succeeds(&self, name: &str) {
        eventually(&format!("{name} succeeds"), || async {
            let object = self.remediation(name).await.unwrap_or_default();
            assert_ne!(condition(&object, "Succeeded").0, "False", "{object:#}");
            condition(&object, "Succeeded").0 == "True"
        })
        .await;
    }

    pub async fn fails(&self, name: &str, why: &str) {
        eventually(&format!("{name} fails: {why}"), || async {
            let object = self.remediation(name).await.unwrap_or_default();
            assert_ne!(condition(&object, "Succeeded").0, "True", "{object:#}");
            condition(&object, "Succeeded").0 == "False"
        })
        .await;
        let object = self.remediation(name).await.unwrap();
        assert!(says(&object, why), "{why} is not in {object:#}");
        assert_eq!(condition(&object, "Processing").0, "False");
    }

    pub async fn proof(&self, name: &str) -> (String, String) {
        let object = self.remediation(name).await.unwrap();
        let certificate = &object["status"]["palisade"]["certificate"];
        let text = |key: &str| certificate[key].as_str().unwrap_or_default().to_owned();
        (text("proof"), text("grade"))
    }

    pub async fn delete(&self, name: &str) {
        gone(&self.remediations(), name).await;
    }

    /// FA-12: of all that is stored.
    pub async fn nothing_shows_the_secret(&self) {
        for (group, version, kind) in [
            ("", "v1", "Event"),
            ("", "v1", "Node"),
            ("fence-agents-remediation.medik8s.io", "v1alpha1", "FenceAgentsRemediation"),
        ] {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            let all: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            let text = serde_json::to_string(&all.list(&ListParams::default()).await.unwrap().items).unwrap();
            assert!(!text.contains(SECRET), "a {kind} shows the secret");
        }
    }

    // ---- the node and its pods

    pub async fn pod(&self, name: &str, on: &str) {
        let object = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "shop" },
            "spec": { "nodeName": on, "terminationGracePeriodSeconds": 0, "containers": [{ "name": "c", "image": "i" }] } });
        self.create(&self.api("", "v1", "Pod", "shop"), object).await;
    }

    pub async fn has_pod(&self, name: &str) -> bool {
        self.api("", "v1", "Pod", "shop").get_opt(name).await.unwrap().is_some()
    }

    pub async fn is_running(&self, name: &str) -> bool {
        let pod = self.api("", "v1", "Pod", "shop").get_opt(name).await.unwrap();
        pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_none())
    }

    fn nodes(&self) -> Api<k8s_openapi::api::core::v1::Node> {
        Api::all(self.client.clone())
    }

    pub async fn taints(&self) -> Vec<String> {
        let node = self.nodes().get(NODE).await.unwrap();
        node.spec.unwrap_or_default().taints.unwrap_or_default().into_iter().map(|taint| taint.key).collect()
    }

    pub async fn taint(&self, key: &str, value: &str, effect: &str) {
        let patch = json!({ "spec": { "taints": [{ "key": key, "value": value, "effect": effect }] } });
        self.nodes().patch(NODE, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    pub async fn delete_node(&self) {
        self.nodes().delete(NODE, &DeleteParams::default()).await.unwrap();
    }

    // ---- jobs

    fn scripts(&self) -> Api<DynamicObject> {
        self.api("customized-user-remediation.medik8s.io", "v1alpha1", "CustomizedUserRemediation", NAMESPACE)
    }

    fn made(&self) -> Api<DynamicObject> {
        self.api("batch", "v1", "Job", NAMESPACE)
    }

    pub async fn list(&self, name: &str, annotations: &Value) {
        let image = format!("registry.example/power@sha256:{}", "0".repeat(64));
        let object = json!({
            "apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": { "name": name, "namespace": NAMESPACE, "annotations": annotations,
                "labels": { "palisade.dev/remediation-job": "true" } },
            "spec": { "schedule": "@yearly", "suspend": true, "jobTemplate": { "spec": { "template": { "spec": {
                "restartPolicy": "Never", "containers": [{ "name": "main", "image": image }] } } } } },
        });
        self.create(&self.api("batch", "v1", "CronJob", NAMESPACE), object).await;
    }

    pub async fn script(&self, name: &str, script: &str) {
        let object = json!({
            "apiVersion": "customized-user-remediation.medik8s.io/v1alpha1", "kind": "CustomizedUserRemediation",
            "metadata": { "name": name, "namespace": NAMESPACE, "annotations": { "remediation.medik8s.io/node-name": NODE } },
            "spec": { "script": script },
        });
        self.create(&self.scripts(), object).await;
    }

    pub async fn annotate_script(&self, name: &str, value: &str) {
        let patch = json!({ "metadata": { "annotations": { "example.com/note": value } } });
        self.scripts().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    async fn script_is(&self, name: &str, wanted: &str) -> Value {
        let last = std::sync::Mutex::new(Value::Null);
        eventually(&format!("{name}: Succeeded is {wanted}"), || async {
            let object = serde_json::to_value(self.scripts().get(name).await.unwrap()).unwrap();
            let reached = condition(&object, "Succeeded").0 == wanted;
            *last.lock().unwrap() = object;
            reached
        })
        .await;
        last.into_inner().unwrap()
    }

    pub async fn script_succeeds(&self, name: &str) {
        self.script_is(name, "True").await;
    }

    pub async fn script_fails(&self, name: &str, why: &str) {
        let object = self.script_is(name, "False").await;
        assert!(says(&object, why), "{why} is not in {object:#}");
    }

    pub async fn jobs(&self) -> Vec<Value> {
        let jobs = self.made().list(&ListParams::default()).await.unwrap();
        jobs.items.into_iter().map(|job| serde_json::to_value(job).unwrap()).collect()
    }

    pub async fn finish_job(&self, condition: &str) {
        let name = self.jobs().await[0]["metadata"]["name"].as_str().unwrap().to_owned();
        let status = json!({ "status": { "conditions": [{ "type": condition, "status": "True" }] } });
        self.made().patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }

    // ---- hosts

    pub async fn hosts(&self) {
        let definitions =
            ApiResource::from_gvk(&GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition"));
        let definitions: Api<DynamicObject> = Api::all_with(self.client.clone(), &definitions);
        for (group, version, kind) in [
            ("cluster.x-k8s.io", "v1beta1", "Machine"),
            ("infrastructure.cluster.x-k8s.io", "v1beta1", "Metal3Machine"),
            ("metal3.io", "v1alpha1", "BareMetalHost"),
        ] {
            self.create(&definitions, definition(group, version, kind)).await;
        }
        let annotations = json!({ "metadata": { "annotations": {
            "cluster.x-k8s.io/machine": "m1", "cluster.x-k8s.io/cluster-namespace": "metal" } } });
        self.nodes().patch(NODE, &PatchParams::default(), &Patch::Merge(&annotations)).await.unwrap();
        let machine = json!({ "apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Machine",
            "metadata": { "name": "m1", "namespace": "metal" },
            "spec": { "infrastructureRef": { "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1",
                "kind": "Metal3Machine", "name": "mm1", "namespace": "metal" } },
            "status": { "nodeRef": { "kind": "Node", "name": NODE } } });
        self.store.apply_value(&machine).unwrap();
        let infrastructure = json!({ "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": "Metal3Machine",
            "metadata": { "name": "mm1", "namespace": "metal", "annotations": { "metal3.io/BareMetalHost": "metal/h1" } },
            "spec": {} });
        self.store.apply_value(&infrastructure).unwrap();
        let host = json!({ "apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
            "metadata": { "name": "h1", "namespace": "metal", "annotations": { "example.com/mine": "stays" } },
            "spec": { "online": true, "consumerRef": { "kind": "Metal3Machine", "name": "mm1", "namespace": "metal" } },
            "status": { "poweredOn": true } });
        self.store.apply_value(&host).unwrap();
        let remediator = json!({ "apiVersion": "palisade.dev/v1alpha1", "kind": "Remediator", "metadata": { "name": "metal3" },
            "spec": { "source": { "builtin": "metal3" },
                "capabilities": ["fencing", "workloads", "power", "machines", "report"] } });
        self.store.apply_value(&remediator).unwrap();
    }

    fn host(&self) -> Api<DynamicObject> {
        self.api("metal3.io", "v1alpha1", "BareMetalHost", "metal")
    }

    pub async fn holds(&self) -> Vec<(String, String)> {
        let host = self.host().get("h1").await.unwrap();
        let annotations: BTreeMap<String, String> = host.metadata.annotations.unwrap_or_default();
        assert_eq!(annotations["example.com/mine"], "stays");
        annotations.into_iter().filter(|(key, _)| key.starts_with("reboot.metal3.io")).collect()
    }

    pub async fn host_powered(&self, on: bool) {
        let status = json!({ "status": { "poweredOn": on } });
        self.host().patch("h1", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }

    pub async fn delete_machine(&self) {
        self.api("cluster.x-k8s.io", "v1beta1", "Machine", "metal")
            .delete("m1", &DeleteParams::default())
            .await
            .unwrap();
    }

    fn wasm(&self) -> Api<DynamicObject> {
        self.api("palisade.dev", "v1alpha1", "WasmRemediation", NAMESPACE)
    }

    pub async fn metal3(&self, name: &str) {
        let object = json!({ "apiVersion": "palisade.dev/v1alpha1", "kind": "WasmRemediation",
            "metadata": { "name": name, "namespace": NAMESPACE, "annotations": { "remediation.medik8s.io/node-name": NODE } },
            "spec": { "remediator": "metal3", "parameters": { "strategy": "ResourceDeletion", "timeoutSeconds": 100 } } });
        self.create(&self.wasm(), object).await;
    }

    /// Its host is held. What stands in the way is in the status.
    pub async fn is_held(&self, name: &str) {
        let started = Instant::now();
        while self.holds().await.is_empty() {
            let object = serde_json::to_value(self.wasm().get(name).await.unwrap()).unwrap();
            assert!(started.elapsed() < Duration::from_mins(4), "not held: {object:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn wasm_condition(&self, name: &str) -> String {
        condition(&serde_json::to_value(self.wasm().get(name).await.unwrap()).unwrap(), "Succeeded").0
    }

    pub async fn delete_wasm(&self, name: &str) {
        gone(&self.wasm(), name).await;
    }
}

async fn gone(api: &Api<DynamicObject>, name: &str) {
    api.delete(name, &DeleteParams::default()).await.unwrap();
    eventually(&format!("{name} vanishes"), || async { api.get_opt(name).await.unwrap().is_none() }).await;
}

fn condition(object: &Value, kind: &str) -> (String, String) {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

/// Whether a condition tells people this.
pub fn says(object: &Value, what: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|condition| condition["message"].as_str().unwrap_or_default().contains(what))
}

pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_mins(4), "did not happen in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn stays<F: Future<Output = bool>>(what: &str, length: Duration, mut condition: impl FnMut() -> F) {
    let started = Instant::now();
    while started.elapsed() < length {
        assert!(condition().await, "did not stay: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn guests() -> std::path::PathBuf {
    let default = || {
        std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), std::path::PathBuf::from)
            .join("guests")
    };
    std::env::var_os("PALISADE_GUESTS").map_or_else(default, std::path::PathBuf::from)
}
