//! What is known of the nodes from two sources that run at different speeds: a watch, and lists read beside it.
//!
//! Either may be ahead of the other. Versions of Kubernetes objects grow with every write, so they tell which of two
//! sights is newer; an older one never replaces a newer one. Without that, a list that was answered before a node failed
//! and arrives after the watch showed the failure would take the failure back, and nothing would ever show it again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use palisade_core::health::{NodeView, recovered};

/// A node in one of its versions; zero if the API server uses versions that cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::health) struct Sight {
    pub version: u64,
    pub view: NodeView,
}

/// What a message of the watch changed for the policies.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::health) struct Change {
    pub before: Option<NodeView>,
    pub after: Option<NodeView>,
}

/// The nodes by name.
#[derive(Debug, Default)]
pub(in crate::health) struct Known {
    nodes: Option<BTreeMap<String, Sight>>,
    /// What the watch has still to show of a list that was ahead of it: the nodes as they were before.
    ahead: BTreeMap<String, Option<NodeView>>,
    /// A list showed everything up to this version.
    listed: u64,
    /// While a list is under way: the nodes whose end the watch shows meanwhile, and the version of the end.
    gone: Option<BTreeMap<String, u64>>,
}

impl Known {
    /// All of them; `None` before the first complete list.
    pub fn nodes(&self) -> Option<&BTreeMap<String, Sight>> {
        self.nodes.as_ref()
    }

    /// The watch begins anew with this list.
    pub fn begin(&mut self, mut listed: BTreeMap<String, Sight>, now: Timestamp) {
        self.look_back(&mut listed, now);
        if let (Some(gone), Some(before)) = (&mut self.gone, &self.nodes) {
            // A list that is under way may be older than this one, whose version is not told.
            gone.extend(before.keys().filter(|name| !listed.contains_key(*name)).map(|name| (name.clone(), u64::MAX)));
        }
        self.nodes = Some(listed);
        self.ahead.clear();
        self.listed = 0;
    }

    /// A list is asked for beside the watch; [`Known::list_ends`] has to follow, whatever becomes of it.
    pub fn list_begins(&mut self) {
        self.gone = Some(BTreeMap::new());
    }

    /// Nothing more comes of the list.
    pub fn list_ends(&mut self) {
        self.gone = None;
    }

    /// Takes over a list that may be ahead of the watch, or behind it. What changed by it concerns policies beside the
    /// one that asked: they are woken when the watch gets there, though it brings nothing new by then.
    pub fn listed(&mut self, mut listed: BTreeMap<String, Sight>, version: u64, now: Timestamp) {
        if let Some(gone) = &self.gone {
            listed.retain(|name, _| gone.get(name).is_none_or(|end| *end <= version));
        }
        self.look_back(&mut listed, now);
        let before = self.nodes.take().unwrap_or_default();
        for (name, sight) in &before {
            if sight.version > version {
                listed.insert(name.clone(), sight.clone());
            }
        }
        let view = |nodes: &BTreeMap<String, Sight>, name: &str| nodes.get(name).map(|sight| sight.view.clone());
        for name in before.keys().chain(listed.keys()) {
            let then = view(&before, name);
            if then != view(&listed, name) {
                self.ahead.entry(name.clone()).or_insert(then);
            }
        }
        self.nodes = Some(listed);
        self.listed = self.listed.max(version);
    }

    /// Takes over one node that was read by itself, which may be ahead of the watch as a list may be.
    pub fn read(&mut self, name: &str, mut sight: Sight, now: Timestamp) {
        // One whose end the watch shows meanwhile does not come back.
        let Some(known) = self.nodes.as_mut().and_then(|nodes| nodes.get_mut(name)) else { return };
        if known.version != 0 && sight.version <= known.version {
            return;
        }
        sight.view.recovered = recovered(Some(&known.view), &sight.view, now);
        let before = std::mem::replace(known, sight);
        if before.view != known.view {
            self.ahead.entry(name.to_owned()).or_insert(Some(before.view));
        }
    }

    /// The watch shows a node, or its end. Returns what that changes for the policies, if anything.
    pub fn watched(&mut self, name: &str, version: u64, view: Option<NodeView>, now: Timestamp) -> Option<Change> {
        let known = self.nodes.as_ref().and_then(|nodes| nodes.get(name)).map_or(0, |known| known.version);
        if version != 0 && version <= self.listed.max(known) {
            // A list showed this, or what came after it; now it is everybody's turn to see that.
            let before = self.ahead.remove(name)?;
            let after = self.nodes.as_ref().and_then(|nodes| Some(nodes.get(name)?.view.clone()));
            return Some(Change { before, after });
        }
        let nodes = self.nodes.get_or_insert_default();
        let before = nodes.get(name).map(|sight| sight.view.clone());
        let after = view.map(|view| NodeView { recovered: recovered(before.as_ref(), &view, now), ..view });
        if let Some(view) = &after {
            nodes.insert(name.to_owned(), Sight { version, view: view.clone() });
        } else {
            nodes.remove(name);
            if let Some(gone) = &mut self.gone {
                gone.insert(name.to_owned(), version);
            }
        }
        match self.ahead.remove(name) {
            Some(before) => Some(Change { before, after }),
            None => (before != after).then_some(Change { before, after }),
        }
    }

