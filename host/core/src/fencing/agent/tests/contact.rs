//! How a node stays alive.

use std::time::Duration;

use super::bench::{Bench, T, boot, device, intent, peers, settings};
use crate::fencing::agent::{Base, Effect, Event, WriteResult};
use crate::fencing::juror::PeerAnswer;
use crate::fencing::record::AgentRecord;
use crate::time::Mono;

#[test]
fn a_renewal_extends_the_life_from_the_instant_it_was_sent() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.pass(Duration::from_secs(2));
    let sent = bench.now;
    let (request, record, base) = bench.write();
    assert_eq!(base, Base::At(bench.version.to_string()));

    bench.now = bench.now + Duration::from_millis(700);
    bench.stored(request, record);
    assert_eq!(bench.agent.until(), Some(sent + T));
    assert_eq!(bench.permit, Some(sent + T));
}

#[test]
fn a_request_is_described_on_disk_before_it_is_sent() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.disk_works = false;
    bench.pass(Duration::from_secs(5));
    assert!(!bench.wants(|effect| matches!(effect, Effect::WriteLease { .. })), "{:?}", bench.wanted);

    bench.disk_works = true;
    bench.pass(Duration::from_secs(2));
    let (_, record, _) = bench.write();
    let disk = bench.disk.clone().unwrap();
    assert!(disk.sequence >= record.sequence);
    assert!(disk.sent.iter().chain(&disk.confirmed).any(|known| known.terms == record.terms));
}

#[test]
fn line_11_self_fencing_is_claimed_only_in_a_second_write_after_the_watchdog_is_armed() {
    let mut bench = Bench::new(settings(), None, Mono(5_000));
    bench.event(Event::RosterChanged(peers(3)));
    let first = bench.first_contact();
    assert!(!first.terms.claims.self_fences);
    assert!(first.terms.watchdog.is_none());
    // The contact is on disk before the device is opened.
    let stored = bench.wanted.iter().rposition(|effect| matches!(effect, Effect::WriteHostFile { .. }));
    let opened = bench.wanted.iter().position(|effect| *effect == Effect::OpenWatchdog);
    assert!(stored.is_some() && stored < opened, "{:#?}", bench.wanted);
    // While the device is not open yet, no claim is made either.
    bench.pass(Duration::from_secs(2));
    let (request, meanwhile, _) = bench.write();
    assert!(!meanwhile.terms.claims.self_fences);
    bench.stored(request, meanwhile);

    bench.event(Event::WatchdogOpened(Ok(device())));
    let (_, second, _) = bench.write();
    assert!(second.terms.claims.self_fences);
    assert_eq!(second.terms.watchdog, Some(device()));
}

#[test]
fn line_11_without_any_contact_nothing_is_armed_fed_or_ended() {
    let mut bench = Bench::new(settings(), None, Mono(5_000));
    bench.event(Event::RosterChanged(peers(3)));
    bench.pass(Duration::from_hours(1));
    assert!(
        !bench.wants(|effect| matches!(effect, Effect::OpenWatchdog | Effect::Reset(_) | Effect::WriteLease { .. }))
    );
    assert_eq!(bench.permit, None);
    assert!(!bench.agent.is_fenced());
}

#[test]
fn without_software_reboot_and_without_watchdog_self_fencing_is_never_claimed() {
    let mut without = settings();
    without.watchdog = false;
    without.software_reboot = false;
    let mut bench = Bench::claimed(without, 3);
    for _ in 0..3 {
        bench.pass(Duration::from_secs(2));
        let (request, record, _) = bench.write();
        assert!(!record.terms.claims.self_fences);
        bench.stored(request, record);
    }
}

#[test]
fn a_device_that_does_not_reset_is_no_means_to_fence() {
    let mut only_watchdog = settings();
    only_watchdog.software_reboot = false;
    let mut bench = Bench::new(only_watchdog, None, Mono(5_000));
    bench.event(Event::RosterChanged(peers(3)));
    bench.first_contact();
    let mut toothless = device();
    toothless.resets = false;
    bench.event(Event::WatchdogOpened(Ok(toothless)));
    let (_, record, _) = bench.write();
    assert!(!record.terms.claims.self_fences);
}

