//! What an installation brings beside the definitions, applied to a real API server: rules and rights. None of these ids
//! is listed in the specification's section 8; they show what its sections 1.7 (A13) and 3 ask for.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, ensure};
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};

use super::schema::change_refused;
use crate::case::Tag::Keep;
use crate::case::{Case, Place, case};
use crate::plane::NAMESPACE;
use crate::policy::refusal;
use crate::world::{SOON, World};

const TOPOLOGY: &str = "nodehealthcheck-topology.palisade.dev";
const DETECTOR: &str = "rbac1-detector";
const AGGREGATION: &str = "node-healthcheck-operator-aggregation";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("ADM1", Keep, "1.7")
            .given("the rule about topologies, on a cluster whose control plane is DualReplica; then of each known topology; of none")
            .then("policies are refused, new and changed, naming the topology; with the others they are accepted")
            .real("admission policies")
            .at(Place::OpenShift)
            .run(async |w| {
                let result = topologies(&w).await;
                // The cases after this one bring no infrastructure.
                for kind in ["ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"] {
                    let _ = w.delete(kind, "", TOPOLOGY).await;
                }
                let _ = w.delete("Infrastructure", "", "cluster").await;
                result
            }),
        case("RBAC1", Keep, "3")
            .given("the roles that are shipped, applied twice, and somebody who has the detector's role only")
            .then("everything that a detector does is allowed, and nothing that it does not; own kinds come by aggregation")
            .real("role-based access control")
            .at(Place::Alone)
            .run(async |w| {
                w.plane.learn("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews");
                for _ in 0..2 {
                    for file in ["aggregation.yaml", "detector.yaml"] {
                        w.plane.apply_file(&w.plane.parts.deploy.join("rbac").join(file)).await?;
                    }
                }
                // The binding of the role itself is the installation's.
                w.plane.ensure(&json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": DETECTOR },
                    "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "palisade-detector" },
                    "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": DETECTOR }],
                })).await?;
                let result = rights(&w).await;
                w.delete("ClusterRoleBinding", "", DETECTOR).await?;
                result
            }),
    ]
}

async fn topologies(w: &Rc<World>) -> anyhow::Result<()> {
    w.plane.ensure(&json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": { "name": "cluster" }, "spec": {},
    })).await?;
    is(w, "HighlyAvailable").await?;
    w.plane.apply_file(&w.plane.parts.deploy.join("admission/nodehealthcheck-openshift.yaml")).await?;
    let policy = w.policy().create().await?;
    is(w, "DualReplica").await?;
    judged(w, false).await?;
    let words = ["topology", "DualReplica", "HighlyAvailableArbiter"];
    w.policy().named("new").without_templates().refused(&words).await?;
    change_refused(&policy, json!({ "minHealthy": "10%" }), &words).await?;
    for topology in ["HighlyAvailable", "SingleReplica", "HighlyAvailableArbiter", "External"] {
        is(w, "DualReplica").await?;
        judged(w, false).await?;
        is(w, topology).await?;
        judged(w, true).await?;
        policy.patch(json!({ "minHealthy": "10%" })).await?;
    }
    // A cluster that says nothing about itself is no cluster of that kind.
    is(w, "DualReplica").await?;
    judged(w, false).await?;
    w.delete("Infrastructure", "", "cluster").await?;
    judged(w, true).await
}

async fn is(w: &World, topology: &str) -> anyhow::Result<()> {
    w.patch_status("Infrastructure", "", "cluster", json!({ "controlPlaneTopology": topology })).await
}

/// Waits until the API server judges a new policy like this: it learns of parameters by watching them.
async fn judged(w: &Rc<World>, accepted: bool) -> anyhow::Result<()> {
    let api = w.plane.api("NodeHealthCheck", "")?;
    let object: DynamicObject = serde_json::from_value(w.policy().named("probe").object())?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let deadline = Instant::now() + SOON;
    loop {
        match api.create(&dry, &object).await {
            Ok(_) if accepted => return Ok(()),
            Err(error) if !accepted => return refusal(&error.into(), &["topology"]),
            result => ensure!(Instant::now() < deadline, "accepted is to be {accepted}, but it is {result:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn rights(w: &Rc<World>) -> anyhow::Result<()> {
    let (health, nodes) = ("remediation.medik8s.io", "nodes");
    for (verb, group, resource, part) in [
        ("patch", "", nodes, ""),
        ("watch", "", nodes, ""),
        ("watch", health, "nodehealthchecks", ""),
        ("patch", health, "nodehealthchecks", "status"),
        ("create", "", "events", ""),
        ("list", "apiextensions.k8s.io", "customresourcedefinitions", ""),
        ("delete", "coordination.k8s.io", "leases", ""),
        ("watch", "config.openshift.io", "infrastructures", ""),
        ("watch", "machine.openshift.io", "machinehealthchecks", ""),
        ("list", "policy", "poddisruptionbudgets", ""),
        ("list", "", "pods", ""),
    ] {
        may(w, DETECTOR, (verb, group, resource, part), true).await?;
    }
    for (verb, group, resource, part) in [
        ("delete", "", nodes, ""),
        ("patch", health, "nodehealthchecks", ""),
        ("delete", health, "nodehealthchecks", ""),
        ("delete", "", "pods", ""),
        ("get", "", "secrets", ""),
        ("create", "rbac.authorization.k8s.io", "clusterroles", ""),
        ("create", "self-node-remediation.medik8s.io", "selfnoderemediations", ""),
    ] {
        may(w, DETECTOR, (verb, group, resource, part), false).await?;
    }
    let binding = w.get("ClusterRoleBinding", "", AGGREGATION).await?.context("the binding")?;
    let subject = &binding["subjects"][0];
    ensure!(subject["name"] == "palisade-controller" && subject["namespace"] == NAMESPACE, "bound to {subject}");
    let deadline = Instant::now() + SOON;
    loop {
        let role = w.get("ClusterRole", "", AGGREGATION).await?.context("the role")?;
        let rules = role["rules"].to_string();
        // Filled in by the aggregation controller of Kubernetes.
        if ["selfnoderemediations", "selfnoderemediationtemplates", "wasmremediations", "wasmremediationtemplates"]
            .iter()
            .all(|resource| rules.contains(&format!("\"{resource}\"")))
        {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "own kinds are missing in the aggregated role: {rules}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Waits until the API server answers like this: it learns of roles by watching them.
async fn may(w: &World, who: &str, what: (&str, &str, &str, &str), wanted: bool) -> anyhow::Result<()> {
    let (verb, group, resource, part) = what;
    let review: Value = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": { "user": who, "resourceAttributes": {
            "verb": verb, "group": group, "resource": resource, "subresource": part, "namespace": "default",
        } },
    });
    let deadline = Instant::now() + SOON;
    loop {
        let answer = w.plane.create(&review).await?;
        if answer["status"]["allowed"] == wanted {
            return Ok(());
        }
        let right = format!("{verb} {resource} {part} of group {group:?}");
        ensure!(Instant::now() < deadline, "{who}: {right}: allowed is to be {wanted}, but: {}", answer["status"]);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
