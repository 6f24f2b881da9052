//! Clusters that also serve the kinds of OpenShift. Upgrades, machine health checks and the budget of etcd concern every
//! policy of the cluster, so these cases run one after the other, each with a controller of its own.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::case::Tag::Keep;
use crate::case::{Case, Draft, Place, case};
use crate::definitions::{self, Scope};
use crate::node::Node;
use crate::node::State::{Fine, Sick};
use crate::plane::Plane;
use crate::world::{SOON, World};

const SECTION: &str = "8.11";
const ETCD: &str = "openshift-etcd";
const MACHINES: &str = "openshift-machine-api";
const MHC: &str = "openshift/0000_10_machine-api_01_machinehealthchecks.crd.yaml";

/// Brings the definitions: those of others from the fixtures, as they are.
pub async fn install(plane: &Rc<Plane>) -> anyhow::Result<()> {
    for name in [ETCD, MACHINES] {
        plane.ensure(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await?;
    }
    let group = "config.openshift.io";
    for (kind, plural) in [("ClusterVersion", "clusterversions"), ("Infrastructure", "infrastructures")] {
        plane.define(&definitions::anything(group, "v1", kind, plural, Scope::Cluster)).await?;
    }
    let kind = "Metal3RemediationTemplate";
    let metal3 = "infrastructure.cluster.x-k8s.io";
    plane
        .define(&definitions::anything(metal3, "v1beta1", kind, "metal3remediationtemplates", Scope::Namespaced))
        .await?;
    let kind = "Metal3Remediation";
    plane.define(&definitions::anything(metal3, "v1beta1", kind, "metal3remediations", Scope::Namespaced)).await?;
    let path = plane.parts.fixtures.join(MHC);
    if path.exists() {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        plane.define(&serde_yaml_ng::from_str(&text).with_context(|| path.display().to_string())?).await?;
    }
    Ok(())
}

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        openshift("P05", "8.10")
            .given("the budget of etcd allows no disruption, and the guard pod of the sick node is Ready; or Unknown")
            .then("no remediation")
            .run(async |w| {
                let mut controller = w.controller()?;
                budget(&w, 0).await?;
                let node = control_plane(&w).await?;
                for ready in ["True", "Unknown"] {
                    guard(&w, &node, Some(ready)).await?;
                    let policy = w.policy().named(&ready.to_lowercase()).with(json!({ "minHealthy": 0 })).create().await?;
                    policy.event("Warning", "RemediationSkipped", &node.name).await?;
                    policy.looked().await?;
                    w.never_remediated().await?;
                    policy.delete().await?;
                }
                no_guard(&w, &node).await?;
                controller.kill().await;
                Ok(())
            }),
        openshift("P06", "8.10")
            .given("the same, but the guard pod is not Ready; has no Ready condition; there is none")
            .then("the node is remediated: its member is lost already")
            .run(async |w| {
                let mut controller = w.controller()?;
                budget(&w, 0).await?;
                for ready in [Some("False"), Some(""), None] {
                    let node = control_plane(&w).await?;
                    guard(&w, &node, ready).await?;
                    let name = format!("with-{}", ready.unwrap_or("none").to_lowercase());
                    let policy = w.policy().named(name.trim_end_matches('-')).with(json!({ "minHealthy": 0 })).create().await?;
                    let made = w.remediation(&node).await?;
                    node.becomes(Fine).await?;
                    made.gone().await?;
                    policy.shows(json!({ "unhealthyNodes": null })).await?;
                    policy.delete().await?;
                    no_guard(&w, &node).await?;
                    node.vanishes().await?;
                }
                controller.kill().await;
                Ok(())
            }),
        openshift("P07", "8.10")
            .given("there is no budget of etcd; then there is one that allows a disruption")
            .then("no remediation, and the reason names the namespace; then there is one")
            .run(async |w| {
                let mut controller = w.controller()?;
                w.delete("PodDisruptionBudget", ETCD, "etcd-guard-pdb").await?;
                let node = control_plane(&w).await?;
                let policy = w.policy().with(json!({ "minHealthy": 0 })).create().await?;
                policy.event("Warning", "RemediationSkipped", ETCD).await?;
                policy.looked().await?;
                w.never_remediated().await?;
                budget(&w, 1).await?;
                w.remediation_within("Foo", &node, Duration::from_secs(80)).await?;
                controller.kill().await;
                Ok(())
            }),
        openshift("X04", SECTION)
            .given("ClusterVersion is Progressing, and a node is sick; then the upgrade ends")
            .then("no remediation, Enabled, Normal RemediationSkipped, true counters; then a remediation within 60 s")
            .run(async |w| {
                upgrade(&w, "True").await?;
                let mut controller = w.controller()?;
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                policy.event("Normal", "RemediationSkipped", "").await?;
                policy.shows(json!({ "phase": "Enabled", "observedNodes": 3, "healthyNodes": 2 })).await?;
                policy.looked().await?;
                sick.explained("upgrade").await?;
                w.never_remediated().await?;
                upgrade(&w, "False").await?;
                w.remediation_within("Foo", &sick, Duration::from_secs(75)).await?;
                controller.kill().await;
                Ok(())
            }),
        openshift("X05", SECTION)
            .given("desiredConfig of a sick node is not its currentConfig; then it is")
            .then("no remediation, Enabled; then a remediation within 60 s")
            .run(async |w| {
                upgrade(&w, "False").await?;
                let mut controller = w.controller()?;
                let [sick, ..] = w.nodes([Fine, Fine, Fine]).await?;
                sick.annotate("machineconfiguration.openshift.io/currentConfig", Some("rendered-1")).await?;
                sick.annotate("machineconfiguration.openshift.io/desiredConfig", Some("rendered-2")).await?;
                sick.becomes(Sick).await?;
                let policy = w.policy().create().await?;
                policy.event("Normal", "RemediationSkipped", "").await?;
                policy.shows(json!({ "phase": "Enabled" })).await?;
                policy.looked().await?;
                w.never_remediated().await?;
                sick.annotate("machineconfiguration.openshift.io/currentConfig", Some("rendered-2")).await?;
                w.remediation_within("Foo", &sick, Duration::from_secs(75)).await?;
                controller.kill().await;
                Ok(())
            }),
        openshift("X09", SECTION)
            .given("a Metal3RemediationTemplate outside openshift-machine-api, and one inside")
            .then("the first is Disabled with RemediationTemplateInvalid, the second is not")
            .run(async |w| {
                let mut controller = w.controller()?;
                let api_version = "infrastructure.cluster.x-k8s.io/v1beta1";
                for (suffix, namespace) in [("out", w.name.clone()), ("in", MACHINES.to_owned())] {
                    let kind = "Metal3RemediationTemplate";
                    let template = json!({
                        "apiVersion": api_version, "kind": kind, "metadata": { "name": "metal", "namespace": namespace },
                        "spec": { "template": { "spec": { "strategy": { "type": "Reboot" } } } },
                    });
                    w.plane.ensure(&template).await?;
                    let reference = json!({ "apiVersion": api_version, "kind": kind, "name": "metal", "namespace": namespace });
                    let draft = w.policy().named(suffix).without_templates().with(json!({ "remediationTemplate": reference }));
                    let policy = draft.create().await?;
                    let expected = if suffix == "out" {
                        json!({ "status": "True", "reason": "RemediationTemplateInvalid" })
                    } else {
                        json!({ "status": "False" })
                    };
                    policy.condition("Disabled", expected).await?;
                }
                controller.kill().await;
                Ok(())
            }),
        openshift("X11", SECTION)
            .fixture(MHC)
            .given("a MachineHealthCheck of somebody is created, and deleted")
            .then("Disabled with ConflictingMachineHealthCheckDetected, nothing is remediated; then enabled again")
            .run(async |w| {
                let mut controller = w.controller()?;
                w.nodes([Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                policy.condition("Disabled", json!({ "status": "False" })).await?;
                machine_health_check(&w, "custom", "Ready").await?;
                policy.condition("Disabled", json!({ "status": "True", "reason": "ConflictingMachineHealthCheckDetected" })).await?;
                policy.shows(json!({ "phase": "Disabled" })).await?;
                policy.event("Warning", "Disabled", "MachineHealthCheck").await?;
                w.delete("MachineHealthCheck", MACHINES, "custom").await?;
                policy.condition("Disabled", json!({ "status": "False" })).await?;
                policy.shows(json!({ "phase": "Enabled" })).await?;
                controller.kill().await;
                Ok(())
            }),
        openshift("X12", SECTION)
            .fixture(MHC)
            .given("only the termination handler's MachineHealthCheck, one sick node with a condition Terminating, one without")
            .then("only the one without is remediated, and the policy is not disabled; then the condition goes")
            .run(async |w| {
                machine_health_check(&w, "termination", "Terminating").await?;
                let mut controller = w.controller()?;
                let [terminating, other, ..] = w.nodes([Sick, Sick, Fine, Fine, Fine]).await?;
                terminating.reports("Terminating", "True", 60).await?;
                let policy = w.policy().create().await?;
                w.remediation(&other).await?;
                policy.condition("Disabled", json!({ "status": "False" })).await?;
                policy.looked().await?;
                let spared = w.ever("Foo", &terminating) == 0;
                terminating.forgets("Terminating").await?;
                let later = w.remediation(&terminating).await;
                w.delete("MachineHealthCheck", MACHINES, "termination").await?;
                ensure!(spared, "the terminating node was remediated");
                later?;
                controller.kill().await;
                Ok(())
            }),
    ]
}

fn openshift(id: &'static str, section: &'static str) -> Draft {
    case(id, Keep, section).at(Place::OpenShift)
}

async fn control_plane(w: &Rc<World>) -> anyhow::Result<Node> {
    w.node_with(Sick, json!({ "node-role.kubernetes.io/master": "", "node-role.kubernetes.io/control-plane": "" }))
        .await
}

async fn upgrade(w: &World, progressing: &str) -> anyhow::Result<()> {
    let version = json!({ "apiVersion": "config.openshift.io/v1", "kind": "ClusterVersion", "metadata": { "name": "version" }, "spec": {} });
    w.plane.ensure(&version).await?;
    let conditions = json!([{ "type": "Progressing", "status": progressing, "message": "Working towards 4.22", "lastTransitionTime": crate::value::stamp(0) }]);
    w.patch_status("ClusterVersion", "", "version", json!({ "conditions": conditions })).await
}

async fn machine_health_check(w: &World, name: &str, condition: &str) -> anyhow::Result<()> {
    w.plane
        .ensure(&json!({
            "apiVersion": "machine.openshift.io/v1beta1", "kind": "MachineHealthCheck",
            "metadata": { "name": name, "namespace": MACHINES },
            "spec": {
                "selector": { "matchLabels": { "role": "worker" } }, "maxUnhealthy": "100%",
                "unhealthyConditions": [{ "type": condition, "status": "True", "timeout": "0s" }],
            },
        }))
        .await
}

/// The one budget of etcd, which allows so many disruptions.
async fn budget(w: &World, allowed: i64) -> anyhow::Result<()> {
    w.plane
        .ensure(&json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": { "name": "etcd-guard-pdb", "namespace": ETCD },
            "spec": { "minAvailable": 2, "selector": { "matchLabels": { "app": "guard" } } },
        }))
        .await?;
    let status = json!({ "disruptionsAllowed": allowed, "currentHealthy": 2, "desiredHealthy": 2, "expectedPods": 3, "observedGeneration": 1 });
    w.patch_status("PodDisruptionBudget", ETCD, "etcd-guard-pdb", status).await
}

/// The guard pod of a node: with this status of Ready, without the condition if that is empty, or no pod at all.
async fn guard(w: &World, node: &Node, ready: Option<&str>) -> anyhow::Result<()> {
    let Some(ready) = ready else { return Ok(()) };
    let name = format!("guard-{}", node.name);
    let pod: Value = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": ETCD, "labels": { "app": "guard" } },
        "spec": { "nodeName": node.name, "automountServiceAccountToken": false, "containers": [{ "name": "guard", "image": "guard" }] },
    });
    let deadline = std::time::Instant::now() + SOON;
    // A new namespace gets its service account a moment later, and takes no pods before.
    while let Err(error) = w.plane.ensure(&pod).await {
        ensure!(std::time::Instant::now() < deadline, "guard pod: {error:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let conditions = if ready.is_empty() { json!([]) } else { json!([{ "type": "Ready", "status": ready }]) };
    w.patch_status("Pod", ETCD, &name, json!({ "phase": "Running", "conditions": conditions })).await
}

async fn no_guard(w: &World, node: &Node) -> anyhow::Result<()> {
    let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    match w.plane.api("Pod", ETCD)?.delete(&format!("guard-{}", node.name), &now).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}
