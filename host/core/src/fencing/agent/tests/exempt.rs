//! R4: control-plane nodes that exempt themselves. Nothing here is judged on the roster or the configuration of the
//! moment, only on what the lease says.

use std::time::Duration;

use super::bench::{Bench, T, peers, settings};
use crate::fencing::agent::{Effect, Event, Peer, RequestId, Settings};
use crate::fencing::juror::PeerAnswer;

/// n1 and n2 are workers, n3 is a control-plane node.
fn roster() -> Vec<Peer> {
    let mut roster = peers(3);
    roster[2].control_plane = true;
    roster
}

fn diagnosing() -> Settings {
    Settings { diagnose: true, ..settings() }
}

/// A control-plane node whose confirmed lease says that it may exempt itself, and that has lost the API.
fn cut() -> (Bench, RequestId) {
    let mut bench = Bench::claimed(diagnosing(), 3);
    bench.event(Event::RosterChanged(roster()));
    assert!(bench.agent.confirmed().unwrap().terms.claims.may_exempt);
    bench.lose_api();
    let diagnoses = bench.wants(|effect| matches!(effect, Effect::Diagnose { .. }));
    assert!(diagnoses, "the diagnostics begin with the question: {:#?}", bench.wanted);
    let (request, _, asked, _) = bench.ask();
    assert_eq!(asked.len(), 3);
    (bench, request)
}

fn silent() -> PeerAnswer {
    PeerAnswer::Unknown { why: "no route".into() }
}

fn well(bench: &mut Bench, request: RequestId) {
    bench.event(Event::Diagnosed { request, result: Ok(()) });
}

fn ill(bench: &mut Bench, request: RequestId) {
    bench.event(Event::Diagnosed { request, result: Err("the kubelet does not answer".into()) });
}

#[test]
fn another_control_plane_node_that_answers_anything_exempts() {
    for answer in [PeerAnswer::Undecided { why: "I renewed a moment ago".into() }, PeerAnswer::NoApi] {
        let (mut bench, request) = cut();
        let sent = bench.now;
        bench.said(request, "n3", answer);
        assert_eq!(bench.agent.until(), Some(sent + T));
    }
}

#[test]
fn silence_exempts_nobody_however_well_it_feels() {
    let (mut bench, request) = cut();
    let before = bench.agent.until();
    well(&mut bench, request);
    for node in ["n1", "n2", "n3"] {
        bench.said(request, node, silent());
    }
    assert_eq!(bench.agent.until(), before);
    bench.pass(T);
    assert!(bench.agent.is_fenced());
}

#[test]
fn a_worker_that_answers_anything_else_exempts_nobody() {
    let (mut bench, request) = cut();
    let before = bench.agent.until();
    well(&mut bench, request);
    for node in ["n1", "n2"] {
        bench.said(request, node, PeerAnswer::Undecided { why: "I renewed a moment ago".into() });
    }
    assert_eq!(bench.agent.until(), before);
}

#[test]
fn most_workers_without_api_and_passing_diagnostics_exempt_in_either_order() {
    for diagnosed_first in [true, false] {
        let (mut bench, request) = cut();
        let sent = bench.now;
        let before = bench.agent.until();
        if diagnosed_first {
            well(&mut bench, request);
        }
        bench.said(request, "n1", PeerAnswer::NoApi);
        assert_eq!(bench.agent.until(), before, "one of two workers is no majority");
        bench.said(request, "n2", PeerAnswer::NoApi);
        bench.said(request, "n3", silent());
        if !diagnosed_first {
            assert_eq!(bench.agent.until(), before, "nothing is known of this node yet");
            well(&mut bench, request);
        }
        assert_eq!(bench.agent.until(), Some(sent + T));
    }
}

#[test]
fn an_ill_control_plane_node_is_no_witness_of_an_outage() {
    let (mut bench, request) = cut();
    let before = bench.agent.until();
    ill(&mut bench, request);
    bench.said(request, "n1", PeerAnswer::NoApi);
    bench.said(request, "n2", PeerAnswer::NoApi);
    assert_eq!(bench.agent.until(), before);
}

