//! D.7: health checks of machines as callers. The case plays the detector: what a `MachineHealthCheck` with a template
//! makes, and when it takes it away; it reads nothing from what it made.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::cluster_api::{define, machines};
use super::machines::fleet;
use super::subject::Subject;
use crate::case::Tag::Keep;
use crate::case::{Case, Draft, case};
use crate::node::Node;
use crate::node::State::{Fine, Sick};
use crate::self_node::{agents::Trio, know};
use crate::world::{SOON, World};

const SECTION: &str = "D.7";
const MACHINES: &str = "cluster-api/cluster.x-k8s.io_machines.yaml";
const CLUSTER_API: &str = "cluster.x-k8s.io/v1beta2";
const TIMED_OUT: &str = "remediation.medik8s.io/nhc-timed-out";
const SELF_NODE: (&str, &str) = ("SelfNodeRemediation", "self-node-remediation.medik8s.io/v1alpha1");
const SCRIPT: (&str, &str) = ("CustomizedUserRemediation", "customized-user-remediation.medik8s.io/v1alpha1");

fn mh(id: &'static str) -> Draft {
    case(id, Keep, SECTION).fixture(MACHINES)
}

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        mh("MH-17")
            .given("a request of Cluster API's health check, named as its Machine, and another node of that name")
            .then("the node of the Machine is fenced and released; the other one is not touched; deleted, all is back")
            .run(async |w| {
                let (trio, machine, request) = fenced(&w).await?;
                let namesake = Node::create(&w, &machine, Fine, &json!({})).await?;
                let before = w.get("Node", "", &namesake.name).await?.unwrap_or_default();
                request.says("Succeeded", "True", "").await?;
                ensure!(w.pod_now("web").await? == (false, false), "its pod is still there");
                let after = w.get("Node", "", &namesake.name).await?.unwrap_or_default();
                ensure!(
                    before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"],
                    "it was written"
                );
                trio.victim.comes_back("b2").await?;
                request.leaves().await?;
                trio.victim.let_go().await?;
                let taints = trio.victim.taints();
                ensure!(taints.is_empty(), "it has taints {taints:?}");
                ensure!(owner_remediated(&w, &machine).await?.is_empty(), "a machine that was helped is handed back");
                Ok(())
            }),
        mh("MH-19")
            .given("a request whose owner reference has the UID of an earlier Machine of that name")
            .then("refused as stale, and nothing is touched")
            .run(async |w| {
                let (trio, machine) = machine_with_agent(&w).await?;
                let owner = owner(CLUSTER_API, &machine, "earlier-uid");
                let request = request(&w, SELF_NODE, &machine, owner, json!({})).await?;
                request.says("Succeeded", "False", "").await?;
                let now = request.now().await?;
                ensure!(now["status"].to_string().contains("earlier-uid"), "it says {}", now["status"]);
                trio.victim.never_touched()
            }),
        mh("MH-20")
            .given("a request that is deleted in the middle of its run")
            .then("stopped, cleaned up, and gone")
            .run(async |w| {
                let (trio, machine) = machine_with_agent(&w).await?;
                trio.refuse();
                let request =
                    asked(&w, SELF_NODE, &machine, json!({ "remediationStrategy": "ResourceDeletion" })).await?;
                trio.victim.intended().await?;
                let begun = Instant::now();
                request.leaves().await?;
                ensure!(begun.elapsed() < Duration::from_secs(30), "it took {:?}", begun.elapsed());
                ensure!(w.pod_now("web").await?.0, "its pod was released without a proof");
                trio.victim.let_go().await
            }),
        mh("MH-23")
            .given("the Machine is deleted, and the garbage collector deletes the request that it owns")
            .then("no finalizer is stuck")
            .run(async |w| {
                let (trio, machine, request) = fenced(&w).await?;
                request.says("Succeeded", "True", "").await?;
                machines(&w).delete(&machine, &kube::api::DeleteParams::default()).await?;
                trio.victim.node.vanishes().await?;
                request.leaves().await
            }),
        mh("MH-B1")
            .given("a request that fails, of a Machine of Cluster API whose status others write too")
            .then("OwnerRemediated=False in the current and in the older form, beside what others wrote")
            .run(async |w| {
                let (_, machine) = machine_with_agent(&w).await?;
                w.plane.learn(
                    "customized-user-remediation.medik8s.io",
                    "v1alpha1",
                    SCRIPT.0,
                    "customizeduserremediations",
                );
                w.plane.eyes.watch(&w.plane.resource(SCRIPT.0)?).await?;
                let request = asked(&w, SCRIPT, &machine, json!({ "script": "nobody-listed-this" })).await?;
                request.says("Succeeded", "False", "").await?;
                request.says("MachineHandedBack", "True", "WaitingForRemediation").await?;
                let told = owner_remediated(&w, &machine).await?;
                ensure!(told == ["False WaitingForRemediation", "False WaitingForRemediation"], "it says {told:?}");
                let status = machines(&w).get(&machine).await?.data["status"].take();
                ensure!(status["nodeRef"]["name"].is_string(), "its nodeRef is lost");
                let kept =
                    status["conditions"].as_array().is_some_and(|all| all.iter().any(|one| one["type"] == "Ready"));
                ensure!(kept, "the condition of somebody else is lost: {status}");
                request.leaves().await
            }),
        mh("MH-B3")
            .given("a request of Cluster API's health check that is told to stop")
            .then("it has no next step, so the Machine is handed back to its owner")
            .run(async |w| {
                let (trio, machine) = machine_with_agent(&w).await?;
                trio.refuse();
                let request =
                    asked(&w, SELF_NODE, &machine, json!({ "remediationStrategy": "ResourceDeletion" })).await?;
                trio.victim.intended().await?;
                request.annotate(TIMED_OUT, "2026-01-01T00:00:00Z").await?;
                request.says("MachineHandedBack", "True", "WaitingForRemediation").await?;
                request.says("Succeeded", "False", "").await?;
                let told = owner_remediated(&w, &machine).await?;
                ensure!(told == ["False WaitingForRemediation", "False WaitingForRemediation"], "it says {told:?}");
                ensure!(w.pod_now("web").await?.0, "its pod was released without a proof");
                request.leaves().await
            }),
        mh("MH-B4")
            .given("a request that a node's health check made for a node with a Machine, and gave up")
            .then("the next step is that health check's: the Machine is not handed back")
            .run(async |w| {
                let (trio, machine) = machine_with_agent(&w).await?;
                trio.refuse();
                let uid = machines(&w).get(&machine).await?.metadata.uid.context("a Machine without UID")?;
                let check = json!({ "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
                    "name": "check", "uid": "check-uid" });
                let owners = json!([check, owner(CLUSTER_API, &machine, &uid)]);
                let about = json!({ "ownerReferences": owners,
                    "annotations": { "remediation.medik8s.io/node-name": trio.victim.node.name } });
                let spec = json!({ "remediationStrategy": "ResourceDeletion" });
                let request = w.asks(SELF_NODE.0, SELF_NODE.1, &trio.victim.node.name, about, spec).await?;
                trio.victim.intended().await?;
                request.annotate(TIMED_OUT, "2026-01-01T00:00:00Z").await?;
                // A hand-back is written before this.
                request.says("Succeeded", "False", "").await?;
                let told = owner_remediated(&w, &machine).await?;
                ensure!(told.is_empty(), "it says {told:?}");
                request.leaves().await
            }),
        mh("MH-B2")
            .given("a request of OpenShift's health check, named as its Machine")
            .then("the node of the Machine is fenced and released")
            .fixture("openshift/0000_10_machine-api_01_machines-Default.crd.yaml")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                let fleet = fleet(&w, Some(1)).await?;
                let made = fleet.machine("openshift-m", Some(&trio.victim.node), json!({})).await?;
                w.pod(&trio.victim.node, "web", "ReplicaSet", json!([])).await?;
                trio.victim.node.becomes(Sick).await?;
                let uid = made["metadata"]["uid"].as_str().unwrap_or_default();
                let owner = owner("machine.openshift.io/v1beta1", "openshift-m", uid);
                let spec = json!({ "remediationStrategy": "ResourceDeletion" });
                let request = request(&w, SELF_NODE, "openshift-m", owner, spec).await?;
                request.says("Succeeded", "True", "").await?;
                ensure!(!w.pod_now("web").await?.0, "its pod is still there");
                fleet.untouched(&made)?;
                request.leaves().await
            }),
    ]
}

