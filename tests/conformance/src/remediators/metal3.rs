//! D.4: machines of Metal3. The case plays the operator of the hosts; objects that lead to a host are those of Cluster API.

use std::rc::Rc;
use std::time::Duration;

use anyhow::ensure;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::cluster_api;
use super::machines::annotate;
use super::subject::Subject;
use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, Draft, case};
use crate::definitions::{Scope, anything};
use crate::node::Node;
use crate::node::State::{Fine, Sick};
use crate::value::brief;
use crate::world::{SOON, World};

const SECTION: &str = "D.4";
pub(super) const KIND: &str = "WasmRemediation";
pub(super) const HOST: &str = "BareMetalHost";
pub(super) const OWNER: &str = "Metal3Machine";
const LINK: &str = "metal3.io/BareMetalHost";
const INVALID: &str = "RemediationCannotStartInvalidParameters";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";

pub(super) fn m3(id: &'static str, tag: crate::case::Tag) -> Draft {
    case(id, tag, SECTION).fixture("cluster-api/cluster.x-k8s.io_machines.yaml")
}

/// The cases.
pub fn cases() -> Vec<Case> {
    let mut cases = run();
    cases.extend(refused());
    cases.extend(ends());
    cases.extend(super::metal3_hand_off::cases());
    cases
}

fn run() -> Vec<Case> {
    vec![
        m3("M3-01", Keep)
            .given("a node whose machine leads to a host")
            .then("held, off, released, let go, on: in this order, with success at the end")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let wr = scene.remediate(json!({})).await?;
                scene.held().await?;
                scene.goes_off().await?;
                scene.let_go().await?;
                ensure!(w.pod_now("web").await? == (false, false), "it was let go before the release");
                scene.powered(true).await?;
                let done = wr.says("Succeeded", "True", "").await?;
                let certificate = &done["status"]["palisade"]["certificate"];
                ensure!(certificate["proof"] == "PoweredOff" && certificate["grade"] == "Certain", "{certificate}");
                wr.leaves().await
            }),
        m3("M3-02", Fix)
            .given("the status of the host lags behind the hold")
            .then("nothing is released, no NoExecute taint, before it says off")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let wr = scene.remediate(json!({})).await?;
                scene.held().await?;
                tokio::time::sleep(Duration::from_secs(5)).await;
                ensure!(w.pod_now("web").await? == (true, false), "its pod was touched");
                let node = w.get("Node", "", &scene.node.name).await?.unwrap_or_default();
                ensure!(!node["spec"]["taints"].to_string().contains("NoExecute"), "{}", node["spec"]["taints"]);
                wr.says("Succeeded", "Unknown", "").await.map(drop)
            }),
        m3("M3-03", Keep)
            .given("a host that says off, and a node that goes on reporting ready with the boot that is to have ended")
            .then("nothing is released, no NoExecute taint; an event says why")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let wr = scene.remediate(json!({})).await?;
                scene.held().await?;
                scene.node.becomes(Fine).await?;
                scene.goes_off().await?;
                let event = wr.event(KIND, &wr.name, "RemediationStopped").await?;
                ensure!(event["message"].to_string().contains("is reported ready with boot b1"), "{}", event["message"]);
                ensure!(w.pod_now("web").await? == (true, false), "its pod was touched");
                let node = w.get("Node", "", &scene.node.name).await?.unwrap_or_default();
                ensure!(!node["spec"]["taints"].to_string().contains("NoExecute"), "{}", node["spec"]["taints"]);
                Ok(())
            }),
        m3("M3-04", Keep)
            .given("annotations of others on the host")
            .then("the hold names the remediation and asks for a hard stop; the others stay byte for byte")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let before = scene.host().await?["metadata"]["annotations"].clone();
                let wr = scene.remediate(json!({})).await?;
                let host = scene.held().await?;
                let uid = wr.now().await?["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
                let mut expected = before.clone();
                expected[format!("reboot.metal3.io/palisade-{uid}")] = json!(r#"{"mode":"hard"}"#);
                // Beside it: that the host read as on when it was held.
                expected[format!("palisade.dev/held-{uid}")] = json!("on");
                ensure!(host["metadata"]["annotations"] == expected, "{}", host["metadata"]["annotations"]);
                wr.leaves().await?;
                ensure!(scene.host().await?["metadata"]["annotations"] == before, "they are not as before");
                Ok(())
            }),
        m3("M3-05", Fix)
            .given("somebody else holds the host off too")
            .then("that hold stays and so does the host; the remediation ends, and says that it stays off")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let wr = scene.remediate(json!({})).await?;
                scene.held().await?;
                scene.annotate(json!({ "reboot.metal3.io/somebody": r#"{"mode":"hard"}"# })).await?;
                scene.goes_off().await?;
                wr.says("Succeeded", "True", "").await?;
                let event = wr.event(KIND, &wr.name, "PowerOnFailed").await?;
                ensure!(event["message"].to_string().contains("reboot.metal3.io/somebody"), "{}", event["message"]);
                ensure!(scene.holds().await? == ["reboot.metal3.io/somebody"], "{:?}", scene.holds().await?);
                wr.leaves().await
            }),
        m3("M3-07", Fix)
            .given("its user keeps the host off while it is held")
            .then("nobody fights: it is let go, stays off, and the remediation ends with the reason")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let wr = scene.remediate(json!({})).await?;
                scene.held().await?;
                w.patch(HOST, &w.name, "h", json!({ "spec": { "online": false } })).await?;
                scene.goes_off().await?;
                wr.says("Succeeded", "True", "").await?;
                let event = wr.event(KIND, &wr.name, "PowerOnFailed").await?;
                ensure!(event["message"].to_string().contains("spec.online"), "{}", event["message"]);
                ensure!(scene.host().await?["spec"]["online"] == false, "it was switched on again");
                wr.leaves().await
            }),
        m3("M3-22", Keep)
            .given("strategy OutOfServiceTaint, a pod and a volume attachment that nobody takes away")
            .then("it waits for both before the host is let go")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let volume = format!("{}-va", w.name);
                let attachment = json!({
                    "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": { "name": volume },
                    "spec": { "attacher": "csi.example", "nodeName": scene.node.name, "source": { "persistentVolumeName": "pv" } },
                });
                w.plane.create(&attachment).await?;
                let wr = scene.remediate(json!({ "strategy": "OutOfServiceTaint" })).await?;
                scene.held().await?;
                scene.goes_off().await?;
                scene.node.shows_taint(OUT_OF_SERVICE).await?;
                let now = kube::api::DeleteParams::default().grace_period(0);
                w.plane.api("Pod", &w.name)?.delete("web", &now).await?;
                tokio::time::sleep(Duration::from_secs(3)).await;
                ensure!(!scene.holds().await?.is_empty(), "it was let go with a volume attached");
                w.delete("VolumeAttachment", "", &volume).await?;
                scene.let_go().await?;
                scene.powered(true).await?;
                wr.says("Succeeded", "True", "").await.map(drop)
            }),
    ]
}

