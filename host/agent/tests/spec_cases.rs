//! Cases of the specification of SelfNodeRemediation (9.4 and 9.5) that need agents and no control plane. The ids are its.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail loudly

#[allow(dead_code)] // each test program uses its part
mod support;

use std::time::Duration;

use palisade_core::fencing::agent::Settings;
use support::{Cluster, Cut, STEP, T, settings};

const ALL: [&str; 3] = ["n1", "n2", "n3"];
/// `apiCheckInterval` and `maxApiErrorThreshold` of the settings.
const CHECK: Duration = Duration::from_secs(2);
const THRESHOLD: u32 = 3;

/// The shortest time for so many checks: each comes up to an eighth early.
fn checks(count: u32) -> Duration {
    CHECK * count * 7 / 8
}

#[tokio::test]
async fn c086_the_boot_after_it_does_not_end_for_the_same_intent() {
    // Given a node that was reset for an intent which nobody has taken back yet,
    let mut cluster = Cluster::ready().await;
    cluster.store.intend("n2");
    cluster.pass_until(T, |cluster| cluster.resets("n2") > 0).await;
    // when it is back with another boot,
    cluster.reboot("n2").await;
    cluster.pass(T * 4).await;
    // then that one lives, claims and is fed.
    assert_eq!(cluster.resets("n2"), 0);
    assert!(cluster.feeds("n2"));
    let record = cluster.store.record("n2").unwrap();
    assert_eq!(record.boot_id.as_str(), "boot-2-of-n2");
    assert!(record.terms.claims.self_fences && record.acknowledged.is_none());
}

#[tokio::test]
async fn c088_a_device_that_is_triggered_and_does_not_fire_is_helped_by_software_again_and_again() {
    let mut cluster = Cluster::ready().await;
    cluster.store.intend("n1");
    // The device of this machine is no longer fed and does nothing; neither does the first reset.
    cluster.pass(Duration::from_secs(40)).await;
    assert!(!cluster.feeds("n1"));
    assert!(cluster.resets("n1") >= 2, "{} resets", cluster.resets("n1"));
    assert!(cluster.runs("n1"));
}

async fn without_a_device(why: &str, settings: Settings) -> Cluster {
    let mut cluster = Cluster::begun_on(&ALL, settings, |machine| machine.refuse_the_device(why)).await;
    cluster.pass(Duration::from_secs(45)).await;
    for name in ALL {
        assert!(cluster.runs(name), "{name} ended");
        assert_eq!(cluster.store.record(name).unwrap().terms.watchdog, None);
        assert_eq!(cluster.resets(name), 0);
    }
    cluster
}

async fn a_trigger_resets_by_software(why: &str) {
    let mut cluster = without_a_device(why, settings()).await;
    assert!(cluster.store.record("n1").unwrap().terms.claims.self_fences);
    let intent = cluster.store.intend("n1");
    let took = cluster.pass_until(T, |cluster| cluster.resets("n1") > 0).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert_eq!(cluster.store.record("n1").unwrap().acknowledged, Some(intent.uid));
}

#[tokio::test]
async fn c089_with_a_busy_device_the_agent_runs_and_a_trigger_resets_by_software() {
    a_trigger_resets_by_software("/dev/watchdog is in use by systemd (pid 1)").await;
}

#[tokio::test]
async fn c089_with_a_device_that_does_not_tell_its_timeout_too() {
    a_trigger_resets_by_software("/dev/watchdog: it does not tell its timeout").await;
}

#[tokio::test]
async fn c090_with_software_reboot_disabled_it_never_resets_and_never_says_that_it_would() {
    let disabled = Settings { software_reboot: false, ..settings() };
    let mut cluster = without_a_device("/dev/watchdog is in use by systemd (pid 1)", disabled).await;
    let terms = cluster.store.record("n1").unwrap().terms;
    assert!(!terms.claims.self_fences);
    assert!(terms.reset_bound() > Duration::from_hours(24), "{:?}", terms.reset_bound());
    // Neither an intent,
    cluster.store.intend("n1");
    // nor isolation ends it.
    cluster.store.cut("n2", Cut::Blackhole);
    cluster.isolate("n2");
    cluster.pass(Duration::from_mins(5)).await;
    for name in ALL {
        assert_eq!(cluster.resets(name), 0, "{name}");
        assert!(cluster.runs(name), "{name}");
    }
    assert_eq!(cluster.store.record("n1").unwrap().acknowledged, None, "that would be a lie");
}

#[tokio::test]
async fn c093_a_stop_while_a_fence_is_pending_disarms_nothing() {
    // Given an intent that the agent knows of: it was triggered.
    let mut cluster = Cluster::ready().await;
    cluster.store.intend("n1");
    cluster.pass_until(T, |cluster| cluster.resets("n1") > 0).await;
    cluster.terminate("n1");
    // Given one that it cannot know of, because it lost the API.
    cluster.store.cut("n2", Cut::Blackhole);
    cluster.store.intend("n2");
    cluster.terminate("n2");
    // Given one that it will only find when it wants to publish that it is disarmed.
    cluster.store.intend("n3");
    cluster.terminate("n3");
    cluster.pass(T * 2).await;
    for name in ALL {
        let machine = &cluster.nodes[name].machine;
        assert_eq!((machine.opened(), machine.disarmed()), (1, 0), "{name}");
        assert!(!cluster.store.record(name).unwrap().disarmed, "{name}");
    }
}

