use palisade_api::GoDuration;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Two within an hour.
fn limit() -> AttemptLimit {
    AttemptLimit { max: 2, window: GoDuration::from_secs(3_600), quarantine_for: None }
}

fn sighting(made: &[i64], asks: bool) -> Sighting<'static> {
    let made = made.iter().map(|second| at(*second)).collect();
    Sighting { node: "b", made, asks, selected: true, forgiven: None }
}

fn started(known: Option<&NodeAttempts>) -> Vec<i64> {
    known.into_iter().flat_map(|known| &known.started).map(|time| time.0.as_second()).collect()
}

#[test]
fn the_attempt_after_the_last_one_ends_in_quarantine() {
    // Given a node that was remediated once
    let known = next(&limit(), None, &sighting(&[100], false), at(101));
    assert_eq!(started(known.as_ref()), [100]);
    // The same remediation counts once, however often it is seen
    let known = next(&limit(), known.as_ref(), &sighting(&[100], false), at(102));
    assert_eq!(started(known.as_ref()), [100]);
    // And is remembered when it is gone; a second attempt is allowed
    let known = next(&limit(), known.as_ref(), &sighting(&[], true), at(500));
    assert_eq!(known.as_ref().unwrap().quarantined, None);
    let known = next(&limit(), known.as_ref(), &sighting(&[501], false), at(502));
    assert_eq!((started(known.as_ref()), known.as_ref().unwrap().quarantined.clone()), (vec![100, 501], None));
    // When it fails again, it is enough
    let known = next(&limit(), known.as_ref(), &sighting(&[], true), at(900)).unwrap();
    assert_eq!(known.quarantined, Some(Time(at(900))));
    let (why, unblock, until) = refusal(&limit(), &known).unwrap();
    assert_eq!(
        why,
        "quarantined since 1970-01-01T00:15:00Z: remediated 2 times, and 2 attempts within 1h0m0s are the limit"
    );
    assert!(unblock.contains("palisade.dev/attempts-forgiven=1970-01-01T00:15:00Z"), "{unblock}");
    assert_eq!(until, None);
}

#[test]
fn attempts_leave_the_window_but_a_quarantine_waits_for_a_person() {
    let known = next(&limit(), None, &sighting(&[100, 200], false), at(200));
    let free = next(&limit(), known.as_ref(), &sighting(&[], true), at(3_701)).unwrap();
    assert_eq!((started(Some(&free)), free.quarantined), (vec![200], None), "one of two left the window");
    assert_eq!(next(&limit(), known.as_ref(), &sighting(&[], false), at(9_999)), None, "nothing is left to remember");
    let caught = next(&limit(), known.as_ref(), &sighting(&[], true), at(300));
    let later = next(&limit(), caught.as_ref(), &sighting(&[], false), at(1_000_000)).unwrap();
    assert_eq!((started(Some(&later)), later.quarantined), (vec![], Some(Time(at(300)))));
    // When a person forgives up to the quarantine
    let forgiving = Sighting { forgiven: Some(at(300)), ..sighting(&[], true) };
    assert_eq!(next(&limit(), Some(&caught.clone().unwrap()), &forgiving, at(400)), None);
    // An older pardon is no pardon for it
    let old = Sighting { forgiven: Some(at(150)), ..sighting(&[], true) };
    let still = next(&limit(), caught.as_ref(), &old, at(400)).unwrap();
    assert_eq!((started(Some(&still)), still.quarantined), (vec![200], Some(Time(at(300)))));
}

#[test]
fn a_quarantine_with_an_end_ends_and_is_served() {
    let limit = AttemptLimit { quarantine_for: Some(GoDuration::from_secs(100)), ..limit() };
    let known = next(&limit, None, &sighting(&[100, 200], true), at(300)).unwrap();
    let (_, unblock, until) = refusal(&limit, &known).unwrap();
    assert_eq!(until, Some(at(400)));
    assert!(unblock.starts_with("it ends at 1970-01-01T00:06:40Z"), "{unblock}");
    assert!(next(&limit, Some(&known), &sighting(&[], true), at(399)).unwrap().quarantined.is_some());
    assert_eq!(next(&limit, Some(&known), &sighting(&[], true), at(400)), None, "it may be tried again at once");
}

#[test]
fn a_node_that_is_gone_is_forgotten_in_the_end_and_one_that_registers_again_is_not() {
    let known = next(&limit(), None, &sighting(&[100, 200], true), at(300));
    let gone = Sighting { selected: false, ..sighting(&[], false) };
    assert!(next(&limit(), known.as_ref(), &gone, at(1_000)).unwrap().quarantined.is_some());
    assert_eq!(next(&limit(), known.as_ref(), &gone, at(3_901)), None);
}

#[test]
fn a_pardon_is_a_time_that_has_come() {
    assert_eq!(forgiven(" 1970-01-01T00:01:40Z ", at(100)), Ok(at(100)));
    assert_eq!(forgiven("1970-01-01T00:02:30Z", at(100)), Ok(at(150)), "a clock may be a little ahead");
    assert!(forgiven("2030-01-01T00:00:00Z", at(100)).unwrap_err().contains("yet to come"));
    let error = forgiven("yes", at(100)).unwrap_err();
    assert!(error.contains("\"yes\" and forgives nothing; write a time such as 1970-01-01T00:01:40Z"), "{error}");
}

#[test]
fn the_memory_is_bounded_and_keeps_what_matters() {
    let one = |index: usize| NodeAttempts {
        node: format!("n{index:05}"),
        started: vec![Time(at(index as i64))],
        quarantined: (index == 3).then(|| Time(at(5))),
    };
    let kept = bounded((0..5_000).map(one).collect());
    assert_eq!(kept.len(), REMEMBERED);
    assert_eq!((kept[0].node.as_str(), kept[1].node.as_str()), ("n00003", "n04001"));
}

#[test]
fn nonsense_that_bypassed_validation_allows_one_attempt() {
    let limit = AttemptLimit { max: -3, ..limit() };
    assert_eq!(next(&limit, None, &sighting(&[], true), at(300)), None);
    assert!(next(&limit, None, &sighting(&[299], true), at(300)).unwrap().quarantined.is_some());
}
