//! 8.10: control-plane nodes, one at a time. What needs OpenShift is in `openshift`.

use anyhow::ensure;
use serde_json::{Value, json};

use crate::case::Tag::{Beyond, Fix, Keep};
use crate::case::{Case, Place, case};
use crate::node::State::{Fine, Sick};
use crate::plane::Start;
use crate::world::SOON;

const SECTION: &str = "8.10";
const ONE: &str = "control plane";

fn control_plane() -> Value {
    json!({ "node-role.kubernetes.io/control-plane": "" })
}

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("P01", Keep, SECTION)
            .given("two of three control-plane nodes are sick, minHealthy 0")
            .then("one remediation, labelled; Warning RemediationSkipped for the other")
            .exclusive(ONE)
            .run(async |w| {
                let a = w.node_with(Sick, control_plane()).await?;
                let b = w.node_with(Sick, control_plane()).await?;
                w.node_with(Fine, control_plane()).await?;
                let policy = w.policy().with(json!({ "minHealthy": 0 })).create().await?;
                policy.event("Warning", "RemediationSkipped", "").await?;
                policy.shows(json!({ "phase": "Remediating", "observedNodes": 3, "healthyNodes": 1 })).await?;
                policy.looked().await?;
                ensure!(w.ever("Foo", &a) + w.ever("Foo", &b) == 1, "exactly one is to be remediated");
                let made = w.remediation(if w.ever("Foo", &a) == 1 { &a } else { &b }).await?;
                made.shows(json!({ "metadata": { "labels": { "remediation.medik8s.io/isControlPlaneNode": "" } } }))
                    .await?;
                let waits = if w.ever("Foo", &a) == 1 { &b } else { &a };
                waits.explained("another control-plane node first").await?;
                made.until("the label is there", |object| {
                    let there = object["metadata"]["labels"]["remediation.medik8s.io/isControlPlaneNode"].is_string();
                    if there { Ok(()) } else { Err("it is not".to_owned()) }
                })
                .await
                .map(drop)
            }),
        case("P02", Keep, SECTION)
            .given("the first of two sick control-plane nodes recovers, its remediation is held by a finalizer")
            .then("the second still waits")
            .exclusive(ONE)
            .run(async |w| {
                let a = w.node_with(Sick, control_plane()).await?;
                let b = w.node_with(Fine, control_plane()).await?;
                w.node_with(Fine, control_plane()).await?;
                let policy = w.policy().with(json!({ "minHealthy": 0 })).create().await?;
                let held = w.remediation(&a).await?;
                held.held(true).await?;
                b.becomes(Sick).await?;
                a.becomes(Fine).await?;
                held.ending().await?;
                policy.looked().await?;
                ensure!(w.ever("Foo", &b) == 0, "the second is remediated while the first is not free");
                Ok(())
            }),
        case("P03", Keep, SECTION)
            .given("then the finalizer goes")
            .then("the second is remediated within seconds")
            .exclusive(ONE)
            .run(async |w| {
                let a = w.node_with(Sick, control_plane()).await?;
                let b = w.node_with(Fine, control_plane()).await?;
                w.node_with(Fine, control_plane()).await?;
                let policy = w.policy().with(json!({ "minHealthy": 0 })).create().await?;
                let held = w.remediation(&a).await?;
                held.held(true).await?;
                b.becomes(Sick).await?;
                a.becomes(Fine).await?;
                held.ending().await?;
                policy.looked().await?;
                held.held(false).await?;
                w.remediation_within("Foo", &b, std::time::Duration::from_secs(45)).await.map(drop)
            }),
        case("P04", Keep, SECTION)
            .given("nodes that have only the label node-role.kubernetes.io/master")
            .then("they count as control plane")
            .exclusive(ONE)
            .run(async |w| {
                let master = json!({ "node-role.kubernetes.io/master": "" });
                let a = w.node_with(Sick, master.clone()).await?;
                let b = w.node_with(Sick, master.clone()).await?;
                w.node_with(Fine, master).await?;
                let policy = w.policy().with(json!({ "minHealthy": 0 })).create().await?;
                policy.event("Warning", "RemediationSkipped", "").await?;
                policy.looked().await?;
                ensure!(w.ever("Foo", &a) + w.ever("Foo", &b) == 1, "exactly one is to be remediated");
                Ok(())
            }),
        case("P08", Keep, SECTION)
            .given("a ladder on a control-plane node reaches its second step")
            .then("allowed although the first step's remediation is there")
            .exclusive(ONE)
            .run(async |w| {
                let sick = w.node_with(Sick, control_plane()).await?;
                w.node_with(Fine, control_plane()).await?;
                w.node_with(Fine, control_plane()).await?;
                let ladder = [("FooTemplate", "foo", 0, "10m"), ("BarTemplate", "bar", 1, "10m")];
                w.policy().ladder(&ladder).create().await?;
                let first = w.remediation_of("Foo", &sick).await?;
                first.says("Succeeded", "False").await?;
                w.remediation_of("Bar", &sick).await?;
                first.stays().await
            }),
        case("P09", Fix, SECTION)
            .given("two policies with different templates, each with one sick control-plane node")
            .then("only one of the nodes is remediated at a time")
            .exclusive(ONE)
            .run(async |w| {
                let group = |name: &str| json!({ "node-role.kubernetes.io/control-plane": "", w.label(): name });
                let a = w.node_with(Sick, group("a")).await?;
                let b = w.node_with(Sick, group("b")).await?;
                w.node_with(Fine, group("a")).await?;
                w.node_with(Fine, group("b")).await?;
                let select =
                    |name: &str| json!({ "minHealthy": 1, "selector": { "matchLabels": { w.label(): name } } });
                let first = w.policy().with(select("a")).create().await?;
                let made = w.remediation(&a).await?;
                let second =
                    w.policy().named("second").template("BarTemplate", "bar").with(select("b")).create().await?;
                second.event("Warning", "RemediationSkipped", &b.name).await?;
                first.looked().await?;
                second.looked().await?;
                ensure!(w.ever("Bar", &b) == 0, "both are remediated at once");
                a.becomes(Fine).await?;
                made.gone().await?;
                let patience = std::time::Duration::from_secs(80);
                w.remediation_within("Bar", &b, patience).await.map(drop)
            }),
        case("P-B1", Beyond, SECTION)
            .given("two detectors that both act; again and again two control-plane nodes get sick at the same moment")
            .then("each time one of them is remediated, by one of the detectors, and the other one waits")
            .at(Place::Alone)
            .run(async |w| {
                let mut detectors = Vec::new();
                for name in ["pb1-one", "pb1-two"] {
                    detectors.push(w.controller_with(Start { name: name.to_owned(), ..Start::default() })?);
                }
                let a = w.node_with(Fine, control_plane()).await?;
                let b = w.node_with(Fine, control_plane()).await?;
                w.node_with(Fine, control_plane()).await?;
                let policy = w.policy().with(json!({ "minHealthy": 0 })).create().await?;
                let mut of_a_before = 0;
                for round in 1..=5 {
                    futures::future::try_join(a.becomes(Sick), b.becomes(Sick)).await?;
                    let some =
                        || if w.ever("Foo", &a) + w.ever("Foo", &b) >= round { Ok(()) } else { Err(String::new()) };
                    w.eyes().until("a remediation", SOON, some).await?;
                    policy.looked().await?;
                    policy.looked().await?;
                    let (of_a, of_b) = (w.ever("Foo", &a), w.ever("Foo", &b));
                    ensure!(
                        of_a + of_b == round,
                        "round {round}: {of_a} remediations of one node, {of_b} of the other"
                    );
                    let (other, remediated) = if of_a > of_a_before { (&b, &a) } else { (&a, &b) };
                    of_a_before = of_a;
                    let made = w.remediation(remediated).await?;
                    other.becomes(Fine).await?;
                    remediated.becomes(Fine).await?;
                    made.gone().await?;
                }
                for detector in &mut detectors {
                    detector.kill().await;
                }
                Ok(())
            }),
    ]
}
