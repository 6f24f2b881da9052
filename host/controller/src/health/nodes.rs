//! Watches the nodes, and keeps of them only what decisions read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, pin_mut};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use kube::runtime::reflector::Store;
use kube::runtime::watcher::Event;
use kube::{Client, ResourceExt};
use palisade_core::health::{NodeView, Selector};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::{Instant, timeout};

use self::known::{Change, Known, Sight};
use super::observe::Observe;
use super::{Guarded, Wake, policies, views};
use crate::lean::{self, Lean};

mod known;

/// A list of all nodes, or one of them, takes no longer.
const REFRESH_LIMIT: Duration = Duration::from_secs(15);

/// A list that is not older when a node is due is recent enough for its neighbours, which are only counted: what the watch
/// has not shown since could make a difference only for conditions that last less.
const RECENT: Duration = Duration::from_secs(10);
/// So long before a node is due the list is read: large ones take seconds.
pub(super) const AHEAD: Duration = Duration::from_secs(5);
/// When so many nodes are due at once, reading all is less work than reading each.
const FEW: usize = 16;
/// For them a list is not older.
const MANY_RECENT: Duration = Duration::from_secs(3);

/// The nodes of the cluster.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    known: RwLock<Known>,
    filled: Notify,
    /// When the last list that was answered was asked for. Locked while one is under way: nobody needs two.
    listed: AsyncMutex<Option<Instant>>,
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
        self.selected(&Selector::default())
    }

    /// The nodes that are selected.
    pub fn selected(&self, selector: &Selector) -> Vec<NodeView> {
        let views = |nodes: &BTreeMap<String, Sight>| {
            nodes.values().map(|sight| &sight.view).filter(|node| selector.matches(&node.labels)).cloned().collect()
        };
        self.read(views).unwrap_or_default()
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<NodeView> {
        self.read(|nodes| nodes.get(name).map(|sight| sight.view.clone())).flatten()
    }

    /// Versions of all kubelets of the cluster.
    pub fn kubelet_versions(&self) -> BTreeSet<String> {
        let versions = |nodes: &BTreeMap<String, Sight>| {
            let versions = nodes.values().map(|sight| sight.view.kubelet_version.clone());
            versions.filter(|version| !version.is_empty()).collect()
        };
        self.read(versions).unwrap_or_default()
    }

    fn read<T>(&self, read: impl FnOnce(&BTreeMap<String, Sight>) -> T) -> Option<T> {
        // Nothing panics while it holds the lock; if something did, the map is still a map.
        self.known.read().unwrap_or_else(PoisonError::into_inner).nodes().map(read)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sees to it that what is decided about these nodes is decided on them as they are: a watch may lag far behind after
    /// the API was out of reach, and show a whole cluster's silence as that of one node. Each of them is read anew, and
    /// all others too unless that was done a moment ago.
    pub async fn renew(&self, client: &Client, due: &[String]) -> anyhow::Result<()> {
        if due.len() > FEW {
            return self.list(client, MANY_RECENT).await.map(drop);
        }
        let was_recent = self.list(client, RECENT).await?;
        if !was_recent {
            return Ok(());
        }
        let nodes = Api::<Lean<Node>>::all(client.clone());
        let reads = due.iter().map(|name| {
            let nodes = &nodes;
            async move { timeout(REFRESH_LIMIT, nodes.get_opt(name)).await }
        });
        for (name, read) in due.iter().zip(futures::future::join_all(reads).await) {
            let read = read.with_context(|| format!("the API server did not answer for node {name} in time"))?;
            match read.with_context(|| format!("cannot read node {name}"))? {
                Some(Lean(node)) => self.change(|known| known.read(name, sight(&node).1, Timestamp::now())),
                // The watch has still to show that; until then only a list can.
                None => return self.list(client, Duration::ZERO).await.map(drop),
            }
        }
        Ok(())
    }

    /// Reads all nodes in the background if no list will be recent when a node is due in `left`.
    pub fn look_ahead(self: &Arc<Self>, client: &Client, left: Duration) {
        let (nodes, client) = (Arc::clone(self), client.clone());
        tokio::spawn(async move {
            if let Err(error) = nodes.list(&client, RECENT.saturating_sub(left)).await {
                // It is read when the node is due, and then a failure is reported.
                tracing::debug!(error = format!("{error:#}"), "nodes not read ahead");
            }
        });
    }

    /// Reads all nodes anew, unless a list is not older than `age`; true if there was one.
    async fn list(&self, client: &Client, age: Duration) -> anyhow::Result<bool> {
        let mut listed = self.listed.lock().await;
        let begun = Instant::now();
        if listed.is_some_and(|listed| begun.duration_since(listed) <= age) {
            return Ok(true);
        }
        let listing = Api::<Lean<Node>>::all(client.clone());
        let _under_way = UnderWay::begin(self);
        let answer = timeout(REFRESH_LIMIT, listing.list(&ListParams::default())).await;
        let answer =
            answer.context("the API server did not list the nodes in time")?.context("cannot list the nodes")?;
        let version = number(answer.metadata.resource_version.as_deref());
        let nodes = answer.items.iter().map(|Lean(node)| sight(node)).collect();
        self.change(|known| known.listed(nodes, version, Timestamp::now()));
        *listed = Some(begun);
        Ok(false)
    }
}

/// A list that was asked for and not answered yet; also ends when nobody waits for it any more.
struct UnderWay<'a>(&'a Nodes);

impl<'a> UnderWay<'a> {
    fn begin(nodes: &'a Nodes) -> Self {
        nodes.change(Known::list_begins);
        Self(nodes)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.change(Known::list_ends);
    }
}

fn sight(node: &Node) -> (String, Sight) {
    let view = views::node(node);
    (view.name.clone(), Sight { version: version(node), view })
}

fn version(node: &Node) -> u64 {
    number(node.metadata.resource_version.as_deref())
}

/// Versions of Kubernetes objects are decimal numbers that grow (official since 1.35, true of every API server on etcd
/// before). Zero if it is none.
pub(super) fn number(version: Option<&str>) -> u64 {
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// Fills the nodes and wakes the policies that select a node which changed. A heartbeat changes nothing that is kept, so
/// a silent, healthy cluster wakes nobody.
pub(super) async fn watch(
    client: Client,
    nodes: Arc<Nodes>,
    policies: Store<Guarded>,
    wake: UnboundedSender<Wake>,
    observers: Vec<Arc<dyn Observe>>,
) {
    let stream = lean::watch(Api::<Lean<Node>>::all(client));
    pin_mut!(stream);
    let mut listed = BTreeMap::new();
    while let Some(event) = stream.next().await {
        if let Ok(event) = &event {
            for observer in &observers {
                observer.node(event);
            }
        }
        let change = match event {
            Ok(Event::Init) => {
                listed.clear();
                None
            }
            Ok(Event::InitApply(node)) => {
                listed.extend([sight(&node)]);
                None
            }
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut listed);
                nodes.change(|known| known.begin(listed, Timestamp::now()));
                nodes.filled.notify_waiters();
                if wake.send(Wake::All).is_err() {
                    return;
                }
                None
            }
            Ok(Event::Apply(node)) => {
                let (name, Sight { version, view }) = sight(&node);
                nodes.change(|known| known.watched(&name, version, Some(view), Timestamp::now()))
            }
            Ok(Event::Delete(node)) => {
                nodes.change(|known| known.watched(&node.name_any(), version(&node), None, Timestamp::now()))
            }
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
