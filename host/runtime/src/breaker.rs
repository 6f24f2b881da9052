//! Keeps a remediator that fails again and again from being called for a while.
//!
//! Pure: the caller says what time it is, as a length since any fixed instant.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings and state of one breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Breaker {
    threshold: u32,
    delay: Duration,
    failures: u32,
    opened: Option<Opened>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Opened {
    at: Duration,
    reason: String,
}

/// Whether to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakerState {
    /// Call.
    Closed,
    /// Do not call.
    Open {
        /// What happened, for a condition.
        reason: String,
        /// When to try again.
        retry_in: Duration,
    },
    /// One call to find out; a failure opens it again at once.
    HalfOpen,
}

impl Breaker {
    /// Opens after `threshold` failures in a row (at least one), tries again after `delay`.
    pub fn new(threshold: u32, delay: Duration) -> Self {
        Self { threshold: threshold.max(1), delay, failures: 0, opened: None }
    }

    /// The state at `now`.
    pub fn state(&self, now: Duration) -> BreakerState {
        match &self.opened {
            None => BreakerState::Closed,
            Some(opened) => match (opened.at + self.delay).checked_sub(now) {
                Some(retry_in) if !retry_in.is_zero() => BreakerState::Open { reason: opened.reason.clone(), retry_in },
                _ => BreakerState::HalfOpen,
            },
        }
    }

    /// A call answered.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.opened = None;
    }

    /// A call failed; returns true when that opened the breaker.
    pub fn failed(&mut self, now: Duration, message: &str) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures < self.threshold {
            return false;
        }
        let reason = format!("{} failures in a row, the last: {message}", self.failures);
        self.opened = Some(Opened { at: now, reason });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_with_a_reason_tries_again_and_closes() {
        let second = Duration::from_secs;
        let mut breaker = Breaker::new(3, second(60));
        assert!(!breaker.failed(second(1), "boom") && !breaker.failed(second(2), "boom"));
        assert_eq!(breaker.state(second(2)), BreakerState::Closed);
        assert!(breaker.failed(second(3), "out of fuel"));

        let BreakerState::Open { reason, retry_in } = breaker.state(second(13)) else { panic!("open") };
        assert_eq!((reason.as_str(), retry_in), ("3 failures in a row, the last: out of fuel", second(50)));

        assert_eq!(breaker.state(second(63)), BreakerState::HalfOpen);
        assert!(breaker.failed(second(63), "still"), "one failure is enough when half open");
        assert!(matches!(breaker.state(second(64)), BreakerState::Open { .. }));

        breaker.succeeded();
        assert_eq!(breaker.state(second(65)), BreakerState::Closed);
        assert!(!breaker.failed(second(66), "boom"));
    }
}