#[tokio::test]
async fn c097_below_the_threshold_no_peer_is_contacted_and_success_begins_anew() {
    let mut cluster = Cluster::ready().await;
    for _ in 0..3 {
        cluster.store.cut("n1", Cut::Refused);
        cluster.pass(checks(THRESHOLD - 1).checked_sub(STEP).unwrap()).await;
        cluster.store.heal("n1");
        cluster.pass(CHECK * 2).await;
    }
    assert_eq!(cluster.rounds("n1"), []);
    assert_eq!(cluster.resets("n1"), 0);
}

#[tokio::test]
async fn c098_after_a_peer_helped_peers_are_asked_again_only_after_another_full_threshold() {
    let mut cluster = Cluster::ready().await;
    cluster.store.cut("n1", Cut::Refused);
    cluster.pass(Duration::from_mins(2)).await;
    assert!(cluster.feeds("n1"));
    assert_eq!(cluster.resets("n1"), 0);
    let rounds = cluster.rounds("n1");
    assert!(rounds.len() > 5, "{rounds:?}");
    for pair in rounds.windows(2) {
        let pause = pair[1].since(pair[0]);
        assert!(pause >= checks(THRESHOLD), "asked again after {pause:?}");
    }
}

async fn nobody_reboots_when_all_lose_the_api(count: usize) {
    let names: Vec<String> = (1..=count).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut cluster = Cluster::of(&names, settings()).await;
    for name in &names {
        let terms = cluster.store.record(name).unwrap().terms;
        assert!(terms.claims.self_fences, "{name}");
        assert_eq!(terms.jury.len(), (count - 1).min(15), "{name}");
        cluster.store.cut(name, Cut::Refused);
    }
    cluster.pass(T * 4).await;
    for name in &names {
        assert!(cluster.feeds(name), "{name}");
        assert_eq!(cluster.resets(name), 0, "{name}");
    }
}

#[tokio::test]
async fn c100_two_agents_without_api_reboot_neither() {
    nobody_reboots_when_all_lose_the_api(2).await;
}

#[tokio::test]
async fn c100_three_agents_without_api_reboot_none() {
    nobody_reboots_when_all_lose_the_api(3).await;
}

#[tokio::test]
async fn c100_five_agents_without_api_reboot_none() {
    nobody_reboots_when_all_lose_the_api(5).await;
}

#[tokio::test]
async fn c100_twenty_agents_without_api_reboot_none() {
    nobody_reboots_when_all_lose_the_api(20).await;
}

#[tokio::test]
async fn c101_a_peers_answer_lets_an_isolated_node_live_for_t_from_it_and_not_longer() {
    // Given a node that lives by what its peers store for it,
    let mut cluster = Cluster::ready().await;
    cluster.store.cut("n1", Cut::Blackhole);
    cluster.pass(T * 2).await;
    let helped = cluster.rounds("n1").len();
    cluster.pass_until(T, |cluster| cluster.rounds("n1").len() > helped).await;
    // when it loses them as well right after an answer,
    cluster.isolate("n1");
    let took = cluster.pass_until(T * 2, |cluster| cluster.resets("n1") > 0).await;
    // then the next rounds without an answer do not end it at once, and its `T` does.
    assert!(took > T.checked_sub(CHECK).unwrap(), "{took:?}");
    assert!(took <= T + STEP, "{took:?}");
    let silent = cluster.rounds("n1").len() - helped - 1;
    assert!(silent >= 1, "it did not even ask again");
}

/// **Extra scenario: changing addresses, then an outage.** There (W40): the list of peers is as old as a quarter of an
/// hour, agents restarted meanwhile have other addresses, and an API outage in that window looks like isolation.
#[tokio::test]
async fn extra_a_rollout_that_changes_every_address_followed_by_an_outage_reboots_nobody() {
    let mut cluster = Cluster::ready().await;
    // Given a rollout that replaces one agent after the other, each when the one before is old enough to speak,
    for name in ALL {
        cluster.restart(name).await;
        cluster.pass(Duration::from_secs(45)).await;
    }
    // when the API goes away right after it,
    for name in ALL {
        cluster.store.cut(name, Cut::Refused);
    }
    cluster.pass(Duration::from_mins(3)).await;
    for name in ALL {
        assert!(cluster.feeds(name), "{name}");
        assert_eq!(cluster.resets(name), 0, "{name}");
    }
}

/// **Extra scenario: everybody loses everybody, and no remediation exists.** A failure of the pod network looks to every
/// agent like isolation. Nothing that an agent can see tells it from a real one, so each keeps its published promise and
/// ends: documented, and the reason for `hostNetwork` or a second path where the pod network is not trusted. What is
/// checked is that none ends before its promise.
#[tokio::test]
async fn extra_when_the_pod_network_is_gone_for_all_nobody_ends_before_its_promise() {
    let mut cluster = Cluster::ready().await;
    for name in ALL {
        cluster.store.cut(name, Cut::Blackhole);
        cluster.isolate(name);
    }
    cluster.pass(T.checked_sub(CHECK * 2).unwrap()).await;
    for name in ALL {
        assert_eq!(cluster.resets(name), 0, "{name}");
        assert!(cluster.feeds(name), "{name}");
    }
}