fn refused() -> Vec<Case> {
    vec![
        m3("M3-06", Keep)
            .given("a host that its user keeps off")
            .then("refused; no annotation, and it is never switched on")
            .run(async |w| {
                let scene = Scene::new(&w, json!({ "spec": { "online": false } })).await?;
                scene.remediate(json!({})).await?.fails(INVALID, &["spec.online"]).await?;
                ensure!(scene.holds().await?.is_empty(), "it is held");
                ensure!(scene.host().await?["spec"]["online"] == false, "it was switched on");
                Ok(())
            }),
        m3("M3-19", Fix)
            .given("a machine whose status names no node")
            .then("a terminal reason and no loop of errors (weakness B.7 #9)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let status = Patch::Merge(json!({ "status": { "nodeRef": null, "phase": "Provisioned" } }));
                cluster_api::machines(&w).patch_status("m", &PatchParams::default(), &status).await?;
                scene.remediate(json!({})).await?.fails(INVALID, &["status.nodeRef"]).await?;
                ensure!(scene.holds().await?.is_empty(), "it is held");
                Ok(())
            }),
        m3("M3-21", Fix)
            .given("an unknown strategy, timeoutSeconds 99, retryLimit 0")
            .then("each refused with its field; the host is not touched (weakness B.7 #8)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                for (index, (parameters, field)) in [
                    (json!({ "strategy": "Explode" }), "strategy"),
                    (json!({ "timeoutSeconds": 99 }), "timeoutSeconds"),
                    (json!({ "retryLimit": 0 }), "retryLimit"),
                ]
                .into_iter()
                .enumerate()
                {
                    let wr = scene.remediate_as(&format!("bad-{index}"), parameters).await?;
                    let object = wr.says("Succeeded", "False", "").await?;
                    ensure!(object["status"].to_string().contains(field), "{}", brief(&object["status"]));
                    wr.leaves().await?;
                }
                ensure!(scene.holds().await?.is_empty(), "it is held");
                Ok(())
            }),
        m3("M3-25", Fix)
            .given("the machine names a host of another namespace, where one of that name is somebody else's")
            .then("refused; neither host is touched (weakness B.7 #10)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let elsewhere = format!("{}-elsewhere", w.name);
                let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": elsewhere } });
                w.plane.ensure(&namespace).await?;
                let other = host(&elsewhere, "somebody-elses", &json!({}));
                w.plane.create(&other).await?;
                let links = json!({ "metadata": { "annotations": { LINK: format!("{elsewhere}/h") } } });
                w.patch(OWNER, &w.name, "mm", links).await?;
                scene.remediate(json!({})).await?.fails(INVALID, &["spec.consumerRef"]).await?;
                ensure!(scene.holds().await?.is_empty(), "it is held");
                let untouched = w.get(HOST, &elsewhere, "h").await?.unwrap_or_default();
                ensure!(!untouched.to_string().contains("palisade"), "{}", untouched["metadata"]);
                Ok(())
            }),
    ]
}

