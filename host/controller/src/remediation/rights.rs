//! Which rights at the API server the host needs, so that a component can use what it was granted.
//!
//! A capability is a promise to a component; behind it are requests of the controller. What no granted capability needs,
//! the controller needs not be given: the shipped roles (`deploy/rbac/remediator-wasm*.yaml`) are this table, split by
//! capability, and `palisade remediator rbac` prints its part for one component.

use std::collections::BTreeSet;

use palisade_runtime::{Capability, Granted};
use serde_json::{Value, json};

/// Requests of the controller, as rules of RBAC name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// API groups; "" is the core group.
    pub groups: &'static [&'static str],
    /// Resource in the plural, with its subresource if it has one.
    pub resource: &'static str,
    /// Verbs.
    pub verbs: &'static [&'static str],
    /// Only objects with these names; empty: all.
    pub names: &'static [&'static str],
    /// Where.
    pub place: Place,
    /// What for.
    pub why: &'static str,
}

/// Where a right is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In every namespace, or without any.
    Cluster,
    /// In the controller's namespace.
    Own,
}

const fn right(groups: &'static [&'static str], resource: &'static str, verbs: &'static [&'static str]) -> Right {
    Right { groups, resource, verbs, names: &[], place: Place::Cluster, why: "" }
}

impl Right {
    const fn why(mut self, why: &'static str) -> Self {
        self.why = why;
        self
    }

    const fn named(mut self, names: &'static [&'static str]) -> Self {
        self.names = names;
        self
    }

    const fn own(mut self) -> Self {
        self.place = Place::Own;
        self
    }

    /// As a rule of a role.
    pub fn rule(&self) -> Value {
        let mut rule = json!({ "apiGroups": self.groups, "resources": [self.resource], "verbs": self.verbs });
        if !self.names.is_empty() {
            rule["resourceNames"] = json!(self.names);
        }
        rule
    }

    /// Each request by itself: verb, then resource and group, as messages of the API server name them.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, String)> {
        let Self { groups, resource, verbs, .. } = *self;
        groups.iter().flat_map(move |group| {
            let kind = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
            verbs.iter().map(move |verb| (*verb, kind.clone()))
        })
    }
}

const MACHINES: &[&str] = &["machine.openshift.io", "cluster.x-k8s.io"];

/// Whatever the component is granted: how a remediation is followed, and what the host looks at before each call.
const ALWAYS: &[Right] = &[
    right(&[""], "pods", &["list"]).why("what runs on the node"),
    right(&["storage.k8s.io"], "volumeattachments", &["list"]).why("what the node holds"),
    right(&[""], "persistentvolumeclaims", &["get"]).why("which pods share a volume with their replacement"),
    right(&["batch"], "jobs", &["get"]).why("which pods share a job with their replacement"),
    right(MACHINES, "machines", &["get"]).why("the node of a Machine that owns a remediation"),
    right(&["cluster.x-k8s.io"], "machines/status", &["patch"])
        .why("a Machine is handed back to its owner when its remediation failed"),
];

