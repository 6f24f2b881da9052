//! D.1, as far as it needs a remediator that acts on a device: what is taken back, who holds a node, and what a node that
//! went away means.

use std::time::Duration;

use anyhow::ensure;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::devices::{Bench, KIND, TEMPLATE};
use super::script;
use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, Draft, Place, case};
use crate::node::State::Sick;
use crate::plane::{NAMESPACE, refusal_code};

const SECTION: &str = "D.1";
const OWN: &str = "remediation.medik8s.io/self-node-remediation=:NoSchedule";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";

fn x(id: &'static str, tag: crate::case::Tag) -> Draft {
    case(id, tag, SECTION)
}

/// The cases.
pub fn cases() -> Vec<Case> {
    let mut cases = marks();
    cases.extend(holders());
    cases.extend(nodes());
    cases
}

fn marks() -> Vec<Case> {
    vec![
        x("X-01", Keep)
            .given("remediations of two kinds that are named as their nodes, without an annotation")
            .then("each acts on the node of its name")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                let far = bench.remediate(json!({})).await?;
                far.says("Succeeded", "True", "").await?;
                ensure!(bench.device.switches() == ["off", "on"], "{:?}", bench.device.switches());
                let scene = script::Scene::of(&w, bench.other.clone(), json!({})).await?;
                let cur = scene.ask_as(&bench.other.name, json!({}), &scene.entry("job")).await?;
                scene.job(&cur).await?;
                let now = cur.now().await?;
                ensure!(now["status"]["palisade"]["node"] == *bench.other.name, "{}", now["status"]["palisade"]);
                Ok(())
            }),
        x("X-08", Keep)
            .given("a remediation that is done, with its taints on the node, is deleted")
            .then("every mark of ours goes, then the finalizer")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                let before = w.get("Node", "", &bench.node.name).await?.unwrap_or_default();
                let change = json!({ "remediationStrategy": "OutOfServiceTaint", "sharedparameters": { "--action": "off" } });
                let far = bench.remediate(change).await?;
                far.says("Succeeded", "True", "").await?;
                let marks = bench.taints().await?;
                ensure!(marks.iter().any(|mark| mark == OUT_OF_SERVICE) && marks.iter().any(|mark| mark == OWN), "{marks:?}");
                far.leaves().await?;
                let after = w.get("Node", "", &bench.node.name).await?.unwrap_or_default();
                // An empty specification and none are the same.
                let spec = |node: &serde_json::Value| node["spec"].as_object().cloned().unwrap_or_default();
                ensure!(spec(&before) == spec(&after), "{} became {}", before["spec"], after["spec"]);
                ensure!(before["metadata"]["annotations"] == after["metadata"]["annotations"], "{}", after["metadata"]);
                ensure!(bench.node.lease_now().await?.is_none(), "the lease of the node is left");
                ensure!(w.get("Lease", NAMESPACE, &bench.node.name).await?.is_none(), "the intent is left");
                Ok(())
            }),
        x("X-09", Fix)
            .given("an administrator had cordoned and tainted the node before")
            .then("both are there after the remediation (weakness B.10 #3)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                let taint = json!([{ "key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute" }]);
                let spec = json!({ "spec": { "taints": taint, "unschedulable": true } });
                w.patch("Node", "", &bench.node.name, spec).await?;
                let far = bench.remediate(json!({ "remediationStrategy": "OutOfServiceTaint" })).await?;
                far.says("Succeeded", "True", "").await?;
                far.leaves().await?;
                let node = w.get("Node", "", &bench.node.name).await?.unwrap_or_default();
                ensure!(node["spec"]["unschedulable"] == true, "it is not cordoned any more");
                ensure!(bench.taints().await?.iter().any(|mark| mark == OUT_OF_SERVICE), "{:?}", bench.taints().await?);
                Ok(())
            }),
        x("X-20", Fix)
            .given("a remediation that marks and frees a node")
            .then("events about the cluster-wide Node are really stored")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                w.pod(&bench.node, "web", "ReplicaSet", json!([])).await?;
                let far = bench.remediate(json!({})).await?;
                far.says("Succeeded", "True", "").await?;
                for reason in ["AddNoScheduleTaint", "DeleteResources"] {
                    far.event("Node", &bench.node.name, reason).await?;
                }
                Ok(())
            }),
        x("X-21", Fix)
            .given("an unknown field, a negative count, a timeout of zero")
            .then("refused by the schema with the path of the field")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                for kind in [KIND, TEMPLATE] {
                    for (change, field) in [(json!({ "retrycount": -3 }), "retrycount"), (json!({ "timeout": "0s" }), "timeout")] {
                        let Err(error) = w.plane.create(&bench.object(kind, "x", &change)).await else {
                            anyhow::bail!("a {kind} with {change} was accepted");
                        };
                        let path = if kind == KIND { format!("spec.{field}") } else { format!("spec.template.spec.{field}") };
                        ensure!(refusal_code(&error) == Some(422) && format!("{error:#}").contains(&path), "{error:#}");
                    }
                    if w.plane.kind == palisade_sandbox::demo::BackendKind::Sandbox {
                        // Unknown fields are what every API server refuses in the same way.
                        continue;
                    }
                    let object = bench.object(kind, "x", &json!({ "retries": 3 }));
                    let mut strict = PatchParams::apply("palisade-conformance");
                    strict.field_validation = Some(kube::api::ValidationDirective::Strict);
                    let answer = w.plane.api(kind, &w.name)?.patch("x", &strict, &Patch::Apply(&object)).await;
                    let text = answer.err().map(|error| error.to_string()).unwrap_or_default();
                    ensure!(text.contains("retries"), "an unknown field of a {kind}: {text:?}");
                }
                Ok(())
            }),
    ]
}

