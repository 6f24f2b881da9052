//! Configuration that changes while the node lives.

use std::time::Duration;

use super::bench::{Bench, T, boot, settings};
use crate::fencing::agent::{Effect, Event, Settings};
use crate::fencing::juror::PeerAnswer;

/// No watchdog: the claim rests on the software reset alone.
fn by_software() -> Settings {
    Settings { watchdog: false, ..settings() }
}

fn switched_off() -> Settings {
    Settings { software_reboot: false, ..by_software() }
}

fn resets(effect: &Effect) -> bool {
    matches!(effect, Effect::Reset(_))
}

#[test]
fn a_claim_by_software_is_kept_until_the_lease_that_takes_it_back_is_confirmed() {
    // Given a lease that claims self-fencing by software alone, when software reboot is switched off and the write that
    // takes the claim back gets no answer,
    let mut bench = Bench::claimed(by_software(), 3);
    assert!(bench.agent.confirmed().unwrap().terms.claims.self_fences);
    bench.event(Event::SettingsChanged(switched_off()));
    let (request, record, _) = bench.write();
    assert!(!record.terms.claims.self_fences, "it is taken back at once");
    bench.failed(request);
    // then the boot still ends at L, by software: somebody may rely on it.
    bench.pass(T);
    assert!(bench.agent.is_fenced());
    assert!(bench.wants(resets), "{:#?}", bench.wanted);
}

#[test]
fn an_intent_over_the_old_claim_is_obeyed_by_software() {
    let mut bench = Bench::claimed(by_software(), 3);
    let claimed = bench.agent.confirmed().unwrap().clone();
    bench.event(Event::SettingsChanged(switched_off()));
    let (request, _, _) = bench.write();
    bench.failed(request);
    let mut old = bench.lease(None, None);
    old.view.intent = Some(super::bench::intent("b1", claimed.terms));
    bench.event(Event::LeaseSeen(old));
    assert!(bench.agent.is_fenced());
    // What it acknowledges is what it does: a bounded reset.
    let acknowledged = bench.wanted.iter().find_map(|effect| match effect {
        Effect::WriteLease { record, .. } => record.acknowledged.is_some().then_some(record.clone()),
        _ => None,
    });
    assert!(acknowledged.unwrap().terms.reset_bound() < Duration::from_mins(1));
    bench.pass(Duration::from_secs(10));
    assert!(bench.wants(resets));
}

#[test]
fn once_the_claim_is_taken_back_nothing_is_reset_by_software_any_more() {
    let mut bench = Bench::claimed(by_software(), 3);
    bench.event(Event::SettingsChanged(switched_off()));
    let (request, record, _) = bench.write();
    bench.stored(request, record);
    bench.forget();
    bench.pass(T * 3);
    assert!(!bench.agent.is_fenced(), "nothing is claimed, so nothing ends at L");
    bench.lose_api();
    let (request, ..) = bench.ask();
    bench.said(request, "n1", PeerAnswer::IntentExists { uid: "u1".into(), boot_id: boot("b1") });
    bench.pass(Duration::from_mins(1));
    assert!(bench.agent.is_fenced() && !bench.wants(resets), "{:#?}", bench.wanted);
}

#[test]
fn a_restart_does_not_forget_the_claim_either() {
    // Given a claim by software, when the agent is replaced by one with the new configuration before it could say so,
    let bench = Bench::claimed(by_software(), 3);
    let mut bench = Bench::new(switched_off(), bench.disk, bench.now + Duration::from_secs(1));
    bench.pass(T * 2);
    // then the promise of the boot is kept.
    assert!(bench.agent.is_fenced());
    assert!(bench.wants(resets));
}

#[test]
fn renewals_that_are_spread_come_early_and_never_late() {
    let mut bench = Bench::claimed(Settings { spread: true, ..settings() }, 3);
    let interval = settings().tuning.api_check_interval;
    let mut pauses = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let begun = bench.now;
        while !bench.wants(|effect| matches!(effect, Effect::WriteLease { .. })) {
            bench.now = bench.now + Duration::from_millis(1);
            bench.event(Event::Tick);
        }
        let pause = bench.now.since(begun);
        assert!(pause <= interval && pause >= interval * 7 / 8, "{pause:?}");
        pauses.insert(pause);
        let (request, record, _) = bench.write();
        bench.stored(request, record);
    }
    assert!(pauses.len() > 10, "{pauses:?}");
    // A spread agent lives no longer: L counts from what it sent.
    assert_eq!(bench.agent.until(), Some(bench.now + T));
}