/// Three nodes with agents; the first is silent, has a pod, and is the node of a Machine whose name is returned.
async fn machine_with_agent(w: &Rc<World>) -> anyhow::Result<(Trio, String)> {
    know(w).await?;
    define(w).await?;
    let trio = w.trio().await?;
    w.pod(&trio.victim.node, "web", "ReplicaSet", json!([])).await?;
    trio.victim.node.becomes(Sick).await?;
    let name = format!("{}-machine", w.name);
    let machine = json!({
        "apiVersion": CLUSTER_API, "kind": "Machine",
        "metadata": { "name": name, "namespace": w.name, "labels": { "cluster.x-k8s.io/cluster-name": "c" } },
        "spec": { "clusterName": "c", "providerID": format!("docker:///{name}"), "bootstrap": { "dataSecretName": "s" },
            "infrastructureRef": { "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DockerMachine", "name": "i" } },
    });
    let machine: DynamicObject = serde_json::from_value(machine)?;
    machines(w).create(&PostParams::default(), &machine).await?;
    let ready = json!({ "type": "Ready", "status": "False", "reason": "Test", "message": "",
        "lastTransitionTime": crate::value::stamp(0) });
    let status = json!({ "status": { "nodeRef": { "name": trio.victim.node.name }, "conditions": [ready] } });
    machines(w).patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok((trio, name))
}

