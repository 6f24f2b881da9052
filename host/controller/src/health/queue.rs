//! When which policy is looked at.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

/// First pause after a failure; doubled with every further one.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// Longest pause after failures.
const LAST_RETRY: Duration = Duration::from_mins(1);

/// One entry per policy, however often it is woken; one that is being looked at is not taken a second time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    due: HashMap<String, Instant>,
    under_way: HashSet<String>,
    failures: HashMap<String, u32>,
}

impl Queue {
    /// Something that concerns the policy changed. A policy that failed keeps its pause only if nothing changed.
    pub fn wake(&mut self, name: String, now: Instant) {
        self.due.insert(name, now);
    }

    /// The next policy that is due, earliest first. It is under way until its pass has succeeded, failed or been given
    /// up.
    pub fn take(&mut self, now: Instant) -> Option<String> {
        let (name, _) =
            self.free().filter(|(_, due)| **due <= now).min_by_key(|(name, due)| (**due, (*name).clone()))?;
        let name = name.clone();
        self.due.remove(&name);
        self.under_way.insert(name.clone());
        Some(name)
    }

    /// When the next policy is due that can be taken.
    pub fn next_due(&self) -> Option<Instant> {
        self.free().map(|(_, due)| *due).min()
    }

    fn free(&self) -> impl Iterator<Item = (&String, &Instant)> {
        self.due.iter().filter(|(name, _)| !self.under_way.contains(*name))
    }

    /// A pass ended without a result; whoever gave it up sees to it that the policy is looked at again.
    pub fn given_up(&mut self, name: &str) {
        self.under_way.remove(name);
    }

    /// A pass succeeded; look again after `again_in` if nothing happens before.
    pub fn succeeded(&mut self, name: &str, again_in: Option<Duration>, now: Instant) {
        self.under_way.remove(name);
        self.failures.remove(name);
        if let Some(due) = again_in.and_then(|pause| now.checked_add(pause)) {
            self.schedule(name, due);
        }
    }

    /// A pass failed.
    pub fn failed(&mut self, name: &str, now: Instant) {
        self.under_way.remove(name);
        let failures = self.failures.entry(name.to_owned()).or_default();
        let pause = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(*failures)).min(LAST_RETRY);
        *failures = failures.saturating_add(1);
        self.schedule(name, now + pause);
    }

    fn schedule(&mut self, name: &str, due: Instant) {
        let entry = self.due.entry(name.to_owned()).or_insert(due);
        *entry = (*entry).min(due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_policy_woken_many_times_is_taken_once() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.wake("a".to_owned(), now);
        queue.wake("a".to_owned(), now);
        assert_eq!(queue.take(now).as_deref(), Some("a"));
        assert_eq!(queue.take(now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_that_is_woken_while_it_is_looked_at_is_taken_again_afterwards() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.wake("a".to_owned(), now);
        assert_eq!(queue.take(now).as_deref(), Some("a"));
        queue.wake("a".to_owned(), now);
        assert_eq!((queue.take(now), queue.next_due()), (None, None));
        queue.succeeded("a", Some(Duration::from_mins(5)), now);
        assert_eq!(queue.next_due(), Some(now));
        assert_eq!(queue.take(now).as_deref(), Some("a"));
        // What is given up can be taken, too
        queue.given_up("a");
        queue.wake("a".to_owned(), now);
        assert_eq!(queue.take(now).as_deref(), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_policy_waits_longer_each_time_but_never_blocks_another() {
        let mut queue = Queue::default();
        let start = Instant::now();
        for expected in [500, 1_000, 2_000] {
            queue.failed("bad", start);
            assert_eq!(queue.next_due(), Some(start + Duration::from_millis(expected)));
            queue.wake("good".to_owned(), start);
            assert_eq!(queue.take(start).as_deref(), Some("good"));
            queue.succeeded("good", None, start);
            assert_eq!(queue.take(start + Duration::from_millis(expected)).as_deref(), Some("bad"));
        }
        for _ in 0..40 {
            queue.failed("bad", start);
            queue.take(start + LAST_RETRY);
        }
        queue.failed("bad", start);
        assert_eq!(queue.next_due(), Some(start + LAST_RETRY));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_brings_a_scheduled_policy_forward() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.succeeded("a", Some(Duration::from_mins(5)), now);
        assert_eq!(queue.take(now), None);
        queue.wake("a".to_owned(), now);
        assert_eq!(queue.take(now).as_deref(), Some("a"));
    }
}
