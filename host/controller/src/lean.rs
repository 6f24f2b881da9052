//! Nodes and leases as the watches of large clusters take them: without what nobody here reads.
//!
//! Who owns which field makes up two thirds of a lease, and the names of the images half of a node. They are skipped while
//! they are read instead of being kept, compared and freed a thousand times a minute.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::{Stream, TryStreamExt};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::Resource;
use kube::api::{Api, ObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde::{Deserialize, Deserializer};

/// An object of a kind without the parts that are not read.
#[derive(Debug, Clone, Default)]
pub struct Lean<K>(pub K);

/// A kind that can be read so.
pub trait Slim: Resource<DynamicType = ()> + Sized {
    /// Its parts that are read.
    type Parts: for<'de> Deserialize<'de>;
    /// Puts them together.
    fn of(parts: Self::Parts) -> Self;
}

impl<'de, K: Slim> Deserialize<'de> for Lean<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        K::Parts::deserialize(deserializer).map(K::of).map(Self)
    }
}

impl<K: Slim> Resource for Lean<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

/// Objects of one page of a list: what is read at once stays in memory until it was taken apart.
const PAGE: u32 = 100;

/// Watches the objects of a kind.
pub fn watch<K>(api: Api<Lean<K>>) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Slim + Clone + Debug + Send + 'static,
{
    watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff().map_ok(plain)
}

fn plain<K>(event: Event<Lean<K>>) -> Event<K> {
    match event {
        Event::Apply(Lean(object)) => Event::Apply(object),
        Event::Delete(Lean(object)) => Event::Delete(object),
        Event::Init => Event::Init,
        Event::InitApply(Lean(object)) => Event::InitApply(object),
        Event::InitDone => Event::InitDone,
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
}

impl From<Meta> for ObjectMeta {
    fn from(meta: Meta) -> Self {
        Self {
            name: meta.name,
            namespace: meta.namespace,
            uid: meta.uid,
            resource_version: meta.resource_version,
            labels: meta.labels,
            annotations: meta.annotations,
            owner_references: meta.owner_references,
            finalizers: meta.finalizers,
            creation_timestamp: meta.creation_timestamp,
            deletion_timestamp: meta.deletion_timestamp,
            ..Self::default()
        }
    }
}

/// Parts of a node.
#[derive(Deserialize)]
pub struct NodeParts {
    #[serde(default)]
    metadata: Meta,
    spec: Option<NodeSpec>,
    status: Option<StatusParts>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusParts {
    addresses: Option<Vec<NodeAddress>>,
    conditions: Option<Vec<NodeCondition>>,
    node_info: Option<NodeSystemInfo>,
}

impl Slim for Node {
    type Parts = NodeParts;

    fn of(parts: NodeParts) -> Self {
        let status = parts.status.map(|StatusParts { addresses, conditions, node_info }| NodeStatus {
            addresses,
            conditions,
            node_info,
            ..NodeStatus::default()
        });
        Self { metadata: parts.metadata.into(), spec: parts.spec, status }
    }
}

/// Parts of a lease.
#[derive(Deserialize)]
pub struct LeaseParts {
    #[serde(default)]
    metadata: Meta,
    spec: Option<LeaseSpec>,
}

impl Slim for Lease {
    type Parts = LeaseParts;

    fn of(parts: LeaseParts) -> Self {
        Self { metadata: parts.metadata.into(), spec: parts.spec }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_is_read_of_a_node_is_there_and_the_rest_is_not() {
        let whole = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": "n1", "uid": "u", "resourceVersion": "7", "labels": { "a": "b" }, "annotations": { "c": "d" },
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z",
                "finalizers": ["f"], "managedFields": [{ "manager": "kubelet", "fieldsV1": { "f:status": {} } }],
            },
            "spec": { "unschedulable": true, "taints": [{ "key": "k", "effect": "NoSchedule" }] },
            "status": {
                "conditions": [{ "type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z" }],
                "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }],
                "images": [{ "names": ["registry.example/a"], "sizeBytes": 5 }],
            },
        });
        let Lean(lean): Lean<Node> = serde_json::from_value(whole.clone()).unwrap();
        let mut trimmed: Node = serde_json::from_value(whole).unwrap();
        trimmed.metadata.managed_fields = None;
        trimmed.status.as_mut().unwrap().images = None;
        assert_eq!(lean, trimmed);
        assert_eq!(Lean::<Node>::url_path(&(), None), "/api/v1/nodes");
    }

    #[test]
    fn a_lease_keeps_what_it_says() {
        let whole = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": "n1", "namespace": "kube-node-lease", "managedFields": [{ "manager": "kubelet" }] },
            "spec": { "holderIdentity": "n1", "renewTime": "2026-01-01T00:00:00.123456Z" },
        });
        let Lean(lean): Lean<Lease> = serde_json::from_value(whole.clone()).unwrap();
        let mut trimmed: Lease = serde_json::from_value(whole).unwrap();
        trimmed.metadata.managed_fields = None;
        assert_eq!(lean, trimmed);
        assert_eq!(Lean::<Lease>::url_path(&(), Some("x")), "/apis/coordination.k8s.io/v1/namespaces/x/leases");
    }
}
