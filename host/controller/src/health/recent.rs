//! Remediations of control-plane nodes that were made here and that no watch has shown yet. Without them another policy,
//! looked at a moment later, would take a second node of the control plane down.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use palisade_core::health::Elsewhere;
use tokio::time::Instant;

/// A watch that has not shown it by then never will: it was made and deleted before its creation was answered.
const FORGET: Duration = Duration::from_secs(10);

/// By UID.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<BTreeMap<String, (Instant, Elsewhere)>>);

impl Recent {
    /// One was made.
    pub fn note(&self, made: Elsewhere) {
        self.lock().insert(made.key.uid.clone(), (Instant::now(), made));
    }

    /// A watch showed it, or its end: from now on it is the watch's business. Without this, one that came and went
    /// between two looks of a policy would hold up the control plane long after its end.
    pub fn shown(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// When the first of them is forgotten: what waits for it has to look again then, for nothing wakes it.
    pub fn again_in(&self) -> Option<Duration> {
        self.lock().values().map(|(since, _)| FORGET.saturating_sub(since.elapsed())).min()
    }

    /// Those that no watch has shown yet. Ask before looking at what the watches show: whatever is missing here is
    /// there by then.
    pub fn unseen(&self) -> Vec<Elsewhere> {
        let mut recent = self.lock();
        recent.retain(|_, (since, _)| since.elapsed() < FORGET);
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
        assert_eq!(recent.unseen().len(), 2);
        // Seen once, its end is the watch's business.
        recent.shown("one");
        assert_eq!(recent.unseen().len(), 1);
        assert_eq!(recent.again_in(), Some(FORGET));
        tokio::time::advance(FORGET).await;
        assert!(recent.unseen().is_empty());
        assert_eq!(recent.again_in(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_and_went_between_two_looks_holds_up_nobody() {
        // Given a remediation that was made, and whose node recovered before any policy looked at it again
        let recent = Recent::default();
        let key = ObjectKey { uid: "one".to_owned(), ..ObjectKey::default() };
        recent.note(Elsewhere { node: "node-one".to_owned(), key });
        // When its watch shows it, or its deletion
        recent.shown("one");
        // Then no other policy waits for it, though no watch has it any more
        assert!(recent.unseen().is_empty());
    }
}