fn ends() -> Vec<Case> {
    vec![
        m3("M3-12", Fix)
            .given("machine and infrastructure machine vanish while the host is held, then the remediation is deleted")
            .then("the hold is taken away and the finalizer released (weakness B.7 #2)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let wr = scene.remediate(json!({})).await?;
                scene.held().await?;
                cluster_api::machines(&w).delete("m", &kube::api::DeleteParams::default()).await?;
                w.delete(OWNER, &w.name, "mm").await?;
                wr.leaves().await?;
                ensure!(scene.holds().await?.is_empty(), "it is still held");
                Ok(())
            }),
        m3("M3-13", Fix)
            .given("the remediation is deleted while the host is held, because its machine recovered")
            .then("let go, no taint left, finalizer gone (weakness B.7 #11)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let wr = scene.remediate(json!({})).await?;
                scene.held().await?;
                wr.leaves().await?;
                ensure!(scene.holds().await?.is_empty(), "it is still held");
                let node = w.get("Node", "", &scene.node.name).await?.unwrap_or_default();
                ensure!(node["spec"]["taints"].is_null(), "{}", node["spec"]["taints"]);
                ensure!(w.pod_now("web").await? == (true, false), "its pod was touched");
                Ok(())
            }),
        m3("M3-24", Fix)
            .given("the detector gives up while the host is held")
            .then("conditions and reason tell it; nothing is released, and the hold goes with the remediation (weakness B.7 #7)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let wr = scene.remediate(json!({})).await?;
                wr.says("Processing", "True", "RemediationStarted").await?;
                scene.held().await?;
                wr.annotate("remediation.medik8s.io/nhc-timed-out", "2026-01-01T00:00:00Z").await?;
                wr.fails("RemediationTimeoutByNHC", &[]).await?;
                scene.goes_off().await?;
                tokio::time::sleep(Duration::from_secs(2)).await;
                ensure!(w.pod_now("web").await? == (true, false), "its pod was touched after the stop");
                wr.leaves().await?;
                ensure!(scene.holds().await?.is_empty(), "it is still held");
                Ok(())
            }),
    ]
}

/// A sick node with a pod; its machine `m` leads by `mm` to host `h`.
pub struct Scene {
    pub(super) world: Rc<World>,
    /// The node.
    pub node: Node,
}

fn host(namespace: &str, consumer: &str, change: &Value) -> Value {
    let mut host = json!({
        "apiVersion": "metal3.io/v1alpha1", "kind": HOST,
        "metadata": { "name": "h", "namespace": namespace, "annotations": { "example.com/mine": "stays" } },
        "spec": { "online": true, "consumerRef": { "kind": OWNER, "name": consumer, "namespace": namespace } },
    });
    crate::value::merge(&mut host, change);
    host
}

