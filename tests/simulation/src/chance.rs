//! Random choices that a seed repeats.

use std::time::Duration;

use crate::seam::splitmix;

/// A generator; its state is one number.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// From a seed; `purpose` keeps the streams of one seed apart.
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut state = seed ^ purpose.wrapping_mul(0xd1b5_4a32_d192_ed03);
        splitmix(&mut state);
        Self(state)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        splitmix(&mut self.0)
    }

    /// Below `limit`, which is not zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit.max(1)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in so many of a thousand cases.
    pub fn per_mille(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    /// A length in whole milliseconds.
    pub fn length(&mut self, low: Duration, high: Duration) -> Duration {
        Duration::from_millis(self.between(low.as_millis() as u64, high.as_millis() as u64))
    }

    /// One of them; there is at least one.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    /// So many different ones of them, in random order; fewer if there are fewer.
    pub fn some<T: Clone>(&mut self, count: usize, from: &[T]) -> Vec<T> {
        let mut left = from.to_vec();
        let mut chosen = Vec::new();
        while chosen.len() < count && !left.is_empty() {
            let at = self.below(left.len() as u64) as usize;
            chosen.push(left.swap_remove(at));
        }
        chosen
    }
}
