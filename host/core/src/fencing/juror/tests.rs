//! Stories about one juror. The number in a name is the line of the review page that the story defends.

use super::*;
use crate::fencing::record::{Claims, FenceIntent, Terms};

const SECOND: Duration = Duration::from_secs(1);

fn boot(id: &str) -> BootId {
    BootId::new(id).unwrap()
}

fn terms() -> Terms {
    Terms {
        time_to_live_millis: 13_000,
        watchdog: None,
        reset_steps_millis: 7_000,
        jury: vec![],
        min_peers: 1,
        claims: Claims::default(),
    }
}

fn record(sequence: u64) -> AgentRecord {
    AgentRecord {
        node: "n0".into(),
        boot_id: boot("b1"),
        sequence,
        address: "10.0.0.1:1".into(),
        terms: terms(),
        generation: 1,
        acknowledged: None,
        disarmed: false,
    }
}

fn acknowledging(sequence: u64) -> AgentRecord {
    AgentRecord { acknowledged: Some("u1".into()), ..record(sequence) }
}

fn lease(record: Option<AgentRecord>, intent_for: Option<&str>) -> LeaseView {
    let intent = intent_for.map(|id| FenceIntent {
        uid: "u1".into(),
        boot_id: boot(id),
        terms: terms(),
        based_on_sequence: 1,
        owners: vec![],
    });
    LeaseView { record, intent }
}

const BOUNDS: AskerBounds = AskerBounds {
    largest_time_to_live: Duration::from_secs(13),
    largest_reset_bound: Duration::from_secs(20),
    smallest_time_to_live: Duration::from_secs(13),
};
const BOUND: Duration = Duration::from_secs(34);

fn timing() -> JurorTiming {
    JurorTiming { time_to_live: SECOND * 13, round: SECOND * 4 }
}

fn cut() -> Attempt {
    Attempt::Failed("cut".into())
}

fn asks(juror: &mut Juror, now: Mono) -> PeerAnswer {
    juror.answer(now, &record(5), cut(), &BOUNDS)
}

/// A juror old enough to speak, whose last renewal was long ago.
fn outage() -> (Juror, Mono) {
    let mut juror = Juror::new(Mono(1_000), timing());
    juror.renewed(Mono(100_000));
    (juror, Mono(110_000))
}

#[test]
fn a_relay_needs_the_same_boot_a_smaller_sequence_and_no_intent() {
    assert_eq!(judge_relay(&record(5), Some(&lease(Some(record(4)), None))), Relay::Store);
    assert_eq!(judge_relay(&record(5), Some(&lease(Some(record(5)), None))), Relay::AlreadyStored);
    assert!(matches!(judge_relay(&record(5), None), Relay::Refuse(_)));
    assert!(matches!(judge_relay(&record(5), Some(&lease(None, None))), Relay::Refuse(_)));
    let exists = judge_relay(&record(5), Some(&lease(Some(record(4)), Some("b1"))));
    assert_eq!(exists, Relay::IntentExists { uid: "u1".into() });
    let for_another_boot = judge_relay(&record(5), Some(&lease(Some(record(4)), Some("b0"))));
    assert_eq!(for_another_boot, Relay::Store, "the intent is carried through");
}

#[test]
fn line_9_a_relay_never_goes_back_and_never_changes_the_boot() {
    for stored in [record(6), AgentRecord { generation: 2, ..record(5) }] {
        assert!(matches!(judge_relay(&record(5), Some(&lease(Some(stored), None))), Relay::Refuse(_)));
    }
    let other_boot = AgentRecord { boot_id: boot("b2"), ..record(1) };
    assert!(matches!(judge_relay(&record(5), Some(&lease(Some(other_boot), None))), Relay::Refuse(_)));
}

#[test]
fn an_acknowledgement_may_be_stored_although_the_intent_exists() {
    let view = lease(Some(record(4)), Some("b1"));
    assert_eq!(judge_relay(&acknowledging(5), Some(&view)), Relay::Store);
    let acknowledged = lease(Some(acknowledging(5)), None);
    assert!(matches!(judge_relay(&record(6), Some(&acknowledged)), Relay::Refuse(_)), "nothing takes it back");
}

#[test]
fn an_acknowledgement_is_carried_after_the_promise_too() {
    let (mut juror, now) = outage();
    juror.promise(now, "n0", &boot("b1"), "u1", BOUND).unwrap();
    assert_eq!(juror.answer(now, &acknowledging(6), Attempt::Stored, &BOUNDS), PeerAnswer::Relayed);
    let failed = juror.answer(now, &acknowledging(7), cut(), &BOUNDS);
    assert!(matches!(failed, PeerAnswer::Undecided { .. }), "it asks for no life: {failed:?}");
}

