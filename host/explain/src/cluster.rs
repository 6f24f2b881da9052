//! What is known of the cluster: nodes, policies, remediations.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use kube::{Resource, ResourceExt};
use palisade_api::keys::remediation::NODE_NAME;
use palisade_api::{NodeHealthCheck, Progress};
use serde_json::Value;

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

    /// Whether a name that somebody typed means it: its own, with or without its namespace, or its node's.
    pub fn answers_to(&self, name: &str) -> bool {
        self.node == name || self.name == name || self.path() == name
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

impl Snapshot {
    /// Adds the remediations of a kind, or why they could not be listed.
    pub fn add<K>(
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
    pub fn elsewhere(&self) -> Vec<ObjectReference> {
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
