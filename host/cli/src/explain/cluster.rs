//! What is read of the cluster: nodes, policies, remediations; each in one list.

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::{Client, Resource, ResourceExt};
use palisade_api::keys::remediation::NODE_NAME;
use palisade_api::{NodeHealthCheck, Progress, SelfNodeRemediation, WasmRemediation};
use serde_json::Value;

use crate::connect::{Connection, answer, list};

/// The cluster at one moment, as far as it was read.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// When it was read.
    pub now: Timestamp,
    /// Every node.
    pub nodes: Vec<Node>,
    /// Every policy.
    pub policies: Vec<NodeHealthCheck>,
    /// Every remediation that is known: of our kinds, and those that a policy names.
    pub remediations: Vec<Remediation>,
    /// What could not be read, in words.
    pub gaps: Vec<String>,
}

/// A remediation of any kind.
#[derive(Debug, Clone, Default)]
pub struct Remediation {
    /// Kind.
    pub kind: String,
    /// Namespace; empty for a cluster-scoped one.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The node that it is about.
    pub node: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Whether somebody deleted it.
    pub deleting: bool,
    /// Its status as it is.
    pub status: Value,
    /// What Palisade records, if it carries it out.
    pub progress: Option<Progress>,
}

impl Remediation {
    /// From an object of any kind that keeps to the contract.
    pub fn new(kind: &str, metadata: &kube::api::ObjectMeta, status: Value) -> Self {
        let name = metadata.name.clone().unwrap_or_default();
        let annotated = metadata.annotations.as_ref().and_then(|all| all.get(NODE_NAME));
        let progress: Option<Progress> =
            status.get("palisade").and_then(|progress| serde_json::from_value(progress.clone()).ok());
        // What was taken up stays with its node, whatever somebody writes into an annotation later.
        let taken_up = progress.as_ref().and_then(|progress| progress.node.clone());
        Self {
            kind: kind.to_owned(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            node: taken_up.or_else(|| annotated.cloned()).unwrap_or_else(|| name.clone()),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            deleting: metadata.deletion_timestamp.is_some(),
            name,
            status,
            progress,
        }
    }

    /// `namespace/name`, or the name alone.
    pub fn path(&self) -> String {
        if self.namespace.is_empty() { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) }
    }

    /// A text of its status, unless it is empty.
    pub fn said(&self, field: &str) -> Option<&str> {
        self.status.get(field)?.as_str().filter(|text| !text.is_empty())
    }

    /// A condition: status, reason and message.
    pub fn condition(&self, kind: &str) -> Option<(&str, &str, &str)> {
        let all = self.status.get("conditions")?.as_array()?;
        let one = all.iter().find(|condition| condition["type"] == kind)?;
        let text = |field: &str| one[field].as_str().unwrap_or_default();
        Some((text("status"), text("reason"), text("message")))
    }
}

/// Reads everything.
pub async fn read(connection: &Connection) -> anyhow::Result<Snapshot> {
    let client = connection.client().await?;
    let (nodes, policies, own, wasm) = tokio::join!(
        list(Api::<Node>::all(client.clone())),
        list(Api::<NodeHealthCheck>::all(client.clone())),
        list(Api::<SelfNodeRemediation>::all(client.clone())),
        list(Api::<WasmRemediation>::all(client.clone())),
    );
    let mut all = Snapshot { now: Timestamp::now(), ..Snapshot::default() };
    all.nodes = nodes.context("nodes cannot be listed")?;
    all.policies = policies.context("NodeHealthChecks cannot be listed; is Palisade installed?")?;
    all.add(own, "SelfNodeRemediations", |object| object.status.as_ref().map(serde_json::to_value));
    all.add(wasm, "WasmRemediations", |object| object.status.as_ref().map(serde_json::to_value));
    for reference in all.elsewhere() {
        match one(&client, &reference).await {
            Ok(Some(found)) => all.remediations.push(found),
            Ok(None) => {}
            Err(error) => {
                let (kind, name) = (reference.kind.unwrap_or_default(), reference.name.unwrap_or_default());
                all.gaps.push(format!("{kind} {name} cannot be read: {error}"));
            }
        }
    }
    Ok(all)
}

impl Snapshot {
    fn add<K>(
        &mut self,
        listed: anyhow::Result<Vec<K>>,
        what: &str,
        status: impl Fn(&K) -> Option<serde_json::Result<Value>>,
    ) where
        K: Resource<DynamicType = ()>,
    {
        match listed {
            Ok(objects) => self.remediations.extend(objects.iter().map(|object| {
                let status = status(object).and_then(Result::ok).unwrap_or_default();
                Remediation::new(&K::kind(&()), object.meta(), status)
            })),
            Err(error) => self.gaps.push(format!("{what} cannot be listed: {error:#}")),
        }
    }

    /// Remediations that policies name and that are not ours.
    fn elsewhere(&self) -> Vec<ObjectReference> {
        let nodes =
            self.policies.iter().filter_map(|policy| policy.status.as_ref()).flat_map(|status| &status.unhealthy_nodes);
        let named = nodes.flat_map(|node| &node.remediations).map(|remediation| &remediation.resource);
        let mut wanted: Vec<ObjectReference> = Vec::new();
        for reference in named {
            let known = self.remediations.iter().any(|known| {
                Some(known.kind.as_str()) == reference.kind.as_deref()
                    && Some(known.name.as_str()) == reference.name.as_deref()
                    && known.namespace == reference.namespace.clone().unwrap_or_default()
            });
            let ours = matches!(reference.kind.as_deref(), Some("SelfNodeRemediation" | "WasmRemediation"));
            if !known && !ours && !wanted.contains(reference) {
                wanted.push(reference.clone());
            }
        }
        wanted
    }
}

async fn one(client: &Client, reference: &ObjectReference) -> anyhow::Result<Option<Remediation>> {
    let (kind, name) = (reference.kind.as_deref().unwrap_or_default(), reference.name.as_deref().unwrap_or_default());
    let version = reference.api_version.as_deref().unwrap_or_default();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = match reference.namespace.as_deref() {
        Some(namespace) if !namespace.is_empty() => Api::namespaced_with(client.clone(), namespace, &resource),
        _ => Api::all_with(client.clone(), &resource),
    };
    Ok(answer(api.get_opt(name)).await?.map(|object| {
        let status = object.data.get("status").cloned().unwrap_or_default();
        Remediation::new(kind, object.meta(), status)
    }))
}

/// Status, time and reason of a node's condition Ready.
pub fn ready(node: &Node) -> Option<(String, Option<Timestamp>, String)> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    let since = ready.last_transition_time.as_ref().map(|time| time.0);
    Some((ready.status.clone(), since, ready.reason.clone().unwrap_or_default()))
}

/// Taints of a node in the form of kubectl.
pub fn taints(node: &Node) -> Vec<String> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let text = |taint: &k8s_openapi::api::core::v1::Taint| match taint.value.as_deref() {
        Some(value) if !value.is_empty() => format!("{}={value}:{}", taint.key, taint.effect),
        _ => format!("{}:{}", taint.key, taint.effect),
    };
    taints.iter().map(text).collect()
}

/// The node's name, where it is easier to read than the trait's method.
pub fn name(node: &Node) -> String {
    node.name_any()
}
