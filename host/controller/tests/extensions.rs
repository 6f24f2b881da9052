//! The optional rules of a policy against the in-process API, over restarts of the detector: budget, common failures,
//! dry run, veto, attempts, the guard of etcd by what the cluster shows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests outside test functions")]

mod health_support;

use std::collections::BTreeSet;
use std::sync::Arc;

use health_support::{Cluster, eventually, reference};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::{DynamicObject, Patch, PatchParams};
use palisade_controller::etcd::Guard;
use palisade_controller::health::Options;
use serde_json::{Value, json};

const ZONE: &str = "topology.kubernetes.io/zone";

fn names(found: &[DynamicObject]) -> BTreeSet<String> {
    found.iter().map(ResourceExt::name_any).collect()
}

fn condition<'a>(status: &'a Value, type_: &str) -> &'a Value {
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().find(|condition| condition["type"] == type_).unwrap_or(&Value::Null)
}

fn is(status: &Value, type_: &str, wanted: &str) -> bool {
    condition(status, type_)["status"] == wanted
}

async fn next_second() {
    let started = Timestamp::now().as_second();
    eventually("the next second", async || (Timestamp::now().as_second() > started).then_some(())).await;
}

fn from_now(seconds: i64) -> Timestamp {
    Timestamp::from_second((Timestamp::now() + SignedDuration::from_secs(seconds)).as_second()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_serves_one_after_another_longest_first_over_a_restart() {
    // Given three sick nodes and one place
    let mut cluster = Cluster::ready().await;
    for (name, seconds) in [("a", 60), ("b", 80), ("c", 70)] {
        // Not silent: after most of a cluster was silent, the last nodes get time.
        cluster.node(name, "False", seconds).await;
    }
    cluster.policy(json!({ "minHealthy": 0, "budget": { "maxConcurrent": 1 } }));
    let mut served = Vec::new();
    for expected in ["b", "c", "a"] {
        // Then whoever is sick for longest is served, alone
        let made = eventually(expected, async || {
            let found = cluster.list("Foo").await;
            assert!(found.len() <= 1, "two at a time: {:?}", names(&found));
            found.into_iter().find(|made| made.name_any() == expected)
        })
        .await;
        let waiting = 2 - served.len();
        let status = cluster
            .status("the queue", |status| {
                status["budget"]["used"] == 1
                    && status["budget"]["waiting"].as_i64().unwrap_or_default() == waiting as i64
            })
            .await;
        assert_eq!(status["budget"]["limit"], 1);
        if waiting > 0 {
            assert!(status["budget"]["next"][0] == if waiting == 2 { "c" } else { "a" }, "{status}");
        }
        served.push(made.name_any());
        // When the detector is replaced in the middle, nothing more starts
        cluster.restart().await;
        cluster.node(expected, "True", 0).await;
    }
    cluster.count("Foo", 0).await;
    let status = cluster.status("a quiet policy", |status| status["healthyNodes"] == 3).await;
    assert_eq!((&status["budget"]["used"], &status["budget"]["waiting"]), (&json!(0), &json!(0)));
    cluster.event("RemediationSkipped", "1 of 1 places are taken by b (maxConcurrent is 1 of 3 selected nodes)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_zone_has_its_places_and_nodes_without_a_zone_share_theirs() {
    let cluster = Cluster::ready().await;
    for name in ["d", "e"] {
        cluster.node(name, "Unknown", 60).await;
    }
    for (name, zone) in [("a", "x"), ("b", "x"), ("c", "y")] {
        cluster.mark(name, json!({ "labels": { ZONE: zone } })).await;
        cluster.node(name, "Unknown", 60).await;
    }
    cluster.policy(json!({ "minHealthy": 0, "budget": { "perTopology": [{ "key": ZONE, "maxConcurrent": 1 }] } }));
    let made = cluster.count("Foo", 3).await;
    assert_eq!(names(&made), BTreeSet::from(["a", "c", "d"].map(str::to_owned)));
    cluster.status("two wait", |status| status["budget"]["waiting"] == 2 && status["budget"]["used"] == 3).await;
    assert_eq!(cluster.list("Foo").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_policies_at_once_keep_their_budgets() {
    // Given two policies over the same nodes, all of which are sick, and two detectors
    let mut cluster = Cluster::ready().await;
    cluster.detect();
    for name in ["a", "b", "c"] {
        cluster.node(name, "Unknown", 60).await;
    }
    let budget = json!({ "maxConcurrent": "50%" });
    cluster.policy_named("one", json!({ "minHealthy": 0, "budget": budget }));
    cluster.policy_named(
        "two",
        json!({ "minHealthy": 0, "budget": budget, "remediationTemplate": reference("BarTemplate", "bar") }),
    );
    // Then each has one remediation, of nodes of their own: the node's lease keeps the other off
    let (foo, bar) = eventually("one of each", async || {
        let (foo, bar) = (cluster.list("Foo").await, cluster.list("Bar").await);
        assert!(foo.len() <= 1 && bar.len() <= 1, "{:?} {:?}", names(&foo), names(&bar));
        (foo.len() == 1 && bar.len() == 1).then(|| (names(&foo), names(&bar)))
    })
    .await;
    assert!(foo.is_disjoint(&bar), "{foo:?} {bar:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_without_power_is_left_alone_until_it_is_back() {
    let mut cluster = Cluster::ready().await;
    for name in ["d", "e", "f", "g"] {
        cluster.node(name, "True", 3_600).await;
    }
    for (name, zone) in [("a", "x"), ("b", "x"), ("c", "x"), ("d", "y"), ("e", "y"), ("f", "y"), ("g", "y")] {
        cluster.mark(name, json!({ "labels": { ZONE: zone } })).await;
    }
    cluster.policy(json!({ "minHealthy": 0, "correlatedFailures": {} }));
    cluster
        .status("seven nodes", |status| status["healthyNodes"] == 7 && is(status, "CorrelatedFailure", "False"))
        .await;
    // When a zone fails, and one node elsewhere
    for name in ["a", "b", "c", "d"] {
        cluster.node(name, if name == "d" { "False" } else { "Unknown" }, 60).await;
    }
    // Then only the one elsewhere is remediated, also by a detector that knows nothing of before. While the nodes of the
    // zone go one by one, the first may be taken for a node that fails alone.
    let status = cluster.status("the failure of the zone", |status| is(status, "CorrelatedFailure", "True")).await;
    assert_eq!(condition(&status, "CorrelatedFailure")["reason"], "GroupFailure");
    let message = condition(&status, "CorrelatedFailure")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("3 of 3 nodes with topology.kubernetes.io/zone=x are not ready"), "{message}");
    eventually("d is remediated", async || {
        cluster.list("Foo").await.iter().any(|made| made.name_any() == "d").then_some(())
    })
    .await;
    let before = names(&cluster.list("Foo").await);
    assert!(!before.contains("c"), "{before:?}");
    cluster.restart().await;
    cluster.event("RemediationSkipped", "zone=x are not ready").await;
    assert_eq!(names(&cluster.list("Foo").await), before);
    // When the zone is back, there is nothing to hold
    for name in ["a", "b", "c", "d"] {
        cluster.node(name, "True", 0).await;
    }
    cluster.status("no failure", |status| is(status, "CorrelatedFailure", "False")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_what_it_would_do_and_touches_nothing() {
    // Given a running remediation, and then a dry run
    let cluster = Cluster::ready().await;
    cluster.policy(json!({}));
    cluster.node("a", "Unknown", 60).await;
    cluster.count("Foo", 1).await;
    cluster.policy(json!({ "minHealthy": 0, "dryRun": true }));
    cluster.status("the dry run", |status| is(status, "DryRun", "True")).await;
    let before = cluster.store.audit().entries().len();
    // When its node recovers and another falls sick
    cluster.node("a", "True", 0).await;
    cluster.node("b", "False", 60).await;
    // Then it is said what would be done
    let status =
        cluster.status("both", |status| status["wouldDo"].as_array().is_some_and(|lines| lines.len() == 2)).await;
    assert_eq!(
        status["wouldDo"],
        json!(["delete Foo rem/a, because node a is healthy", "create Foo for node b from template foo"])
    );
    assert_eq!(status["unhealthyNodes"].as_array().unwrap().len(), 2, "what is seen is recorded");
    cluster.event("DryRun", "dry run: would create Foo for node b from template foo").await;
    // And nothing but the status of the policy and events was written; the test itself writes nodes
    let entries = cluster.store.audit().entries();
    let written: BTreeSet<(String, String)> = entries[before..]
        .iter()
        .filter(|entry| !["get", "list", "watch"].contains(&entry.verb.as_str()))
        .map(|entry| (entry.resource.clone(), entry.subresource.clone()))
        .collect();
    let allowed = [("events", ""), ("nodehealthchecks", "status"), ("nodes", "status")];
    let allowed = allowed.map(|(resource, sub)| (resource.to_owned(), sub.to_owned())).into();
    assert!(written.is_subset(&allowed), "{written:?}");
    // When it is over, it is done
    cluster.policy(json!({ "minHealthy": 0, "dryRun": false }));
    let made = eventually("the other", async || {
        let found = names(&cluster.list("Foo").await);
        (found == BTreeSet::from(["b".to_owned()])).then_some(found)
    });
    made.await;
    cluster.status("no dry run", |status| condition(status, "DryRun").is_null() && status["wouldDo"].is_null()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_veto_holds_until_it_is_over_and_a_malformed_one_until_it_is_corrected() {
    let cluster = Cluster::ready().await;
    cluster.mark("b", json!({ "annotations": { "palisade.dev/veto": "until lunch" } })).await;
    cluster.policy(json!({}));
    // It is said before it matters
    cluster.event("InvalidAnnotation", "palisade.dev/veto of node b cannot be understood and is in force").await;
    cluster.node("b", "Unknown", 60).await;
    cluster.event("RemediationSkipped", "\"until lunch\" is not of the form key=value").await;
    // When it is corrected, it holds for as long as it says, and nothing else has to happen for its end
    let veto = format!("owner=ann; until={}; reason=new disk", from_now(3));
    cluster.mark("b", json!({ "annotations": { "palisade.dev/veto": veto } })).await;
    let status =
        cluster.status("the veto", |status| status["reason"].as_str().is_some_and(|r| r.contains("(new disk)"))).await;
    assert!(
        status["reason"].as_str().unwrap().contains("the node is vetoed by ann (new disk); it ends at"),
        "{status}"
    );
    assert!(cluster.list("Foo").await.is_empty());
    cluster.count("Foo", 1).await;
    cluster.event("VetoExpired", "remove annotation palisade.dev/veto").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_veto_of_the_policy_stops_everything_new() {
    let cluster = Cluster::ready().await;
    let annotate = |value: Value| {
        cluster.apply(&json!({
            "apiVersion": "remediation.medik8s.io/v1alpha1",
            "kind": "NodeHealthCheck",
            "metadata": { "name": "nhc", "annotations": { "palisade.dev/veto": value } },
            "spec": {
                "selector": { "matchLabels": { "pool": "a" } },
                "minHealthy": "51%",
                "unhealthyConditions": [{ "type": "Ready", "status": "Unknown", "duration": "10s" }],
                "remediationTemplate": reference("FooTemplate", "foo"),
            },
        }));
    };
    annotate(json!("owner=ann; until=never; reason=incident 7"));
    cluster.node("b", "Unknown", 60).await;
    let status = cluster.status("the veto", |status| is(status, "Vetoed", "True")).await;
    assert_eq!(condition(&status, "Vetoed")["reason"], "VetoInForce");
    cluster.event("RemediationSkipped", "the policy is vetoed by ann (incident 7)").await;
    assert!(cluster.list("Foo").await.is_empty());
    annotate(json!("owner=ann; reason=incident 7"));
    cluster.status("a complaint", |status| condition(status, "Vetoed")["reason"] == "VetoMalformed").await;
    annotate(json!("owner=ann; until=2020-01-01T00:00:00Z; reason=incident 7"));
    cluster.count("Foo", 1).await;
    cluster.status("the end", |status| is(status, "Vetoed", "False")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_offender_is_quarantined_although_nothing_of_before_is_left_but_the_status() {
    let mut cluster = Cluster::ready().await;
    cluster.policy(json!({ "attempts": { "max": 2, "window": "1h" } }));
    for attempt in 1..=2 {
        // It fails, is remediated, recovers; its remediation is gone and the detector is another
        cluster.node("b", "Unknown", 60).await;
        cluster.count("Foo", 1).await;
        cluster
            .status("the attempt", |status| {
                status["attempts"][0]["started"].as_array().is_some_and(|started| started.len() == attempt)
            })
            .await;
        cluster.restart().await;
        cluster.node("b", "True", 0).await;
        cluster.count("Foo", 0).await;
        cluster.status("its end", |status| status["healthyNodes"] == 3).await;
        // Attempts are told apart by their second.
        next_second().await;
    }
    // When it fails a third time
    cluster.node("b", "Unknown", 60).await;
    let status = cluster.status("the quarantine", |status| is(status, "NodesQuarantined", "True")).await;
    assert!(status["attempts"][0]["quarantined"].is_string(), "{status}");
    cluster.event("NodeQuarantined", "remediated 2 times, and 2 attempts within 1h0m0s are the limit").await;
    cluster.restart().await;
    cluster.event("RemediationSkipped", "node b is unhealthy but not remediated: quarantined since").await;
    assert!(cluster.list("Foo").await.is_empty());
    // When a person says so, it may be tried again
    next_second().await;
    let mark = |value: String| json!({ "annotations": { "palisade.dev/attempts-forgiven": value } });
    cluster.mark("b", mark("please".to_owned())).await;
    cluster.event("InvalidAnnotation", "\"please\" and forgives nothing").await;
    cluster.mark("b", mark(status["attempts"][0]["quarantined"].as_str().unwrap().to_owned())).await;
    cluster.count("Foo", 1).await;
    let status = cluster.status("one attempt", |status| is(status, "NodesQuarantined", "False")).await;
    assert_eq!(status["attempts"][0]["started"].as_array().unwrap().len(), 1);
}

/// Three control-plane nodes with static pods of etcd, as kubeadm makes them.
async fn stacked(cluster: &Cluster) {
    for name in ["a", "b", "c"] {
        cluster.mark(name, json!({ "labels": { "node-role.kubernetes.io/control-plane": "" } })).await;
        cluster.apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": format!("etcd-{name}"), "namespace": "kube-system", "labels": { "component": "etcd" } },
            "spec": { "nodeName": name, "containers": [{ "name": "etcd", "image": "etcd" }] },
        }));
        pod_ready(cluster, &format!("etcd-{name}"), "True").await;
    }
}

async fn pod_ready(cluster: &Cluster, name: &str, ready: &str) {
    let pods = kube::api::Api::<k8s_openapi::api::core::v1::Pod>::namespaced(cluster.client.clone(), "kube-system");
    let body = json!({ "status": { "conditions": [{ "type": "Ready", "status": ready }] } });
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(body)).await.unwrap();
}

fn guarded(cluster: &Cluster) -> Options {
    Options { guards: vec![Arc::new(Guard::new(cluster.client.clone(), "palisade-system"))], ..Options::default() }
}

async fn control_plane() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "kube-system" } }));
    cluster.apply(&health_support::template("FooTemplate", "foo"));
    for name in ["a", "b", "c"] {
        cluster.node(name, "True", 3_600).await;
    }
    cluster.detect_with(guarded(&cluster));
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_node_goes_only_while_etcd_keeps_its_quorum_without_it() {
    let cluster = control_plane().await;
    stacked(&cluster).await;
    cluster.policy(json!({}));
    cluster.status("three nodes", |status| status["healthyNodes"] == 3).await;
    // Given a member elsewhere that is not ready
    pod_ready(&cluster, "etcd-a", "False").await;
    // When a node falls silent
    cluster.node("b", "Unknown", 60).await;
    // Then it is left alone, and it is said who was counted
    cluster.event("RemediationSkipped", "the quorum of etcd would be at risk: etcd has 3 voting members").await;
    let said = cluster.events("RemediationSkipped").await.join("\n");
    for fragment in ["etcd-a on a: not well", "etcd-b on b: does not answer", "etcd-c on c: well", "a quorum is 2"] {
        assert!(said.contains(fragment), "{said}");
    }
    assert!(cluster.list("Foo").await.is_empty());
    // The node whose member is down may be repaired: all others are needed, and it is no part of them
    cluster.node("b", "True", 0).await;
    cluster.node("a", "False", 60).await;
    let made = cluster.count("Foo", 1).await;
    assert_eq!(made[0].name_any(), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_cluster_shows_no_etcd_only_required_refuses() {
    let cluster = control_plane().await;
    for name in ["a", "b", "c"] {
        cluster.mark(name, json!({ "labels": { "node-role.kubernetes.io/control-plane": "" } })).await;
    }
    cluster.policy(json!({ "etcd": { "guard": "Required" } }));
    cluster.node("b", "Unknown", 60).await;
    cluster.event("RemediationSkipped", "etcd.guard is Required, but the policy names no endpoints").await;
    assert!(cluster.list("Foo").await.is_empty());
    // With a Secret that is not there nothing is known either
    let endpoints = json!({ "endpoints": ["https://10.255.255.1:2379"], "clientSecret": "nobody" });
    cluster.policy_named("other", json!({ "etcd": endpoints, "remediationTemplate": reference("FooTemplate", "foo") }));
    cluster.event("RemediationSkipped", "Secret palisade-system/nobody of spec.etcd.clientSecret cannot be read").await;
    assert!(cluster.list("Foo").await.is_empty());
    // A stock policy acts as before
    cluster.policy_named("stock", json!({}));
    cluster.count("Foo", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_etcd_is_found_by_the_role_of_its_nodes() {
    let cluster = control_plane().await;
    for name in ["a", "b"] {
        let labels = json!({ "node-role.kubernetes.io/control-plane": "true", "node-role.kubernetes.io/etcd": "true" });
        cluster.mark(name, json!({ "labels": labels })).await;
    }
    cluster.policy(json!({}));
    cluster.node("b", "Unknown", 60).await;
    cluster.event("RemediationSkipped", "asked: nodes labelled node-role.kubernetes.io/etcd").await;
    assert!(cluster.list("Foo").await.is_empty());
    // A node that runs nothing but etcd is guarded like the others
    cluster.mark("b", json!({ "labels": { "node-role.kubernetes.io/control-plane": null } })).await;
    cluster.event("RemediationSkipped", "b runs member b (does not answer), and 1 well ones would be left").await;
    assert!(cluster.list("Foo").await.is_empty());
}
