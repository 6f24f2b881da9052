//! What a juror still has to look after once it has promised.

use std::time::Duration;

use super::{AskerBounds, Attempt, Juror, JurorTiming, PeerAnswer};
use crate::fencing::record::{AgentRecord, BootId, Claims, LeaseView, Terms};
use crate::time::Mono;

const SECOND: Duration = Duration::from_secs(1);
const BOUND: Duration = Duration::from_secs(34);

fn boot() -> BootId {
    BootId::new("b1").unwrap()
}

fn record() -> AgentRecord {
    let terms = Terms {
        time_to_live_millis: 13_000,
        watchdog: None,
        reset_steps_millis: 7_000,
        jury: vec![],
        min_peers: 1,
        claims: Claims::default(),
    };
    AgentRecord {
        node: "n0".into(),
        boot_id: boot(),
        sequence: 5,
        address: "10.0.0.1:1".into(),
        terms,
        generation: 1,
        acknowledged: None,
        disarmed: false,
    }
}

fn in_an_outage(juror: &mut Juror, now: Mono) -> PeerAnswer {
    let bounds = AskerBounds {
        largest_time_to_live: SECOND * 13,
        largest_reset_bound: SECOND * 20,
        smallest_time_to_live: SECOND * 13,
    };
    juror.answer(now, &record(), Attempt::Failed("cut".into()), &bounds)
}

#[test]
fn a_juror_that_looks_after_its_promises_ends_no_healthy_boot_in_a_later_outage() {
    // Given a juror that promised for an intent which was cleared since,
    let mut juror = Juror::new(Mono(0), JurorTiming { time_to_live: SECOND * 13, round: SECOND * 4 });
    assert!(juror.promised_nodes().is_empty(), "nothing to look after");
    let promised = Mono(100_000);
    juror.promise(promised, "n0", &boot(), "u1", BOUND).unwrap();
    assert_eq!(juror.promised_nodes().into_iter().collect::<Vec<_>>(), ["n0"]);
    assert!(matches!(in_an_outage(&mut juror.clone(), promised + SECOND), PeerAnswer::IntentExists { .. }));

    // when it reads the lease again although nobody asked,
    let view = LeaseView { record: Some(record()), intent: None };
    juror.saw("n0", promised + SECOND, Some(&view));

    // then it has nothing to look after any more, and an outage is an outage.
    assert!(juror.promised_nodes().is_empty());
    assert_eq!(in_an_outage(&mut juror, promised + SECOND * 60), PeerAnswer::NoApi);
}
