//! What an armed device is worth, and what one that was disarmed is not.

use std::time::Duration;

use super::bench::{Bench, T, device, intent, peers, settings};
use crate::fencing::agent::{Effect, Event, Settings, WriteResult};
use crate::fencing::record::AgentRecord;

/// Only the watchdog may end this boot, and two peers are asked for where one exists: no claim.
fn watchdog_only_and_too_few_peers() -> Settings {
    Settings { software_reboot: false, min_peers: 2, ..settings() }
}

fn intended(bench: &mut Bench) {
    let terms = bench.agent.confirmed().unwrap().terms.clone();
    let lease = bench.lease(None, Some(intent("b1", terms)));
    bench.event(Event::LeaseSeen(lease));
}

fn acknowledgements(bench: &Bench) -> Vec<AgentRecord> {
    let records = bench.wanted.iter().filter_map(|effect| match effect {
        Effect::WriteLease { record, .. } | Effect::AskPeers { record, .. } => Some(record.clone()),
        _ => None,
    });
    records.filter(|record| record.acknowledged.is_some()).collect()
}

fn count(bench: &Bench, wanted: &Effect) -> usize {
    bench.wanted.iter().filter(|effect| *effect == wanted).count()
}

fn past_the_end(bench: &mut Bench) {
    let until = bench.agent.until().unwrap();
    bench.pass(until.since(bench.now) + Duration::from_millis(1));
}

#[test]
fn a_device_disarmed_in_isolation_carries_no_acknowledgement() {
    // Given a node that only its watchdog can end, armed, without a claim,
    let mut bench = Bench::claimed(watchdog_only_and_too_few_peers(), 1);
    assert!(!bench.agent.confirmed().unwrap().terms.claims.self_fences);
    assert_eq!(bench.disk.as_ref().unwrap().device, Some(device()));
    // when it is isolated and disarms, the host file says so first,
    past_the_end(&mut bench);
    assert_eq!(count(&bench, &Effect::Disarm), 1);
    assert_eq!(bench.disk.as_ref().unwrap().device, None);
    bench.event(Event::WatchdogDisarmed(Ok(())));
    // and after the API is back an intent is found:
    bench.forget();
    intended(&mut bench);
    bench.pass(Duration::from_secs(20));
    // then the boot runs on, and nobody is told otherwise; the next process of this boot knows that too.
    assert!(bench.agent.is_fenced());
    assert!(acknowledgements(&bench).is_empty());
    let mut next = Bench::new(watchdog_only_and_too_few_peers(), bench.disk.clone(), bench.now);
    next.pass(Duration::from_secs(20));
    assert!(next.agent.is_fenced());
    assert!(acknowledgements(&next).is_empty());
}

#[test]
fn while_a_device_is_being_disarmed_it_does_not_count_and_if_it_refuses_it_does_again() {
    let mut bench = Bench::claimed(watchdog_only_and_too_few_peers(), 1);
    past_the_end(&mut bench);
    intended(&mut bench);
    bench.pass(Duration::from_secs(5));
    assert!(acknowledgements(&bench).is_empty(), "it may be off already");
    bench.event(Event::WatchdogDisarmed(Err("nowayout".into())));
    bench.pass(Duration::from_secs(1));
    let acknowledged = acknowledgements(&bench);
    assert_eq!(acknowledged[0].terms.watchdog, Some(device()), "nobody feeds it, so it fires");
}

#[test]
fn an_intent_that_comes_before_the_disarming_keeps_the_device_armed() {
    let mut bench = Bench::claimed(watchdog_only_and_too_few_peers(), 1);
    bench.slow_disk = Some(Vec::new());
    past_the_end(&mut bench);
    intended(&mut bench);
    for write in bench.slow_disk.take().unwrap() {
        bench.event(Event::HostFileWritten { write, stored: true });
    }
    bench.pass(Duration::from_secs(5));
    assert_eq!(count(&bench, &Effect::Disarm), 0);
    assert!(!acknowledgements(&bench).is_empty());
}

#[test]
fn after_a_graceful_stop_the_next_process_does_not_acknowledge_with_the_old_device() {
    // Given a graceful stop: the disarmed record names no device, and the host file none either,
    let only_watchdog = Settings { software_reboot: false, ..settings() };
    let mut bench = Bench::claimed(only_watchdog.clone(), 3);
    bench.event(Event::GracefulStop { limit: Duration::from_secs(5) });
    let (request, record, _) = bench.write();
    assert!(record.disarmed && record.terms.watchdog.is_none());
    bench.stored(request, record);
    bench.event(Event::WatchdogDisarmed(Ok(())));
    // when the next process starts later than T and finds an intent,
    let mut next = Bench::new(only_watchdog, bench.disk.clone(), bench.now + T * 2);
    next.event(Event::Tick);
    intended(&mut next);
    next.pass(Duration::from_secs(20));
    // then it has nothing to acknowledge with.
    assert!(next.agent.is_fenced());
    assert!(acknowledgements(&next).is_empty());
}

