//! Node leases: read from one namespace by a watch, written one at a time against the version that was read.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::Store;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use palisade_api::keys::node_health_check::{HOLDER_PREFIX, LEASE_NAMESPACE};
use palisade_core::health::{BUFFER, Claim, NodeLease, NodeView, claim, holder, lease_name};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use super::nodes::{Nodes, number};
use super::{Guarded, Wake, policies};

/// A lease that changes so often while it is written is fought over.
const ATTEMPTS: usize = 4;

/// The leases of nodes.
pub(super) struct Leases {
    client: Client,
    namespace: String,
    known: RwLock<Option<BTreeMap<String, NodeLease>>>,
    filled: Notify,
}

/// What came of asking for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Obtained {
    /// It was ours and lasts.
    Had,
    /// It is ours since just now.
    Got,
    /// Somebody was faster.
    Held(String),
}

impl Leases {
    /// In this namespace, or the one that every other program looks at.
    pub fn new(client: Client, namespace: Option<String>) -> Self {
        let namespace = namespace.unwrap_or_else(|| LEASE_NAMESPACE.to_owned());
        Self { client, namespace, known: RwLock::default(), filled: Notify::default() }
    }

    /// Waits for the first complete list.
    pub async fn ready(&self) {
        loop {
            let filled = self.filled.notified();
            if self.known.read().unwrap_or_else(PoisonError::into_inner).is_some() {
                return;
            }
            filled.await;
        }
    }

