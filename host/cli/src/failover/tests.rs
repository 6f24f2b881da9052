//! Numbers by hand.

// Whole milliseconds, computed in whole milliseconds.
#![allow(clippy::float_cmp)]

use palisade_core::fencing::record::{Claims, Terms, Watchdog};
use palisade_core::fencing::timing::Tuning;

use super::knobs::{all, knobs};
use super::model::{Release, split};
use super::*;

fn secs(seconds: f64) -> Duration {
    Duration::from_millis((seconds * 1_000.0).round() as u64)
}

/// The defaults of everything: T = 3 x (15 + 5) + 5 + 7 = 72 s, Wd = 10 s, T + 2 Wd + margin = 92 + 0.92 + 0.5 = 93.42 s.
fn defaults() -> Setting {
    let tuning = Tuning {
        api_check_interval: secs(15.0),
        api_server_timeout: secs(5.0),
        max_api_error_threshold: 3,
        peer_dial_timeout: secs(5.0),
        peer_request_timeout: secs(7.0),
    };
    Setting {
        grace: secs(50.0),
        unhealthy_for: Some(secs(300.0)),
        tuning,
        terms: Terms {
            time_to_live_millis: 72_000,
            watchdog: Some(Watchdog { identity: "w".into(), timeout_millis: 10_000, resets: true }),
            reset_steps_millis: 7_000,
            jury: vec!["n2".into()],
            min_peers: 1,
            claims: Claims { self_fences: true, may_exempt: false },
        },
        floor: Duration::ZERO,
        release: Release::ResourceDeletion,
        outside: None,
    }
}

fn parts(setting: &Setting, fault: Fault) -> [f64; 6] {
    let it = split(setting, fault);
    [it.detect, it.fence, it.prove, it.floor, it.release, it.total]
        .map(|part| part.map_or(-1.0, |part| part.as_secs_f64()))
}

#[test]
fn defaults_by_hand() {
    let it = defaults();
    // 50 + 5 + 300; the agent learns within 15 + 5, and ends within 20 + 0.2 + 0.5.
    assert_eq!(parts(&it, Fault::Kubelet), [355.0, 1.0, 40.7, 0.0, 1.0, 397.7]);
    // And within 5 + 7 more by way of its peers.
    assert_eq!(parts(&it, Fault::ApiLost), [355.0, 1.0, 52.7, 0.0, 1.0, 409.7]);
    // 93.42 s are over long before anybody acts.
    for fault in [Fault::Isolated, Fault::PowerOff, Fault::Hang] {
        assert_eq!(parts(&it, fault), [355.0, 1.0, 0.0, 0.0, 1.0, 357.0]);
    }
    assert_eq!(parts(&it, Fault::LongSilent), [0.0, 1.0, 0.0, 0.0, 1.0, 2.0]);
}

#[test]
fn a_policy_that_is_quick_waits_for_the_right_to_live() {
    let it = Setting { grace: secs(40.0), unhealthy_for: Some(secs(10.0)), ..defaults() };
    // 93.42 - (40 + 5 + 10 + 1) = 37.42
    assert_eq!(parts(&it, Fault::Isolated), [55.0, 1.0, 37.42, 0.0, 1.0, 94.42]);
    // The floor counts from the intent, and only where time is the proof.
    let it = Setting { floor: secs(180.0), ..it };
    assert_eq!(parts(&it, Fault::Isolated), [55.0, 1.0, 37.42, 142.58, 1.0, 237.0]);
    assert_eq!(parts(&it, Fault::LongSilent), [0.0, 1.0, 0.0, 180.0, 1.0, 182.0]);
    assert_eq!(parts(&it, Fault::Kubelet), [55.0, 1.0, 40.7, 0.0, 1.0, 97.7]);
}

#[test]
fn without_a_watchdog_the_software_has_its_time() {
    let mut it = defaults();
    it.terms.watchdog = None;
    // 7 + 0.07 + 0.5
    assert_eq!(parts(&it, Fault::Kubelet)[2], 27.57);
    let hang = split(&it, Fault::Hang);
    assert!(hang.because.contains("nothing ends a kernel that hangs"), "{}", hang.because);
}

#[test]
fn what_never_ends_is_said() {
    let mut it = defaults();
    it.terms.claims.may_exempt = true;
    assert_eq!(split(&it, Fault::Isolated).total, None);
    assert!(split(&it, Fault::Kubelet).total.is_some(), "it still acknowledges");
    it.terms.claims = Claims::default();
    assert_eq!(split(&it, Fault::Kubelet).total, None);
    let mut it = defaults();
    it.terms.jury.clear();
    assert!(split(&it, Fault::PowerOff).because.contains("jury of 0"));
    let blind = Setting { unhealthy_for: None, ..defaults() };
    assert_eq!(split(&blind, Fault::Hang).detect, None);
    let outside = Setting { outside: Some("FenceAgentsRemediationTemplate".into()), ..defaults() };
    let off = split(&outside, Fault::PowerOff);
    assert!(off.detect == Some(secs(355.0)) && off.total.is_none() && off.because.contains("FenceAgents"));
}

#[test]
fn knobs_are_sorted_by_what_they_buy() {
    let it = Setting { release: Release::OutOfServiceTaint, floor: secs(180.0), ..defaults() };
    let found = knobs(&it);
    let bought: Vec<(&str, f64)> = found.iter().map(|knob| (knob.field, (knob.buys * 100.0).round() / 100.0)).collect();
    assert_eq!(
        bought,
        [
            // 300 - 30; nothing else counts while that lasts.
            ("NodeHealthCheck unhealthyConditions[].duration", 270.0),
            ("SelfNodeRemediationConfig safeTimeToAssumeNodeRebootedSeconds", 180.0),
            // 20 - 1
            ("SelfNodeRemediationTemplate remediationStrategy", 19.0),
            ("SelfNodeRemediationConfig apiCheckInterval", 13.0),
            // 2 x 5 s, and 1 % of it
            ("watchdog timeout (driver, or agent --watchdog-timeout)", 10.1),
            ("kube-controller-manager --node-monitor-grace-period", 10.0),
            // 3 s for its own request; the peer's limit stays 7 s
            ("SelfNodeRemediationConfig peerDialTimeout", 4.0),
            ("SelfNodeRemediationConfig apiServerTimeout", 3.0),
        ]
    );
    let interval = found.iter().find(|knob| knob.field.ends_with("apiCheckInterval")).unwrap();
    assert_eq!(
        interval.by_fault.len(),
        2,
        "where silence is counted while detecting, checks buy nothing: {interval:?}"
    );
}

#[test]
fn all_knobs_together_meet_the_bound_of_the_core() {
    let best = all(&defaults());
    // T = 2 x (2 + 2) + 1 + 4 = 13 s; 13 + 10 + 0.23 + 0.5 = 23.73 s: over before 40 + 5 + 30.
    assert_eq!(best.terms.time_to_live(), secs(13.0));
    assert_eq!(best.terms.life_bound(), secs(23.73));
    assert_eq!(parts(&best, Fault::Isolated), [75.0, 1.0, 0.0, 0.0, 1.0, 77.0]);
    // 2 + 2, then 10 + 0.1 + 0.5
    assert_eq!(parts(&best, Fault::Kubelet)[2], 14.6);
}
