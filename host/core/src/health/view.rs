//! What the decisions read: nodes, remediations and the policy, without anything else of the objects.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use palisade_api::keys::{cluster, palisade, remediation};
use palisade_api::node_health_check::{NodeHealthCheckSpec, UnhealthyNode};

use super::plan::Memory;
use super::storm::Storm;
use crate::shared::Shared;

/// A condition as the node reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCondition {
    /// Type, such as `Ready`.
    pub type_: String,
    /// Status, such as `Unknown`.
    pub status: String,
    /// Since when, on the clock of whoever wrote it.
    pub since: Option<Timestamp>,
}

/// The annotations of a node that are kept: others change often and decide nothing.
pub const NODE_ANNOTATIONS: &[&str] = &[
    cluster::MACHINE,
    cluster::CAPI_MACHINE,
    cluster::CAPI_NAMESPACE,
    cluster::CURRENT_CONFIG,
    cluster::DESIRED_CONFIG,
    palisade::VETO,
    palisade::ATTEMPTS_FORGIVEN,
];

/// A selected node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeView {
    /// Name.
    pub name: String,
    /// UID of the object.
    pub uid: String,
    /// Labels.
    pub labels: Shared<BTreeMap<String, String>>,
    /// Conditions.
    pub conditions: Shared<Vec<NodeCondition>>,
    /// Those annotations that decisions read: [`NODE_ANNOTATIONS`].
    pub annotations: Shared<BTreeMap<String, String>>,
    /// Cordoned.
    pub unschedulable: bool,
    /// Version of its kubelet.
    pub kubelet_version: String,
    /// A person confirmed that it is healthy.
    pub confirmed_healthy: bool,
    /// When it became ready again, if somebody saw that it was not.
    pub recovered: Option<Timestamp>,
}

impl NodeView {
    /// The condition that says whether its kubelet is well.
    pub fn ready(&self) -> Option<&NodeCondition> {
        self.condition("Ready")
    }

    /// The condition of this type.
    pub fn condition(&self, type_: &str) -> Option<&NodeCondition> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// Namespace and name of its OpenShift Machine.
    pub fn openshift_machine(&self) -> Option<(&str, &str)> {
        self.annotations.get(cluster::MACHINE)?.split_once('/')
    }

    /// Namespace and name of its Cluster API Machine.
    pub fn cluster_api_machine(&self) -> Option<(&str, &str)> {
        let namespace = self.annotations.get(cluster::CAPI_NAMESPACE)?;
        Some((namespace, self.annotations.get(cluster::CAPI_MACHINE)?))
    }

    /// Whether its kubelet says that it is well.
    pub fn is_ready(&self) -> bool {
        self.ready().is_some_and(|condition| condition.status == "True")
    }

    /// Whether it runs the control plane.
    pub fn is_control_plane(&self) -> bool {
        [cluster::CONTROL_PLANE_ROLE, cluster::MASTER_ROLE].iter().any(|role| self.labels.contains_key(*role))
    }

    /// Whether it may hold a member of etcd: control-plane nodes, and nodes that have this role alone (RKE2, k3s).
    pub fn may_run_etcd(&self) -> bool {
        self.is_control_plane() || self.labels.contains_key(cluster::ETCD_ROLE)
    }

    /// Whether the user keeps every remediation away from it.
    pub fn is_excluded(&self) -> bool {
        self.labels.get(remediation::EXCLUDE).is_some_and(|value| value == "true")
    }

    /// Whether the exclude label has no value, which excludes nothing and is probably a mistake.
    pub fn has_empty_exclude_label(&self) -> bool {
        self.labels.get(remediation::EXCLUDE).is_some_and(String::is_empty)
    }
}

/// Names one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ObjectKey {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace, empty for cluster scope.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// A remediation of one of the kinds that the policy's templates make.
#[allow(clippy::struct_excessive_bools, reason = "independent facts about one object, not a state machine")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemediationView {
    /// The object.
    pub key: ObjectKey,
    /// Its target.
    pub node: String,
    /// UID of its target when it was made; `None` when nobody recorded it.
    pub node_uid: Option<String>,
    /// Name of its template; `None` when nobody recorded it.
    pub template: Option<String>,
    /// Whether the policy made it.
    pub owned: bool,
    /// Whether it is for a control-plane node.
    pub control_plane: bool,
    /// When it was created.
    pub created: Timestamp,
    /// Whether its deletion was asked for.
    pub terminating: bool,
    /// Its condition `Succeeded`.
    pub succeeded: Option<bool>,
    /// Its condition `PermanentNodeDeletionExpected`.
    pub node_vanishes: bool,
    /// Whether the policy gave up waiting.
    pub timed_out: bool,
    /// When the healthy delay began, if it runs.
    pub healthy_since: Option<Timestamp>,
    /// Whether it was noted that it runs for very long.
    pub flagged_old: bool,
}

/// The policy and what it remembers.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// Its name.
    pub name: &'a str,
    /// Specification.
    pub spec: &'a NodeHealthCheckSpec,
    /// The unhealthy nodes of its status.
    pub remembered: &'a [UnhealthyNode],
    /// The storm of its status.
    pub storm: Storm,
    /// What else it remembers.
    pub memory: Memory<'a>,
}
