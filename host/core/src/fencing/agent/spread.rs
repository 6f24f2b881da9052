//! Agents do not keep step: what they do at intervals comes a little early, each time by another part of it.
//!
//! Never late, so that no bound of the protocol depends on it; and by node name and attempt instead of by chance, so
//! that a run can be repeated.

use std::time::Duration;

use super::Agent;
use super::jury::weight;

/// The part of an interval by which something may come early.
const PART: u32 = 8;

impl Agent {
    /// This pause, or up to an eighth less.
    pub(super) fn spread(&self, pause: Duration) -> Duration {
        if self.settings.spread { early(&self.me.node, self.next_request.0, pause) } else { pause }
    }
}

/// Between seven eighths of the pause and the whole, by node and attempt.
pub fn early(node: &str, attempt: u64, pause: Duration) -> Duration {
    pause.saturating_sub(within(node, attempt, pause / PART))
}

/// Anywhere from nothing to the whole pause, by node and attempt: for what all agents would do at the same instant.
pub fn within(node: &str, attempt: u64, pause: Duration) -> Duration {
    pause.mul_f64((weight(node, &attempt.to_string()) >> 40) as f64 / f64::from(1_u32 << 24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_that_start_together_are_spread_over_the_interval_after_a_few_renewals() {
        // Given a thousand agents that renew for the first time at the same instant,
        let interval = Duration::from_secs(16);
        let mut tenths = [0_u32; 10];
        for number in 0..1000 {
            let node = format!("worker-{number}");
            // when each renewed a hundred times,
            let at: Duration = (0..100).map(|attempt| early(&node, attempt, interval)).sum();
            let phase = at.as_secs_f64() % interval.as_secs_f64() / interval.as_secs_f64();
            tenths[(phase * 9.999) as usize] += 1;
        }
        // then no tenth of the interval has more than a fifth of them.
        assert!(tenths.iter().all(|count| *count < 200), "{tenths:?}");
    }

    #[test]
    fn it_is_never_late_and_the_same_when_repeated() {
        let pause = Duration::from_secs(15);
        for attempt in 0..1000 {
            let at = early("n1", attempt, pause);
            assert!(at <= pause && at >= pause * 7 / 8, "{at:?}");
            assert_eq!(at, early("n1", attempt, pause));
        }
        assert_ne!(early("n1", 1, pause), early("n2", 1, pause));
        assert_ne!(early("n1", 1, pause), early("n1", 2, pause));
    }
}
