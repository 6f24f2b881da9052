//! D.4: a machine of Metal3 that cannot be helped is handed off to its owner.

use anyhow::ensure;
use serde_json::{Value, json};

use super::cluster_api;
use super::detectors::owner_remediated;
use super::metal3::{HOST, KIND, OWNER, Scene, m3};
use super::subject::Subject;
use crate::case::Tag::Fix;
use crate::case::{Case, Place};
use crate::node::State::Fine;
use crate::plane::Start;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        m3("M3-09", Fix)
            .given("retryLimit is lowered from 3 to 1 when two attempts have failed")
            .then("it ends and is handed off, and does not go on for ever (weakness B.7 #5)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let request = scene.request(json!({ "retryLimit": 3 })).await?;
                scene.held().await?;
                scene.breaks().await?;
                let tried = |object: &Value| match crate::value::condition(&object["status"], "PoweredOff")["message"]
                    .as_str()
                    .unwrap_or_default()
                {
                    text if text.starts_with("2 attempts") => Ok(()),
                    text => Err(text.to_owned()),
                };
                request.until("two attempts", tried).await?;
                w.patch(KIND, &w.name, &request.name, json!({ "spec": { "parameters": { "retryLimit": 1 } } })).await?;
                request.says("MachineHandedBack", "True", "").await?;
                request.leaves().await
            }),
        m3("M3-10", Fix)
            .given("a request of Cluster API's health check whose host does not go off")
            .then("OwnerRemediated=False in every form, and the host is marked as unhealthy (weakness B.7 #1)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let request = scene.handed_off().await?;
                let told = owner_remediated(&w, "m").await?;
                ensure!(told == ["False WaitingForRemediation", "False WaitingForRemediation"], "it says {told:?}");
                let host = scene.host().await?;
                let mark = &host["metadata"]["annotations"]["capm3.metal3.io/unhealthy"];
                ensure!(mark == "capm3/UnhealthyNode", "the host carries {}", host["metadata"]["annotations"]);
                ensure!(w.pod_now("web").await? == (true, false), "its pod was touched");
                request.leaves().await
            }),
        m3("M3-11", Fix)
            .given("after the hand-off its owner deletes the machine, and the node never comes back")
            .then("the request goes with its machine, no finalizer is stuck and no host stays held (weakness B.7 #3)")
            .run(async |w| {
                let scene = Scene::new(&w, json!({})).await?;
                let request = scene.handed_off().await?;
                cluster_api::machines(&w).delete("m", &kube::api::DeleteParams::default()).await?;
                w.delete(OWNER, &w.name, "mm").await?;
                scene.node.vanishes().await?;
                // What the collector of garbage does.
                request.leaves().await?;
                ensure!(scene.holds().await?.is_empty(), "it is still held");
                Ok(())
            }),
        m3("M3-20", Fix)
            .given("the node comes back with a new boot and is not ready in the time that it has")
            .then("it does not count as back, and is handed off after that time; ready, it is back (weakness B.7 #6)")
            .at(Place::Alone)
            .run(async |w| {
                let mut controller = w.controller()?;
                let scene = Scene::new(&w, json!({})).await?;
                let request = scene.request(json!({ "timeoutSeconds": 600 })).await?;
                scene.held().await?;
                scene.goes_off().await?;
                scene.let_go().await?;
                scene.powered(true).await?;
                w.boots(&scene.node, "b2").await?;
                let done = request.says("Succeeded", "True", "").await?;
                ensure!(crate::value::condition(&done["status"], "MachineHandedBack").is_null(), "it was handed off");
                controller.kill().await;
                let args = vec!["--shift-clock".to_owned(), "601s".to_owned()];
                let mut controller = w.controller_with(Start { args, ..Start::default() })?;
                let late = request.says("MachineHandedBack", "True", "WaitingForRemediation").await?;
                ensure!(!is_back(&late), "a node that is not ready counts as back");
                let told = owner_remediated(&w, "m").await?;
                ensure!(told == ["False WaitingForRemediation", "False WaitingForRemediation"], "it says {told:?}");
                scene.node.becomes(Fine).await?;
                let back = |object: &Value| if is_back(object) { Ok(()) } else { Err("it is not".to_owned()) };
                request.until("to be back", back).await?;
                request.leaves().await?;
                controller.kill().await;
                Ok(())
            }),
    ]
}

fn is_back(remediation: &Value) -> bool {
    let timeline = remediation["status"]["palisade"]["timeline"].as_array().into_iter().flatten();
    timeline.into_iter().any(|entry| entry["stage"] == "Recovered")
}

impl Scene {
    /// What Cluster API's health check makes for the machine.
    async fn request(&self, change: Value) -> anyhow::Result<Subject> {
        let mut parameters = json!({ "strategy": "ResourceDeletion", "timeoutSeconds": 100 });
        crate::value::merge(&mut parameters, &change);
        let uid = cluster_api::machines(&self.world).get("m").await?.metadata.uid;
        let owner = json!({ "apiVersion": format!("cluster.x-k8s.io/{}", cluster_api::VERSION), "kind": "Machine",
            "name": "m", "uid": uid });
        let about = json!({ "ownerReferences": [owner], "labels": { "cluster.x-k8s.io/cluster-name": "c" } });
        let spec = json!({ "remediator": "metal3", "parameters": parameters });
        self.world.asks(KIND, "palisade.dev/v1alpha1", "m", about, spec).await
    }

    /// The operator of hosts cannot switch it.
    async fn breaks(&self) -> anyhow::Result<()> {
        let status = json!({ "poweredOn": false, "errorType": "power management error", "errorMessage": "no answer" });
        self.world.patch_status(HOST, &self.world.name, "h", status).await
    }

    /// A request whose host cannot be switched, at its end.
    async fn handed_off(&self) -> anyhow::Result<Subject> {
        let request = self.request(json!({})).await?;
        self.held().await?;
        self.breaks().await?;
        request.says("MachineHandedBack", "True", "WaitingForRemediation").await?;
        request.says("Succeeded", "False", "").await?;
        Ok(request)
    }
}