#[test]
fn an_intent_beats_every_exemption() {
    let (mut bench, request) = cut();
    let boot_id = super::bench::boot("b1");
    bench.said(request, "n3", PeerAnswer::IntentExists { uid: "u1".into(), boot_id });
    assert!(bench.agent.is_fenced());
}

#[test]
fn line_15_r4_is_judged_on_the_published_lease_and_not_on_the_live_roster_or_configuration() {
    // Given a node whose confirmed lease does not say that it may exempt itself, when the configuration changes to
    // "Diagnose" and all its peers turn out to be control-plane nodes, but the write that says so is not confirmed,
    let mut bench = Bench::claimed(settings(), 3);
    bench.event(Event::SettingsChanged(diagnosing()));
    let fellows = peers(3).into_iter().map(|peer| Peer { control_plane: true, ..peer }).collect();
    bench.event(Event::RosterChanged(fellows));
    let (request, record, _) = bench.write();
    assert!(record.terms.claims.may_exempt);
    bench.failed(request);
    let before = bench.agent.until();
    bench.lose_api();
    assert!(!bench.wants(|effect| matches!(effect, Effect::Diagnose { .. })));
    let (request, ..) = bench.ask();
    // then none of their answers extends its life: whoever holds that lease relies on P3.
    bench.said(request, "n1", PeerAnswer::Undecided { why: "I renewed a moment ago".into() });
    bench.said(request, "n2", PeerAnswer::NoApi);
    assert_eq!(bench.agent.until(), before);
}

#[test]
fn line_15_taking_r4_back_counts_before_it_is_sent() {
    // Given a question under way, when the configuration takes "Diagnose" back and the write that says so is sent,
    let (mut bench, request) = cut();
    bench.event(Event::SettingsChanged(settings()));
    let tuning = settings().tuning;
    bench.pass(tuning.api_server_timeout + tuning.api_check_interval + Duration::from_millis(100));
    let before = bench.agent.until();
    // then late answers to the question exempt no more: that write may be stored.
    well(&mut bench, request);
    bench.said(request, "n3", PeerAnswer::Undecided { why: "late".into() });
    assert_eq!(bench.agent.until(), before);
    // A whole outage does, as for every other node: a strict majority of the jury.
    bench.said(request, "n1", PeerAnswer::NoApi);
    bench.said(request, "n2", PeerAnswer::NoApi);
    assert!(bench.agent.until() > before);
}

#[test]
fn the_claim_is_inherited_and_so_are_the_fellows() {
    let (bench, _) = cut();
    // Given an agent killed in an outage, when it starts again without the API,
    let mut bench = Bench::new(diagnosing(), bench.disk, bench.now + Duration::from_secs(1));
    bench.lose_api();
    // then it asks itself and its fellows as before.
    assert!(bench.wants(|effect| matches!(effect, Effect::Diagnose { .. })));
    let (request, _, asked, _) = bench.ask();
    assert!(asked.iter().any(|peer| peer.node == "n3" && peer.control_plane));
    let sent = bench.now;
    bench.said(request, "n3", PeerAnswer::NoApi);
    assert_eq!(bench.agent.until(), Some(sent + T));
}

#[test]
fn fellows_beyond_the_jury_are_asked_as_well() {
    let mut bench = Bench::claimed(diagnosing(), 40);
    let mut roster = peers(40);
    for peer in &mut roster {
        let seat = bench.agent.confirmed().unwrap().terms.jury.contains(&peer.node);
        peer.control_plane = !seat && ["n7", "n17", "n27", "n37"].contains(&peer.node.as_str());
    }
    let fellows = roster.iter().filter(|peer| peer.control_plane).count();
    assert!(fellows > 0, "some of the four are no jurors");
    bench.event(Event::RosterChanged(roster));
    bench.lose_api();
    let (.., asked, _) = bench.ask();
    assert_eq!(asked.len(), 15 + fellows);
}