impl Scene {
    /// All of it; `change` is merged into the host.
    pub async fn new(w: &Rc<World>, change: Value) -> anyhow::Result<Self> {
        let plane = &w.plane;
        cluster_api::define(w).await?;
        for (group, version, kind, plural) in [
            ("infrastructure.cluster.x-k8s.io", "v1beta1", OWNER, "metal3machines"),
            ("metal3.io", "v1alpha1", HOST, "baremetalhosts"),
        ] {
            plane.define(&anything(group, version, kind, plural, Scope::Namespaced)).await?;
        }
        plane.learn("palisade.dev", "v1alpha1", KIND, "wasmremediations");
        plane.learn("palisade.dev", "v1alpha1", "Remediator", "remediators");
        for kind in [KIND, HOST, "Event", "Node"] {
            plane.eyes.watch(&plane.resource(kind)?).await?;
        }
        plane
            .ensure(&json!({
                "apiVersion": "palisade.dev/v1alpha1", "kind": "Remediator", "metadata": { "name": "metal3" },
                "spec": { "source": { "builtin": "metal3" }, "capabilities": ["fencing", "workloads", "power", "report"] },
            }))
            .await?;
        let node = w.booted().await?;
        w.pod(&node, "web", "ReplicaSet", json!([])).await?;
        node.becomes(Sick).await?;
        let links = json!({ "cluster.x-k8s.io/machine": "m", "cluster.x-k8s.io/cluster-namespace": w.name,
            "cluster.x-k8s.io/cluster-name": "c" });
        annotate(w, &node, links).await?;
        let machine = json!({
            "apiVersion": format!("cluster.x-k8s.io/{}", cluster_api::VERSION), "kind": "Machine",
            "metadata": { "name": "m", "namespace": w.name },
            "spec": { "clusterName": "c", "bootstrap": { "dataSecretName": "s" },
                "infrastructureRef": { "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": OWNER, "name": "mm" } },
        });
        let machine: DynamicObject = serde_json::from_value(machine)?;
        let machines = cluster_api::machines(w);
        machines.create(&PostParams::default(), &machine).await?;
        let status = Patch::Merge(json!({ "status": { "nodeRef": { "name": node.name } } }));
        machines.patch_status("m", &PatchParams::default(), &status).await?;
        let owner = json!({ "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": OWNER,
            "metadata": { "name": "mm", "namespace": w.name, "annotations": { LINK: format!("{}/h", w.name) } }, "spec": {} });
        plane.create(&owner).await?;
        plane.create(&host(&w.name, "mm", &change)).await?;
        let scene = Self { world: Rc::clone(w), node };
        scene.powered(true).await?;
        Ok(scene)
    }

    /// Asks for its remediation, with these parameters besides.
    pub async fn remediate(&self, parameters: Value) -> anyhow::Result<Subject> {
        self.remediate_as("wr", parameters).await
    }

    async fn remediate_as(&self, name: &str, change: Value) -> anyhow::Result<Subject> {
        let mut parameters = json!({ "strategy": "ResourceDeletion", "timeoutSeconds": 100 });
        crate::value::merge(&mut parameters, &change);
        let about = json!({ "annotations": { "remediation.medik8s.io/node-name": self.node.name } });
        let spec = json!({ "remediator": "metal3", "parameters": parameters });
        self.world.asks(KIND, "palisade.dev/v1alpha1", name, about, spec).await
    }

    /// The host.
    pub async fn host(&self) -> anyhow::Result<Value> {
        Ok(self.world.get(HOST, &self.world.name, "h").await?.unwrap_or_default())
    }

    /// What the operator of hosts writes.
    pub async fn powered(&self, on: bool) -> anyhow::Result<()> {
        self.world.patch_status(HOST, &self.world.name, "h", json!({ "poweredOn": on })).await
    }

    /// The host goes off.
    pub async fn goes_off(&self) -> anyhow::Result<()> {
        self.powered(false).await
    }

    /// How often the hold was taken, as far as it was watched.
    pub fn times_held(&self) -> usize {
        let here = |host: &Value| host["metadata"]["namespace"] == *self.world.name;
        let sights = self.world.eyes().history(HOST, here);
        let held: Vec<bool> = sights.iter().map(|sight| !keys(&sight.object).is_empty()).collect();
        held.windows(2).filter(|pair| pair == &[false, true]).count()
    }

    async fn annotate(&self, annotations: Value) -> anyhow::Result<()> {
        let patch = json!({ "metadata": { "annotations": annotations } });
        self.world.patch(HOST, &self.world.name, "h", patch).await.map(drop)
    }

    /// Keys that hold the host off.
    pub async fn holds(&self) -> anyhow::Result<Vec<String>> {
        Ok(keys(&self.host().await?))
    }

    /// Waits until the host is held off.
    pub async fn held(&self) -> anyhow::Result<Rc<Value>> {
        let name = &self.world.name;
        let probe = |host: &Value| if keys(host).is_empty() { Err(brief(&host["metadata"])) } else { Ok(()) };
        self.world.until("the host to be held", HOST, name, "h", probe).await
    }

    /// Waits until nobody holds it.
    pub async fn let_go(&self) -> anyhow::Result<()> {
        let eyes = self.world.eyes();
        let probe = || match eyes.get(HOST, &self.world.name, "h") {
            Some(host) if keys(&host).is_empty() => Ok(()),
            host => Err(host.map_or_else(|| "it is gone".to_owned(), |host| brief(&host["metadata"]))),
        };
        eyes.until("the host to be let go", SOON, probe).await
    }
}

fn keys(host: &Value) -> Vec<String> {
    let annotations = host["metadata"]["annotations"].as_object().into_iter().flatten();
    annotations.map(|(key, _)| key.clone()).filter(|key| key.starts_with("reboot.metal3.io")).collect()
}
