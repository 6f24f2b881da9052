//! Lease objects in memory, with compare-and-swap, watches and faults.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use palisade_agent::api::{Api, LeaseChange, StoredLease, WriteFailure};
use palisade_core::fencing::agent::Base;
use palisade_core::fencing::record::{
    AgentRecord, CERTIFICATE, CONTROL_PLANE, FenceIntent, INTENT, SIGNING_REQUEST, encode,
};
use palisade_rpc::Authority;
use palisade_rpc::identity::request_matches_certificate;
use tokio::sync::mpsc;

use super::Busy;

/// What is wrong with the way to the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Connections are refused.
    Refused,
    /// Nothing comes back, ever.
    Blackhole,
    /// Reads work, writes do not: a full etcd.
    Writes,
}

#[derive(Default)]
struct Inner {
    leases: BTreeMap<String, StoredLease>,
    version: u64,
    watchers: Vec<(String, String, mpsc::Sender<StoredLease>)>,
    cuts: BTreeMap<String, Cut>,
    /// Version at which signing requests were looked at last.
    looked_at: u64,
    /// Request and certificate of each node.
    issued: BTreeMap<String, (String, String)>,
}

/// The one store behind all ways.
pub struct Store {
    inner: Mutex<Inner>,
    trust: String,
}

impl Store {
    pub fn new(trust: &str) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), trust: trust.to_owned() })
    }

    pub fn cut(&self, node: &str, cut: Cut) {
        let mut inner = self.inner.lock().unwrap();
        inner.cuts.insert(node.into(), cut);
        if cut != Cut::Writes {
            inner.watchers.retain(|(who, ..)| who != node);
        }
    }

    pub fn heal(&self, node: &str) {
        self.inner.lock().unwrap().cuts.remove(node);
    }

    pub fn record(&self, node: &str) -> Option<AgentRecord> {
        self.inner.lock().unwrap().leases.get(node)?.view().unwrap().record
    }

    /// The controller's compare-and-swap.
    pub fn intend(&self, node: &str) -> FenceIntent {
        let mut inner = self.inner.lock().unwrap();
        let record = inner.leases[node].view().unwrap().record.unwrap();
        let intent = FenceIntent {
            uid: format!("intent-for-{node}"),
            boot_id: record.boot_id.clone(),
            terms: record.terms.clone(),
            based_on_sequence: record.sequence,
            owners: vec![],
        };
        inner.change(node, [(INTENT.to_owned(), Some(encode(&intent)))].into());
        intent
    }

    /// The controller tells a node that it belongs to the control plane.
    pub fn tell_control_plane(&self, node: &str) {
        self.inner.lock().unwrap().change(node, [(CONTROL_PLANE.to_owned(), Some("true".to_owned()))].into());
    }

    /// The node lost that label, so the controller takes back what it told.
    pub fn take_back_control_plane(&self, node: &str) {
        self.inner.lock().unwrap().change(node, [(CONTROL_PLANE.to_owned(), None)].into());
    }

    /// What the controller does for signing requests.
    pub fn issue_certificates(&self, authority: &Authority) {
        let mut inner = self.inner.lock().unwrap();
        let version = inner.version;
        if std::mem::replace(&mut inner.looked_at, version) == version {
            return;
        }
        let issued = inner.issued.clone();
        let waiting: Vec<(String, String)> = inner
            .leases
            .values()
            .filter_map(|lease| {
                let request = lease.annotations.get(SIGNING_REQUEST)?;
                let certificate = lease.annotations.get(CERTIFICATE).map_or("", String::as_str);
                // Comparing costs two parsers; the same pair needs it only once.
                if issued.get(&lease.node).is_some_and(|known| known.0 == *request && known.1 == *certificate) {
                    return None;
                }
                (!request_matches_certificate(request, certificate)).then(|| (lease.node.clone(), request.clone()))
            })
            .collect();
        for (node, request) in waiting {
            let certificate = authority.issue_agent(&request, &node).unwrap();
            inner.issued.insert(node.clone(), (request, certificate.clone()));
            inner.change(&node, [(CERTIFICATE.to_owned(), Some(certificate))].into());
        }
    }
}

