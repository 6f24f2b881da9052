//! Three agents, and what becomes of them.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail loudly

#[allow(dead_code)] // each test program uses its part
mod support;

use std::time::Duration;

use support::{Cluster, Cut, T};

const ALL: [&str; 3] = ["n1", "n2", "n3"];

#[tokio::test]
async fn agents_get_certificates_choose_juries_arm_and_then_claim() {
    let cluster = Cluster::ready().await;
    for name in ALL {
        assert_eq!(cluster.nodes[name].machine.opened(), 1);
        assert!(cluster.feeds(name));
        assert_eq!(cluster.resets(name), 0);
    }
}

async fn carried_by_peers(cut: Cut) {
    let mut cluster = Cluster::ready().await;
    let before = cluster.store.record("n1").unwrap().sequence;
    cluster.store.cut("n1", cut);
    cluster.pass(T * 5).await;
    assert!(cluster.feeds("n1"));
    assert_eq!(cluster.resets("n1"), 0);
    assert!(cluster.store.record("n1").unwrap().sequence > before + 4, "its record is stored for it");
}

#[tokio::test]
async fn a_node_whose_api_server_refuses_is_carried_by_its_peers() {
    carried_by_peers(Cut::Refused).await;
}

#[tokio::test]
async fn a_node_whose_api_server_is_silent_is_carried_by_its_peers() {
    carried_by_peers(Cut::Blackhole).await;
}

#[tokio::test]
async fn an_isolated_node_ends_itself_within_t_and_nobody_else_does() {
    let mut cluster = Cluster::ready().await;
    cluster.store.cut("n1", Cut::Blackhole);
    cluster.isolate("n1");
    let took = cluster.pass_until(T * 2, |cluster| cluster.resets("n1") > 0).await;
    assert!(took <= T, "{took:?}");
    assert!(!cluster.feeds("n1"));
    cluster.pass(T * 2).await;
    for name in ["n2", "n3"] {
        assert!(cluster.feeds(name));
        assert_eq!(cluster.resets(name), 0);
    }
}

#[tokio::test]
async fn an_intent_reaches_a_connected_agent_within_a_second_and_is_acknowledged() {
    let mut cluster = Cluster::ready().await;
    let intent = cluster.store.intend("n2");
    let took = cluster.pass_until(T, |cluster| cluster.resets("n2") > 0).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert!(!cluster.feeds("n2"));
    assert_eq!(cluster.store.record("n2").unwrap().acknowledged, Some(intent.uid));
}

#[tokio::test]
async fn a_node_without_the_api_hears_of_the_intent_from_a_peer_which_carries_the_acknowledgement() {
    let mut cluster = Cluster::ready().await;
    cluster.store.cut("n3", Cut::Refused);
    let intent = cluster.store.intend("n3");
    cluster.pass_until(T, |cluster| cluster.resets("n3") > 0).await;
    assert!(!cluster.feeds("n3"));
    assert_eq!(cluster.store.record("n3").unwrap().acknowledged, Some(intent.uid));
}

#[tokio::test]
async fn a_juror_that_promised_wakes_the_node_which_ends_within_a_second() {
    // Given a node that lives by its peers, and has just been relayed,
    let mut cluster = Cluster::ready().await;
    cluster.store.cut("n3", Cut::Blackhole);
    cluster.pass(T).await;
    let relayed = cluster.store.record("n3").unwrap().sequence;
    cluster.pass_until(T, |cluster| cluster.store.record("n3").unwrap().sequence > relayed).await;
    // when it is condemned and a juror promises,
    let intent = cluster.store.intend("n3");
    cluster.promise("n1", "n3", &intent).await;
    // then it does not wait for its next check.
    let took = cluster.pass_until(T, |cluster| cluster.resets("n3") > 0).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert_eq!(cluster.store.record("n3").unwrap().acknowledged, Some(intent.uid));
}

