//! The watches that feed the fencing: they say when something was first seen and that it is time to look, never what
//! is true.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Resource, ResourceExt};
use palisade_api::{Remediator, SelfNodeRemediationConfig};
use palisade_rpc::Authority;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::context::Context;
use crate::error::within;
use crate::fence::read::{KUBELET_LEASES, is_ready};
use crate::health::Observe;
use crate::heartbeats::{self, MakeClient};
use crate::lean::{self, Lean};
use crate::{Role, certificates};

/// A signing request that could not be answered is looked at again after this time at the latest.
const SIGNING_RETRY: Duration = Duration::from_secs(5);

/// A lease whose signing request is not answered within this time does not hold up the others.
const SIGNING_LIMIT: Duration = Duration::from_secs(10);

/// Starts all of them; they end with the set. With a client of their own the heartbeats cost less.
pub fn start(
    context: &Arc<Context>,
    authority: Arc<Authority>,
    leases: Writer<Lease>,
    own_client: Option<MakeClient>,
    tasks: &mut JoinSet<()>,
) {
    let changed = Arc::new(Notify::new());
    tasks.spawn(agent_leases(context.clone(), leases, changed.clone()));
    tasks.spawn(signing(context.clone(), authority, changed));
    if let Some(own_client) = own_client {
        let context = context.clone();
        let see = move |lease: &Lease| {
            context.seen.kubelet(lease);
        };
        tasks.spawn(heartbeats::follow(own_client, see));
    } else {
        tasks.spawn(kubelet_leases(context.clone()));
    }
    if context.options.role == Role::Remediator {
        tasks.spawn(nodes(context.clone()));
    }
}

/// Keeps the store of remediators filled.
pub async fn remediators(context: Arc<Context>, writer: Writer<Remediator>) {
    each(reflector(writer, watch(Api::all(context.client.clone()))), |event| {
        context.metrics.remediator(&event);
        if let Some(board) = &context.board {
            board.module(&event);
        }
    })
    .await;
}

/// The configuration: whether there is one decides whether remediations rest.
pub async fn configs(context: Arc<Context>, writer: Writer<SelfNodeRemediationConfig>) {
    let api: Api<SelfNodeRemediationConfig> = Api::namespaced(context.client.clone(), &context.options.namespace);
    // The store is written before an event comes here, so what is woken sees it.
    each(reflector(writer, watch(api)), |event| {
        if !matches!(event, Event::Init) {
            context.triggers.fire_all();
            context.configs_changed.notify_one();
        }
    })
    .await;
}

async fn agent_leases(context: Arc<Context>, writer: Writer<Lease>, changed: Arc<Notify>) {
    let api: Api<Lease> = Api::namespaced(context.client.clone(), &context.options.namespace);
    each(reflector(writer, watch(api)), |event| match event {
        Event::Apply(lease) | Event::InitApply(lease) => {
            context.seen.lease(&lease);
            context.fences.lease_shown(&lease.name_any());
            changed.notify_one();
        }
        Event::Delete(lease) => {
            context.seen.lease_gone(&lease.name_any());
            context.fences.wake(&lease.name_any());
        }
        Event::Init | Event::InitDone => {}
    })
    .await;
}

/// Answers signing requests: when a lease changed, and now and then for those that could not be answered.
async fn signing(context: Arc<Context>, authority: Arc<Authority>, changed: Arc<Notify>) {
    let mut answered = certificates::Answered::default();
    loop {
        context.leadership.gained().await;
        for lease in context.leases.state() {
            if answered.knows(&lease) {
                continue;
            }
            let signed = certificates::sign(&context.client, &authority, &lease);
            match within(SIGNING_LIMIT, "the signing of an agent's certificate", signed).await {
                Ok(true) => tracing::info!(node = lease.name_any(), "agent certificate issued"),
                Ok(false) => answered.note(&lease, &authority),
                Err(error) => tracing::warn!(node = lease.name_any(), %error, "agent certificate not issued"),
            }
        }
        // Ended either way; which of the two it was does not matter.
        let _ = tokio::time::timeout(SIGNING_RETRY, changed.notified()).await;
    }
}

