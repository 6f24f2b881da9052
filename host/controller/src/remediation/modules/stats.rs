//! How components fare: calls, failures, and how long calls take.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use super::lock;

/// Latest calls that the percentile is taken over.
const WINDOW: usize = 100;

/// Figures of one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Calls since this process began.
    pub calls: u64,
    /// How many had no answer.
    pub failures: u64,
    /// 99 of the latest 100 took no longer.
    pub p99: Duration,
}

#[derive(Debug, Default)]
struct Record {
    calls: u64,
    failures: u64,
    latest: VecDeque<Duration>,
}

/// Figures by digest.
#[derive(Debug, Default)]
pub struct Stats(Mutex<HashMap<String, Record>>);

impl Stats {
    pub fn add(&self, digest: &str, took: Duration, answered: bool) {
        let mut records = lock(&self.0);
        let record = records.entry(digest.to_owned()).or_default();
        record.calls += 1;
        record.failures += u64::from(!answered);
        if record.latest.len() == WINDOW {
            record.latest.pop_front();
        }
        record.latest.push_back(took);
    }

    pub fn of(&self, digest: &str) -> Option<Figures> {
        let records = lock(&self.0);
        let record = records.get(digest)?;
        let mut sorted: Vec<Duration> = record.latest.iter().copied().collect();
        sorted.sort();
        let place = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
        Some(Figures { calls: record.calls, failures: record.failures, p99: *sorted.get(place)? })
    }

    pub fn keep(&self, digests: &HashSet<String>) {
        lock(&self.0).retain(|digest, _| digests.contains(digest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_call_of_a_hundred_is_not_the_percentile_and_old_ones_are_forgotten() {
        let stats = Stats::default();
        stats.add("d", Duration::from_secs(9), false);
        for _ in 0..99 {
            stats.add("d", Duration::from_micros(5), true);
        }
        assert_eq!(stats.of("d"), Some(Figures { calls: 100, failures: 1, p99: Duration::from_micros(5) }));
        stats.add("d", Duration::from_micros(7), true);
        stats.add("d", Duration::from_micros(8), true);
        assert_eq!(stats.of("d").unwrap().p99, Duration::from_micros(7));
        assert_eq!(stats.of("other"), None);
    }
}