/// What each capability adds.
const BY_CAPABILITY: &[(Capability, &[Right])] = &[
    (Capability::Fencing, &[right(&[""], "pods", &["delete"]).why("pods are marked before the proof")]),
    (
        Capability::Workloads,
        &[
            right(&[""], "pods", &["delete"]).why("released after the proof"),
            right(&["storage.k8s.io"], "volumeattachments", &["delete"]).why("released after the proof"),
        ],
    ),
    (
        Capability::Machines,
        &[
            right(MACHINES, "machines", &["get", "list", "delete"]).why("machines that may be replaced"),
            right(&["machine.openshift.io"], "machinesets", &["get"]).why("how many machines their owner wants"),
            right(&["machine.openshift.io"], "controlplanemachinesets", &["get"])
                .why("how many machines their owner wants"),
            right(&["cluster.x-k8s.io"], "machinesets", &["get"]).why("how many machines their owner wants"),
            right(&["controlplane.cluster.x-k8s.io"], "kubeadmcontrolplanes", &["get"])
                .why("how many machines their owner wants; other control planes need a role of their own"),
            right(&["infrastructure.cluster.x-k8s.io"], "metal3machines", &["get", "list"])
                .why("whether the instance is gone; other infrastructures need a role of their own"),
        ],
    ),
    (
        Capability::Power,
        &[
            right(&["infrastructure.cluster.x-k8s.io"], "metal3machines", &["get"]).why("which host is the node's"),
            right(&["metal3.io"], "baremetalhosts", &["get", "list", "patch"])
                .why("hosts are held off and let go by an annotation"),
        ],
    ),
    (
        Capability::Approval,
        &[
            right(&["admissionregistration.k8s.io"], "validatingadmissionpolicies", &["get"])
                .named(&["approvals.palisade.dev"])
                .why("whether the cluster checks who answers"),
            right(&["admissionregistration.k8s.io"], "validatingadmissionpolicybindings", &["get"])
                .named(&["approvals.palisade.dev"])
                .why("whether the cluster checks who answers"),
        ],
    ),
    (
        Capability::Jobs,
        &[
            right(&["batch"], "cronjobs", &["list"]).own().why("the list of the administrator"),
            right(&["batch"], "jobs", &["list", "create", "delete"]).own().why("jobs of this list, and their end"),
        ],
    ),
];

/// Groups and resources of the remediation kinds that a Remediator may serve.
const KINDS: &[(&str, &[&str], &str, &str)] = &[
    ("WasmRemediation", &["palisade.dev"], "wasmremediations", "wasmremediations/status"),
    (
        "SelfNodeRemediation",
        &["self-node-remediation.medik8s.io"],
        "selfnoderemediations",
        "selfnoderemediations/status",
    ),
    (
        "MachineDeletionRemediation",
        &["machine-deletion-remediation.medik8s.io"],
        "machinedeletionremediations",
        "machinedeletionremediations/status",
    ),
    (
        "FenceAgentsRemediation",
        &["fence-agents-remediation.medik8s.io"],
        "fenceagentsremediations",
        "fenceagentsremediations/status",
    ),
    (
        "CustomizedUserRemediation",
        &["customized-user-remediation.medik8s.io"],
        "customizeduserremediations",
        "customizeduserremediations/status",
    ),
];

/// What the host needs beside its own role (`deploy/rbac/controller.yaml`) to serve a component that was granted this:
/// for `WasmRemediation`s that name it, and for these remediation kinds besides. A kind that this controller does not
/// follow needs nothing.
///
/// Not among them, because they depend on objects that come later: `get` on a ConfigMap of another namespace that holds
/// the component, and on Secrets with parameters of devices outside of the controller's namespace.
pub fn of(granted: &Granted, serves: &[&str]) -> Vec<Right> {
    let mut all = kinds(serves);
    all.extend(ALWAYS);
    for (capability, rights) in BY_CAPABILITY {
        if granted.allows(*capability) {
            all.extend(*rights);
        }
    }
    without_repetition(all)
}

fn kinds(serves: &[&str]) -> Vec<Right> {
    let wanted = |kind: &str| kind == "WasmRemediation" || serves.contains(&kind);
    let known = KINDS.iter().filter(|(kind, ..)| wanted(kind));
    known
        .flat_map(|(_, group, resource, status)| {
            [
                right(group, resource, &["get", "list", "watch", "patch"]).why("remediations, and their finalizer"),
                right(group, status, &["update"]).why("how they stand"),
            ]
        })
        .collect()
}

/// Two capabilities may need the same; what a later right gives as well is left out.
fn without_repetition(all: Vec<Right>) -> Vec<Right> {
    let mut kept: Vec<Right> = Vec::new();
    for one in all {
        let asked: BTreeSet<(&str, String)> = one.requests().collect();
        let covers = |other: &Right| {
            other.place == one.place
                && other.names == one.names
                && asked.is_subset(&other.requests().collect::<BTreeSet<_>>())
        };
        if !kept.iter().any(covers) {
            kept.retain(|other| {
                let theirs: BTreeSet<(&str, String)> = other.requests().collect();
                !(other.place == one.place && other.names == one.names && theirs.is_subset(&asked))
            });
            kept.push(one);
        }
    }
    kept
}

#[cfg(test)]
mod tests;