async fn kubelet_leases(context: Arc<Context>) {
    let api: Api<Lean<Lease>> = Api::namespaced(context.client.clone(), KUBELET_LEASES);
    each(lean::watch(api).applied_objects(), |lease| {
        context.seen.kubelet(&lease);
    })
    .await;
}

/// Watches the nodes for a process without a detector, whose watch of them serves both.
async fn nodes(context: Arc<Context>) {
    let nodes = Nodes::new(context);
    each(lean::watch(Api::all(nodes.context.client.clone())), |event| nodes.node(&event)).await;
}

/// What the fencing does with what a watch of the nodes shows.
pub struct Nodes {
    context: Arc<Context>,
    /// Prints of the nodes that are not ready or are being remediated, as they were shown last.
    shown: Mutex<HashMap<String, u64>>,
}

impl Nodes {
    /// With nothing shown yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, shown: Mutex::default() }
    }

    /// Whether a remediation has anything to look at. Most changes of a node that is down are taints, ours and those of
    /// Kubernetes: they say nothing about the boot, and the pass that set them knows of them.
    fn is_news(&self, node: &Node) -> bool {
        let name = node.name_any();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let remediated = self.context.triggers.knows_node(&name);
        // What a remediation finds when it begins is no news for it a moment later.
        if !remediated && is_ready(node) {
            shown.remove(&name);
            return false;
        }
        let print = print(node);
        shown.insert(name, print) != Some(print) && remediated
    }
}

/// All of it but its taints, and what the API server counts.
fn print(node: &Node) -> u64 {
    let mut node = node.clone();
    if let Some(spec) = &mut node.spec {
        spec.taints = None;
    }
    node.metadata.resource_version = None;
    node.metadata.managed_fields = None;
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(&node).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nodes")
    }
}

impl Observe for Nodes {
    fn node(&self, event: &Event<Node>) {
        let context = &self.context;
        context.metrics.node(event);
        if let Some(board) = &context.board {
            board.node(event);
        }
        if let Event::Apply(node) | Event::InitApply(node) | Event::Delete(node) = event {
            context.seen.node(node);
            let name = node.name_any();
            context.seen.shows(node);
            let gone = matches!(event, Event::Delete(_));
            if gone {
                context.seen.forget_read(&name);
                self.shown.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            }
            if gone || self.is_news(node) {
                context.fences.wake(&name);
                context.triggers.fire_node(&name);
            }
        }
    }
}

fn watch<K>(api: Api<K>) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api, watcher::Config::default()).default_backoff()
}

/// An error is not the end: the watcher behind the stream starts over when it is polled again.
async fn each<T>(stream: impl Stream<Item = Result<T, watcher::Error>>, mut act: impl FnMut(T)) {
    let mut stream = std::pin::pin!(stream);
    while let Some(item) = stream.next().await {
        match item {
            Ok(item) => act(item),
            Err(error) => tracing::debug!(%error, "watch interrupted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(extra: &Value) -> Node {
        let mut node = json!({ "metadata": { "name": "n1", "resourceVersion": "1" }, "spec": {},
            "status": { "conditions": [{ "type": "Ready", "status": "Unknown" }] } });
        json_patch::merge(&mut node, extra);
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn taints_and_versions_are_no_news_of_a_node_that_is_down() {
        let before = print(&node(&json!({})));
        let tainted = json!({ "metadata": { "resourceVersion": "2" },
            "spec": { "taints": [{ "key": "node.kubernetes.io/unreachable", "effect": "NoExecute" }] } });
        assert_eq!(print(&node(&tainted)), before);
    }

    #[test]
    fn everything_else_is() {
        let before = print(&node(&json!({})));
        for news in [
            json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } }),
            json!({ "metadata": { "labels": { "remediation.medik8s.io/exclude-from-remediation": "true" } } }),
            json!({ "metadata": { "deletionTimestamp": "2026-11-27T00:00:00Z" } }),
            json!({ "spec": { "unschedulable": true } }),
        ] {
            assert_ne!(print(&node(&news)), before, "{news}");
        }
    }
}