impl Inner {
    fn change(&mut self, node: &str, annotations: BTreeMap<String, Option<String>>) -> StoredLease {
        self.version += 1;
        let lease = self
            .leases
            .entry(node.into())
            .or_insert_with(|| StoredLease { node: node.into(), ..StoredLease::default() });
        lease.version = self.version.to_string();
        for (key, value) in annotations {
            match value {
                Some(value) => drop(lease.annotations.insert(key, value)),
                None => drop(lease.annotations.remove(&key)),
            }
        }
        let lease = lease.clone();
        self.watchers.retain(|(_, watched, seen)| watched != node || seen.try_send(lease.clone()).is_ok());
        lease
    }
}

/// One node's way to the store.
pub struct FakeApi {
    node: String,
    store: Arc<Store>,
    busy: Busy,
    /// Calls that a black hole holds, and that somebody else waits for.
    held: Option<Busy>,
}

impl FakeApi {
    /// The way of the node's own loop.
    pub fn new(node: &str, store: Arc<Store>, busy: Busy) -> Self {
        Self { node: node.into(), store, busy, held: None }
    }

    /// The way on which the node serves its peers.
    pub fn serving(node: &str, store: Arc<Store>, busy: Busy, held: Busy) -> Self {
        Self { node: node.into(), store, busy, held: Some(held) }
    }

    async fn way(&self, writing: bool) -> Result<(), String> {
        let cut = self.store.inner.lock().unwrap().cuts.get(&self.node).copied();
        match cut {
            None => Ok(()),
            Some(Cut::Writes) if !writing => Ok(()),
            Some(Cut::Writes) => Err("etcdserver: mvcc: database space exceeded".into()),
            Some(Cut::Refused) => Err("connection refused".into()),
            Some(Cut::Blackhole) => {
                let _held = self.held.as_ref().map(Busy::begin);
                futures::future::pending().await
            }
        }
    }
}

impl Api for FakeApi {
    fn read<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Result<Option<StoredLease>, String>> {
        async move {
            self.way(false).await?;
            let _busy = self.busy.begin();
            Ok(self.store.inner.lock().unwrap().leases.get(node).cloned())
        }
        .boxed()
    }

    fn write<'a>(
        &'a self,
        node: &'a str,
        base: &'a Base,
        change: LeaseChange,
    ) -> BoxFuture<'a, Result<StoredLease, WriteFailure>> {
        async move {
            self.way(true).await.map_err(WriteFailure::Failed)?;
            let _busy = self.busy.begin();
            let mut inner = self.store.inner.lock().unwrap();
            let current = inner.leases.get(node).map_or(Base::Absent, |lease| Base::At(lease.version.clone()));
            if current != *base {
                return Err(WriteFailure::Conflict);
            }
            Ok(inner.change(node, change.annotations))
        }
        .boxed()
    }

    fn list<'a>(&'a self, _node: &'a str, _fellows: bool) -> BoxFuture<'a, Result<Vec<StoredLease>, String>> {
        async move {
            self.way(false).await?;
            Ok(self.store.inner.lock().unwrap().leases.values().cloned().collect())
        }
        .boxed()
    }

    fn watch<'a>(&'a self, node: &'a str, seen: mpsc::Sender<StoredLease>) -> BoxFuture<'a, Result<(), String>> {
        async move {
            self.way(false).await?;
            {
                let mut inner = self.store.inner.lock().unwrap();
                if let Some(lease) = inner.leases.get(node).cloned() {
                    let _ = seen.try_send(lease);
                }
                inner.watchers.push((self.node.clone(), node.into(), seen.clone()));
            }
            // The connection ends when the store drops its end; this side keeps one to tell.
            while self.store.inner.lock().unwrap().watchers.iter().any(|(_, _, held)| held.same_channel(&seen)) {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Err("connection reset".into())
        }
        .boxed()
    }

    fn trust(&self) -> BoxFuture<'_, Result<Option<String>, String>> {
        async move {
            self.way(false).await?;
            Ok(Some(self.store.trust.clone()))
        }
        .boxed()
    }
}
