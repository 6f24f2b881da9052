//! What is remembered of a policy between two passes, to count what changed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use palisade_api::node_health_check::{NodeHealthCheckStatus, UnhealthyNode};
use palisade_core::health::{Judgement, Plan, Verdict};

/// One remediation of one node, as labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels {
    /// Node.
    pub node: String,
    /// Namespace of the remediation.
    pub namespace: String,
    /// Its kind.
    pub kind: String,
}

impl Labels {
    /// In the order in which the metrics want them.
    pub fn values(&self) -> [&str; 3] {
        [&self.node, &self.namespace, &self.kind]
    }
}

/// A policy after its last pass.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    /// Whether there was a pass before: a restart must not count again what it finds.
    pub known: bool,
    /// Remediations and when they were created.
    pub remediations: BTreeMap<Labels, Timestamp>,
    /// Nodes that are unhealthy, or about to be, and have no remediation.
    pub waiting: BTreeSet<String>,
    /// Nodes with remediations whose conditions are healthy again.
    pub recovered: BTreeSet<String>,
    /// Nodes with series of their own.
    pub named: BTreeSet<String>,
    /// Reasons for which nodes are blocked.
    pub reasons: BTreeSet<String>,
    /// Kinds of remediations.
    pub kinds: BTreeSet<String>,
}

/// The remediations of a status. Several of one kind for a node are one series, as old as the oldest.
pub(super) fn remediations(nodes: &[UnhealthyNode]) -> BTreeMap<Labels, Timestamp> {
    let mut found = BTreeMap::new();
    for node in nodes {
        for remediation in &node.remediations {
            let labels = Labels {
                node: node.name.clone(),
                namespace: remediation.resource.namespace.clone().unwrap_or_default(),
                kind: remediation.resource.kind.clone().unwrap_or_default(),
            };
            let started = remediation.started.0;
            found.entry(labels).and_modify(|known: &mut Timestamp| *known = started.min(*known)).or_insert(started);
        }
    }
    found
}

/// Nodes that wait: unhealthy or about to be, without a remediation.
pub(super) fn waiting(status: &NodeHealthCheckStatus, judgement: &Judgement) -> BTreeSet<String> {
    let treated: BTreeSet<&str> =
        status.unhealthy_nodes.iter().filter(|node| !node.remediations.is_empty()).map(|n| n.name.as_str()).collect();
    let sick = judgement.verdicts.iter().filter(|(_, verdict)| **verdict != Verdict::NotMatching);
    sick.filter(|(name, _)| !treated.contains(name.as_str())).map(|(name, _)| name.clone()).collect()
}

/// Blocked nodes by reason.
pub(super) fn blocked(plan: &Plan) -> BTreeMap<&'static str, i64> {
    let mut found = BTreeMap::new();
    for skip in &plan.skips {
        *found.entry(skip.reason.rule()).or_default() += 1;
    }
    found
}