fn holders() -> Vec<Case> {
    vec![
        x("X-12", Fix)
            .given("remediations of two kinds for one node, made by hand")
            .then(
                "one holds the node; the other does nothing, names the holder, and goes on when the first one is gone",
            )
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                bench.device.does("off", "sleep 600")?;
                let far = bench.remediate(json!({ "timeout": "10m" })).await?;
                bench.device.until("the agent runs", |device| !device.switches().is_empty()).await?;
                let scene = script::Scene::of(&w, bench.node.clone(), json!({})).await?;
                let cur = scene.run("job").await?;
                let holder = format!("{KIND}/{}/{}", w.name, far.name);
                cur.until("to name who holds the node", |object| {
                    let text = object["status"]["conditions"].to_string();
                    if text.contains(&holder) { Ok(()) } else { Err(text) }
                })
                .await?;
                tokio::time::sleep(Duration::from_secs(2)).await;
                ensure!(scene.made(&cur).await?.is_empty(), "its job runs");
                ensure!(bench.device.switches() == ["off"], "{:?}", bench.device.switches());
                bench.device.works("off");
                far.leaves().await?;
                scene.job(&cur).await?;
                bench
                    .node
                    .lease(json!({ "holderIdentity": format!("CustomizedUserRemediation/{}/cur-job", w.name) }))
                    .await?;
                Ok(())
            }),
        x("X-13", Fix)
            .given("somebody else holds the lease of the node for some seconds")
            .then("nothing is done before it ends; then it is taken over, with one transition more, and given back")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                bench.node.lease_by(Some("node-maintenance"), Duration::from_secs(15)).await?;
                let far = bench.remediate(json!({})).await?;
                far.until("to name who holds the node", |object| {
                    let text = object["status"]["conditions"].to_string();
                    if text.contains("node-maintenance") { Ok(()) } else { Err(text) }
                })
                .await?;
                ensure!(bench.device.runs().is_empty() && bench.taints().await?.is_empty(), "it is touched");
                bench
                    .node
                    .lease(
                        json!({ "holderIdentity": format!("{KIND}/{}/{}", w.name, far.name), "leaseTransitions": 1 }),
                    )
                    .await?;
                far.says("Succeeded", "True", "").await?;
                far.leaves().await?;
                bench.node.lease_gone().await
            }),
    ]
}

fn nodes() -> Vec<Case> {
    vec![
        x("X-19", Fix)
            .given("the node object is deleted and made again while the agent runs, with a taint of ours that somebody set")
            .then("what is known of the old one is void: it ends, releases nothing, and takes nothing off the new node")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                w.pod(&bench.node, "web", "ReplicaSet", json!([])).await?;
                bench.device.does("off", "while [ ! -f go ]; do sleep 0.1; done")?;
                let far = bench.remediate(json!({ "sharedparameters": { "--action": "off" } })).await?;
                bench.device.until("the agent runs", |device| !device.switches().is_empty()).await?;
                bench.node.shows_taint(OWN).await?;
                bench.node.vanishes().await?;
                let again = bench.node.comes_back(Sick).await?;
                w.boots(&again, "b1").await?;
                let taint = json!([{ "key": "remediation.medik8s.io/self-node-remediation", "effect": "NoSchedule" }]);
                w.patch("Node", "", &again.name, json!({ "spec": { "taints": taint } })).await?;
                // A pass may also look while there is no such node: the end is the same, and both texts name it.
                far.fails("RemediationFinishedNodeNotFound", &[&bench.node.name]).await?;
                bench.device.does("go", "")?;
                tokio::time::sleep(Duration::from_secs(3)).await;
                bench.untouched("web").await?;
                bench.device.works("off");
                far.leaves().await?;
                bench.untouched("web").await?;
                ensure!(bench.taints().await? == [OWN], "a mark of the new node was taken: {:?}", bench.taints().await?);
                Ok(())
            }),
        x("X-23", Fix)
            .given("remediation and node are deleted while no controller runs")
            .then("the next one leaves no lease, intent or finalizer behind (weakness B.7 #2)")
            .at(Place::Alone)
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                bench.device.does("off", "sleep 600")?;
                let mut controller = w.controller()?;
                let far = bench.remediate(json!({})).await?;
                bench.device.until("the agent runs", |device| !device.switches().is_empty()).await?;
                controller.kill().await;
                bench.device.works("off");
                ensure!(bench.node.lease_now().await?.is_some(), "the node was not held");
                bench.node.vanishes().await?;
                w.delete(KIND, &w.name, &far.name).await?;
                let mut controller = w.controller()?;
                far.leaves().await?;
                ensure!(bench.node.lease_now().await?.is_none(), "the lease of the node is left");
                ensure!(w.get("Lease", NAMESPACE, &bench.node.name).await?.is_none(), "the intent is left");
                ensure!(bench.device.switches() == ["off"], "{:?}", bench.device.switches());
                controller.kill().await;
                Ok(())
            }),
    ]
}
