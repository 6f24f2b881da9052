//! The feeder's thread and a device that does not let go.

use std::io;
use std::time::Duration;

use palisade_core::time::Mono;

use super::super::NotDisarmed;
use super::*;

const DEADLINE: Duration = Duration::from_secs(30);

struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Mono {
        Mono(1)
    }
    fn suspended(&self) -> Duration {
        Duration::ZERO
    }
}

/// Refuses to be disarmed once, and tells every ping.
struct Stubborn {
    refuses: bool,
    pings: mpsc::Sender<()>,
}

impl Watchdog for Stubborn {
    fn describe(&self) -> record::Watchdog {
        record::Watchdog { identity: "stubborn".into(), timeout_millis: 30, resets: true }
    }
    fn ping(&mut self) -> io::Result<()> {
        self.pings.send(()).map_err(io::Error::other)
    }
    fn disarm(mut self: Box<Self>) -> Result<(), NotDisarmed> {
        if std::mem::replace(&mut self.refuses, false) {
            return Err(NotDisarmed { device: self, why: "nowayout".into() });
        }
        Ok(())
    }
}

#[test]
fn a_device_that_refuses_to_be_disarmed_is_fed_on() {
    // Given a feeder of a device with nowayout,
    let (pings, pinged) = mpsc::channel();
    let leash = Arc::new(Leash::default());
    leash.permit(Some(Mono(1_000_000)));
    let feeder = Feeder::new(Box::new(Stubborn { refuses: true, pings }), Arc::new(StillClock), leash);
    let (orders, received) = mpsc::channel();
    let report: Report = Arc::new(|report| panic!("{report:?}"));
    let thread = std::thread::spawn(move || feed(feeder, &received, &report));

    // when it is to be disarmed, the refusal is told,
    let (reply, replied) = oneshot::channel();
    orders.send(Order::Disarm(reply)).unwrap();
    assert_eq!(replied.blocking_recv().unwrap(), Err("nowayout".into()));
    while pinged.try_recv().is_ok() {}
    // and it is fed on,
    pinged.recv_timeout(DEADLINE).unwrap();
    pinged.recv_timeout(DEADLINE).unwrap();

    // until it lets go.
    let (reply, replied) = oneshot::channel();
    orders.send(Order::Disarm(reply)).unwrap();
    assert_eq!(replied.blocking_recv().unwrap(), Ok(()));
    thread.join().unwrap();
}

#[test]
fn c082_an_open_device_is_fed_at_once_and_then_every_third_of_its_timeout() {
    // Given a device that remembers when it was fed,
    let (pings, pinged) = mpsc::channel();
    let leash = Arc::new(Leash::default());
    leash.permit(Some(Mono(1_000_000)));
    let feeder = Feeder::new(Box::new(Stubborn { refuses: false, pings }), Arc::new(StillClock), leash);
    assert_eq!(feeder.period(), Duration::from_millis(10), "a third of 30 ms");
    // when its feeder has no time for even one pause,
    let (orders, received) = mpsc::channel();
    drop(orders);
    let report: Report = Arc::new(|report| panic!("{report:?}"));
    feed(feeder, &received, &report);
    // then it was fed once all the same.
    assert_eq!(pinged.try_iter().count(), 1);
}