#[test]
fn without_an_identity_it_renews_without_peers_and_claims() {
    let mut bench = Bench::new(settings(), None, Mono(5_000));
    bench.event(Event::IdentityChanged { ready: false });
    bench.event(Event::RosterChanged(peers(3)));
    let record = bench.first_contact();
    assert!(record.terms.jury.is_empty());
    assert!(!bench.wants(|effect| *effect == Effect::OpenWatchdog));

    bench.event(Event::IdentityChanged { ready: true });
    assert!(bench.wants(|effect| *effect == Effect::OpenWatchdog));
    let (request, signed, _) = bench.write();
    assert_eq!(signed.terms.jury.len(), 3);
    bench.stored(request, signed);
    bench.event(Event::WatchdogOpened(Ok(device())));
    let (_, record, _) = bench.write();
    assert!(record.terms.claims.self_fences);
}

#[test]
fn line_7_a_smaller_t_cuts_the_life_before_it_is_sent() {
    let mut bench = Bench::claimed(settings(), 3);
    let before = bench.agent.until().unwrap();
    let mut short = settings();
    short.tuning.api_check_interval = Duration::from_secs(1);
    let shorter = short.tuning.time_to_live();
    bench.event(Event::SettingsChanged(short));

    let (request, record, _) = bench.write();
    assert_eq!(record.terms.time_to_live(), shorter);
    let cut = bench.agent.until().unwrap();
    assert_eq!(cut, bench.now + shorter);
    assert!(cut < before);
    assert_eq!(bench.disk.as_ref().unwrap().until, Some(cut), "a restart inherits the cut life");
    // Its answer is lost. It stays cut, and a later contact counts with the smaller T.
    bench.failed(request);
    assert_eq!(bench.agent.until(), Some(cut));
}

#[test]
fn line_7_a_late_answer_to_an_older_request_uses_the_smallest_t_sent() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.pass(Duration::from_secs(2));
    let (older, older_record, _) = bench.write();
    let older_sent = bench.now;
    bench.pass(Duration::from_millis(1_100));
    let mut short = settings();
    short.tuning.api_check_interval = Duration::from_secs(1);
    let shorter = short.tuning.time_to_live();
    bench.event(Event::SettingsChanged(short));
    let (_, record, _) = bench.write();
    assert_eq!(record.terms.time_to_live(), shorter);
    let cut = bench.agent.until().unwrap();

    bench.stored(older, older_record);
    assert!(bench.agent.until().unwrap() <= cut.max(older_sent + shorter));
}

#[test]
fn a_larger_t_counts_only_once_the_lease_that_publishes_it_is_confirmed() {
    let mut bench = Bench::claimed(settings(), 3);
    let mut long = settings();
    long.tuning.api_check_interval = Duration::from_mins(1);
    let longer = long.tuning.time_to_live();
    bench.event(Event::SettingsChanged(long));
    let (request, record, _) = bench.write();
    let sent = bench.now;
    // Through peers meanwhile: only the older T.
    assert!(bench.agent.until().unwrap() <= bench.now + T);
    bench.stored(request, record);
    assert_eq!(bench.agent.until(), Some(sent + longer));
}

#[test]
fn below_the_threshold_no_peer_is_asked() {
    let mut bench = Bench::claimed(settings(), 3);
    for _ in 0..2 {
        bench.pass(Duration::from_secs(2));
        let (request, ..) = bench.write();
        bench.failed(request);
    }
    assert!(!bench.wants(|effect| matches!(effect, Effect::AskPeers { .. })));
    bench.pass(Duration::from_secs(2));
    let (request, record, _) = bench.write();
    bench.stored(request, record);
    bench.pass(Duration::from_secs(2));
    let (request, ..) = bench.write();
    bench.failed(request);
    assert!(!bench.wants(|effect| matches!(effect, Effect::AskPeers { .. })), "the count began again");
}

#[test]
fn r2_a_relay_extends_the_life_from_the_asking() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.lose_api();
    let asked = bench.now;
    let (request, _, whom, _) = bench.ask();
    assert_eq!(whom.len(), 3);
    bench.now = bench.now + Duration::from_millis(500);
    bench.said(request, "n2", PeerAnswer::Relayed);
    assert_eq!(bench.agent.until(), Some(asked + T));
}

