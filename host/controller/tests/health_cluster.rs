//! The detector among others: node leases, storms, OpenShift, other policies, foreign templates.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests outside test functions")]

mod burst;
mod health_support;

use health_support::{Cluster, definition, eventually, reference, template};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

fn leases(cluster: &Cluster) -> Api<Lease> {
    Api::namespaced(cluster.client.clone(), "medik8s-leases")
}

fn lease(node: &str, holder: &str, age: i64, seconds: i64) -> Value {
    let renewed = (Timestamp::now() - SignedDuration::from_secs(age)).strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": format!("node-{node}"), "namespace": "medik8s-leases" },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": renewed, "leaseTransitions": 3 },
    })
}

fn lease_namespace(cluster: &Cluster) {
    cluster.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "medik8s-leases" } }));
}

async fn patch_node(cluster: &Cluster, name: &str, body: Value) {
    let nodes = Api::<Node>::all(cluster.client.clone());
    nodes.patch(name, &PatchParams::default(), &Patch::Merge(body)).await.unwrap();
}

fn crd(group: &str, version: &str, kind: &str, plural: &str, scope: &str) -> Value {
    let mut crd = definition(kind);
    crd["metadata"]["name"] = format!("{plural}.{group}").into();
    crd["spec"]["group"] = group.into();
    crd["spec"]["scope"] = scope.into();
    crd["spec"]["names"]["plural"] = plural.into();
    crd["spec"]["versions"][0]["name"] = version.into();
    crd
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remediation_comes_with_the_lease_of_its_node() {
    // Given a sick node and no namespace for leases
    let cluster = Cluster::ready().await;
    cluster.policy(json!({}));
    cluster.node("b", "Unknown", 60).await;
    cluster.count("Foo", 1).await;
    // Then the lease is there
    let lease = leases(&cluster).get("node-b").await.unwrap();
    let spec = lease.spec.clone().unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("NodeHealthCheck-nhc"));
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(660), Some(0)));
    assert_eq!(spec.acquire_time, spec.renew_time);
    let node = Api::<Node>::all(cluster.client.clone()).get("b").await.unwrap();
    let owner = &lease.owner_references()[0];
    assert_eq!((owner.api_version.as_str(), owner.kind.as_str(), owner.name.as_str()), ("v1", "Node", "b"));
    assert_eq!(owner.uid, node.uid().unwrap());
    // When the node recovers, it goes after the remediation
    let hold = json!({ "metadata": { "finalizers": ["test.example/hold"] } });
    cluster.remediations("Foo").patch("b", &PatchParams::default(), &Patch::Merge(&hold)).await.unwrap();
    cluster.node("b", "True", 0).await;
    cluster.status("the recovery", |s| !s["unhealthyNodes"][0]["conditionsHealthyTimestamp"].is_null()).await;
    assert!(leases(&cluster).get_opt("node-b").await.unwrap().is_some());
    let release = json!({ "metadata": { "finalizers": null } });
    cluster.remediations("Foo").patch("b", &PatchParams::default(), &Patch::Merge(&release)).await.unwrap();
    eventually("no lease", async || leases(&cluster).get_opt("node-b").await.unwrap().is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_lease_is_waited_for_and_then_taken_over() {
    let cluster = Cluster::ready().await;
    lease_namespace(&cluster);
    let taken = Timestamp::now();
    cluster.apply(&lease("b", "node-maintenance", 0, 4));
    cluster.policy(json!({}));
    cluster.node("b", "Unknown", 60).await;
    cluster.event("RemediationSkipped", "node-maintenance holds the lease of this node").await;
    let status = cluster.status("the sick node", |status| status["unhealthyNodes"][0]["name"] == "b").await;
    assert_eq!(status["phase"], "Enabled");
    // When it expires, and not before, the node is remediated
    let made = cluster.count("Foo", 1).await.remove(0).creation_timestamp().unwrap().0;
    let waited = made.as_second() - taken.as_second();
    assert!(waited >= 4, "taken over after {waited} s");
    let spec = leases(&cluster).get("node-b").await.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("NodeHealthCheck-nhc"));
    assert_eq!((spec.lease_transitions, spec.acquire_time), (Some(4), spec.renew_time));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_released_is_noticed_at_once_and_one_taken_from_us_is_theirs() {
    let cluster = Cluster::ready().await;
    lease_namespace(&cluster);
    cluster.apply(&lease("b", "node-maintenance", 0, 9_000));
    cluster.policy(json!({}));
    cluster.node("b", "Unknown", 60).await;
    cluster.event("RemediationSkipped", "node-maintenance").await;
    leases(&cluster).delete("node-b", &DeleteParams::default()).await.unwrap();
    cluster.count("Foo", 1).await;
    // When somebody takes it over while the remediation runs, it stays theirs after the recovery
    let theirs = json!({ "spec": { "holderIdentity": "somebody" } });
    leases(&cluster).patch("node-b", &PatchParams::default(), &Patch::Merge(&theirs)).await.unwrap();
    cluster.node("b", "True", 0).await;
    cluster.count("Foo", 0).await;
    cluster.status("a healthy cluster", |status| status["healthyNodes"] == 3).await;
    let spec = leases(&cluster).get("node-b").await.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("somebody"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remediation_that_cannot_be_made_leaves_no_lease() {
    let cluster = Cluster::ready().await;
    let mut picky = definition("Foo");
    picky["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-validations": [{ "rule": "false", "message": "never" }],
    });
    cluster.apply(&picky);
    cluster.node("b", "Unknown", 60).await;
    cluster.policy(json!({}));
    cluster.event("RemediationFailed", "cannot create Foo for node b").await;
    eventually("no lease", async || leases(&cluster).get_opt("node-b").await.unwrap().is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_policies_the_first_remediates_and_the_other_waits() {
    let cluster = Cluster::ready().await;
    cluster.policy(json!({}));
    cluster.status("an idle policy", |status| status["observedNodes"] == 3).await;
    cluster.node("b", "Unknown", 60).await;
    cluster.count("Foo", 1).await;
    cluster.policy_named("second", json!({ "remediationTemplate": reference("BarTemplate", "bar") }));
    cluster.event("RemediationSkipped", "NodeHealthCheck-nhc holds the lease of this node").await;
    assert!(cluster.list("Bar").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_control_plane_node_is_remediated_over_all_policies() {
    // Given two policies with different templates, and a sick control-plane node for each
    let cluster = Cluster::ready().await;
    for (name, pool) in [("a", "one"), ("b", "two")] {
        let labels = json!({ "metadata": { "labels": { "pool": pool, "node-role.kubernetes.io/control-plane": "" } } });
        patch_node(&cluster, name, labels).await;
    }
    let policy = |name: &str, kind: &str, template: &str| {
        let selector = json!({ "matchLabels": { "pool": name } });
        let template = reference(kind, template);
        cluster.policy_named(name, json!({ "selector": selector, "minHealthy": 0, "remediationTemplate": template }));
    };
    policy("one", "FooTemplate", "foo");
    policy("two", "BarTemplate", "bar");
    cluster.node("a", "Unknown", 60).await;
    let made = cluster.count("Foo", 1).await.remove(0);
    assert!(made.labels().contains_key("remediation.medik8s.io/isControlPlaneNode"));
    // Then the second waits
    cluster.node("b", "Unknown", 60).await;
    cluster.event("RemediationSkipped", "control-plane node a (Foo rem/a) is being remediated").await;
    assert!(cluster.list("Bar").await.is_empty());
    // Until the first is done
    cluster.node("a", "True", 0).await;
    cluster.count("Foo", 0).await;
    cluster.count("Bar", 1).await;
}

fn openshift(cluster: &Cluster) {
    cluster.apply(&crd("config.openshift.io", "v1", "ClusterVersion", "clusterversions", "Cluster"));
    cluster.apply(&crd("config.openshift.io", "v1", "Infrastructure", "infrastructures", "Cluster"));
    let checks = crd("machine.openshift.io", "v1beta1", "MachineHealthCheck", "machinehealthchecks", "Namespaced");
    cluster.apply(&checks);
    cluster.apply(&crd("machine.openshift.io", "v1beta1", "Machine", "machines", "Namespaced"));
    for name in ["openshift-machine-api", "openshift-etcd"] {
        cluster.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }));
    }
}

/// Applies an object and then its status, which a server takes only apart.
async fn apply_with_status(cluster: &Cluster, object: &Value) {
    cluster.apply(object);
    let (group, version) = object["apiVersion"].as_str().unwrap().split_once('/').unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, object["kind"].as_str().unwrap()));
    let api = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::<DynamicObject>::namespaced_with(cluster.client.clone(), namespace, &resource),
        None => Api::all_with(cluster.client.clone(), &resource),
    };
    let status = Patch::Merge(json!({ "status": object["status"] }));
    let name = object["metadata"]["name"].as_str().unwrap();
    api.patch_status(name, &PatchParams::default(), &status).await.unwrap();
}

