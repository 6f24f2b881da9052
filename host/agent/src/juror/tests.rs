//! What a juror does to the leases of others.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use palisade_core::fencing::juror::JurorTiming;
use palisade_core::fencing::record::{AgentRecord, Claims, FenceIntent, INTENT, Terms, encode};
use palisade_rpc::Ask;
use tokio::sync::mpsc;

use super::*;
use crate::api::StoredLease;

const BOUND: Duration = Duration::from_secs(34);

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

fn boot() -> BootId {
    BootId::new("b1").unwrap()
}

fn record() -> AgentRecord {
    AgentRecord {
        node: "n0".into(),
        boot_id: boot(),
        sequence: 5,
        address: "10.0.0.1:1".into(),
        terms: terms(),
        generation: 1,
        acknowledged: None,
        disarmed: false,
    }
}

#[derive(Default)]
struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn now(&self) -> Mono {
        Mono(self.0.load(Ordering::SeqCst))
    }
    fn suspended(&self) -> Duration {
        Duration::ZERO
    }
}

/// One lease, and everything that was read.
#[derive(Default)]
struct OneLease {
    lease: Mutex<Option<Result<StoredLease, String>>>,
    read: Mutex<Vec<String>>,
}

impl OneLease {
    fn holds(&self, intent: Option<&str>) {
        let mut lease = StoredLease { node: "n0".into(), version: "7".into(), ..StoredLease::default() };
        lease.annotations.insert(RECORD.into(), encode(&record()));
        if let Some(uid) = intent {
            let intent =
                FenceIntent { uid: uid.into(), boot_id: boot(), terms: terms(), based_on_sequence: 5, owners: vec![] };
            lease.annotations.insert(INTENT.into(), encode(&intent));
        }
        *self.lease.lock().unwrap() = Some(Ok(lease));
    }
    fn reads(&self) -> usize {
        self.read.lock().unwrap().len()
    }
}

impl Api for OneLease {
    fn read<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Result<Option<StoredLease>, String>> {
        self.read.lock().unwrap().push(node.to_owned());
        async { self.lease.lock().unwrap().clone().transpose() }.boxed()
    }
    fn write<'a>(
        &'a self,
        _node: &'a str,
        _base: &'a Base,
        _change: LeaseChange,
    ) -> BoxFuture<'a, Result<StoredLease, WriteFailure>> {
        async { unreachable!("looking changes nothing") }.boxed()
    }
    fn list<'a>(&'a self, _node: &'a str, _fellows: bool) -> BoxFuture<'a, Result<Vec<StoredLease>, String>> {
        async { unreachable!("only named leases are read") }.boxed()
    }
    fn watch<'a>(&'a self, _node: &'a str, _seen: mpsc::Sender<StoredLease>) -> BoxFuture<'a, Result<(), String>> {
        async { unreachable!("only named leases are read") }.boxed()
    }
    fn trust(&self) -> BoxFuture<'_, Result<Option<String>, String>> {
        async { unreachable!("only named leases are read") }.boxed()
    }
}

#[test]
fn a_relay_carries_what_was_signed_and_touches_no_renew_time() {
    // Given a record that a peer asks to have stored,
    let record = record();
    let ask = Ask {
        record: encode(&record),
        signature: "signature".into(),
        certificate: "certificate".into(),
        largest_time_to_live: BOUND,
        largest_reset_bound: BOUND,
        smallest_time_to_live: BOUND,
    };
    // when the juror relays it,
    let change = relayed(&SignedRecord { ask, record });
    // then only the signed annotations change: the API adapter writes `spec.renewTime` together with the length only.
    assert_eq!(change.seconds, None);
    assert_eq!(change.zone, None);
    let keys: Vec<&str> = change.annotations.keys().map(String::as_str).collect();
    assert_eq!(keys, [RECORD, CERTIFICATE, RECORD_SIGNATURE]);
}

#[tokio::test]
async fn promises_are_looked_after_until_their_intent_is_gone_and_then_nothing_is_asked() {
    // Given an old juror without promises: it reads nothing.
    let (api, clock) = (OneLease::default(), HandClock::default());
    let timing = JurorTiming { time_to_live: Duration::from_secs(13), round: Duration::from_secs(4) };
    let shared = Shared::new(Juror::new(Mono(0), timing));
    clock.0.store(100_000, Ordering::SeqCst);
    look_after_promises(&shared, &api, &clock, BOUND).await;
    assert_eq!(api.reads(), 0);

    // When it has promised, it reads, and keeps the promise as long as the intent stands,
    shared.juror().promise(clock.now(), "n0", &boot(), "u1", BOUND).unwrap();
    clock.0.store(101_000, Ordering::SeqCst);
    api.holds(Some("u1"));
    look_after_promises(&shared, &api, &clock, BOUND).await;
    assert_eq!(shared.juror().promised("n0", &boot()), Some("u1"));
    // or as long as nobody can tell,
    *api.lease.lock().unwrap() = Some(Err("cut".into()));
    look_after_promises(&shared, &api, &clock, BOUND).await;
    assert_eq!(shared.juror().promised("n0", &boot()), Some("u1"));
    // and drops it once the intent is gone.
    api.holds(None);
    look_after_promises(&shared, &api, &clock, BOUND).await;
    assert_eq!(shared.juror().promised("n0", &boot()), None);

    // Then it asks nobody anything again.
    let reads = api.reads();
    look_after_promises(&shared, &api, &clock, BOUND).await;
    assert_eq!(api.reads(), reads);
}