#[test]
fn r3_a_strict_majority_without_api_keeps_the_node_alive() {
    let mut bench = Bench::claimed(settings(), 4);
    bench.lose_api();
    let asked = bench.now;
    let (request, ..) = bench.ask();
    let before = bench.agent.until();
    bench.said(request, "n1", PeerAnswer::NoApi);
    bench.said(request, "n1", PeerAnswer::NoApi);
    bench.said(request, "n2", PeerAnswer::NoApi);
    assert_eq!(bench.agent.until(), before, "two of four are no strict majority, and nobody counts twice");
    bench.said(request, "n3", PeerAnswer::NoApi);
    assert_eq!(bench.agent.until(), Some(asked + T));
}

#[test]
fn r3_answers_of_different_rounds_do_not_add_up() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.lose_api();
    let (first, ..) = bench.ask();
    bench.said(first, "n1", PeerAnswer::NoApi);
    bench.said(first, "n2", PeerAnswer::Unknown { why: "cut".into() });
    bench.said(first, "n3", PeerAnswer::Unknown { why: "cut".into() });
    bench.lose_api();
    let (second, ..) = bench.ask();
    assert_ne!(first, second);
    let before = bench.agent.until();
    bench.said(second, "n2", PeerAnswer::NoApi);
    assert_eq!(bench.agent.until(), before);
}

#[test]
fn r3_strangers_do_not_count() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.lose_api();
    let (request, ..) = bench.ask();
    let before = bench.agent.until();
    bench.said(request, "n1", PeerAnswer::NoApi);
    bench.said(request, "n8", PeerAnswer::NoApi);
    bench.said(request, "n9", PeerAnswer::NoApi);
    assert_eq!(bench.agent.until(), before);
}

#[test]
fn r3_is_impossible_with_an_empty_jury() {
    let mut alone = settings();
    alone.min_peers = 0;
    let mut bench = Bench::claimed(alone, 0);
    assert!(bench.agent.confirmed().unwrap().terms.claims.self_fences);
    bench.event(Event::RosterChanged(peers(2)));
    let (request, ..) = bench.write();
    bench.failed(request);
    bench.lose_api();
    let (request, ..) = bench.ask();
    let before = bench.agent.until();
    for node in ["n1", "n2"] {
        bench.said(request, node, PeerAnswer::NoApi);
    }
    assert_eq!(bench.agent.until(), before, "the last confirmed jury is empty");
}

#[test]
fn line_8_a_jury_sent_but_not_confirmed_has_to_agree_as_well() {
    let mut bench = Bench::claimed(settings(), 3);
    // Ten more nodes: the new jury is sent, and no answer comes.
    bench.event(Event::RosterChanged(peers(13)));
    bench.lose_api();
    let (request, _, whom, _) = bench.ask();
    assert_eq!(whom.len(), 13, "everybody who may be on a jury is asked");
    let before = bench.agent.until();
    for node in ["n1", "n2", "n3"] {
        bench.said(request, node, PeerAnswer::NoApi);
    }
    assert_eq!(bench.agent.until(), before, "only the old jury agrees");
    for node in ["n4", "n5", "n6", "n7"] {
        bench.said(request, node, PeerAnswer::NoApi);
    }
    assert!(bench.agent.until() > before);
}

#[test]
fn line_9_a_direct_write_never_goes_back_behind_a_relay() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.lose_api();
    let (_, relayed, _, _) = bench.ask();
    // A direct attempt begins; before its description is on disk, the watch shows a newer record.
    bench.slow_disk = Some(Vec::new());
    while bench.slow_disk.as_ref().is_some_and(Vec::is_empty) {
        bench.pass(Duration::from_millis(100));
    }
    let newer = AgentRecord { sequence: relayed.sequence + 10, ..relayed };
    let lease = bench.lease(Some(newer.clone()), None);
    bench.event(Event::LeaseSeen(lease));
    for write in bench.slow_disk.take().unwrap() {
        bench.event(Event::HostFileWritten { write, stored: true });
    }
    for effect in &bench.wanted {
        if let Effect::WriteLease { record, .. } = effect {
            assert!(record.sequence > newer.sequence, "the lease would publish terms that are no longer in force");
        }
    }
    assert!(bench.wants(|effect| matches!(effect, Effect::WriteLease { .. })));
}