    /// All, by name.
    pub fn all(&self) -> BTreeMap<String, NodeLease> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    fn get(&self, name: &str) -> Option<NodeLease> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(name).cloned()
    }

    fn put(&self, name: &str, lease: Option<NodeLease>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        match lease {
            Some(lease) => known.insert(name.to_owned(), lease),
            None => known.remove(name),
        };
    }

    /// Where they are.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    fn api(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes the namespace where it is missing. Whoever installs this may have done so.
    pub async fn prepare(&self) -> Result<(), kube::Error> {
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(self.namespace.clone()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        match Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &namespace).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Obtains the lease of a node for a policy, or keeps it for longer.
    pub async fn obtain(&self, node: &NodeView, policy: &str, wanted: Duration) -> Result<Obtained, kube::Error> {
        let name = lease_name(&node.name);
        for _ in 0..ATTEMPTS {
            let known = self.get(&name);
            let now = Timestamp::now();
            let written = match claim(known.as_ref(), policy, wanted, now) {
                Claim::Keep => return Ok(Obtained::Had),
                Claim::Held { holder, .. } => return Ok(Obtained::Held(holder)),
                Claim::Create => self.create(&name, node, policy, wanted).await,
                Claim::Renew => {
                    let keep = known.clone().unwrap_or_default();
                    match self.write(&name, &keep, node, policy, wanted, false).await {
                        Ok(()) => return Ok(Obtained::Had),
                        Err(error) => Err(error),
                    }
                }
                Claim::TakeOver => {
                    self.write(&name, &known.clone().unwrap_or_default(), node, policy, wanted, true).await
                }
            };
            match written {
                Ok(()) => return Ok(Obtained::Got),
                // Somebody else wrote it, or the watch lags behind: look at it as it is.
                Err(kube::Error::Api(status)) if status.code == 409 => self.reread(&name).await?,
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    self.prepare().await?;
                    self.reread(&name).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Obtained::Held("somebody who writes it again and again".to_owned()))
    }

    async fn reread(&self, name: &str) -> Result<(), kube::Error> {
        let before = self.get(name);
        let found = self.api().get_opt(name).await?.as_ref().map(view);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        // What the watch showed meanwhile is newer than the answer, and it will not show it again.
        if known.get(name) == before.as_ref() {
            match found {
                Some(lease) => known.insert(name.to_owned(), lease),
                None => known.remove(name),
            };
        }
        Ok(())
    }

    async fn create(&self, name: &str, node: &NodeView, policy: &str, wanted: Duration) -> Result<(), kube::Error> {
        let mut body = spec(&holder(policy), wanted, Timestamp::now(), true);
        body["leaseTransitions"] = 0.into();
        let object =
            json!({ "metadata": { "name": name, "ownerReferences": owners(&node.name, &node.uid) }, "spec": body });
        // Made of the fields that a lease has; the API server would refuse what does not fit.
        let object: Lease = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        let made = self.api().create(&PostParams::default(), &object).await?;
        self.put(name, Some(view(&made)));
        Ok(())
    }

    async fn write(
        &self,
        name: &str,
        known: &NodeLease,
        node: &NodeView,
        policy: &str,
        wanted: Duration,
        take_over: bool,
    ) -> Result<(), kube::Error> {
        let mut body = spec(&holder(policy), wanted, Timestamp::now(), take_over || !known.has_acquired);
        if take_over {
            body["leaseTransitions"] = known.transitions.saturating_add(1).into();
        }
        let metadata = json!({ "resourceVersion": known.version, "ownerReferences": owners(&node.name, &node.uid) });
        let patch = Patch::Merge(json!({ "metadata": metadata, "spec": body }));
        let written = self.api().patch(name, &PatchParams::default(), &patch).await?;
        self.put(name, Some(view(&written)));
        Ok(())
    }

    /// Lets go of a lease if the policy still holds it.
    pub async fn release(&self, name: &str, policy: &str) -> Result<(), kube::Error> {
        let Some(known) = self.get(name).filter(|lease| lease.is_of(policy)) else { return Ok(()) };
        let preconditions = Preconditions { uid: Some(known.uid), resource_version: Some(known.version) };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.api().delete(name, &params).await {
            Ok(_) => self.put(name, None),
            Err(kube::Error::Api(status)) if status.code == 404 => self.put(name, None),
            // Changed meanwhile: whoever did that is seen by the watch.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// What a holder writes: until when it wants the node, and, if it is new, since when it has it.
pub(crate) fn spec(holder: &str, wanted: Duration, now: Timestamp, acquired: bool) -> Value {
    // Leases have microseconds, and readers in other languages demand exactly six digits.
    let now = format!("{}", now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"));
    let seconds = i32::try_from((wanted + BUFFER).as_secs()).unwrap_or(i32::MAX);
    let mut spec = json!({ "holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": now });
    if acquired {
        spec["acquireTime"] = now.into();
    }
    spec
}

/// The lease goes with its node.
pub(crate) fn owners(node: &str, uid: &str) -> Value {
    json!([{ "apiVersion": "v1", "kind": "Node", "name": node, "uid": uid }])
}

/// What decisions read of a lease.
pub(crate) fn view(lease: &Lease) -> NodeLease {
    let spec = lease.spec.clone().unwrap_or_default();
    NodeLease {
        holder: spec.holder_identity.unwrap_or_default(),
        renewed: spec.renew_time.map(|time| time.0),
        duration: spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs),
        has_acquired: spec.acquire_time.is_some(),
        transitions: spec.lease_transitions.unwrap_or_default(),
        version: lease.resource_version().unwrap_or_default(),
        uid: lease.uid().unwrap_or_default(),
    }
}

/// Follows the leases; wakes the policies that hold a lease which changed, or select its node.
pub(super) async fn watch(
    leases: Arc<Leases>,
    nodes: Arc<Nodes>,
    policies: Store<Guarded>,
    wake: UnboundedSender<Wake>,
) {
    let stream = watcher(leases.api(), watcher::Config::default()).default_backoff();
    pin_mut!(stream);
    let mut listed = BTreeMap::new();
    while let Some(event) = stream.next().await {
        let (name, after) = match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(lease)) => {
                listed.insert(lease.name_any(), view(&lease));
                continue;
            }
            Ok(Event::InitDone) => {
                *leases.known.write().unwrap_or_else(PoisonError::into_inner) = Some(std::mem::take(&mut listed));
                leases.filled.notify_waiters();
                if wake.send(Wake::All).is_err() {
                    return;
                }
                continue;
            }
            Ok(Event::Apply(lease)) => (lease.name_any(), Some(view(&lease))),
            Ok(Event::Delete(lease)) => (lease.name_any(), None),
            Err(error) => {
                tracing::warn!(%error, namespace = leases.namespace, "cannot watch node leases");
                continue;
            }
        };
        let before = leases.get(&name);
        // One's own writes are known before the watch shows them, and what came before them is past.
        if before == after || is_past(after.as_ref(), before.as_ref()) {
            continue;
        }
        leases.put(&name, after.clone());
        // A renewal changes nothing for anybody.
        if before.as_ref().map(|lease| &lease.holder) == after.as_ref().map(|lease| &lease.holder) {
            continue;
        }
        for policy in concerned(&policies, &nodes, &name, [&before, &after]) {
            if wake.send(Wake::Policy(policy)).is_err() {
                return;
            }
        }
    }
}

fn is_past(shown: Option<&NodeLease>, known: Option<&NodeLease>) -> bool {
    let version = |lease: Option<&NodeLease>| number(lease.map(|lease| lease.version.as_str()));
    let (shown, known) = (version(shown), version(known));
    shown != 0 && shown < known
}

fn concerned(policies: &Store<Guarded>, nodes: &Nodes, name: &str, leases: [&Option<NodeLease>; 2]) -> Vec<String> {
    // Names of nodes have no capitals, so the name of a lease tells its node.
    let node = name.strip_prefix("node-").and_then(|node| nodes.get(node));
    let held = leases.map(|lease| lease.as_ref().and_then(|lease| lease.holder.strip_prefix(HOLDER_PREFIX)));
    let is_concerned = |policy: &Guarded| {
        let Ok(policy) = &policy.0 else { return false };
        let selects = node.as_ref().is_some_and(|node| policies::selects(policy, &node.labels));
        selects || held.contains(&policy.metadata.name.as_deref())
    };
    policies.state().iter().filter(|policy| is_concerned(policy)).filter_map(|policy| policies::name(policy)).collect()
}
