//! How a boot ends, and how a process stops without ending it.

use std::time::Duration;

use super::bench::{Bench, T, boot, intent, settings};
use crate::fencing::agent::{Effect, Event, ResetSteps, WriteResult};
use crate::fencing::juror::PeerAnswer;
use crate::fencing::record::Terms;

fn terms(bench: &Bench) -> Terms {
    bench.agent.confirmed().unwrap().terms.clone()
}

fn position(bench: &Bench, test: impl Fn(&Effect) -> bool) -> usize {
    bench.wanted.iter().position(test).unwrap_or_else(|| panic!("not among {:#?}", bench.wanted))
}

fn resets(effect: &Effect) -> bool {
    matches!(effect, Effect::Reset(_))
}

#[test]
fn an_intent_seen_by_watch_stops_feeding_is_stored_acknowledged_and_then_resets() {
    let mut bench = Bench::claimed(settings(), 3);
    let intent = intent("b1", terms(&bench));
    let lease = bench.lease(None, Some(intent));
    bench.event(Event::LeaseSeen(lease));

    assert!(bench.feeding_ended && !bench.feeds());
    assert_eq!(bench.disk.as_ref().unwrap().fenced.as_ref().unwrap().intent_uid.as_deref(), Some("intent-1"));
    let stored = position(&bench, |effect| matches!(effect, Effect::WriteHostFile { .. }));
    let acknowledged = position(&bench, |effect| matches!(effect, Effect::WriteLease { .. }));
    assert!(stored < acknowledged);
    assert!(!bench.wants(resets), "first the acknowledgement");

    let (request, record, _) = bench.write();
    assert_eq!(record.acknowledged.as_deref(), Some("intent-1"));
    let lease = bench.lease(Some(record), None);
    bench.event(Event::WriteAnswer { request, result: WriteResult::Stored(lease) });
    assert!(bench.wants(resets));
}

#[test]
fn the_acknowledgement_takes_no_longer_than_its_limit() {
    let mut bench = Bench::claimed(settings(), 3);
    let intent = intent("b1", terms(&bench));
    let lease = bench.lease(None, Some(intent));
    bench.event(Event::LeaseSeen(lease));
    bench.forget();
    bench.pass(settings().steps.acknowledge);
    assert!(bench.wants(resets));
}

#[test]
fn an_intent_found_by_a_conflicting_write_fences() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.pass(Duration::from_secs(2));
    let (request, ..) = bench.write();
    let intent = intent("b1", terms(&bench));
    let lease = bench.lease(None, Some(intent));
    bench.event(Event::WriteAnswer { request, result: WriteResult::Conflict(Some(lease)) });
    assert!(bench.agent.is_fenced());
}

#[test]
fn an_intent_beats_any_number_of_other_answers() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.lose_api();
    let (request, ..) = bench.ask();
    bench.said(request, "n1", PeerAnswer::NoApi);
    bench.said(request, "n2", PeerAnswer::NoApi);
    bench.said(request, "n3", PeerAnswer::IntentExists { uid: "u9".into(), boot_id: boot("b1") });
    assert!(bench.agent.is_fenced() && bench.feeding_ended);
    let until = bench.agent.until();
    // Whatever comes after: nothing feeds this boot again.
    bench.said(request, "n1", PeerAnswer::Relayed);
    assert_eq!(bench.agent.until(), until);
    assert_eq!(bench.permit, None);
}

#[test]
fn the_peer_that_told_carries_the_acknowledgement() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.lose_api();
    let (request, ..) = bench.ask();
    bench.said(request, "n2", PeerAnswer::IntentExists { uid: "u9".into(), boot_id: boot("b1") });
    let (request, record, whom, _) = bench.ask();
    assert_eq!(whom.iter().map(|peer| peer.node.as_str()).collect::<Vec<_>>(), ["n2"]);
    assert_eq!(record.acknowledged.as_deref(), Some("u9"));
    bench.said(request, "n2", PeerAnswer::Relayed);
    assert!(bench.wants(resets));
    assert_eq!(bench.permit, None, "an acknowledgement extends nothing");
}

#[test]
fn line_14_what_is_not_stored_is_not_acknowledged() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.disk_works = false;
    let intent = intent("b1", terms(&bench));
    let lease = bench.lease(None, Some(intent));
    bench.event(Event::LeaseSeen(lease));
    assert!(bench.feeding_ended);
    assert!(bench.wants(resets), "it resets all the same");
    bench.pass(Duration::from_secs(3));
    assert!(!bench.wants(|effect| matches!(effect, Effect::WriteLease { .. } | Effect::AskPeers { .. })));
}