/// The same with a request that is being carried out.
async fn fenced(w: &Rc<World>) -> anyhow::Result<(Trio, String, Subject)> {
    let (trio, machine) = machine_with_agent(w).await?;
    let request = asked(w, SELF_NODE, &machine, json!({ "remediationStrategy": "ResourceDeletion" })).await?;
    trio.victim.intended().await?;
    Ok((trio, machine, request))
}

/// What Cluster API's health check makes for an unhealthy Machine.
async fn asked(w: &Rc<World>, kind: (&'static str, &str), machine: &str, spec: Value) -> anyhow::Result<Subject> {
    let uid = machines(w).get(machine).await?.metadata.uid.context("a Machine without UID")?;
    request(w, kind, machine, owner(CLUSTER_API, machine, &uid), spec).await
}

async fn request(
    w: &Rc<World>,
    (kind, version): (&'static str, &str),
    machine: &str,
    owner: Value,
    spec: Value,
) -> anyhow::Result<Subject> {
    let group = version.split('/').next().unwrap_or_default();
    let metadata = json!({
        "ownerReferences": [owner], "labels": { "cluster.x-k8s.io/cluster-name": "c" },
        "annotations": { "cluster.x-k8s.io/cloned-from-name": "template",
            "cluster.x-k8s.io/cloned-from-groupkind": format!("{kind}Template.{group}") },
    });
    w.asks(kind, version, machine, metadata, spec).await
}

fn owner(api_version: &str, name: &str, uid: &str) -> Value {
    json!({ "apiVersion": api_version, "kind": "Machine", "name": name, "uid": uid })
}

/// How the Machine says that its owner has to help, in each of its lists.
pub async fn owner_remediated(w: &Rc<World>, machine: &str) -> anyhow::Result<Vec<String>> {
    let status = machines(w).get(machine).await?.data["status"].take();
    if status.is_null() {
        bail!("Machine {machine} has no status within {SOON:?}");
    }
    let lists = ["/conditions", "/deprecated/v1beta1/conditions"];
    let found = lists.iter().filter_map(|pointer| {
        let all = status.pointer(pointer)?.as_array()?;
        all.iter().find(|one| one["type"] == "OwnerRemediated")
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(found.map(|one| format!("{} {}", text(&one["status"]), text(&one["reason"]))).collect())
}
