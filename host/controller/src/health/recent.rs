//! Remediations of control-plane nodes that were made here and that no watch has shown yet. Without them another policy,
//! looked at a moment later, would take a second node of the control plane down.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use palisade_core::health::Elsewhere;
use tokio::time::Instant;

/// A watch that has not shown it by then never will: it was made and deleted in between.
const FORGET: Duration = Duration::from_secs(10);

/// By UID.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<BTreeMap<String, (Instant, Elsewhere)>>);

impl Recent {
    /// One was made.
    pub fn note(&self, made: Elsewhere) {
        self.lock().insert(made.key.uid.clone(), (Instant::now(), made));
    }

    /// Those that are not among the ones that watches show.
    pub fn unseen(&self, is_seen: impl Fn(&str) -> bool) -> Vec<Elsewhere> {
        let mut recent = self.lock();
        recent.retain(|uid, (since, _)| since.elapsed() < FORGET && !is_seen(uid));
        recent.values().map(|(_, made)| made.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (Instant, Elsewhere)>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_core::health::ObjectKey;

    #[tokio::test(start_paused = true)]
    async fn what_was_made_counts_until_a_watch_shows_it() {
        let recent = Recent::default();
        for uid in ["one", "two"] {
            let key = ObjectKey { uid: uid.to_owned(), ..ObjectKey::default() };
            recent.note(Elsewhere { node: format!("node-{uid}"), key });
        }
        assert_eq!(recent.unseen(|_| false).len(), 2);
        // Seen once, its end is the watch's business.
        assert_eq!(recent.unseen(|uid| uid == "one").len(), 1);
        assert_eq!(recent.unseen(|_| false).len(), 1);
        tokio::time::advance(FORGET).await;
        assert!(recent.unseen(|_| false).is_empty());
    }
}
