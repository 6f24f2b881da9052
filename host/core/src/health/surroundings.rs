//! What a plan knows beside its policy, nodes and remediations.

use std::collections::{BTreeMap, BTreeSet};

use super::classify::Failures;
use super::lease::{NodeLease, lease_name};
use super::view::ObjectKey;

/// The cluster around the nodes of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Node leases by the name of the object.
    pub leases: BTreeMap<String, NodeLease>,
    /// Control-plane nodes under remediation by other policies or other kinds.
    pub control_plane: Vec<Elsewhere>,
    /// What whoever guards the quorum said, by node. See [`GuardAnswer`].
    pub guards: BTreeMap<String, GuardAnswer>,
    /// What is being upgraded, if the whole cluster is.
    pub upgrade: Option<String>,
    /// Versions of all kubelets of the cluster. Left empty unless the policy asks for it.
    pub kubelet_versions: BTreeSet<String>,
    /// Whether this is OpenShift, where Machines are those of its own API.
    pub openshift: bool,
    /// Nodes with a condition `Terminating` are left to the handler that sets it.
    pub spare_terminating: bool,
    /// What failed as a whole. Left empty unless the policy asks for it.
    pub failures: Failures,
}

impl Surroundings {
    /// The lease of a node.
    pub fn lease(&self, node: &str) -> Option<&NodeLease> {
        self.leases.get(&lease_name(node))
    }
}

/// A remediation of a control-plane node that the policy has nothing to do with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// The node.
    pub node: String,
    /// The remediation.
    pub key: ObjectKey,
}

/// What a guard of the control plane says about losing one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuardAnswer {
    /// Why the node must not be touched now; `None`: it may.
    pub refused: Option<Refusal>,
    /// What was counted, for people: also shown when it may.
    pub counted: String,
}

/// Why a guard says no.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// What was counted and compared.
    pub why: String,
    /// What would change the answer.
    pub unblock: String,
}
