//! Control-plane nodes that are configured to diagnose themselves (R4): cases C106 and C107 of the specification of
//! SelfNodeRemediation. n1 is the node, n2 and n3 are workers, n4 to n6 are control-plane nodes.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail loudly

#[allow(dead_code)] // each test program uses its part
mod support;

use std::time::Duration;

use palisade_core::fencing::agent::Settings;
use support::{Cluster, Cut, T, settings};

const NODES: [&str; 6] = ["n1", "n2", "n3", "n4", "n5", "n6"];
const CONTROL_PLANE: [&str; 4] = ["n1", "n4", "n5", "n6"];

fn diagnosing() -> Settings {
    Settings { diagnose: true, ..settings() }
}

/// Everybody is configured to diagnose; those that the controller calls control plane publish it, and everybody knows.
async fn cluster() -> Cluster {
    let mut cluster = Cluster::begun(&NODES, diagnosing()).await;
    cluster.pass(Duration::from_secs(5)).await;
    for name in CONTROL_PLANE {
        cluster.store.tell_control_plane(name);
    }
    cluster.pass(Duration::from_mins(1)).await;
    for name in NODES {
        let claims = cluster.store.record(name).unwrap().terms.claims;
        assert!(claims.self_fences, "{name}");
        assert_eq!(claims.may_exempt, CONTROL_PLANE.contains(&name), "{name}");
    }
    cluster
}

async fn stays(cluster: &mut Cluster, name: &str) {
    cluster.pass(T * 4).await;
    assert!(cluster.feeds(name) && cluster.resets(name) == 0, "{name} ended");
}

async fn ends(cluster: &mut Cluster, name: &str) {
    cluster.pass_until(T * 2, |cluster| cluster.resets(name) > 0).await;
    assert!(!cluster.feeds(name));
}

#[tokio::test]
async fn c106_workers_silent_and_no_control_plane_peer_answers_it_ends() {
    let mut cluster = cluster().await;
    cluster.zone_cut(&["n1"], Cut::Blackhole);
    ends(&mut cluster, "n1").await;
}

#[tokio::test]
async fn c106_workers_silent_and_a_control_plane_peer_without_api_answers_it_stays() {
    let mut cluster = cluster().await;
    cluster.zone_cut(&["n1", "n4"], Cut::Blackhole);
    stays(&mut cluster, "n1").await;
    // So does the other, for the same reason; #339 in famous.rs is the same without the policy.
    assert!(cluster.feeds("n4"));
}

#[tokio::test]
async fn c106_workers_silent_and_a_control_plane_peer_that_finds_nothing_wrong_answers_it_stays() {
    let mut cluster = cluster().await;
    cluster.zone_cut(&["n1", "n4"], Cut::Blackhole);
    cluster.store.heal("n4");
    stays(&mut cluster, "n1").await;
}

#[tokio::test]
async fn c106_workers_silent_and_a_control_plane_peer_tells_of_an_intent_it_ends() {
    let mut cluster = cluster().await;
    cluster.zone_cut(&["n1", "n4"], Cut::Blackhole);
    cluster.store.heal("n4");
    cluster.pass(T).await;
    assert!(cluster.feeds("n1"));
    cluster.store.intend("n1");
    ends(&mut cluster, "n1").await;
}

/// The workers have lost the API and say so; the other control-plane nodes are silent.
async fn workers_without_api() -> Cluster {
    let cluster = cluster().await;
    cluster.zone_cut(&["n1", "n2", "n3"], Cut::Blackhole);
    cluster
}

#[tokio::test]
async fn c107_most_workers_without_api_and_the_kubelet_alive_it_stays() {
    let mut cluster = workers_without_api().await;
    // For as long as the workers live: theirs is a minority of their own jury.
    let begun = cluster.now();
    cluster.pass_until(T * 2, |cluster| cluster.resets("n2") > 0).await;
    assert!(cluster.now().since(begun) > T / 2);
    assert!(cluster.feeds("n1") && cluster.resets("n1") == 0);
}

#[tokio::test]
async fn c107_most_workers_without_api_and_the_kubelet_dead_it_ends() {
    let mut cluster = workers_without_api().await;
    cluster.nodes["n1"].diagnosis.ill("the kubelet does not answer");
    ends(&mut cluster, "n1").await;
}

#[tokio::test]
async fn c107_most_workers_without_api_and_the_endpoint_lost_it_ends() {
    let mut cluster = workers_without_api().await;
    cluster.nodes["n1"].diagnosis.ill("https://router answered before and does not");
    ends(&mut cluster, "n1").await;
}

#[tokio::test]
async fn a_whole_api_outage_reboots_no_control_plane_node_either() {
    let mut cluster = cluster().await;
    for name in NODES {
        cluster.store.cut(name, Cut::Refused);
    }
    cluster.pass(Duration::from_mins(5)).await;
    for name in NODES {
        assert!(cluster.feeds(name) && cluster.resets(name) == 0, "{name}");
    }
}

#[tokio::test]
async fn an_agent_killed_in_an_outage_remembers_that_it_may_exempt_itself() {
    let mut cluster = cluster().await;
    cluster.zone_cut(&["n1", "n4"], Cut::Blackhole);
    cluster.pass(T).await;
    cluster.restart("n1").await;
    stays(&mut cluster, "n1").await;
}

#[tokio::test]
async fn the_policy_can_be_taken_back_while_the_agents_run() {
    // Given a control-plane node that says it may exempt itself, when the configuration says so no more,
    let mut cluster = cluster().await;
    cluster.configure("n1", &settings());
    cluster.pass(Duration::from_secs(1)).await;
    // then its lease says so at once, and it ends in isolation although another control-plane node answers.
    assert!(!cluster.store.record("n1").unwrap().terms.claims.may_exempt);
    cluster.zone_cut(&["n1", "n4"], Cut::Blackhole);
    ends(&mut cluster, "n1").await;
}

#[tokio::test]
async fn a_node_that_is_no_control_plane_node_any_more_exempts_itself_no_more() {
    // Given a control-plane node that says it may exempt itself, when the controller takes its role back,
    let mut cluster = cluster().await;
    cluster.store.take_back_control_plane("n1");
    cluster.pass(T).await;
    // then its lease says so, although the configuration still tells control-plane nodes to diagnose.
    assert!(!cluster.store.record("n1").unwrap().terms.claims.may_exempt);
    assert!(cluster.store.record("n4").unwrap().terms.claims.may_exempt);
}
