//! People approve, and confirm; the act that cannot be taken back is theirs.

use palisade_conformance::node::State::{Fine, Sick};
use palisade_conformance::remediators::subject::Subject;
use palisade_sandbox::demo::BackendKind;
use serde_json::{Value, json};

use super::{Ending, Scene, Story};

const KIND: &str = "WasmRemediation";

pub fn story() -> Story {
    let story = super::story("meatware", async |scene: Scene| {
        let w = &scene.world;
        w.plane.learn("palisade.dev", "v1alpha1", KIND, "wasmremediations");
        w.plane.learn("palisade.dev", "v1alpha1", "Remediator", "remediators");
        for kind in [KIND, "Node", "Lease"] {
            w.plane.eyes.watch(&w.plane.resource(kind)?).await?;
        }
        // Answers count only where the API server vouches for who gave them.
        w.plane.apply_file(&w.plane.parts.deploy.join("admission/approvals.yaml")).await?;
        let remediator = json!({
            "apiVersion": "palisade.dev/v1alpha1", "kind": "Remediator", "metadata": { "name": "meatware" },
            "spec": { "source": { "builtin": "meatware" }, "capabilities": ["approval", "fencing", "workloads", "report"] },
        });
        w.plane.ensure(&remediator).await?;
        let node = w.booted().await?;
        scene.pods(&node).await?;
        node.becomes(Sick).await?;
        scene.begin();
        let about = json!({ "annotations": { "remediation.medik8s.io/node-name": node.name } });
        let wr = w.asks(KIND, "palisade.dev/v1alpha1", "wr", about, json!({ "remediator": "meatware" })).await?;
        says(&wr, "ApproveAction", "approval.palisade.dev/approve").await?;
        says(&wr, "ConfirmIsolated", "approval.palisade.dev/confirm-isolated").await?;
        let done = wr.says("Succeeded", "True", "").await?;
        let mut standing = Scene::standing(&done);
        let questions = done["status"]["palisade"]["questions"].as_array().cloned().unwrap_or_default();
        let asked = |name: &str| questions.iter().filter(|one| one["question"] == name).count();
        let acts = vec![("approval", asked("ApproveAction")), ("confirmation", asked("ConfirmIsolated"))];
        standing["answered"] = questions.iter().map(|one| one["state"].clone()).collect();
        w.boots(&node, "b2").await?;
        node.becomes(Fine).await?;
        wr.leaves().await?;
        Ok(Ending { state: json!({ "standing": standing, "traces": scene.traces(&node.name).await? }), acts })
    });
    let why = "people are told apart by admission policies";
    Story { not_on: Some((BackendKind::Sandbox, why)), ..story }
}

/// A person answers as soon as it is asked.
async fn says(subject: &Subject, question: &str, key: &str) -> anyhow::Result<()> {
    let pending = |object: &Value| {
        let all = object["status"]["palisade"]["questions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|one| one["question"] == question && one["state"] == "Pending")
    };
    let object = subject
        .until(&format!("question {question}"), |object| {
            pending(object).map(drop).ok_or_else(|| "it is not asked".into())
        })
        .await?;
    let code = pending(&object).unwrap_or_default()["code"].as_str().unwrap_or_default().to_owned();
    subject.annotate(key, &format!("by=admin; code={code}; why=looked at it")).await
}
