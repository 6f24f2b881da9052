//! Many nodes at once, and answers that are old when they are heard.

use kube::Resource;
use kube::api::{Api, ListParams};
use palisade_api::NodeHealthCheck;
use serde_json::json;

use crate::health_support::late::Late;
use crate::health_support::{Cluster, eventually, template};
use crate::{leases, patch_node};

/// With templates, nodes `a` to `e` and a detector whose requests are answered late.
async fn behind(late: &Late) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.apply(&template("FooTemplate", "foo"));
    for name in ["a", "b", "c", "d", "e"] {
        cluster.node(name, "True", 3_600).await;
    }
    cluster.detect_late(late);
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_remediated_without_a_list_for_each_node() {
    // Given 60 nodes
    let cluster = Cluster::ready().await;
    let names: Vec<String> = (0..60).map(|at| format!("n{at:02}")).collect();
    for name in &names {
        cluster.node(name, "True", 3_600).await;
    }
    cluster.policy(json!({ "minHealthy": 0 }));
    cluster.status("all", |status| status["observedNodes"] == 63).await;
    let before = cluster.store.audit().entries().len();
    // When 30 fail together
    for name in &names[..30] {
        cluster.node(name, "Unknown", 60).await;
    }
    cluster.count("Foo", 30).await;
    cluster
        .status("30 remediations", |s| {
            s["unhealthyNodes"]
                .as_array()
                .is_some_and(|nodes| nodes.iter().filter(|node| !node["remediations"].is_null()).count() == 30)
        })
        .await;
    // Then remediations were listed by this test alone, which also says how often
    let entries =
        cluster.store.audit().entries()[before..].iter().map(|entry| format!("{entry:?}")).collect::<Vec<_>>();
    let created =
        entries.iter().filter(|entry| entry.contains("foos") && entry.to_lowercase().contains("create")).count();
    assert_eq!(created, 30, "{entries:#?}");
    assert_eq!(leases(&cluster).list(&ListParams::default()).await.unwrap().items.len(), 30);
    let policy = Api::<NodeHealthCheck>::all(cluster.client.clone()).get("nhc").await.unwrap();
    assert!(policy.meta().uid.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fails_while_the_nodes_are_listed_is_not_forgotten() {
    // Given a node that failed, and a list of all nodes that was answered but is not heard yet
    let late = Late::new(|method, path| {
        method == http::Method::GET && path.contains("/api/v1/nodes") && !path.contains("watch=")
    });
    let cluster = behind(&late).await;
    cluster.policy(json!({ "minHealthy": 0 }));
    cluster.status("an idle policy", |status| status["observedNodes"] == 5).await;
    late.hold();
    cluster.node("a", "Unknown", 60).await;
    late.waits(1).await;
    // When another one fails, which the watch shows before the list arrives
    cluster.node("b", "Unknown", 60).await;
    // That is not seen from outside: on a machine that is too slow the test passes for nothing, but it never fails for
    // nothing. The unit tests of `Known` say the same without a clock.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    late.release();
    // Then both are remediated, though nothing happens any more
    cluster.count("Foo", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_api_does_not_make_the_status_be_written_again() {
    // Given an API that takes seconds to make a remediation
    let late = Late::new(|method, path| method == http::Method::POST && path.contains("/foos"));
    let cluster = behind(&late).await;
    cluster.policy(json!({ "minHealthy": 0 }));
    cluster.status("an idle policy", |status| status["observedNodes"] == 5).await;
    late.hold();
    cluster.node("a", "Unknown", 60).await;
    late.waits(1).await;
    // More than the instants of a status may move without being written
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    late.release();
    let first = cluster.status("a remediation", |s| !s["unhealthyNodes"][0]["remediations"].is_null()).await;
    let writes = || {
        let entries = cluster.store.audit().entries();
        entries.iter().filter(|entry| entry.resource == "nodehealthchecks" && entry.subresource == "status").count()
    };
    // A request is in the audit log a moment after what it did is seen.
    let audited =
        async |least: usize| eventually("the write", async || Some(writes()).filter(|all| *all >= least)).await;
    let before = audited(2).await;
    // When the policy is looked at again, for reasons that change nothing
    for round in 0..3 {
        patch_node(&cluster, "b", json!({ "metadata": { "labels": { "round": format!("{round}") } } })).await;
    }
    // and then for one that does
    cluster.node("f", "True", 3_600).await;
    let last = cluster.status("six nodes", |status| status["observedNodes"] == 6).await;
    // Then it is written for that alone
    assert_eq!(audited(before + 1).await, before + 1, "{first}\n{last}");
    assert_eq!(first["unhealthyNodes"], last["unhealthyNodes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_waits_for_an_answer_keeps_no_other_one_waiting() {
    // Given a policy whose status is never written
    let late =
        Late::new(|method, path| *method == http::Method::PATCH && path.contains("/nodehealthchecks/stuck/status"));
    let cluster = behind(&late).await;
    late.hold();
    let selector = |name: &str| json!({ "selector": { "matchExpressions": [{ "key": "pool", "operator": "In", "values": [name] }] } });
    cluster.policy_named("stuck", selector("other"));
    late.waits(1).await;
    // When a node of another policy fails
    cluster.policy_named("free", selector("a"));
    cluster.node("b", "Unknown", 60).await;
    // Then it is remediated at once, long before the pass of the first one is given up
    let remediated = cluster.count("Foo", 1);
    tokio::time::timeout(std::time::Duration::from_secs(30), remediated).await.expect("a remediation in time");
}
