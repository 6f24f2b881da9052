//! A job of the administrator's list runs, which is declared to be evidence.

use anyhow::Context;
use palisade_conformance::node::State::{Fine, Sick};
use palisade_conformance::plane::NAMESPACE;
use palisade_conformance::value::stamp;
use serde_json::{Value, json};

use super::{Ending, Scene, Story};

const KIND: &str = "CustomizedUserRemediation";
const VERSION: &str = "customized-user-remediation.medik8s.io/v1alpha1";

pub fn story() -> Story {
    super::story("script", async |scene: Scene| {
        let w = &scene.world;
        w.plane.learn("customized-user-remediation.medik8s.io", "v1alpha1", KIND, "customizeduserremediations");
        w.plane.learn("batch", "v1", "CronJob", "cronjobs");
        w.plane.learn("batch", "v1", "Job", "jobs");
        for kind in [KIND, "Node", "Lease"] {
            w.plane.eyes.watch(&w.plane.resource(kind)?).await?;
        }
        let image = format!("registry.example/power@sha256:{}", "0".repeat(64));
        let listed = format!("power-cut-{}", w.name);
        let entry = json!({
            "apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": { "name": listed, "namespace": NAMESPACE,
                "annotations": { "palisade.dev/evidence": "powered-off",
                    "palisade.dev/allowed-namespaces": w.name },
                "labels": { "palisade.dev/remediation-job": "true" } },
            "spec": { "schedule": "@yearly", "suspend": true, "jobTemplate": { "spec": { "template": { "spec": {
                "restartPolicy": "Never", "containers": [{ "name": "main", "image": image }] } } } } },
        });
        w.plane.ensure(&entry).await?;
        let node = w.booted().await?;
        scene.pods(&node).await?;
        node.becomes(Sick).await?;
        scene.begin();
        let about = json!({ "annotations": { "remediation.medik8s.io/node-name": node.name } });
        let cur = w.asks(KIND, VERSION, "cur", about, json!({ "script": listed })).await?;
        let uid = cur.now().await?["metadata"]["uid"].clone();
        let job = async || -> anyhow::Result<Option<Value>> {
            let all = w.plane.list("Job", NAMESPACE).await?;
            let ours = |job: &Value| {
                job["metadata"]["labels"].as_object().is_some_and(|all| all.values().any(|it| *it == uid))
            };
            Ok(all.into_iter().find(|job| ours(job)))
        };
        scene
            .eventually("a job", async || Ok(job().await?.is_some()))
            .await
            .context(cur.now().await?["status"].to_string())?;
        let name = job().await?.unwrap_or_default()["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let now = stamp(0);
        let met =
            |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": now, "lastProbeTime": now });
        // The API server accepts an end only with all that belongs to it.
        let status = json!({ "startTime": now, "completionTime": now, "succeeded": 1,
            "conditions": [met("SuccessCriteriaMet"), met("Complete")] });
        w.patch_status("Job", NAMESPACE, &name, status).await?;
        let done = cur.says("Succeeded", "True", "").await?;
        let standing = Scene::standing(&done);
        w.boots(&node, "b2").await?;
        node.becomes(Fine).await?;
        cur.leaves().await?;
        Ok(Ending {
            state: json!({ "standing": standing, "traces": scene.traces(&node.name).await? }),
            acts: vec![("job", scene.asked("POST", "/jobs"))],
        })
    })
}