fn version(progressing: &str) -> Value {
    json!({
        "apiVersion": "config.openshift.io/v1",
        "kind": "ClusterVersion",
        "metadata": { "name": "version" },
        "status": { "conditions": [{ "type": "Progressing", "status": progressing, "message": "Working towards 4.22" }] },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_of_openshift_holds_fire_and_its_end_is_noticed() {
    let mut cluster = Cluster::ready().await;
    openshift(&cluster);
    apply_with_status(&cluster, &version("True")).await;
    // As below: the upgrade is there before the detector looks.
    cluster.restart().await;
    cluster.policy(json!({}));
    cluster.node("b", "Unknown", 60).await;
    cluster.event("RemediationSkipped", "Working towards 4.22").await;
    assert!(cluster.list("Foo").await.is_empty());
    let status = cluster.status("the sick node", |status| status["unhealthyNodes"][0]["name"] == "b").await;
    assert_eq!((&status["phase"], &status["observedNodes"]), (&json!("Enabled"), &json!(3)));
    apply_with_status(&cluster, &version("False")).await;
    cluster.count("Foo", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_health_check_disables_policies_while_it_is_there() {
    let cluster = Cluster::ready().await;
    openshift(&cluster);
    let check = |name: &str, type_: &str| {
        json!({
            "apiVersion": "machine.openshift.io/v1beta1",
            "kind": "MachineHealthCheck",
            "metadata": { "name": name, "namespace": "openshift-machine-api" },
            "spec": { "unhealthyConditions": [{ "type": type_, "status": "True", "timeout": "0s" }] },
        })
    };
    cluster.apply(&check("termination", "Terminating"));
    cluster.policy(json!({}));
    cluster.status("an enabled policy", |status| status["phase"] == "Enabled").await;
    cluster.apply(&check("custom", "Ready"));
    let reason = "ConflictingMachineHealthCheckDetected";
    cluster.status("a disabled policy", |status| status["conditions"][0]["reason"] == reason).await;
    let resource =
        ApiResource::from_gvk(&GroupVersionKind::gvk("machine.openshift.io", "v1beta1", "MachineHealthCheck"));
    let checks = Api::<DynamicObject>::namespaced_with(cluster.client.clone(), "openshift-machine-api", &resource);
    checks.delete("custom", &DeleteParams::default()).await.unwrap();
    cluster.status("an enabled policy", |status| status["phase"] == "Enabled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_openshift_the_budget_of_etcd_decides_and_the_machine_is_an_owner() {
    let mut cluster = Cluster::ready().await;
    openshift(&cluster);
    // A cluster is OpenShift before the detector looks, not from a moment on that no watch has shown yet.
    cluster.restart().await;
    let machine = json!({ "apiVersion": "machine.openshift.io/v1beta1", "kind": "Machine", "metadata": { "name": "m-b", "namespace": "rem" } });
    cluster.apply(&machine);
    let labels = json!({ "node-role.kubernetes.io/master": "" });
    patch_node(
        &cluster,
        "b",
        json!({ "metadata": {
        "labels": labels, "annotations": { "machine.openshift.io/machine": "rem/m-b" },
    } }),
    )
    .await;
    // Given a control-plane node and no budget
    cluster.policy(json!({}));
    cluster.node("b", "Unknown", 60).await;
    cluster.event("RemediationSkipped", "must have exactly one PodDisruptionBudget").await;
    assert!(cluster.list("Foo").await.is_empty());
    // When there is one that allows a disruption
    apply_with_status(
        &cluster,
        &json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": { "name": "guard", "namespace": "openshift-etcd" },
            "spec": { "selector": { "matchLabels": { "app": "guard" } } },
            "status": { "disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3 },
        }),
    )
    .await;
    // Then it is remediated at the next look, here provoked by another change
    eventually("a remediation", async || {
        let beat = Timestamp::now().as_second() % 2;
        let excluded = if beat == 0 { "no" } else { "never" };
        let label =
            json!({ "metadata": { "labels": { "remediation.medik8s.io/exclude-from-remediation": excluded } } });
        patch_node(&cluster, "b", label).await;
        (cluster.list("Foo").await.len() == 1).then_some(())
    })
    .await;
    let made = cluster.list("Foo").await.remove(0);
    let owners: Vec<&str> = made.owner_references().iter().map(|owner| owner.kind.as_str()).collect();
    assert_eq!(owners, ["NodeHealthCheck", "Machine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_that_fences_itself_disables_policies() {
    let cluster = Cluster::ready().await;
    openshift(&cluster);
    apply_with_status(
        &cluster,
        &json!({
            "apiVersion": "config.openshift.io/v1",
            "kind": "Infrastructure",
            "metadata": { "name": "cluster" },
            "status": { "controlPlaneTopology": "DualReplica" },
        }),
    )
    .await;
    cluster.policy(json!({}));
    let status = cluster.status("a disabled policy", |status| status["phase"] == "Disabled").await;
    assert_eq!(status["conditions"][0]["reason"], "UnsupportedControlPlaneTopology");
}

#[tokio::test(flavor = "multi_thread")]
async fn metal3_gets_its_machine_in_any_namespace() {
    let mut cluster = Cluster::new();
    let group = "infrastructure.cluster.x-k8s.io";
    cluster.apply(&crd(group, "v1beta1", "Metal3Remediation", "metal3remediations", "Namespaced"));
    cluster.apply(&crd(group, "v1beta1", "Metal3RemediationTemplate", "metal3remediationtemplates", "Namespaced"));
    cluster.apply(&crd("cluster.x-k8s.io", "v1beta1", "Machine", "machines", "Namespaced"));
    cluster.apply(&json!({ "apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Machine", "metadata": { "name": "m-b", "namespace": "rem" } }));
    let mut reboot = template("Metal3RemediationTemplate", "reboot");
    reboot["apiVersion"] = format!("{group}/v1beta1").into();
    cluster.apply(&reboot);
    for name in ["a", "b", "c"] {
        cluster.node(name, "True", 3_600).await;
    }
    cluster.detect();
    let mut named = reference("Metal3RemediationTemplate", "reboot");
    named["apiVersion"] = format!("{group}/v1beta1").into();
    cluster.policy(json!({ "remediationTemplate": named }));
    cluster.node("b", "Unknown", 60).await;
    // Without a machine it would do nothing, and the policy says so
    cluster.event("RemediationSkipped", "has no annotation cluster.x-k8s.io/machine").await;
    let annotations = json!({ "cluster.x-k8s.io/machine": "m-b", "cluster.x-k8s.io/cluster-namespace": "rem" });
    patch_node(&cluster, "b", json!({ "metadata": { "annotations": annotations } })).await;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1beta1", "Metal3Remediation"));
    let all = Api::<DynamicObject>::namespaced_with(cluster.client.clone(), "rem", &resource);
    let made = eventually("a remediation", async || all.list(&ListParams::default()).await.unwrap().items.pop()).await;
    let owner = made.owner_references().iter().find(|owner| owner.kind == "Machine").unwrap();
    assert_eq!((owner.api_version.as_str(), owner.name.as_str()), ("cluster.x-k8s.io/v1beta1", "m-b"));
    assert!(!owner.uid.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_acted_on_when_the_definition_of_its_template_appears() {
    let cluster = Cluster::ready().await;
    cluster.node("b", "Unknown", 60).await;
    cluster.policy(json!({ "remediationTemplate": reference("LateTemplate", "late") }));
    cluster.status("a disabled policy", |status| status["phase"] == "Disabled").await;
    for kind in ["Late", "LateTemplate"] {
        cluster.apply(&definition(kind));
    }
    cluster.apply(&template("LateTemplate", "late"));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("test.example", "v1", "Late"));
    let all = Api::<DynamicObject>::namespaced_with(cluster.client.clone(), "rem", &resource);
    eventually("a remediation", async || (all.list(&ListParams::default()).await.ok()?.items.len() == 1).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_scoped_template_makes_cluster_scoped_remediations() {
    let mut cluster = Cluster::new();
    for (kind, plural) in [("Wide", "wides"), ("WideTemplate", "widetemplates")] {
        cluster.apply(&crd("test.example", "v1", kind, plural, "Cluster"));
    }
    let mut wide = template("WideTemplate", "wide");
    wide["metadata"].as_object_mut().unwrap().remove("namespace");
    cluster.apply(&wide);
    for name in ["a", "c"] {
        cluster.node(name, "True", 3_600).await;
    }
    cluster.node("b", "Unknown", 60).await;
    cluster.detect();
    // A namespace in the reference of a cluster-scoped template says nothing.
    cluster.policy(json!({ "remediationTemplate": reference("WideTemplate", "wide") }));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("test.example", "v1", "Wide"));
    let all = Api::<DynamicObject>::all_with(cluster.client.clone(), &resource);
    let made = eventually("a remediation", async || all.list(&ListParams::default()).await.unwrap().items.pop()).await;
    assert_eq!((made.name_any().as_str(), made.namespace()), ("b", None));
    cluster.node("b", "True", 0).await;
    eventually("none", async || all.list(&ListParams::default()).await.unwrap().items.is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_is_shown_in_conditions_and_events_and_ends_by_itself() {
    let cluster = Cluster::ready().await;
    cluster.policy(json!({ "stormCooldownDuration": "2s" }));
    let condition = |status: &Value, type_: &str| {
        let all = status["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|condition| condition["type"] == type_).map(|condition| condition["status"].clone())
    };
    let is = |status: &Value, active: &str, cooling: &str| {
        condition(status, "StormActive") == Some(json!(active))
            && condition(status, "StormCooldownActive") == Some(json!(cooling))
    };
    for name in ["a", "b"] {
        cluster.node(name, "Unknown", 60).await;
    }
    cluster.event("StormRecoveryStarted", "1 of 3 selected nodes are healthy").await;
    // When all recover, nothing has to fail for the storm to end
    for name in ["a", "b"] {
        cluster.node(name, "True", 0).await;
    }
    cluster.event("StormRecoveryCooldownStarted", "healthy").await;
    cluster.status("the end of the storm", |status| is(status, "False", "False")).await;
    cluster.event("StormRecoveryEnded", "healthy").await;
    assert_eq!(cluster.events("StormRecoveryStarted").await.len(), 1);
}
