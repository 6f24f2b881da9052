//! 8.5: remediation objects and what the status says of them.

use anyhow::ensure;
use serde_json::json;

use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, case};
use crate::definitions::{API_VERSION, Scope};
use crate::node::State::{Failing, Fine, Sick};
use crate::remediation::{NODE_NAME, TEMPLATE_NAME};
use crate::value::{seconds, shows};

const SECTION: &str = "8.5";
const EXCLUDE: &str = "remediation.medik8s.io/exclude-from-remediation";
const MULTIPLE: &str = "remediation.medik8s.io/multiple-templates-support";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("R01", Keep, SECTION)
            .given("one of three nodes is sick")
            .then("a remediation named like the node, with spec, annotations, label and owner as the contract says")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                let owner = json!({
                    "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck", "name": policy.name,
                    "uid": policy.uid, "controller": false,
                });
                made.shows(json!({
                    "metadata": {
                        "name": sick.name, "namespace": w.name, "finalizers": null,
                        "annotations": { NODE_NAME: sick.name, TEMPLATE_NAME: "foo" },
                        "labels": { "app.kubernetes.io/part-of": "node-healthcheck-controller", "remediation.medik8s.io/isControlPlaneNode": null },
                    },
                    "spec": { "size": "foo" },
                }))
                .await?;
                let owners = made.object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
                ensure!(owners.len() == 1, "one owner is expected: {owners:?}");
                let mut seen = owners[0].clone();
                // Left out means false.
                if seen["controller"].is_null() {
                    seen["controller"] = json!(false);
                }
                ensure!(seen["blockOwnerDeletion"] != true, "blockOwnerDeletion");
                shows(&seen, &owner).map_err(|why| anyhow::anyhow!("owner: {why}"))
            }),
        case("R02", Keep, SECTION)
            .given("a template annotated multiple-templates-support")
            .then("the name begins with the node's and is another; annotations tell node and template")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                w.template_with("FooTemplate", "foo", &json!({ MULTIPLE: "true" })).await?;
                w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                let start = format!("{}-", sick.name);
                ensure!(made.name.starts_with(&start) && made.name != start, "its name is {}", made.name);
                made.shows(json!({ "metadata": { "annotations": { NODE_NAME: sick.name, TEMPLATE_NAME: "foo" } } })).await.map(drop)
            }),
        case("R03", Keep, SECTION)
            .given("a remediation was made")
            .then("the status lists it: resource, started, templateName, no timedOut")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                let listed = json!({
                    "resource": { "apiVersion": API_VERSION, "kind": "Foo", "namespace": w.name, "name": made.name, "uid": made.uid },
                    "started": made.object["metadata"]["creationTimestamp"], "templateName": "foo", "timedOut": null,
                });
                policy.shows(json!({ "unhealthyNodes": [{ "name": sick.name, "remediations": [listed] }] })).await.map(drop)
            }),
        case("R04", Keep, SECTION)
            .given("a remediation of the same node and template that another policy owns")
            .then("it is not touched; the node is listed without remediations")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let foreign = w.plane.create(&foreign(&w.name, &sick.name)).await?;
                let policy = w.policy().create().await?;
                policy.shows(json!({ "unhealthyNodes": [{ "name": sick.name, "remediations": null }] })).await?;
                policy.looked().await?;
                sick.explained("remediation of somebody else").await?;
                let now = w.get("Foo", &w.name, &sick.name).await?.unwrap_or_default();
                ensure!(now["metadata"]["resourceVersion"] == foreign["metadata"]["resourceVersion"], "it was touched: {now}");
                ensure!(w.ever("Foo", &sick) == 1, "another one was made");
                Ok(())
            }),
        case("R05", Keep, SECTION)
            .given("two policies with different templates select the same sick node")
            .then("only the first remediates; the second lists the node with no remediation and says why")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                w.policy().create().await?;
                w.remediation(&sick).await?;
                let second = w.policy().named("second").template("BarTemplate", "bar").create().await?;
                second.event("Warning", "RemediationSkipped", &sick.name).await?;
                second.shows(json!({ "unhealthyNodes": [{ "name": sick.name, "remediations": null }], "phase": "Enabled" })).await?;
                second.looked().await?;
                ensure!(w.ever("Bar", &sick) == 0, "both remediate");
                Ok(())
            }),
        case("R06", Fix, SECTION)
            .given("a user deletes the remediation while the node is still sick")
            .then("it is made anew within seconds, and the status tells the new uid and start")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let first = w.remediation(&sick).await?;
                first.delete().await?;
                let second = w.another_than(&first, &sick).await?;
                let listed = json!({ "resource": { "uid": second.uid }, "started": second.object["metadata"]["creationTimestamp"] });
                policy.shows(json!({ "unhealthyNodes": [{ "remediations": [listed] }] })).await.map(drop)
            }),
        case("R07", Keep, SECTION)
            .given("a sick node with the exclude label true")
            .then("no remediation; the node is listed; Warning RemediationSkipped")
            .run(async |w| {
                let sick = w.node_with(Sick, json!({ EXCLUDE: "true" })).await?;
                w.nodes([Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                policy.shows(json!({ "unhealthyNodes": [{ "name": sick.name, "remediations": null }] })).await?;
                policy.event("Warning", "RemediationSkipped", &sick.name).await?;
                policy.looked().await?;
                sick.explained("excluded").await?;
                w.never_remediated().await
            }),
        case("R08", Keep, SECTION).given("a sick node with the exclude label false").then("it is remediated").run(
            async |w| {
                let sick = w.node_with(Sick, json!({ EXCLUDE: "false" })).await?;
                w.nodes([Fine, Fine]).await?;
                w.policy().create().await?;
                w.remediation(&sick).await.map(drop)
            },
        ),
        case("R09", Keep, SECTION)
            .given("a sick node with an exclude label that has no value")
            .then("it is remediated, and Warning InvalidNodeLabel")
            .run(async |w| {
                let sick = w.node_with(Sick, json!({ EXCLUDE: "" })).await?;
                w.nodes([Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                w.remediation(&sick).await?;
                policy.event("Warning", "InvalidNodeLabel", &sick.name).await.map(drop)
            }),
        case("R10", Keep, SECTION)
            .given("the exclude label of a sick node is removed")
            .then("it is remediated without another event")
            .run(async |w| {
                let sick = w.node_with(Sick, json!({ EXCLUDE: "true" })).await?;
                w.nodes([Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                policy.event("Warning", "RemediationSkipped", &sick.name).await?;
                sick.label(EXCLUDE, None).await?;
                w.remediation(&sick).await.map(drop)
            }),
        case("R11", Fix, SECTION)
            .given("a node is excluded while a ladder runs for it")
            .then("the running step is not abandoned: it is told when its time is over, and its lease is kept; no next step")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let ladder = [("FooTemplate", "foo", 0, "5s"), ("BarTemplate", "bar", 1, "10m")];
                let policy = w.policy().ladder(&ladder).create().await?;
                let first = w.remediation(&sick).await?;
                sick.label(EXCLUDE, Some("true")).await?;
                policy.event("Warning", "RemediationSkipped", &sick.name).await?;
                first.annotated(crate::remediation::TIMED_OUT).await?;
                policy.looked().await?;
                ensure!(w.ever("Bar", &sick) == 0, "a new step began for an excluded node");
                ensure!(sick.lease_now().await?.is_some(), "the lease was dropped while the remediation is there");
                sick.becomes(Fine).await?;
                first.gone().await
            }),
        case("R12", Keep, SECTION)
            .given("a template with an empty spec.template")
            .then("it is usable, and its remediations have no specification")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let template = json!({
                    "apiVersion": API_VERSION, "kind": "FooTemplate", "metadata": { "name": "foo", "namespace": w.name },
                    "spec": { "template": {} },
                });
                w.plane.create(&template).await?;
                w.policy().create().await?;
                w.remediation(&sick).await?.shows(json!({ "spec": null })).await.map(drop)
            }),
        case("R13", Fix, SECTION)
            .given("two sick nodes; the API server refuses every remediation of the first")
            .then("the second is remediated all the same")
            .run(async |w| {
                let [first, second, ..] = w.nodes([Failing, Failing, Fine, Fine, Fine]).await?;
                // What belongs to somebody else under the same name cannot be created a second time.
                let squatter = json!({
                    "apiVersion": API_VERSION, "kind": "Foo", "metadata": { "name": first.name, "namespace": w.name },
                });
                w.plane.create(&squatter).await?;
                let policy = w.policy().create().await?;
                w.remediation(&second).await?;
                policy.until("both are listed, the first without a remediation", |status| {
                    let nodes = status["unhealthyNodes"].as_array().cloned().unwrap_or_default();
                    let bare = nodes.iter().find(|node| node["name"] == *first.name);
                    let remediated = nodes.iter().find(|node| node["name"] == *second.name);
                    let ok = bare.is_some_and(|node| shows(&node["remediations"], &json!(null)).is_ok())
                        && remediated.is_some_and(|node| node["remediations"][0]["resource"]["uid"].is_string());
                    if ok { Ok(()) } else { Err("not yet".to_owned()) }
                })
                .await
                .map(drop)
            }),
        case("R14", Keep, SECTION)
            .given("a remediation runs and the policy is looked at again and again")
            .then("RemediationCreated once; DetectedUnhealthy once")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                w.remediation(&sick).await?;
                policy.event("Normal", "RemediationCreated", &sick.name).await?;
                policy.event("Normal", "DetectedUnhealthy", &sick.name).await?;
                policy.looked().await?;
                policy.looked().await?;
                let (created, detected) = (policy.count("RemediationCreated"), policy.count("DetectedUnhealthy"));
                ensure!(created == 1 && detected == 1, "RemediationCreated {created} times, DetectedUnhealthy {detected} times");
                Ok(())
            }),
        case("R15", Keep, SECTION)
            .given("a template of cluster scope")
            .then("the remediation has no namespace")
            .run(async |w| {
                w.plane.kind("R15Wide", Scope::Cluster).await?;
                w.plane.kind("R15WideTemplate", Scope::Cluster).await?;
                let template = json!({
                    "apiVersion": API_VERSION, "kind": "R15WideTemplate", "metadata": { "name": "wide" },
                    "spec": { "template": { "spec": { "size": "wide" } } },
                });
                w.plane.create(&template).await?;
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let wide = json!({ "apiVersion": API_VERSION, "kind": "R15WideTemplate", "name": "wide", "namespace": null });
                w.policy().without_templates().with(json!({ "remediationTemplate": wide })).create().await?;
                let made = w.remediation_of("R15Wide", &sick).await?;
                made.shows(json!({ "metadata": { "namespace": null }, "spec": { "size": "wide" } })).await?;
                let age = jiff::Timestamp::now().as_second() - seconds(&made.object["metadata"]["creationTimestamp"])?;
                ensure!(age < 60, "it was made {age} s ago");
                sick.becomes(Fine).await?;
                made.gone().await
            }),
    ]
}

/// A remediation that another policy made.
fn foreign(namespace: &str, node: &str) -> serde_json::Value {
    json!({
        "apiVersion": API_VERSION, "kind": "Foo",
        "metadata": {
            "name": node, "namespace": namespace,
            "annotations": { NODE_NAME: node, TEMPLATE_NAME: "foo" },
            "ownerReferences": [{
                "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck", "name": "somebody-else",
                "uid": "00000000-0000-0000-0000-000000000001",
            }],
        },
        "spec": { "size": "foreign" },
    })
}
