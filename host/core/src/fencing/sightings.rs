//! When this process first saw which version of an agent lease.
//!
//! `D` counts from the first sight of the lease version on which the intent's compare-and-swap succeeded: that version
//! was the last renewal, so the node cannot have sent it later than we saw it. A node that has been silent for long was
//! seen long ago, and there is then nothing to wait for.

use std::collections::{BTreeMap, VecDeque};

use crate::time::Mono;

/// So many versions are remembered per lease. A forgotten one counts from now, which only lengthens the wait.
const VERSIONS: usize = 16;

/// First sights, on the clock of this process. Nothing here survives a restart, on purpose: a new leader starts from
/// its own first sight.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Sightings {
    leases: BTreeMap<String, Lease>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Lease {
    uid: String,
    versions: VecDeque<(String, Mono)>,
    /// Intent UID to the first sight of the version its write was based on, or of the first version that showed it.
    intents: VecDeque<(String, Mono)>,
}

impl Sightings {
    /// Notes that a version of a lease was seen, by read or watch, and returns when that was first the case.
    pub fn see(&mut self, node: &str, lease_uid: &str, version: &str, now: Mono) -> Mono {
        let lease = self.lease(node, lease_uid);
        first(&mut lease.versions, version, now)
    }

    /// Notes the base of an intent about to be written: if that intent ever shows up in the lease, its write succeeded
    /// on exactly that version, however the answer got lost.
    pub fn attempt(&mut self, node: &str, lease_uid: &str, intent_uid: &str, base_first_seen: Mono) {
        let lease = self.lease(node, lease_uid);
        first(&mut lease.intents, intent_uid, base_first_seen);
    }

    /// The instant from which `D` counts for an intent found in the lease. Known from our own write, or the first sight
    /// of the intent itself: everything that renewed the lease came before it.
    pub fn intent(&mut self, node: &str, lease_uid: &str, intent_uid: &str, now: Mono) -> Mono {
        let lease = self.lease(node, lease_uid);
        first(&mut lease.intents, intent_uid, now)
    }

    /// The version that was seen first last.
    pub fn version(&self, node: &str) -> Option<&str> {
        self.leases.get(node)?.versions.back().map(|(version, _)| version.as_str())
    }

    /// Forgets a lease that is gone. A lease of the same name made later starts afresh.
    pub fn forget(&mut self, node: &str) {
        self.leases.remove(node);
    }

    fn lease(&mut self, node: &str, uid: &str) -> &mut Lease {
        let lease = self.leases.entry(node.to_owned()).or_default();
        if lease.uid != uid {
            *lease = Lease { uid: uid.to_owned(), ..Lease::default() };
        }
        lease
    }
}

fn first(seen: &mut VecDeque<(String, Mono)>, key: &str, now: Mono) -> Mono {
    if let Some((_, at)) = seen.iter().find(|(known, _)| known == key) {
        return *at;
    }
    seen.push_back((key.to_owned(), now));
    if seen.len() > VERSIONS {
        seen.pop_front();
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_seen_long_ago_by_watch_keeps_its_first_sight() {
        let mut sightings = Sightings::default();
        sightings.see("n1", "uid", "7", Mono(1_000));
        assert_eq!(sightings.see("n1", "uid", "7", Mono(90_000)), Mono(1_000));
    }

    #[test]
    fn line_22_a_restart_starts_from_its_own_first_sight() {
        let mut after_restart = Sightings::default();
        assert_eq!(after_restart.intent("n1", "uid", "intent-1", Mono(50_000)), Mono(50_000));
        assert_eq!(after_restart.intent("n1", "uid", "intent-1", Mono(60_000)), Mono(50_000));
    }

    #[test]
    fn an_intent_whose_answer_was_lost_still_counts_from_its_base() {
        let mut sightings = Sightings::default();
        sightings.attempt("n1", "uid", "intent-1", Mono(1_000));
        assert_eq!(sightings.intent("n1", "uid", "intent-1", Mono(60_000)), Mono(1_000));
    }

    #[test]
    fn a_lease_made_again_under_the_same_name_is_another_lease() {
        let mut sightings = Sightings::default();
        sightings.see("n1", "old", "7", Mono(1_000));
        assert_eq!(sightings.see("n1", "new", "7", Mono(9_000)), Mono(9_000));
    }
}