#[test]
fn seeing_the_own_record_confirms_its_terms_but_extends_nothing() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.pass(Duration::from_secs(2));
    let (request, record, _) = bench.write();
    let before = bench.agent.until();
    let lease = bench.lease(Some(record.clone()), None);
    bench.event(Event::WriteAnswer { request, result: WriteResult::Conflict(Some(lease)) });
    assert_eq!(bench.agent.confirmed().unwrap().sequence, record.sequence);
    assert_eq!(bench.agent.until(), before);
}

#[test]
fn line_4_an_intent_for_another_boot_is_carried_and_ignored() {
    let mut bench = Bench::claimed(settings(), 3);
    let record = bench.agent.confirmed().unwrap().clone();
    let before = bench.agent.until();
    bench.pass(Duration::from_secs(2));
    let (request, written, _) = bench.write();
    let other = intent("b0", record.terms);
    let lease = bench.lease(Some(written), Some(other));
    bench.event(Event::WriteAnswer { request, result: WriteResult::Stored(lease) });
    assert!(!bench.agent.is_fenced());
    assert!(bench.agent.until() > before);
}

#[test]
fn line_4_a_peer_that_tells_of_another_boots_intent_changes_nothing() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.lose_api();
    let (request, ..) = bench.ask();
    bench.said(request, "n1", PeerAnswer::IntentExists { uid: "u".into(), boot_id: boot("b0") });
    assert!(!bench.agent.is_fenced());
}

#[test]
fn line_15_a_shrinking_roster_keeps_the_claim_until_the_lease_without_it_is_confirmed() {
    let mut bench = Bench::claimed(settings(), 1);
    bench.event(Event::RosterChanged(Vec::new()));
    let (request, record, _) = bench.write();
    assert!(!record.terms.claims.self_fences, "a jury below minPeers does not fence itself");
    bench.failed(request);
    // Isolated before it could be confirmed: what is published counts, and that claims self-fencing.
    bench.pass(T + Duration::from_secs(1));
    assert!(bench.agent.is_fenced());
}

#[test]
fn line_15_once_confirmed_the_isolated_node_lives_on_without_its_watchdog() {
    let mut bench = Bench::claimed(settings(), 1);
    bench.event(Event::RosterChanged(Vec::new()));
    let (request, record, _) = bench.write();
    bench.stored(request, record);
    bench.forget();
    bench.pass(T + Duration::from_secs(1));
    assert!(!bench.agent.is_fenced());
    assert!(bench.wants(|effect| *effect == Effect::Disarm));
    assert!(!bench.feeds());
    bench.event(Event::WatchdogDisarmed(Ok(())));
    bench.pass(Duration::from_mins(10));
    assert!(!bench.agent.is_fenced());
}

#[test]
fn line_21_lost_time_fences_nobody_but_feeding_waits_for_a_fresh_contact() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.pass(Duration::from_secs(2));
    let (before_the_pause, old_record, _) = bench.write();
    bench.pass(Duration::from_millis(10));
    bench.event(Event::TimeLost);
    assert!(!bench.feeds());
    assert!(!bench.agent.is_fenced());
    let (after_the_pause, record, _) = bench.write();
    bench.stored(before_the_pause, old_record);
    assert!(!bench.feeds(), "the answer to a request of before the pause is not fresh");
    bench.stored(after_the_pause, record);
    assert!(bench.feeds());
}

#[test]
fn line_21_an_outage_does_not_count_as_fresh_contact_after_lost_time() {
    let mut bench = Bench::claimed(settings(), 3);
    bench.event(Event::TimeLost);
    bench.forget();
    bench.lose_api();
    let (request, ..) = bench.ask();
    for node in ["n1", "n2", "n3"] {
        bench.said(request, node, PeerAnswer::NoApi);
    }
    assert!(!bench.feeds());
    bench.lose_api();
    let (request, ..) = bench.ask();
    bench.said(request, "n1", PeerAnswer::Relayed);
    assert!(bench.feeds());
}

#[test]
fn a_longer_device_timeout_than_published_is_paid_from_the_life() {
    let mut bench = Bench::claimed(settings(), 3);
    let until = bench.agent.until().unwrap();
    bench.event(Event::WatchdogFailed("gone".into()));
    bench.pass(Duration::from_millis(10));
    let mut slower = device();
    slower.timeout_millis += 2_000;
    bench.event(Event::WatchdogOpened(Ok(slower)));
    assert_eq!(bench.agent.until(), Some(until - Duration::from_secs(4)));
}
