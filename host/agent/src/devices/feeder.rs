//! Feeding: a check of the leash and one write, on a thread that does nothing else.

use std::sync::Arc;
use std::time::Duration;

use super::{Leash, Watchdog};
use crate::clock::Clock;

/// Suspensions shorter than this are jitter between two clock reads.
const JITTER: Duration = Duration::from_millis(500);

/// Feeds one device as the leash permits.
pub struct Feeder {
    device: Box<dyn Watchdog>,
    clock: Arc<dyn Clock>,
    leash: Arc<Leash>,
    suspended: Duration,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fed {
    /// The device was fed.
    Yes,
    /// The leash does not permit it.
    Withheld,
    /// The machine was suspended: nothing is fed until the loop says so again.
    TimeLost,
    /// The device failed.
    Failed(String),
}

impl Feeder {
    /// Around an open device.
    pub fn new(device: Box<dyn Watchdog>, clock: Arc<dyn Clock>, leash: Arc<Leash>) -> Self {
        let suspended = clock.suspended();
        Self { device, clock, leash, suspended }
    }

    /// Pause between two steps: a third of the device's timeout.
    pub fn period(&self) -> Duration {
        Duration::from_millis(self.device.describe().timeout_millis.max(3) / 3)
    }

    /// Checks and feeds.
    pub fn step(&mut self) -> Fed {
        let suspended = self.clock.suspended();
        if suspended > self.suspended + JITTER {
            self.suspended = suspended;
            self.leash.lose_time();
            return Fed::TimeLost;
        }
        if !self.leash.allows(self.clock.now()) {
            return Fed::Withheld;
        }
        match self.device.ping() {
            Ok(()) => Fed::Yes,
            Err(error) => Fed::Failed(error.to_string()),
        }
    }

    /// Ends feeding by disarming. If that fails the feeder comes back: the device still has to be fed.
    pub fn disarm(self) -> Result<(), (Self, String)> {
        let Self { device, clock, leash, suspended } = self;
        device.disarm().map_err(|refused| (Self { device: refused.device, clock, leash, suspended }, refused.why))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use palisade_core::fencing::record;
    use palisade_core::time::Mono;

    use super::*;

    #[derive(Default)]
    struct Hands {
        now: AtomicU64,
        suspended: AtomicU64,
    }

    impl Clock for Hands {
        fn now(&self) -> Mono {
            Mono(self.now.load(Ordering::SeqCst))
        }
        fn suspended(&self) -> Duration {
            Duration::from_millis(self.suspended.load(Ordering::SeqCst))
        }
    }

    #[derive(Clone, Default)]
    struct Bowl {
        pings: Arc<AtomicUsize>,
        broken: Arc<Mutex<bool>>,
    }

    impl Watchdog for Bowl {
        fn describe(&self) -> record::Watchdog {
            record::Watchdog { identity: "bowl".into(), timeout_millis: 3000, resets: true }
        }
        fn ping(&mut self) -> io::Result<()> {
            if *self.broken.lock().unwrap() {
                return Err(io::Error::other("gone"));
            }
            self.pings.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
        fn disarm(self: Box<Self>) -> Result<(), crate::devices::NotDisarmed> {
            Ok(())
        }
    }

    fn feeder() -> (Feeder, Arc<Hands>, Arc<Leash>, Bowl) {
        let (hands, leash, bowl) = (Arc::new(Hands::default()), Arc::new(Leash::default()), Bowl::default());
        (Feeder::new(Box::new(bowl.clone()), hands.clone(), leash.clone()), hands, leash, bowl)
    }

    #[test]
    fn it_feeds_below_the_end_of_the_right_to_live_and_not_at_it() {
        let (mut feeder, hands, leash, bowl) = feeder();
        assert_eq!(feeder.step(), Fed::Withheld, "nothing was permitted yet");
        leash.permit(Some(Mono(1000)));
        assert_eq!(feeder.step(), Fed::Yes);
        hands.now.store(999, Ordering::SeqCst);
        assert_eq!(feeder.step(), Fed::Yes);
        hands.now.store(1000, Ordering::SeqCst);
        assert_eq!(feeder.step(), Fed::Withheld);
        assert_eq!(bowl.pings.load(Ordering::SeqCst), 2);
        assert_eq!(feeder.period(), Duration::from_secs(1));
    }

    #[test]
    fn once_fenced_no_permit_feeds_again() {
        let (mut feeder, _, leash, bowl) = feeder();
        leash.permit(Some(Mono(1000)));
        leash.fence();
        leash.permit(Some(Mono(2000)));
        assert_eq!(feeder.step(), Fed::Withheld);
        assert_eq!(bowl.pings.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn after_a_pause_it_waits_until_the_loop_knows() {
        let (mut feeder, hands, leash, _) = feeder();
        leash.permit(Some(Mono(100_000)));
        assert_eq!(feeder.step(), Fed::Yes);
        hands.suspended.store(60_000, Ordering::SeqCst);
        assert_eq!(feeder.step(), Fed::TimeLost);
        leash.permit(Some(Mono(100_000)));
        assert_eq!(feeder.step(), Fed::Withheld, "that permit was given without knowing");
        leash.permit(None);
        leash.lost_time_is_known();
        assert_eq!(feeder.step(), Fed::Withheld);
        leash.permit(Some(Mono(100_000)));
        assert_eq!(feeder.step(), Fed::Yes);
    }

    #[test]
    fn a_device_that_fails_is_reported() {
        let (mut feeder, _, leash, bowl) = feeder();
        leash.permit(Some(Mono(1000)));
        *bowl.broken.lock().unwrap() = true;
        assert_eq!(feeder.step(), Fed::Failed("gone".into()));
    }
}
