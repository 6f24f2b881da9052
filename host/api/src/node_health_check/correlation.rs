//! When many nodes fail together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::keys::cluster;
use crate::rule::Rule;

/// Nodes that fail together are not repaired one by one: a zone without power, a control plane that hears nobody, or an
/// observer that is itself cut off. While such a failure lasts, no new remediation of the nodes it explains starts;
/// running ones go on. It is judged on all nodes of the cluster, not only on the selected ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CorrelatedFailures {
    /// Label that says which nodes share power or network. Nodes without it belong to no group.
    #[schemars(length(min = 1, max = 317))]
    pub topology_key: String,
    /// A group fails as a whole when at least so many percent of its nodes are not ready (1 to 100), as the node
    /// lifecycle controller of Kubernetes counts.
    #[schemars(range(min = 1, max = 100))]
    pub threshold_percent: i64,
    /// Fewer failed nodes are never a failure of a group (at least 2).
    #[schemars(range(min = 2))]
    pub min_nodes: i64,
    /// For how long the nodes of a group that failed as a whole are left alone; then they are remediated like others, so
    /// that the workload of a group that stays dark moves. Absent: until it recovers. A failure of the control plane or
    /// of the observer has no such end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 64))]
    pub hold_for: Option<GoDuration>,
}

impl Default for CorrelatedFailures {
    fn default() -> Self {
        Self { topology_key: cluster::ZONE.to_owned(), threshold_percent: 55, min_nodes: 3, hold_for: None }
    }
}

pub(super) const RULES: &[Rule] = &[
    Rule::new("spec.correlatedFailures.topologyKey", super::LABEL_KEY, super::NO_LABEL_KEY)
        .saying(super::SAY_LABEL_KEY),
    Rule::new("spec.correlatedFailures.holdFor", super::IS_DURATION, super::NO_DURATION).saying(super::SAY_DURATION),
];
