//! The detector against the in-process API: what a user sees of policies, nodes and remediations.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests outside test functions")]

mod health_support;

use health_support::{Cluster, definition, eventually, reference, template};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use palisade_api::NodeHealthCheck;
use serde_json::{Value, json};

const NODE_NAME: &str = "remediation.medik8s.io/node-name";

fn merge(body: &Value) -> Patch<&Value> {
    Patch::Merge(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sick_node_is_remediated_and_released_when_it_recovers() {
    // Given a policy and three nodes, of which one is sick
    let cluster = Cluster::ready().await;
    cluster.policy(json!({}));
    cluster.status("an idle policy", |status| status["phase"] == "Enabled" && status["observedNodes"] == 3).await;
    cluster.node("b", "Unknown", 60).await;

    // Then there is one remediation, made from the template
    let made = cluster.count("Foo", 1).await.remove(0);
    assert_eq!(made.name_any(), "b");
    assert_eq!(made.data["spec"], json!({ "size": "foo" }));
    assert_eq!(made.annotations()[NODE_NAME], "b");
    assert_eq!(made.annotations()["remediation.medik8s.io/template-name"], "foo");
    assert_eq!(made.labels()["app.kubernetes.io/part-of"], "node-healthcheck-controller");
    let policy = Api::<NodeHealthCheck>::all(cluster.client.clone()).get("nhc").await.unwrap();
    let owner = &made.owner_references()[0];
    assert_eq!((&owner.name, &owner.uid, owner.controller), (&"nhc".to_owned(), &policy.uid().unwrap(), Some(false)));
    assert!(made.finalizers().is_empty());

    // And the status shows it
    let status = cluster.status("the remediation", |status| status["phase"] == "Remediating").await;
    assert_eq!((&status["observedNodes"], &status["healthyNodes"]), (&json!(3), &json!(2)));
    let recorded = &status["unhealthyNodes"][0]["remediations"][0];
    assert_eq!(recorded["resource"]["uid"], made.uid().unwrap());
    assert_eq!(recorded["resource"]["apiVersion"], "test.example/v1");
    assert_eq!(recorded["templateName"], "foo");
    cluster.event("DetectedUnhealthy", "node b is unhealthy").await;
    cluster.event("RemediationCreated", "created Foo b for node b").await;

    // When the node recovers while the remediator still cleans up
    let hold = json!({ "metadata": { "finalizers": ["test.example/hold"] } });
    cluster.remediations("Foo").patch("b", &PatchParams::default(), &merge(&hold)).await.unwrap();
    cluster.node("b", "True", 0).await;
    // Then it is still counted as unhealthy
    let status = cluster
        .status("the recovery", |status| !status["unhealthyNodes"][0]["conditionsHealthyTimestamp"].is_null())
        .await;
    assert_eq!((&status["healthyNodes"], &status["phase"]), (&json!(2), &json!("Remediating")));
    let ending = cluster.list("Foo").await.remove(0);
    assert!(ending.meta().deletion_timestamp.is_some());

    // When that is done, it counts
    let release = json!({ "metadata": { "finalizers": null } });
    cluster.remediations("Foo").patch("b", &PatchParams::default(), &merge(&release)).await.unwrap();
    let status = cluster.status("a healthy cluster", |status| status["healthyNodes"] == 3).await;
    assert_eq!(status["phase"], "Enabled");
    assert!(status.get("unhealthyNodes").is_none(), "{status}");
    cluster.event("RemediationRemoved", "deleted Foo rem/b").await;
    assert_eq!(cluster.events("RemediationCreated").await.len(), 1);
    assert_eq!(cluster.events("DetectedUnhealthy").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_remediated_when_its_duration_is_over_without_any_further_event() {
    let cluster = Cluster::ready().await;
    cluster.policy(json!({ "unhealthyConditions": [{ "type": "Ready", "status": "Unknown", "duration": "2s" }] }));
    cluster.status("an idle policy", |status| status["observedNodes"] == 3).await;
    cluster.node("b", "Unknown", 0).await;
    let status = cluster.status("a node about to be sick", |status| status["healthyNodes"] == 2).await;
    let made = cluster.count("Foo", 1).await.remove(0);
    // Not by the clock of this test, which may be late to look: stamps have whole seconds.
    let sick = Api::<Node>::all(cluster.client.clone()).get("b").await.unwrap().status.unwrap().conditions.unwrap();
    let waited = made.creation_timestamp().unwrap().0.duration_since(sick[0].last_transition_time.as_ref().unwrap().0);
    assert!(waited.as_secs() >= 2, "remediated after {waited:?}; {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_sick_nodes_are_listed_but_not_remediated() {
    let cluster = Cluster::ready().await;
    cluster.node("a", "Unknown", 60).await;
    cluster.node("b", "False", 60).await;
    cluster.policy(json!({}));
    let status = cluster
        .status("two sick nodes", |status| status["unhealthyNodes"].as_array().is_some_and(|n| n.len() == 2))
        .await;
    assert_eq!((&status["phase"], &status["healthyNodes"]), (&json!("Enabled"), &json!(1)));
    assert!(status["reason"].as_str().unwrap().contains("only 1 of 3 selected nodes are healthy"));
    cluster.event("RemediationSkipped", "at least 2 must be").await;
    assert!(cluster.list("Foo").await.is_empty());
    // When one recovers, the other is remediated
    cluster.node("a", "True", 0).await;
    assert_eq!(cluster.count("Foo", 1).await[0].name_any(), "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remediation_deleted_by_hand_is_made_again() {
    let cluster = Cluster::ready().await;
    cluster.policy(json!({}));
    cluster.node("b", "Unknown", 60).await;
    let first = cluster.count("Foo", 1).await.remove(0).uid().unwrap();
    cluster.remediations("Foo").delete("b", &DeleteParams::default()).await.unwrap();
    let second = eventually("another remediation", async || {
        cluster.list("Foo").await.into_iter().map(|made| made.uid().unwrap()).find(|uid| *uid != first)
    })
    .await;
    cluster
        .status("the new one", |status| {
            status["unhealthyNodes"][0]["remediations"][0]["resource"]["uid"] == second.as_str()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_templates_give_names_that_two_detectors_agree_on() {
    // Given a template whose remediator finds the node by annotation, and two detectors at once
    let mut cluster = Cluster::ready().await;
    let mut annotated = template("FooTemplate", "foo");
    annotated["metadata"]["annotations"] = json!({ "remediation.medik8s.io/multiple-templates-support": "true" });
    cluster.apply(&annotated);
    cluster.detect();
    cluster.policy(json!({}));
    cluster.status("an idle policy", |status| status["observedNodes"] == 3).await;
    // When a node is sick
    cluster.node("b", "Unknown", 60).await;
    // Then there is one remediation, and it stays one
    let made = cluster.count("Foo", 1).await.remove(0);
    assert!(made.name_any().starts_with("b-"), "{}", made.name_any());
    assert_eq!(made.annotations()[NODE_NAME], "b");
    cluster.status("the remediation", |status| status["phase"] == "Remediating").await;
    // Every detector has had a pass over the finished remediation once both reacted to another node.
    cluster.node("c", "Unknown", 1).await;
    cluster.status("the other node", |status| status["healthyNodes"] == 1).await;
    assert_eq!(cluster.list("Foo").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_template_disables_the_policy_until_it_is_there() {
    let mut cluster = Cluster::new();
    cluster.node("a", "True", 3_600).await;
    cluster.node("b", "Unknown", 60).await;
    cluster.node("c", "True", 3_600).await;
    cluster.detect();
    cluster.policy(json!({}));
    let status = cluster.status("a disabled policy", |status| status["phase"] == "Disabled").await;
    let condition = &status["conditions"][0];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("Disabled"), &json!("True")));
    assert_eq!(condition["reason"], "RemediationTemplateNotFound");
    assert!(condition["message"].as_str().unwrap().contains("FooTemplate rem/foo not found"), "{condition}");
    cluster.event("Disabled", "FooTemplate rem/foo").await;

    // When it has no spec.template, then the condition says so
    let mut broken = template("FooTemplate", "foo");
    broken["spec"] = json!({});
    cluster.apply(&broken);
    cluster
        .status("an invalid template", |status| status["conditions"][0]["reason"] == "RemediationTemplateInvalid")
        .await;

    // When it is right, then the node is remediated
    cluster.apply(&template("FooTemplate", "foo"));
    cluster.count("Foo", 1).await;
    cluster.status("an enabled policy", |status| status["conditions"][0]["status"] == "False").await;
    cluster.event("Enabled", "acted on").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_with_mistakes_say_so_and_others_go_on() {
    // Given policies that name an unknown kind, no namespace, and something that cannot be decoded
    let cluster = Cluster::ready().await;
    cluster.policy_named("unknown-kind", json!({ "remediationTemplate": reference("NoSuchTemplate", "foo") }));
    let mut without_namespace = reference("FooTemplate", "foo");
    without_namespace.as_object_mut().unwrap().remove("namespace");
    cluster.policy_named("no-namespace", json!({ "remediationTemplate": without_namespace }));
    // And one that is right
    cluster.policy(json!({}));
    cluster.node("b", "Unknown", 60).await;
    // Then that one remediates
    cluster.count("Foo", 1).await;
    // And the others say what is wrong and what to do
    for (name, reason, fragment) in [
        ("unknown-kind", "RemediationTemplateNotFound", "install its CustomResourceDefinition"),
        ("no-namespace", "RemediationTemplateNotFound", "set namespace in spec.remediationTemplate"),
    ] {
        let policies = Api::<NodeHealthCheck>::all(cluster.client.clone());
        let message = eventually(name, async || {
            let status = policies.get(name).await.unwrap().status?;
            let condition = status.conditions.into_iter().find(|condition| condition.reason == reason)?;
            (condition.status == "True").then_some(condition.message)
        })
        .await;
        assert!(message.contains(fragment), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_be_decoded_is_reported_and_others_go_on() {
    // Given a server with an older definition, without the rule on durations
    let mut cluster = Cluster::new();
    let mut old = serde_json::to_value(<NodeHealthCheck as kube::CustomResourceExt>::crd()).unwrap();
    let fields = old.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties").unwrap();
    fields["healthyDelay"].as_object_mut().unwrap().remove("x-kubernetes-validations");
    cluster.apply(&old);
    cluster.apply(&template("FooTemplate", "foo"));
    for name in ["a", "c"] {
        cluster.node(name, "True", 3_600).await;
    }
    cluster.node("b", "Unknown", 60).await;
    // And a policy that no 64-bit duration can hold
    cluster.policy_named("malformed", json!({ "healthyDelay": "9999999999999h" }));
    cluster.policy(json!({}));
    // When the detector starts
    cluster.detect();
    // Then the other policy works, and the malformed one says what is wrong
    cluster.count("Foo", 1).await;
    cluster.event("RemediationFailed", "\"9999999999999h\" is too long").await;
    let policies: Api<kube::api::DynamicObject> =
        Api::all_with(cluster.client.clone(), &<NodeHealthCheck as kube::CustomResourceExt>::api_resource());
    eventually("its condition", async || {
        let policy = policies.get("malformed").await.unwrap();
        let condition = policy.data.pointer("/status/conditions/0")?;
        condition["message"].as_str()?.contains("too long").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_be_remediated_does_not_keep_others_waiting() {
    // Given a kind that refuses the remediation of one node
    let cluster = Cluster::ready().await;
    let mut picky = definition("Foo");
    picky["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-validations": [{ "rule": "self.metadata.name != 'a'", "message": "not this one" }],
    });
    cluster.apply(&picky);
    cluster.node("a", "Unknown", 60).await;
    cluster.node("b", "Unknown", 60).await;
    cluster.policy(json!({ "minHealthy": 1 }));
    // Then the other is remediated, and the failure is reported
    assert_eq!(cluster.count("Foo", 1).await[0].name_any(), "b");
    cluster.event("RemediationFailed", "cannot create Foo for node a from template foo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_pauses_hold_remediation_back() {
    let cluster = Cluster::ready().await;
    let nodes = Api::<Node>::all(cluster.client.clone());
    let label = |value: Value| json!({ "metadata": { "labels": { "remediation.medik8s.io/exclude-from-remediation": value } } });
    nodes.patch("b", &PatchParams::default(), &merge(&label(json!("true")))).await.unwrap();
    cluster.node("b", "Unknown", 60).await;
    cluster.policy(json!({}));
    cluster.event("RemediationSkipped", "exclude-from-remediation=true").await;
    // When the policy is paused and the label removed, still nothing
    cluster.policy(json!({ "pauseRequests": ["upgrade"] }));
    cluster.status("a paused policy", |status| status["phase"] == "Paused").await;
    nodes.patch("b", &PatchParams::default(), &merge(&label(Value::Null))).await.unwrap();
    cluster.event("RemediationSkipped", "paused by pauseRequests: upgrade").await;
    assert!(cluster.list("Foo").await.is_empty());
    // When it goes on, the node is remediated
    cluster.policy(json!({ "pauseRequests": [] }));
    cluster.count("Foo", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_healthy_delay_holds_the_remediation_until_it_is_over_or_confirmed() {
    let cluster = Cluster::ready().await;
    cluster.policy(json!({ "healthyDelay": "-1s" }));
    cluster.node("b", "Unknown", 60).await;
    cluster.count("Foo", 1).await;
    cluster.node("b", "True", 0).await;
    cluster.status("the delay", |status| status["unhealthyNodes"][0]["healthyDelayed"] == true).await;
    assert_eq!(cluster.list("Foo").await.len(), 1);
    // When a person confirms
    let nodes = Api::<Node>::all(cluster.client.clone());
    let confirm = json!({ "metadata": { "annotations": { "remediation.medik8s.io/manually-confirmed-healthy": "" } } });
    nodes.patch("b", &PatchParams::default(), &merge(&confirm)).await.unwrap();
    // Then the remediation goes, and the confirmation too
    cluster.count("Foo", 0).await;
    eventually("a node without the confirmation", async || {
        nodes.get("b").await.unwrap().annotations().is_empty().then_some(())
    })
    .await;
    cluster.status("a healthy cluster", |status| status["healthyNodes"] == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ladder_moves_on_when_a_remediation_fails() {
    let cluster = Cluster::ready().await;
    let step = |order, kind: &str, name: &str| json!({ "order": order, "timeout": "5m", "remediationTemplate": reference(kind, name) });
    cluster.policy(json!({
        "remediationTemplate": null,
        "escalatingRemediations": [step(7, "BarTemplate", "bar"), step(1, "FooTemplate", "foo")],
    }));
    cluster.node("b", "Unknown", 60).await;
    cluster.count("Foo", 1).await;
    assert!(cluster.list("Bar").await.is_empty());
    // When the first fails
    let failed = json!({ "status": { "conditions": [
        { "type": "Succeeded", "status": "False", "reason": "Test", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" },
    ] } });
    cluster.remediations("Foo").patch_status("b", &PatchParams::default(), &merge(&failed)).await.unwrap();
    // Then it is told, and the second starts
    cluster.count("Bar", 1).await;
    let told = cluster.list("Foo").await.remove(0);
    assert!(told.annotations().contains_key("remediation.medik8s.io/nhc-timed-out"));
    let status = cluster
        .status("two remediations", |status| {
            status["unhealthyNodes"][0]["remediations"].as_array().is_some_and(|r| r.len() == 2)
        })
        .await;
    let recorded = status["unhealthyNodes"][0]["remediations"].as_array().unwrap();
    let timed_out: Vec<&Value> = recorded.iter().filter(|known| !known["timedOut"].is_null()).collect();
    assert_eq!(timed_out.len(), 1);
    assert_eq!(timed_out[0]["resource"]["kind"], "Foo");
    // When the node recovers, both go
    cluster.node("b", "True", 0).await;
    cluster.count("Foo", 0).await;
    cluster.count("Bar", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn remediations_of_deleted_nodes_are_deleted() {
    let cluster = Cluster::ready().await;
    cluster.policy(json!({}));
    cluster.node("b", "Unknown", 60).await;
    cluster.count("Foo", 1).await;
    Api::<Node>::all(cluster.client.clone()).delete("b", &DeleteParams::default()).await.unwrap();
    cluster.count("Foo", 0).await;
    cluster.status("two nodes", |status| status["observedNodes"] == 2 && status.get("unhealthyNodes").is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_healthy_cluster_costs_no_requests() {
    // Given a policy that has settled
    let cluster = Cluster::ready().await;
    cluster.policy(json!({}));
    cluster.status("an idle policy", |status| status["phase"] == "Enabled").await;
    cluster.event("Enabled", "acted on").await;
    let requests = || cluster.store.audit().entries().len();
    let mut settled = requests();
    eventually("silence", async || {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let now = requests();
        (std::mem::replace(&mut settled, now) == now).then_some(())
    })
    .await;
    // When nodes send heartbeats that change nothing else
    let before = requests();
    for name in ["a", "b", "c"] {
        let beat = json!({ "metadata": { "annotations": { "beat": "1" } } });
        Api::<Node>::all(cluster.client.clone()).patch(name, &PatchParams::default(), &merge(&beat)).await.unwrap();
    }
    // Then the detector does nothing: a change that it does notice is answered with one status write.
    cluster.node("d", "True", 3_600).await;
    cluster.status("four nodes", |status| status["observedNodes"] == 4).await;
    let writes = cluster.store.audit().entries()[before..]
        .iter()
        .filter(|entry| format!("{entry:?}").contains("nodehealthchecks"))
        .filter(|entry| format!("{entry:?}").to_lowercase().contains("patch"))
        .count();
    assert!(writes <= 2, "{writes} status writes");
}
