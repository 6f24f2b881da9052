//! Failures of others that became famous, one named test each: what happens there, and that it does not happen here.
//!
//! The issue numbers are those of the public tracker of the self node remediation in use today. These are the agent's
//! halves: the real loop, the real core, real mutual TLS. The controller's halves are in
//! `host/controller/tests/famous.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail loudly

#[allow(dead_code)] // each test program uses its part
mod support;

use std::time::Duration;

use palisade_core::fencing::agent::Settings;
use support::{Cluster, Cut, T, settings};

const FIVE: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

/// **#251.** There: a control-plane node that still reaches its peers is never remediated, although the cluster calls it
/// unhealthy: as long as any peer answers, it counts as healthy.
///
/// Here: "there is an intent for your boot" beats any number of other answers, whatever role the node has and whomever
/// it reaches.
#[tokio::test]
async fn snr_251_a_node_that_reaches_all_its_peers_ends_all_the_same_when_the_cluster_wants_it() {
    // Given a node that reaches the API and all peers, when the cluster wants it ended, it ends within a second.
    let mut cluster = Cluster::of(&FIVE, settings()).await;
    cluster.store.intend("n1");
    let took = cluster.pass_until(T, |cluster| cluster.resets("n1") > 0).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert!(!cluster.feeds("n1"));

    // Given one that reaches its peers only, which all are healthy and carry it,
    cluster.store.cut("n2", Cut::Refused);
    cluster.pass(T * 2).await;
    assert!(cluster.feeds("n2") && cluster.resets("n2") == 0);
    // then it ends as soon as one of them tells of the intent.
    let intent = cluster.store.intend("n2");
    let took = cluster.pass_until(T, |cluster| cluster.resets("n2") > 0).await;
    assert!(took < T, "{took:?}");
    assert!(!cluster.feeds("n2"));
    assert_eq!(cluster.store.record("n2").unwrap().acknowledged, Some(intent.uid));
}

/// **#261, #268.** There: peers are chosen by the label `node-role.kubernetes.io/worker`, which kubeadm and k3s do not
/// set. The list of peers is empty, "fewer than minPeers" means healthy, and an isolated node never reboots, while the
/// manager waits its time and gives the workloads free.
///
/// Here: peers are those that publish a lease; no Node label is read at all, and an isolated node ends within `T`.
#[tokio::test]
async fn snr_268_an_isolated_node_ends_itself_on_a_cluster_without_role_labels() {
    let mut cluster = Cluster::of(&FIVE, settings()).await;
    for name in FIVE {
        let terms = cluster.store.record(name).unwrap().terms;
        assert_eq!(terms.jury.len(), 4, "{name} found its peers: {terms:?}");
        assert!(terms.claims.self_fences);
    }
    cluster.zone_cut(&["n3"], Cut::Blackhole);
    let took = cluster.pass_until(T * 2, |cluster| cluster.resets("n3") > 0).await;
    assert!(took <= T, "{took:?}");
    assert!(!cluster.feeds("n3"));
    for name in ["n1", "n2", "n4", "n5"] {
        assert_eq!(cluster.resets(name), 0, "{name}");
    }
}

/// **#312.** There: `minPeersForRemediation` never reaches the agent, so a node that knows no peer reboots after a few
/// failed checks: a plain API outage reboots the only worker.
///
/// Here: with a jury below the minimum (default 1) a node does not fence itself on isolation, and its lease says so, so
/// that nobody concludes anything from its silence. With an explicit 0 it does fence itself.
#[tokio::test]
async fn snr_312_a_node_without_peers_survives_an_api_outage() {
    let mut cluster = Cluster::of(&["n1"], settings()).await;
    let terms = cluster.store.record("n1").unwrap().terms;
    assert_eq!((terms.jury.len(), terms.min_peers), (0, 1));
    cluster.store.cut("n1", Cut::Refused);
    cluster.pass(Duration::from_mins(10)).await;
    assert_eq!(cluster.resets("n1"), 0);
}

