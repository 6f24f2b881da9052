//! A node that lives by its peers hears soon that it has to end.

use std::time::Duration;

use super::bench::{Bench, boot, peers, settings};
use crate::fencing::agent::{Effect, Event};
use crate::fencing::juror::PeerAnswer;
use crate::time::Mono;

fn woken(bench: &mut Bench, by: &str) {
    bench.event(Event::Woken { by: by.into() });
}

fn asks(bench: &Bench) -> usize {
    bench.wanted.iter().filter(|effect| matches!(effect, Effect::AskPeers { .. })).count()
}

/// The API is lost; a peer relayed just now.
fn relayed() -> Bench {
    let mut bench = Bench::claimed(settings(), 3);
    bench.lose_api();
    let (request, ..) = bench.ask();
    bench.said(request, "n1", PeerAnswer::Relayed);
    bench.forget();
    bench
}

#[test]
fn a_juror_that_promised_brings_the_next_round_forward_and_the_answer_fences() {
    // given a node that won T by a relay a moment ago,
    let mut bench = relayed();
    bench.pass(Duration::from_millis(100));
    assert_eq!(asks(&bench), 0);
    // when a juror wakes it,
    woken(&mut bench, "n2");
    // then it asks at once, and what the juror answers counts as ever.
    let (request, _, whom, _) = bench.ask();
    assert_eq!(whom.len(), 3);
    assert!(!bench.agent.is_fenced(), "waking is no news");
    bench.said(request, "n2", PeerAnswer::IntentExists { uid: "u".into(), boot_id: boot("b1") });
    assert!(bench.agent.is_fenced());
}

#[test]
fn being_woken_changes_no_life_and_a_liar_costs_one_round() {
    // given
    let mut bench = Bench::claimed(settings(), 3);
    let (until, confirmed) = (bench.agent.until(), bench.agent.confirmed().cloned());
    // when a juror wakes it for nothing, and nobody answers,
    woken(&mut bench, "n2");
    bench.pass(Duration::from_millis(100));
    // then
    assert_eq!(asks(&bench), 1);
    assert_eq!((bench.agent.until(), bench.agent.confirmed().cloned()), (until, confirmed));
    bench.forget();
    for _ in 0..10 {
        bench.pass(Duration::from_secs(2));
        assert_eq!(asks(&bench), 0, "the direct way works, and the call was followed");
        let (request, record, _) = bench.write();
        bench.stored(request, record);
    }
}

#[test]
fn only_jurors_are_listened_to() {
    let mut bench = relayed();
    for stranger in ["n4", "n0", ""] {
        woken(&mut bench, stranger);
    }
    assert_eq!(asks(&bench), 0);
}

#[test]
fn however_often_it_is_woken_rounds_keep_their_distance() {
    // given peers that relay each time
    let mut bench = relayed();
    let mut rounds = 0;
    // when jurors call every 10 ms for ten seconds
    let end = bench.now + Duration::from_secs(10);
    while bench.now < end {
        for by in ["n1", "n2", "n3"] {
            woken(&mut bench, by);
        }
        if asks(&bench) > 0 {
            rounds += 1;
            let (request, ..) = bench.ask();
            bench.said(request, "n1", PeerAnswer::Relayed);
        }
        bench.pass(Duration::from_millis(10));
    }
    // then there is a round for each fifth of the check interval of two seconds, and no more.
    assert!((20..=26).contains(&rounds), "{rounds}");
}

#[test]
fn a_call_during_a_round_is_followed_by_another_round() {
    // given a round under way, sent before the juror promised
    let mut bench = relayed();
    woken(&mut bench, "n1");
    let (before, ..) = bench.ask();
    bench.pass(Duration::from_millis(500));
    // when the juror wakes it, and then the old round is answered as it was sent,
    woken(&mut bench, "n2");
    assert_eq!(asks(&bench), 0);
    bench.said(before, "n1", PeerAnswer::Relayed);
    // then it asks again.
    let (after, ..) = bench.ask();
    assert!(after > before);
}

#[test]
fn a_fenced_a_stopping_and_a_new_agent_are_not_woken() {
    let mut fenced = relayed();
    woken(&mut fenced, "n1");
    let (request, ..) = fenced.ask();
    fenced.said(request, "n1", PeerAnswer::IntentExists { uid: "u".into(), boot_id: boot("b1") });
    fenced.pass(Duration::from_secs(1));
    let before = asks(&fenced);
    woken(&mut fenced, "n2");
    assert_eq!(asks(&fenced), before, "it only publishes its end");

    let mut stopping = Bench::claimed(settings(), 3);
    stopping.event(Event::GracefulStop { limit: Duration::from_secs(10) });
    woken(&mut stopping, "n2");
    assert_eq!(asks(&stopping), 0);

    let mut new = Bench::new(settings(), None, Mono(1_000_000));
    new.event(Event::RosterChanged(peers(3)));
    woken(&mut new, "n2");
    assert_eq!(asks(&new), 0, "nothing of it is published, so nobody can have promised anything");
}
