//! D.1: what every remediator keeps, shown by the one that needs nothing but a node.

use anyhow::ensure;
use serde_json::json;

use super::machines::{KIND, fleet, know, remediate, remediate_as};
use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, Draft, case};
use crate::node::State::{Fine, Sick};

const SECTION: &str = "D.1";
const FIXTURE: &str = "openshift/0000_10_machine-api_01_machines-Default.crd.yaml";

fn x(id: &'static str, tag: crate::case::Tag) -> Draft {
    case(id, tag, SECTION).fixture(FIXTURE)
}

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        x("X-03", Keep)
            .given("a remediation named as node A, with an annotation that names node B")
            .then("only B's machine is deleted")
            .run(async |w| {
                let fleet = fleet(&w, Some(2)).await?;
                let ((a, machine_a), (b, machine_b)) = (fleet.member(Fine).await?, fleet.member(Sick).await?);
                let before = w.get("Node", "", &a.name).await?.unwrap_or_default();
                let note = json!({ "annotations": { "remediation.medik8s.io/node-name": b.name } });
                remediate_as(&w, &a.name, note).await?;
                fleet.deletion(&machine_b).await?;
                fleet.untouched(&machine_a)?;
                let after = w.get("Node", "", &a.name).await?.unwrap_or_default();
                ensure!(before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"], "A was written");
                Ok(())
            }),
        x("X-04", Keep)
            .given("a remediation of any node")
            .then("at first Processing=True and Succeeded=Unknown, for one reason")
            .run(async |w| {
                let fleet = fleet(&w, Some(1)).await?;
                let (sick, _) = fleet.member(Sick).await?;
                let mdr = remediate(&w, &sick).await?;
                mdr.says("Processing", "True", "RemediationStarted").await?;
                mdr.says("Succeeded", "Unknown", "RemediationStarted").await.map(drop)
            }),
        x("X-07", Keep)
            .given("a remediation that carries the time-out annotation from the beginning")
            .then("nothing is deleted, and both conditions are False")
            .run(async |w| {
                let fleet = fleet(&w, Some(1)).await?;
                let (sick, machine) = fleet.member(Sick).await?;
                let note = json!({ "annotations": { "remediation.medik8s.io/nhc-timed-out": "2026-01-01T00:00:00Z" } });
                let mdr = remediate_as(&w, &sick.name, note).await?;
                mdr.fails("RemediationStoppedByNHC", &[]).await?;
                fleet.untouched(&machine)
            }),
        x("X-10", Fix)
            .given("the node object is deleted while the remediation runs, then the remediation")
            .then("it is gone within its time, with its finalizer")
            .run(async |w| {
                let fleet = fleet(&w, Some(1)).await?;
                let (sick, machine) = fleet.member(Sick).await?;
                let mdr = remediate(&w, &sick).await?;
                fleet.deletion(&machine).await?;
                sick.vanishes().await?;
                mdr.leaves().await
            }),
        x("X-11", Keep)
            .given("a remediation of a node that does not exist")
            .then("both conditions False with a reason, and a warning")
            .run(async |w| {
                know(&w).await?;
                let mdr = remediate_as(&w, "x-11-nobody", json!({})).await?;
                mdr.fails("RemediationCannotStartNodeNotFound", &[]).await?;
                let event = mdr.event(KIND, &mdr.name, "RemediationCannotStart").await?;
                ensure!(event["type"] == "Warning", "it is {}", event["type"]);
                Ok(())
            }),
        x("X-18", Keep)
            .given("a node with the exclusion label")
            .then("refused with a reason, and its machine stays")
            .run(async |w| {
                let fleet = fleet(&w, Some(1)).await?;
                let (sick, machine) = fleet.member(Sick).await?;
                sick.label("remediation.medik8s.io/exclude-from-remediation", Some("true")).await?;
                remediate(&w, &sick).await?.fails("RemediationSkipped", &["exclude-from-remediation"]).await?;
                fleet.untouched(&machine)
            }),
        x("X-24", Fix)
            .given("labels, annotations and taints of others on a node")
            .then("a full run leaves them byte for byte as they were")
            .run(async |w| {
                let fleet = fleet(&w, Some(1)).await?;
                let (sick, machine) = fleet.member(Sick).await?;
                let others = json!({ "metadata": { "labels": { "team.example/a": "1" } },
                    "spec": { "taints": [{ "key": "team.example/gpu", "effect": "NoSchedule" }] } });
                w.patch("Node", "", &sick.name, others).await?;
                let before = w.get("Node", "", &sick.name).await?.unwrap_or_default();
                let mdr = remediate(&w, &sick).await?;
                fleet.deletion(&machine).await?;
                mdr.leaves().await?;
                let after = w.get("Node", "", &sick.name).await?.unwrap_or_default();
                for part in ["labels", "annotations"] {
                    ensure!(before["metadata"][part] == after["metadata"][part], "{part} differ");
                }
                ensure!(before["spec"] == after["spec"], "the specification differs");
                Ok(())
            }),
    ]
}
