//! The node's own clock: `CLOCK_BOOTTIME`, which goes on while the machine sleeps and cannot be set.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use palisade_core::time::Mono;

/// Tells the time of this boot.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Mono;
    /// For how long in total the machine was suspended in this boot. It grows when time was lost.
    fn suspended(&self) -> Duration;
}

/// The kernel's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootClock;

fn read(clock: ClockId) -> Duration {
    // Both clocks exist on every kernel since 2.6.39 and cannot fail with a valid pointer.
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}

impl Clock for BootClock {
    fn now(&self) -> Mono {
        Mono::default() + read(ClockId::CLOCK_BOOTTIME)
    }

    fn suspended(&self) -> Duration {
        read(ClockId::CLOCK_BOOTTIME).saturating_sub(read(ClockId::CLOCK_MONOTONIC))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_the_kernel_runs_forward() {
        let first = BootClock.now();
        assert!(first > Mono::default());
        assert!(BootClock.now() >= first);
    }
}
