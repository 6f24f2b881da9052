//! What a new process of the same boot inherits.

use std::time::Duration;

use super::bench::{Bench, T, intent, peers, settings};
use crate::fencing::agent::{Effect, Event};
use crate::fencing::juror::PeerAnswer;
use crate::fencing::record::BootId;

/// The process is gone; the next one starts this much later.
fn restarted(bench: &Bench, later: Duration) -> Bench {
    let mut next = Bench::new(settings(), bench.disk.clone(), bench.now + later);
    next.version = bench.version;
    next.event(Event::Tick);
    next
}

#[test]
fn line_24_a_restart_inherits_the_right_to_live_and_not_a_moment_more() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.pass(Duration::from_secs(2));
    let until = bench.agent.until().unwrap();
    let next = restarted(&bench, Duration::from_secs(1));
    assert!(next.agent.until().unwrap() <= until);
    assert!(next.wants(|effect| *effect == Effect::OpenWatchdog), "it goes on feeding at once");
}

#[test]
fn line_24_past_the_end_of_the_life_the_device_is_not_opened_and_the_boot_ends() {
    let bench = Bench::claimed(settings(), 3);
    let next = restarted(&bench, T + Duration::from_secs(1));
    assert!(!next.wants(|effect| *effect == Effect::OpenWatchdog));
    assert!(next.agent.is_fenced());
    assert!(next.wants(|effect| matches!(effect, Effect::Reset(_))));
}

#[test]
fn a_fenced_boot_stays_fenced() {
    let mut bench = Bench::claimed(settings(), 3);
    let intent = intent("b1", bench.agent.confirmed().unwrap().terms.clone());
    let lease = bench.lease(None, Some(intent));
    bench.event(Event::LeaseSeen(lease));
    let mut next = restarted(&bench, Duration::from_secs(1));
    next.pass(Duration::from_secs(20));
    assert!(next.agent.is_fenced() && next.feeding_ended && next.permit.is_none());
    assert!(!next.wants(|effect| *effect == Effect::OpenWatchdog));
    assert!(next.wants(|effect| matches!(effect, Effect::Reset(_))));
    assert!(next.wants(|effect| matches!(effect, Effect::ReadLease { .. })), "it acknowledges as well");
}

#[test]
fn line_8_unconfirmed_juries_survive_the_restart() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.event(Event::RosterChanged(peers(13)));
    let (request, ..) = bench.write();
    bench.failed(request);
    let mut next = restarted(&bench, Duration::from_secs(1));
    next.lose_api();
    let (request, _, whom, _) = next.ask();
    assert!(whom.len() >= 3, "addresses of the jury are on the host: {whom:?}");
    let before = next.agent.until();
    for node in ["n1", "n2", "n3"] {
        next.said(request, node, PeerAnswer::NoApi);
    }
    assert_eq!(next.agent.until(), before, "the jury sent before the restart has not agreed");
}

#[test]
fn a_smaller_t_sent_before_the_restart_still_counts() {
    let mut bench = Bench::claimed(settings(), 3);
    let mut short = settings();
    short.tuning.api_check_interval = Duration::from_secs(1);
    let shorter = short.tuning.time_to_live();
    bench.event(Event::SettingsChanged(short));
    let (_, record, _) = bench.write();
    assert_eq!(record.terms.time_to_live(), shorter);
    // The new process has the old configuration, and the same bound.
    let next = restarted(&bench, Duration::from_millis(1));
    assert!(next.agent.until().unwrap() <= next.now + shorter);
}

#[test]
fn sequence_numbers_go_on_after_the_last_one_sent() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.pass(Duration::from_secs(2));
    let (_, sent, _) = bench.write();
    let mut next = restarted(&bench, Duration::from_millis(1));
    next.pass(Duration::from_millis(1));
    let request = next.wanted.iter().find_map(|effect| match effect {
        Effect::ReadLease { request } => Some(*request),
        _ => None,
    });
    next.event(Event::ReadAnswer { request: request.unwrap(), result: Ok(None) });
    let (_, record, _) = next.write();
    assert!(record.sequence > sent.sequence);
}

#[test]
fn without_its_host_file_a_restart_is_a_first_start_that_outruns_old_relays() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.pass(Duration::from_secs(2));
    let (_, on_its_way, _) = bench.write();
    let stored = on_its_way.clone();

    let mut next = Bench::new(settings(), None, bench.now);
    next.event(Event::Tick);
    assert!(!next.wants(|effect| *effect == Effect::OpenWatchdog));
    let request = next.wanted.iter().find_map(|effect| match effect {
        Effect::ReadLease { request } => Some(*request),
        _ => None,
    });
    let lease = next.lease(Some(stored), None);
    next.event(Event::ReadAnswer { request: request.unwrap(), result: Ok(Some(lease)) });
    let (_, record, _) = next.write();
    assert!(record.sequence > on_its_way.sequence + 1000);
    assert!(!record.terms.claims.self_fences);
}

#[test]
fn an_acknowledged_boot_is_fenced_even_if_its_host_file_was_lost() {
    let mut bench = Bench::claimed(settings(), 3);
    let intent = intent("b1", bench.agent.confirmed().unwrap().terms.clone());
    let lease = bench.lease(None, Some(intent));
    bench.event(Event::LeaseSeen(lease));
    let (_, acknowledging, _) = bench.write();

    let mut next = Bench::new(settings(), None, bench.now);
    next.event(Event::Tick);
    let lease = next.lease(Some(acknowledging), None);
    next.event(Event::LeaseSeen(lease));
    assert!(next.agent.is_fenced());
}

#[test]
fn a_host_file_of_another_boot_means_nothing() {
    let bench = Bench::claimed(settings(), 3);
    let mut file = bench.disk.clone().unwrap();
    file.boot_id = BootId::new("b0").unwrap();
    let mut next = Bench::new(settings(), Some(file), bench.now);
    next.event(Event::Tick);
    assert_eq!(next.agent.until(), None);
    assert!(!next.wants(|effect| *effect == Effect::OpenWatchdog));
}
