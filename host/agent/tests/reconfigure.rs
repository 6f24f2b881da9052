//! Configuration that changes under running agents.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail loudly

#[allow(dead_code)] // each test program uses its part
mod support;

use std::time::Duration;

use palisade_core::fencing::agent::Settings;
use support::{Cluster, Cut, T, settings};

#[tokio::test]
async fn a_shorter_right_to_live_is_published_at_once_and_kept() {
    let mut cluster = Cluster::ready().await;
    let mut short = settings();
    short.tuning.api_check_interval = Duration::from_secs(1);
    short.generation = 2;
    let shorter = short.tuning.time_to_live();
    assert!(shorter < T);
    cluster.configure("n1", &short);
    cluster.pass(Duration::from_secs(1)).await;
    let record = cluster.store.record("n1").unwrap();
    assert_eq!((record.terms.time_to_live(), record.generation), (shorter, 2));
    cluster.store.cut("n1", Cut::Blackhole);
    cluster.isolate("n1");
    let took = cluster.pass_until(T * 2, |cluster| cluster.resets("n1") > 0).await;
    assert!(took <= shorter, "{took:?}");
}

#[tokio::test]
async fn a_longer_one_counts_only_when_the_lease_says_so() {
    // Given a node that has lost the API and everybody, when it is told to live longer,
    let mut cluster = Cluster::ready().await;
    cluster.store.cut("n1", Cut::Blackhole);
    cluster.isolate("n1");
    let mut long = settings();
    long.tuning.api_check_interval = Duration::from_secs(20);
    cluster.configure("n1", &long);
    // then it ends when its lease says it does.
    let took = cluster.pass_until(T * 2, |cluster| cluster.resets("n1") > 0).await;
    assert!(took <= T, "{took:?}");
}

#[tokio::test]
async fn nobody_reboots_when_everything_is_changed_in_an_outage() {
    let mut cluster = Cluster::ready().await;
    for name in ["n1", "n2", "n3"] {
        cluster.store.cut(name, Cut::Refused);
    }
    cluster.pass(T).await;
    let other = Settings { min_peers: 2, software_reboot: false, generation: 2, ..settings() };
    for name in ["n1", "n2", "n3"] {
        cluster.configure(name, &other);
    }
    cluster.pass(T * 3).await;
    for name in ["n1", "n2", "n3"] {
        assert!(cluster.feeds(name) && cluster.resets(name) == 0, "{name}");
        cluster.store.heal(name);
    }
    cluster.pass(T).await;
    for name in ["n1", "n2", "n3"] {
        assert_eq!(cluster.store.record(name).unwrap().generation, 2, "{name}");
    }
}