    /// When nodes recovered is known only by comparing them with what was known before.
    fn look_back(&self, listed: &mut BTreeMap<String, Sight>, now: Timestamp) {
        for (name, sight) in listed {
            let before = self.nodes.as_ref().and_then(|nodes| nodes.get(name));
            sight.view.recovered = recovered(before.map(|before| &before.view), &sight.view, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn view(healthy: bool) -> NodeView {
        NodeView { name: "a".to_owned(), unschedulable: !healthy, ..NodeView::default() }
    }

    fn list(nodes: &[(&str, u64, bool)]) -> BTreeMap<String, Sight> {
        let sight = |version, healthy| Sight { version, view: view(healthy) };
        nodes.iter().map(|(name, version, healthy)| ((*name).to_owned(), sight(*version, *healthy))).collect()
    }

    fn healthy(known: &Known, name: &str) -> Option<bool> {
        Some(!known.nodes()?.get(name)?.view.unschedulable)
    }

    #[test]
    fn what_a_list_showed_first_is_still_news_when_the_watch_shows_it() {
        // Given a list that one policy asked for, ahead of the watch
        let mut known = Known::default();
        known.begin(list(&[("a", 1, false)]), now());
        known.listed(list(&[("a", 5, true)]), 5, now());
        // When the watch gets there, then the other policies hear of it, once
        let change = known.watched("a", 5, Some(view(true)), now()).unwrap();
        assert_ne!(change.before, change.after);
        assert!(known.watched("a", 6, Some(view(true)), now()).is_none());
        // And likewise of a node that is gone
        known.listed(BTreeMap::new(), 8, now());
        assert!(known.watched("a", 8, None, now()).unwrap().before.is_some());
        assert!(known.watched("a", 8, None, now()).is_none());
    }

    #[test]
    fn a_list_that_is_older_than_the_watch_takes_no_failure_back() {
        // Given a list that was answered at version 10
        let mut known = Known::default();
        known.begin(list(&[("a", 1, true), ("b", 2, true), ("c", 3, true)]), now());
        known.list_begins();
        // When the watch shows, before the answer arrives, that one node failed, one is new and one is gone
        assert!(known.watched("a", 11, Some(view(false)), now()).is_some());
        assert!(known.watched("d", 12, Some(view(false)), now()).is_some());
        assert!(known.watched("b", 13, None, now()).is_some());
        known.listed(list(&[("a", 1, true), ("b", 2, true), ("c", 10, false)]), 10, now());
        known.list_ends();
        // Then all of that stays, beside what only the list shows
        let is = |name| healthy(&known, name);
        assert_eq!((is("a"), is("b"), is("c"), is("d")), (Some(false), None, Some(false), Some(false)));
        // And the watch tells the others of that when it gets there
        assert!(known.watched("c", 10, Some(view(false)), now()).is_some());
    }

    #[test]
    fn a_watch_that_lags_behind_a_list_does_not_go_back() {
        let mut known = Known::default();
        known.begin(list(&[("a", 1, true), ("b", 2, true)]), now());
        known.listed(list(&[("a", 9, false)]), 10, now());
        // When the watch shows what came before the list, then it stays as the list showed it, and is said once
        let change = known.watched("a", 5, Some(view(true)), now()).unwrap();
        assert_eq!(change, Change { before: Some(view(true)), after: Some(view(false)) });
        assert_eq!(known.watched("a", 9, Some(view(false)), now()), None);
        assert!(known.watched("b", 6, Some(view(false)), now()).is_some());
        assert_eq!((healthy(&known, "a"), healthy(&known, "b")), (Some(false), None));
        // What comes after it counts again
        assert!(known.watched("a", 11, Some(view(true)), now()).is_some());
        assert_eq!(healthy(&known, "a"), Some(true));
    }

    #[test]
    fn a_node_that_was_read_by_itself_is_ahead_of_the_watch_until_that_gets_there() {
        // Given a node that was read in a later version than the watch has shown
        let mut known = Known::default();
        known.begin(list(&[("a", 1, true), ("b", 2, true)]), now());
        let read = |version, healthy| Sight { version, view: view(healthy) };
        known.read("a", read(9, false), now());
        assert_eq!(healthy(&known, "a"), Some(false));
        // When the watch shows what came before that, then it stays so, and is said once
        let change = known.watched("a", 5, Some(view(true)), now()).unwrap();
        assert_eq!(change, Change { before: Some(view(true)), after: Some(view(false)) });
        assert_eq!(known.watched("a", 9, Some(view(false)), now()), None);
        // An answer that is older than the watch changes nothing
        assert!(known.watched("a", 11, Some(view(true)), now()).is_some());
        known.read("a", read(10, false), now());
        assert_eq!(healthy(&known, "a"), Some(true));
        // And a node that is gone stays away
        known.watched("b", 12, None, now());
        known.read("b", read(11, true), now());
        assert_eq!(healthy(&known, "b"), None);
    }

    #[test]
    fn a_node_that_is_gone_when_the_watch_begins_anew_does_not_come_back_with_an_older_list() {
        let mut known = Known::default();
        known.begin(list(&[("a", 1, true), ("b", 2, true)]), now());
        known.list_begins();
        known.begin(list(&[("b", 12, false)]), now());
        known.listed(list(&[("a", 1, true), ("b", 2, true)]), 10, now());
        known.list_ends();
        assert_eq!((healthy(&known, "a"), healthy(&known, "b")), (None, Some(false)));
        // A node that is deleted and made anew meanwhile is the new one
        known.list_begins();
        known.watched("b", 13, None, now());
        known.watched("b", 14, Some(view(true)), now());
        known.listed(list(&[("b", 12, false)]), 12, now());
        assert_eq!(healthy(&known, "b"), Some(true));
    }

    #[test]
    fn versions_that_cannot_be_compared_are_taken_as_they_come() {
        let mut known = Known::default();
        known.begin(list(&[("a", 0, true)]), now());
        known.listed(list(&[("a", 0, false)]), 0, now());
        assert_eq!(healthy(&known, "a"), Some(false));
        assert!(known.watched("a", 0, Some(view(true)), now()).is_some());
        assert_eq!(healthy(&known, "a"), Some(true));
    }
}
