//! Instants without a clock: the caller says what time it is.

use std::hash::{Hash, Hasher};
use std::ops::{Add, Sub};
use std::time::Duration;

use crate::hashing;

/// An instant on one machine's own monotonic clock (`CLOCK_BOOTTIME` in the agent), in milliseconds since an arbitrary
/// origin. Instants of two machines are never comparable: only lengths and ages cross the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
pub struct Mono(pub u64);

impl Hash for Mono {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hashing::tagged(state, hashing::INSTANT, self.0);
    }
}

impl Mono {
    /// The time that passed since `earlier`; zero if `earlier` is not earlier.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, length: Duration) -> Mono {
        Mono(self.0.saturating_add(millis(length)))
    }
}

impl Sub<Duration> for Mono {
    type Output = Mono;
    fn sub(self, length: Duration) -> Mono {
        Mono(self.0.saturating_sub(millis(length)))
    }
}

/// Whole milliseconds of a length, saturating.
pub fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