/// **#312**, the other half: an explicit 0 is honoured as well.
#[tokio::test]
async fn snr_312_a_node_without_peers_that_was_told_so_ends_in_isolation() {
    let zero = Settings { min_peers: 0, ..settings() };
    let mut cluster = Cluster::of(&["n1"], zero).await;
    let terms = cluster.store.record("n1").unwrap().terms;
    assert!(terms.claims.self_fences && terms.min_peers == 0);
    cluster.store.cut("n1", Cut::Refused);
    let took = cluster.pass_until(T * 2, |cluster| cluster.resets("n1") > 0).await;
    assert!(took <= T, "{took:?}");
}

/// **#325.** There: an isolated control-plane node sees its own API server answer `/readyz`, counts as healthy and takes
/// no action, while the others release its workloads.
///
/// Here: not an answer keeps a node alive, but a stored renewal. An API server without its quorum reads and answers, and
/// stores nothing.
#[tokio::test]
async fn snr_325_a_control_plane_node_whose_own_api_server_still_answers_ends_when_it_is_isolated() {
    let mut cluster = Cluster::of(&FIVE, settings()).await;
    cluster.zone_cut(&["n1"], Cut::Writes);
    let took = cluster.pass_until(T * 2, |cluster| cluster.resets("n1") > 0).await;
    assert!(took <= T, "{took:?}");
    assert!(!cluster.feeds("n1"));
}

/// **#339.** There: the later remedy asks whether *any* control-plane peer can be reached, so one peer that is cut off
/// together with the node is enough to count as healthy, as a reviewer feared.
///
/// Here: that a peer answers proves nothing. It would have to store the node's record, or a strict majority of the jury
/// would have to say that the API is gone for them too.
#[tokio::test]
async fn snr_339_one_reachable_peer_in_the_same_plight_does_not_keep_a_control_plane_node_alive() {
    let mut cluster = Cluster::of(&FIVE, settings()).await;
    cluster.zone_cut(&["n1", "n2"], Cut::Writes);
    cluster.pass_until(T * 2, |cluster| cluster.resets("n1") > 0 && cluster.resets("n2") > 0).await;
    for name in ["n3", "n4", "n5"] {
        assert!(cluster.feeds(name) && cluster.resets(name) == 0, "{name}");
    }
}

/// **#332.** There: the watchdog's timeout is written to the Node before the device is opened and is always 0, so the
/// manager's wait lacks the watchdog altogether.
///
/// Here: the timeout comes from the opened device, and a lease claims that the node fences itself only together with
/// it: there is no version of the lease from which a wait without the watchdog could be computed.
#[tokio::test]
async fn snr_332_no_version_of_the_lease_claims_self_fencing_without_the_real_watchdog_timeout() {
    let mut cluster = Cluster::begun(&["n1", "n2", "n3"], settings()).await;
    let mut claimed = 0;
    for _ in 0..300 {
        cluster.pass(Duration::from_millis(100)).await;
        for name in ["n1", "n2", "n3"] {
            let Some(record) = cluster.store.record(name) else { continue };
            if record.terms.claims.self_fences {
                claimed += 1;
                assert_eq!(record.terms.watchdog.map(|watchdog| watchdog.timeout_millis), Some(10_000), "{name}");
            }
        }
    }
    assert!(claimed > 0, "nobody ever claimed anything");
}

/// **#354.** There: a whole rack is cut off; the peers inside the cut answer each other "I have no API either", which
/// refreshes a grace period for ever. Nobody reboots, while the healthy side deletes pods and attachments.
///
/// Here: only a strict majority of the whole jury may say so. Two of five cannot, and neither can three of five: the
/// jury of each are the other four, of which only two are on its side.
#[tokio::test]
async fn snr_354_nodes_that_are_cut_off_together_do_not_vouch_for_each_other() {
    cut_off_together(&["n4", "n5"]).await;
}

/// **#354** with the majority behind the cut.
#[tokio::test]
async fn snr_354_neither_does_a_majority_that_is_cut_off_together() {
    cut_off_together(&["n3", "n4", "n5"]).await;
}

async fn cut_off_together(zone: &[&str]) {
    let mut cluster = Cluster::of(&FIVE, settings()).await;
    cluster.zone_cut(zone, Cut::Blackhole);
    let took = cluster.pass_until(T * 2, |cluster| zone.iter().all(|name| cluster.resets(name) > 0)).await;
    assert!(took <= T, "{took:?}");
    for name in FIVE.iter().filter(|name| !zone.contains(name)) {
        assert!(cluster.feeds(name) && cluster.resets(name) == 0, "{name}");
    }
}
