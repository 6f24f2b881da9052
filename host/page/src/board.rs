//! What the controller's watches saw last, trimmed to what is shown. Filled by those watches; nothing here asks for
//! anything.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus};
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use palisade_api::keys::{palisade, remediation};
use palisade_api::{NodeHealthCheck, Remediator};
use palisade_explain::Remediation;
use serde_json::Value;
use tokio::sync::watch;

use crate::shelf::Shelf;

/// Everything that is shown.
#[derive(Debug)]
pub struct Board {
    seen: RwLock<Seen>,
    revision: watch::Sender<u64>,
}

/// The objects.
#[derive(Debug, Default)]
pub struct Seen {
    /// Nodes by name.
    pub nodes: Shelf<Node>,
    /// Policies by name; one that cannot be decoded with the reason.
    pub policies: Shelf<Result<Arc<NodeHealthCheck>, String>>,
    /// Remediators by name.
    pub modules: Shelf<Arc<Remediator>>,
    remediations: BTreeMap<String, Kind>,
}

#[derive(Debug, Default)]
struct Kind {
    /// Seen by who carries this kind out, with its whole status. Whoever only follows it sees less.
    own: Shelf<Kept>,
    followed: Shelf<Kept>,
}

/// A remediation.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What it says.
    pub said: Remediation,
    /// Its UID.
    pub uid: String,
    version: Option<String>,
}

impl Default for Board {
    fn default() -> Self {
        Self { seen: RwLock::default(), revision: watch::Sender::new(1) }
    }
}

impl Board {
    /// A node was seen.
    pub fn node(&self, event: &Event<Node>) {
        self.change(|seen| seen.nodes.take(event, trimmed, |known, new| known == new));
    }

    /// A policy was seen.
    pub fn policy(&self, event: &Event<DeserializeGuard<NodeHealthCheck>>) {
        let make = |guarded: &DeserializeGuard<NodeHealthCheck>| match &guarded.0 {
            Ok(policy) => Ok(Arc::new(policy.clone())),
            Err(error) => Err(error.error.clone()),
        };
        self.change(|seen| seen.policies.take(event, make, |_, _| false));
    }

    /// A remediator was seen.
    pub fn module(&self, event: &Event<Remediator>) {
        self.change(|seen| seen.modules.take(event, |module| Arc::new(module.clone()), |_, _| false));
    }

    /// A remediation was seen by the reconciler that carries it out.
    pub fn own<K: Resource<DynamicType = ()>>(&self, event: &Event<K>, status: impl Fn(&K) -> Value) {
        let name = K::kind(&());
        let make = |object: &K| kept(&name, object.meta(), status(object));
        self.change(|seen| {
            let kind = seen.remediations.entry(name.clone().into_owned()).or_default();
            kind.own.take(event, make, same)
        });
    }

    /// A remediation of whatever kind was seen by the detector, which keeps only its conditions.
    pub fn followed(&self, kind: &str, event: &Event<kube::api::DynamicObject>) {
        let make = |object: &kube::api::DynamicObject| {
            kept(kind, &object.metadata, object.data.get("status").cloned().unwrap_or_default())
        };
        self.change(|seen| {
            let kind = seen.remediations.entry(kind.to_owned()).or_default();
            kind.followed.take(event, make, same)
        });
    }

    /// Changes with whatever is shown.
    pub fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// What is there now.
    pub fn look(&self) -> RwLockReadGuard<'_, Seen> {
        // Plain values: one that is half written by a panic only shows less.
        self.seen.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Seen) -> bool) {
        let changed = change(&mut self.seen.write().unwrap_or_else(PoisonError::into_inner));
        if changed {
            self.revision.send_modify(|revision| *revision += 1);
        }
    }
}

impl Seen {
    /// Every remediation, each once.
    pub fn remediations(&self) -> impl Iterator<Item = &Kept> {
        self.remediations.values().flat_map(|kind| if kind.own.known() { kind.own.all() } else { kind.followed.all() })
    }

    /// Policies that can be read.
    pub fn readable(&self) -> impl Iterator<Item = &Arc<NodeHealthCheck>> {
        self.policies.all().filter_map(|policy| policy.as_ref().ok())
    }
}

fn same(known: &Kept, new: &Kept) -> bool {
    known.uid == new.uid && known.version == new.version
}

fn kept(kind: &str, metadata: &ObjectMeta, status: Value) -> Kept {
    Kept {
        said: Remediation::new(kind, metadata, status),
        uid: metadata.uid.clone().unwrap_or_default(),
        version: metadata.resource_version.clone(),
    }
}

/// What is shown of a node; a heartbeat changes nothing of it.
fn trimmed(node: &Node) -> Node {
    const SHOWN: [&str; 3] = [palisade::VETO, palisade::ATTEMPTS_FORGIVEN, remediation::CONFIRMED_HEALTHY];
    let annotations = node.annotations().iter().filter(|(key, _)| SHOWN.contains(&key.as_str()));
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.filter(|condition| condition.type_ == "Ready").cloned().map(|mut condition| {
        condition.last_heartbeat_time = None;
        condition.message = None;
        condition
    });
    Node {
        metadata: ObjectMeta {
            name: node.metadata.name.clone(),
            labels: node.metadata.labels.clone(),
            annotations: Some(annotations.map(|(key, value)| (key.clone(), value.clone())).collect()),
            ..ObjectMeta::default()
        },
        spec: node.spec.as_ref().map(|spec| NodeSpec {
            taints: spec.taints.clone(),
            unschedulable: spec.unschedulable,
            ..NodeSpec::default()
        }),
        status: Some(NodeStatus { conditions: Some(ready.collect()), ..NodeStatus::default() }),
    }
}
