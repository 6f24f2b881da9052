//! What ends a boot, where the device is busy, broken, or does not do what it should: cases C088 to C090 of the
//! specification of SelfNodeRemediation.

use std::time::Duration;

use super::bench::{Bench, T, boot, device, intent, peers, settings};
use crate::fencing::agent::{Effect, Event, Lease, Level, Settings};
use crate::fencing::record::AgentRecord;
use crate::time::Mono;

const BUSY: &str = "/dev/watchdog is in use by process 1 (systemd); set RuntimeWatchdogSec=off";

fn resets(bench: &Bench) -> usize {
    bench.wanted.iter().filter(|effect| matches!(effect, Effect::Reset(_))).count()
}

/// A node whose device could not be opened; gives what it publishes then.
fn busy(settings: Settings) -> (Bench, AgentRecord) {
    let mut bench = Bench::new(settings, None, Mono(5_000));
    bench.event(Event::RosterChanged(peers(3)));
    bench.first_contact();
    bench.event(Event::WatchdogOpened(Err(BUSY.into())));
    let told = bench.wants(|effect| matches!(effect, Effect::Say(Level::Error, text) if text.contains(BUSY)));
    assert!(told, "who holds it is said: {:#?}", bench.wanted);
    assert!(bench.agent.watchdog_line().contains(BUSY));
    let (request, record, _) = bench.write();
    bench.stored(request, record.clone());
    bench.forget();
    (bench, record)
}

/// The controller writes an intent over what is published.
fn fence(bench: &mut Bench, record: &AgentRecord) {
    let lease = bench.lease(Some(record.clone()), Some(intent("b1", record.terms.clone())));
    bench.event(Event::LeaseSeen(lease));
    assert!(bench.agent.is_fenced());
}

#[test]
fn c088_a_triggered_device_that_does_not_fire_is_not_waited_for() {
    // Given a node with an armed device, when it is to end and the device never fires,
    let mut bench = Bench::claimed(settings(), 3);
    let mut lease: Lease = bench.lease(None, None);
    lease.view.intent = Some(intent("b1", bench.agent.confirmed().unwrap().terms.clone()));
    bench.event(Event::LeaseSeen(lease));
    assert!(bench.feeding_ended);
    bench.pass(Duration::from_secs(40));
    // then software resets it at once, and again and again.
    assert!(resets(&bench) > 3, "{:#?}", bench.wanted);
}

#[test]
fn c089_with_a_busy_device_the_agent_goes_on_and_claims_by_software() {
    let (mut bench, record) = busy(settings());
    assert!(record.terms.claims.self_fences && record.terms.watchdog.is_none(), "{record:#?}");
    assert!(record.terms.reset_bound() < Duration::from_mins(1));
    fence(&mut bench, &record);
    bench.pass(Duration::from_secs(10));
    assert!(resets(&bench) > 0);
}

#[test]
fn c089_a_device_that_fails_later_leaves_the_claim_to_software() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.event(Event::WatchdogFailed("input/output error".into()));
    let (request, record, _) = bench.write();
    assert!(record.terms.claims.self_fences && record.terms.watchdog.is_none());
    bench.stored(request, record);
    bench.pass(T * 2);
    assert!(bench.agent.is_fenced() && resets(&bench) > 0);
}

#[test]
fn c090_with_a_busy_device_and_software_reboot_disabled_nothing_is_claimed_and_nothing_reset() {
    let (mut bench, record) = busy(Settings { software_reboot: false, ..settings() });
    assert!(!record.terms.claims.self_fences && record.terms.watchdog.is_none());
    // Annotated as "not capable" from this very bound (`values` in the controller's rollout/mirror.rs).
    assert!(record.terms.reset_bound() > Duration::from_hours(24));
    bench.pass(T * 3);
    assert!(!bench.agent.is_fenced());
    fence(&mut bench, &record);
    bench.pass(Duration::from_mins(2));
    assert_eq!(resets(&bench), 0);
    assert!(!bench.wants(|effect| matches!(
        effect,
        Effect::WriteLease { record, .. } if record.acknowledged.is_some()
    )));
}

#[test]
fn c089_a_busy_device_is_tried_again_and_used_when_it_is_free() {
    let (mut bench, _) = busy(settings());
    for _ in 0..20 {
        bench.pass(Duration::from_secs(2));
        if bench.wants(|effect| *effect == Effect::OpenWatchdog) {
            break;
        }
        let (request, record, _) = bench.write();
        bench.stored(request, record);
    }
    bench.event(Event::WatchdogOpened(Ok(device())));
    let (request, record, _) = bench.write();
    bench.stored(request, record);
    let (_, record, _) = bench.write();
    assert_eq!((record.boot_id, record.terms.watchdog), (boot("b1"), Some(device())));
}