#[test]
fn line_20_no_api_means_that_own_renewals_fail_not_that_a_read_failed() {
    let (mut juror, now) = outage();
    assert_eq!(asks(&mut juror, now), PeerAnswer::NoApi);
    // Reads may work and relays fail: with a full etcd only the own renewal tells.
    juror.renewed(now);
    assert!(matches!(asks(&mut juror, now + SECOND), PeerAnswer::Undecided { .. }));
    assert_eq!(asks(&mut juror, now + SECOND * 10), PeerAnswer::NoApi);
}

#[test]
fn a_juror_speaks_in_time_for_a_node_that_asks_in_its_last_round() {
    // Smaller than the smallest T minus one round, whoever's T that is.
    let short = AskerBounds { smallest_time_to_live: SECOND * 8, ..BOUNDS };
    assert!(timing().limit(&short) + timing().round < SECOND * 8);
    assert!(timing().limit(&BOUNDS) + timing().round < SECOND * 13);
}

#[test]
fn line_5_a_young_process_neither_speaks_nor_promises() {
    // It may have said anything a moment ago, in its earlier life. A first start counts too.
    let mut juror = Juror::new(Mono(100_000), timing());
    let young = Mono(100_000) + BOUND - SECOND;
    assert!(matches!(asks(&mut juror, young), PeerAnswer::Undecided { .. }));
    let refused = juror.promise(young, "n0", &boot("b1"), "u1", BOUND);
    assert!(matches!(refused, Err(PromiseRefused::TooYoung(_))), "{refused:?}");

    let old = Mono(100_000) + BOUND;
    assert_eq!(asks(&mut juror, old), PeerAnswer::NoApi);
    assert_eq!(juror.promise(old, "n0", &boot("b1"), "u1", BOUND), Ok(Some(Duration::ZERO)));
}

#[test]
fn line_6_age_is_measured_by_the_asking_nodes_largest_terms() {
    let mut juror = Juror::new(Mono(100_000), timing());
    let long = AskerBounds { largest_time_to_live: SECOND * 300, ..BOUNDS };
    let later = Mono(100_000) + SECOND * 200;
    assert!(matches!(juror.answer(later, &record(5), cut(), &long), PeerAnswer::Undecided { .. }));
    assert_eq!(asks(&mut juror, later), PeerAnswer::NoApi);
}

#[test]
fn line_18_a_promise_holds_against_everything_but_a_newer_read() {
    let (mut juror, now) = outage();
    assert_eq!(asks(&mut juror, now), PeerAnswer::NoApi);
    let promised = now + SECOND * 3;
    let last = juror.promise(promised, "n0", &boot("b1"), "u1", BOUND);
    assert_eq!(last, Ok(Some(SECOND * 3)), "the promise tells when NoApi was said last");

    let exists = PeerAnswer::IntentExists { uid: "u1".into(), boot_id: boot("b1") };
    assert_eq!(asks(&mut juror, promised), exists);
    assert_eq!(juror.answer(promised, &record(5), Attempt::Stored, &BOUNDS), exists, "even if the relay succeeded");

    // Begun before the promise, finished after: it may show the lease from before the intent.
    juror.saw("n0", promised, Some(&lease(Some(record(4)), None)));
    assert_eq!(asks(&mut juror, promised), exists);
    // Newer, and the intent is still there.
    juror.saw("n0", promised + SECOND, Some(&lease(Some(record(4)), Some("b1"))));
    assert_eq!(asks(&mut juror, promised + SECOND), exists);
    // Newer, of another node.
    juror.saw("n7", promised + SECOND, Some(&lease(None, None)));
    assert_eq!(asks(&mut juror, promised + SECOND), exists);
    // Newer, and it is gone.
    juror.saw("n0", promised + SECOND, Some(&lease(Some(record(4)), None)));
    assert_eq!(asks(&mut juror, promised + SECOND), PeerAnswer::NoApi);
}

#[test]
fn line_18_asked_again_means_promised_again() {
    let (mut juror, now) = outage();
    juror.promise(now, "n0", &boot("b1"), "u1", BOUND).unwrap();
    juror.promise(now + SECOND * 5, "n0", &boot("b1"), "u1", BOUND).unwrap();
    juror.saw("n0", now + SECOND * 2, Some(&lease(Some(record(4)), None)));
    assert!(juror.promised("n0", &boot("b1")).is_some());
}

#[test]
fn a_promise_is_for_one_boot() {
    let (mut juror, now) = outage();
    juror.promise(now, "n0", &boot("b0"), "u1", BOUND).unwrap();
    assert_eq!(asks(&mut juror, now), PeerAnswer::NoApi);
    assert_eq!(juror.promise(now, "n0", &boot("b0"), "u1", BOUND), Ok(None), "that was said to another boot");
}

#[test]
fn a_lease_that_is_gone_carries_no_intent() {
    let (mut juror, now) = outage();
    juror.promise(now, "n0", &boot("b1"), "u1", BOUND).unwrap();
    juror.saw("n0", now + SECOND, None);
    assert_eq!(juror.promised("n0", &boot("b1")), None);
}
