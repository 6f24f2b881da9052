//! Watches the nodes, and keeps of them only what decisions read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, pin_mut};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, ListParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::Store;
use kube::runtime::watcher::{self, Event, watcher};
use palisade_core::health::{NodeView, Selector, recovered};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use super::{Guarded, Wake, policies, views};

/// A list of all nodes takes no longer.
const REFRESH_LIMIT: Duration = Duration::from_secs(15);

/// The nodes of the cluster.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// What the watch has still to show of a list that was ahead of it: the nodes as they were before.
    ahead: std::sync::Mutex<BTreeMap<String, Option<NodeView>>>,
    known: RwLock<Option<BTreeMap<String, NodeView>>>,
    filled: Notify,
}

impl Nodes {
    /// Waits for the first complete list.
    pub async fn ready(&self) {
        loop {
            let filled = self.filled.notified();
            if self.read(|_| ()).is_some() {
                return;
            }
            filled.await;
        }
    }

    /// All nodes.
    pub fn all(&self) -> Vec<NodeView> {
        self.read(|nodes| nodes.values().cloned().collect()).unwrap_or_default()
    }

    /// The nodes that are selected.
    pub fn selected(&self, selector: &Selector) -> Vec<NodeView> {
        self.read(|nodes| nodes.values().filter(|node| selector.matches(&node.labels)).cloned().collect())
            .unwrap_or_default()
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<NodeView> {
        self.read(|nodes| nodes.get(name).cloned()).flatten()
    }

    /// Versions of all kubelets of the cluster.
    pub fn kubelet_versions(&self) -> BTreeSet<String> {
        let versions = |nodes: &BTreeMap<String, NodeView>| {
            nodes.values().map(|node| node.kubelet_version.clone()).filter(|version| !version.is_empty()).collect()
        };
        self.read(versions).unwrap_or_default()
    }

    fn read<T>(&self, read: impl FnOnce(&BTreeMap<String, NodeView>) -> T) -> Option<T> {
        // Nothing panics while it holds the lock; if something did, the map is still a map.
        self.known.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(read)
    }

    fn replace(&self, mut nodes: BTreeMap<String, NodeView>) {
        let now = Timestamp::now();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (name, node) in &mut nodes {
            node.recovered = recovered(known.as_ref().and_then(|known| known.get(name)), node, now);
        }
        *known = Some(nodes);
        drop(known);
        self.filled.notify_waiters();
    }

    /// Reads all nodes anew. A watch may lag far behind after the API was out of reach, and show a whole cluster's
    /// silence as that of one node.
    pub async fn refresh(&self, client: &Client) -> anyhow::Result<()> {
        let listing = Api::<Node>::all(client.clone());
        let listed = tokio::time::timeout(REFRESH_LIMIT, listing.list(&ListParams::default())).await;
        let listed =
            listed.context("the API server did not list the nodes in time")?.context("cannot list the nodes")?;
        self.overtake(listed.items.iter().map(views::node).map(|node| (node.name.clone(), node)).collect());
        Ok(())
    }

    /// Takes over a list that may be ahead of the watch. What changed by it concerns policies beside the one that asked:
    /// they are woken when the watch gets there, though it brings nothing new by then.
    fn overtake(&self, nodes: BTreeMap<String, NodeView>) {
        let before = self.read(Clone::clone).unwrap_or_default();
        self.replace(nodes);
        let after = self.read(Clone::clone).unwrap_or_default();
        let mut ahead = self.ahead();
        for name in before.keys().chain(after.keys()) {
            if before.get(name) != after.get(name) {
                ahead.entry(name.clone()).or_insert_with(|| before.get(name).cloned());
            }
        }
    }

    fn ahead(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<NodeView>>> {
        // Nothing panics while it holds the lock.
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores or removes a node; returns what was known before, or `None` if nothing changed.
    fn update(&self, name: &str, node: Option<NodeView>) -> Option<Change> {
        let mut guard = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let nodes = guard.get_or_insert_default();
        let node = node.map(|mut node| {
            node.recovered = recovered(nodes.get(name), &node, Timestamp::now());
            node
        });
        let before = match node.clone() {
            Some(node) => nodes.insert(name.to_owned(), node),
            None => nodes.remove(name),
        };
        drop(guard);
        match self.ahead().remove(name) {
            Some(before) => Some(Change { before, after: node }),
            None => (before != node).then_some(Change { before, after: node }),
        }
    }
}

struct Change {
    before: Option<NodeView>,
    after: Option<NodeView>,
}

/// Fills the nodes and wakes the policies that select a node which changed. A heartbeat changes nothing that is kept, so
/// a silent, healthy cluster wakes nobody.
pub(super) async fn watch(
    client: Client,
    nodes: std::sync::Arc<Nodes>,
    policies: Store<Guarded>,
    wake: UnboundedSender<Wake>,
) {
    let stream = watcher(Api::<Node>::all(client), watcher::Config::default()).default_backoff();
    pin_mut!(stream);
    let mut listed = BTreeMap::new();
    while let Some(event) = stream.next().await {
        let change = match event {
            Ok(Event::Init) => {
                listed.clear();
                None
            }
            Ok(Event::InitApply(node)) => {
                let view = views::node(&node);
                listed.insert(view.name.clone(), view);
                None
            }
            Ok(Event::InitDone) => {
                nodes.replace(std::mem::take(&mut listed));
                nodes.ahead().clear();
                if wake.send(Wake::All).is_err() {
                    return;
                }
                None
            }
            Ok(Event::Apply(node)) => {
                let view = views::node(&node);
                nodes.update(&view.name.clone(), Some(view))
            }
            Ok(Event::Delete(node)) => nodes.update(&views::node(&node).name, None),
            Err(error) => {
                tracing::warn!(%error, "cannot watch nodes");
                None
            }
        };
        if let Some(change) = change {
            for name in concerned(&policies, &change) {
                if wake.send(Wake::Policy(name)).is_err() {
                    return;
                }
            }
        }
    }
}

fn concerned(policies: &Store<Guarded>, change: &Change) -> Vec<String> {
    let views = [&change.before, &change.after];
    let selected = |policy: &Guarded| match &policy.0 {
        Ok(policy) => {
            views.iter().any(|view| view.as_ref().is_some_and(|node| policies::selects(policy, &node.labels)))
        }
        Err(_) => false,
    };
    policies.state().iter().filter(|policy| selected(policy)).filter_map(|policy| policies::name(policy)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(healthy: bool) -> NodeView {
        NodeView { name: "a".to_owned(), unschedulable: !healthy, ..NodeView::default() }
    }

    #[test]
    fn what_a_list_showed_first_is_still_news_when_the_watch_shows_it() {
        // Given a list that one policy asked for, ahead of the watch
        let nodes = Nodes::default();
        nodes.replace(BTreeMap::from([("a".to_owned(), node(false))]));
        nodes.overtake(BTreeMap::from([("a".to_owned(), node(true))]));
        // When the watch gets there, then the other policies hear of it, once
        let change = nodes.update("a", Some(node(true))).unwrap();
        assert_ne!(change.before, change.after);
        assert!(nodes.update("a", Some(node(true))).is_none());
        // And likewise of a node that is gone
        nodes.overtake(BTreeMap::new());
        assert!(nodes.update("a", None).unwrap().before.is_some());
        assert!(nodes.update("a", None).is_none());
    }
}