#[test]
fn an_isolated_node_ends_itself_at_the_end_of_its_life() {
    let mut bench = Bench::claimed(settings(), 3);
    let until = bench.agent.until().unwrap();
    bench.pass((until - Duration::from_millis(1)).since(bench.now));
    assert!(!bench.agent.is_fenced() && bench.feeds());
    bench.forget();
    bench.pass(Duration::from_millis(1));
    assert!(bench.agent.is_fenced() && bench.feeding_ended);
    assert!(bench.wants(resets));
    assert!(!bench.wants(|effect| matches!(effect, Effect::WriteLease { .. })), "there is no intent to acknowledge");
}

#[test]
fn with_software_reboot_disabled_only_the_watchdog_acts() {
    let mut watchdog_only = settings();
    watchdog_only.software_reboot = false;
    let mut bench = Bench::claimed(watchdog_only, 3);
    bench.pass(T + Duration::from_mins(1));
    assert!(bench.agent.is_fenced() && bench.feeding_ended);
    assert!(!bench.wants(resets));
}

#[test]
fn a_node_that_cannot_end_itself_does_not_acknowledge() {
    let mut nothing = settings();
    nothing.software_reboot = false;
    nothing.watchdog = false;
    let mut bench = Bench::claimed(nothing, 3);
    let intent = intent("b1", terms(&bench));
    let lease = bench.lease(None, Some(intent));
    bench.event(Event::LeaseSeen(lease));
    bench.pass(Duration::from_secs(10));
    assert!(!bench.wants(|effect| matches!(effect, Effect::WriteLease { .. } | Effect::Reset(_))));
}

#[test]
fn line_13_all_reset_steps_together_take_less_than_the_watchdog() {
    for seconds in [1, 2, 5, 8, 10, 60] {
        let watchdog = Duration::from_secs(seconds);
        assert!(ResetSteps::default().within(Some(watchdog)).total() < watchdog, "{seconds} s");
    }
    assert_eq!(ResetSteps::default().within(None), ResetSteps::default());
}

#[test]
fn a_reset_that_did_not_happen_is_tried_again() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.pass(T + Duration::from_secs(1));
    bench.forget();
    bench.pass(Duration::from_mins(1));
    assert!(bench.wants(resets));
}

#[test]
fn a_graceful_stop_publishes_disarmed_first_and_disarms_then() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.event(Event::GracefulStop { limit: Duration::from_secs(5) });
    assert!(!bench.wants(|effect| *effect == Effect::Disarm));
    let (request, record, _) = bench.write();
    assert!(record.disarmed && !record.terms.claims.self_fences);
    bench.stored(request, record);
    assert!(bench.wants(|effect| *effect == Effect::Disarm));
    assert!(!bench.wants(|effect| matches!(effect, Effect::Exit { .. })));
    bench.event(Event::WatchdogDisarmed(Ok(())));
    assert!(bench.wants(|effect| matches!(effect, Effect::Exit { disarmed: true, .. })));
    let file = bench.disk.clone().unwrap();
    assert!(!file.confirmed.unwrap().terms.claims.self_fences);
}

#[test]
fn a_graceful_stop_without_the_api_leaves_the_watchdog_armed_and_says_so() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.event(Event::GracefulStop { limit: Duration::from_secs(5) });
    bench.pass(Duration::from_secs(5));
    assert!(!bench.wants(|effect| *effect == Effect::Disarm));
    assert!(bench.wants(|effect| matches!(effect, Effect::Exit { disarmed: false, .. })));
}

#[test]
fn an_intent_that_comes_during_a_graceful_stop_still_ends_the_boot() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.event(Event::GracefulStop { limit: Duration::from_secs(5) });
    let (request, ..) = bench.write();
    let intent = intent("b1", terms(&bench));
    let lease = bench.lease(None, Some(intent));
    bench.event(Event::WriteAnswer { request, result: WriteResult::Conflict(Some(lease)) });
    assert!(bench.agent.is_fenced());
    bench.pass(Duration::from_secs(10));
    assert!(!bench.wants(|effect| matches!(effect, Effect::Disarm | Effect::Exit { .. })));
}

#[test]
fn a_fenced_agent_does_not_stop() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.pass(T + Duration::from_secs(1));
    bench.event(Event::GracefulStop { limit: Duration::from_secs(5) });
    bench.pass(Duration::from_secs(10));
    assert!(!bench.wants(|effect| matches!(effect, Effect::Exit { .. })));
}