#[test]
fn a_killed_process_leaves_its_device_armed_and_the_next_one_acknowledges_with_it() {
    let only_watchdog = Settings { software_reboot: false, ..settings() };
    let mut bench = Bench::claimed(only_watchdog.clone(), 3);
    intended(&mut bench);
    let mut next = Bench::new(only_watchdog, bench.disk.clone(), bench.now);
    next.event(Event::Tick);
    intended(&mut next);
    next.pass(Duration::from_secs(1));
    let acknowledged = acknowledgements(&next);
    assert_eq!(acknowledged[0].terms.watchdog, Some(device()));
    assert!(!next.wants(|effect| *effect == Effect::OpenWatchdog));
}

#[test]
fn before_a_device_is_open_nothing_published_serves_as_a_bound() {
    // Given software reboot off: the first lease, before the device is open,
    let mut bench = Bench::new(Settings { software_reboot: false, ..settings() }, None, crate::time::Mono(1_000_000));
    bench.event(Event::RosterChanged(peers(3)));
    let first = bench.first_contact();
    // then it claims nothing and its bound is beyond every wait, yet jurors are not asked to be that old.
    assert!(!first.terms.claims.self_fences && first.terms.watchdog.is_none());
    assert!(first.terms.reset_bound() > Duration::from_hours(24 * 365));
    // When the device opens and the intent, based on that first lease, lands before the second write,
    bench.event(Event::WatchdogOpened(Ok(device())));
    let (request, ..) = bench.write();
    let lease = bench.lease(Some(first.clone()), Some(intent("b1", first.terms)));
    bench.event(Event::WriteAnswer { request, result: WriteResult::Conflict(Some(lease)) });
    // then the acknowledgement names the device that will end the boot.
    let acknowledged = acknowledgements(&bench);
    assert_eq!(acknowledged[0].terms.watchdog, Some(device()));
}

#[test]
fn terms_without_a_bound_ask_no_juror_for_an_impossible_age() {
    let nothing = Settings { software_reboot: false, watchdog: false, ..settings() };
    let mut bench = Bench::claimed(nothing, 3);
    bench.lose_api();
    let (.., bounds) = bench.ask();
    assert!(bounds.largest_reset_bound < Duration::from_hours(1), "{bounds:?}");
}

#[test]
fn an_acknowledgement_by_software_does_not_boast_with_a_disarmed_device() {
    let mut bench = Bench::claimed(Settings { min_peers: 2, ..settings() }, 1);
    past_the_end(&mut bench);
    bench.event(Event::WatchdogDisarmed(Ok(())));
    bench.forget();
    intended(&mut bench);
    let acknowledged = acknowledgements(&bench);
    assert_eq!(acknowledged[0].terms.watchdog, None);
    assert!(acknowledged[0].terms.reset_bound() <= settings().steps.total());
}

#[test]
fn what_cannot_be_acknowledged_is_not_waited_for_in_a_busy_loop() {
    let mut bench = Bench::claimed(Settings { software_reboot: false, watchdog: false, ..settings() }, 3);
    intended(&mut bench);
    bench.pass(Duration::from_secs(2));
    assert!(bench.agent.next_deadline().unwrap() > bench.now);
}

#[test]
fn a_device_that_cannot_be_disarmed_is_fed_on_and_asked_seldom() {
    // Given a watchdog with nowayout on a node that does not claim to fence itself,
    let mut bench = Bench::claimed(Settings { min_peers: 2, ..settings() }, 1);
    past_the_end(&mut bench);
    bench.event(Event::WatchdogDisarmed(Err("nowayout".into())));
    // when the outage goes on,
    assert!(bench.feeds(), "no outage reboots a node that does not fence itself");
    bench.forget();
    for _ in 0..20 {
        bench.pass(Duration::from_secs(3));
        if count(&bench, &Effect::Disarm) > 0 {
            bench.event(Event::WatchdogDisarmed(Err("nowayout".into())));
        }
        assert!(bench.feeds() && !bench.agent.is_fenced());
    }
    // then it is asked again now and then only,
    assert!(count(&bench, &Effect::Disarm) <= 2, "{}", count(&bench, &Effect::Disarm));
    // and an intent still ends the feeding.
    intended(&mut bench);
    assert!(!bench.feeds());
}

#[test]
fn a_node_whose_life_ran_out_unclaimed_renews_before_it_claims() {
    // Given a node without a claim that was cut off for longer than T,
    let mut bench = Bench::claimed(Settings { watchdog: false, min_peers: 2, ..settings() }, 1);
    past_the_end(&mut bench);
    bench.forget();
    // when a second peer appears together with the API, then that does not end it.
    bench.event(Event::RosterChanged(peers(2)));
    bench.pass(Duration::from_secs(4));
    assert!(!bench.agent.is_fenced());
}