async fn outage_reboots_nobody(cut: Cut) {
    let mut cluster = Cluster::ready().await;
    for name in ALL {
        cluster.store.cut(name, cut);
    }
    cluster.pass(Duration::from_mins(3)).await;
    for name in ALL {
        assert!(cluster.feeds(name), "{name}");
        assert_eq!(cluster.resets(name), 0, "{name}");
        cluster.store.heal(name);
    }
    cluster.pass(T).await;
    for name in ALL {
        assert!(cluster.feeds(name), "{name} after it");
        assert_eq!(cluster.resets(name), 0, "{name} after it");
    }
}

#[tokio::test]
async fn a_whole_api_outage_reboots_nobody() {
    outage_reboots_nobody(Cut::Refused).await;
}

#[tokio::test]
async fn a_whole_api_outage_in_silence_reboots_nobody() {
    outage_reboots_nobody(Cut::Blackhole).await;
}

#[tokio::test]
async fn an_outage_in_which_only_writes_fail_reboots_nobody() {
    outage_reboots_nobody(Cut::Writes).await;
}

#[tokio::test]
async fn in_an_outage_the_isolated_node_ends_and_the_others_live() {
    let mut cluster = Cluster::ready().await;
    for name in ALL {
        cluster.store.cut(name, Cut::Refused);
    }
    cluster.isolate("n1");
    cluster.pass_until(T * 2, |cluster| cluster.resets("n1") > 0).await;
    // Two of three are left, and each jury has two members: no strict majority without the third.
    assert!(!cluster.feeds("n1"));
}

#[tokio::test]
async fn a_graceful_stop_publishes_disarmed() {
    let mut cluster = Cluster::ready().await;
    let outcome = cluster.stop("n1").await;
    assert!(outcome.disarmed, "{outcome:?}");
    let record = cluster.store.record("n1").unwrap();
    assert!(record.disarmed && !record.terms.claims.self_fences);
}

#[tokio::test]
async fn a_stop_without_the_api_leaves_the_watchdog_armed() {
    let mut cluster = Cluster::ready().await;
    cluster.store.cut("n1", Cut::Refused);
    let disarmed_before = cluster.nodes["n1"].machine.disarmed();
    let machine = std::sync::Arc::clone(&cluster.nodes["n1"].machine);
    let outcome = cluster.stop("n1").await;
    assert!(!outcome.disarmed, "{outcome:?}");
    assert_eq!(machine.disarmed(), disarmed_before);
}

#[tokio::test]
async fn a_killed_agent_comes_back_and_goes_on_feeding_the_same_boot() {
    let mut cluster = Cluster::ready().await;
    cluster.restart("n2").await;
    cluster.pass(Duration::from_secs(1)).await;
    assert!(cluster.feeds("n2"), "it inherits the right to live");
    assert_eq!(cluster.nodes["n2"].machine.opened(), 2);
    cluster.pass(T * 3).await;
    assert!(cluster.feeds("n2"));
    assert!(cluster.store.record("n2").unwrap().terms.claims.self_fences);
}

#[tokio::test]
async fn a_killed_agent_comes_back_without_the_api_and_is_carried() {
    let mut cluster = Cluster::ready().await;
    cluster.store.cut("n2", Cut::Refused);
    cluster.restart("n2").await;
    cluster.pass(T * 3).await;
    assert!(cluster.feeds("n2"), "key, certificate, trust and the addresses of its jury are on the host");
    assert_eq!(cluster.resets("n2"), 0);
}

#[tokio::test]
async fn a_fenced_boot_is_not_fed_by_the_next_process_either() {
    let mut cluster = Cluster::ready().await;
    cluster.store.intend("n2");
    cluster.pass_until(T, |cluster| cluster.resets("n2") > 0).await;
    cluster.restart("n2").await;
    cluster.pass(T).await;
    assert!(!cluster.feeds("n2"));
    assert_eq!(cluster.nodes["n2"].machine.opened(), 1, "the device of a fenced boot is never opened again");
    assert!(cluster.resets("n2") > 1);
}
