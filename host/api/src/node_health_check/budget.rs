//! How many nodes are remediated at a time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::IntOrString;
use crate::duration::GoDuration;
use crate::rule::Rule;
use crate::schema;

/// How many nodes are remediated at a time. Every limit lets at least one node through; a node that is being remediated
/// holds its place for all steps of its escalation. Who has been unhealthy for longest is next.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// At most so many selected nodes are remediated at a time: a number, or a percentage of the selected nodes, rounded
    /// down but at least one. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::amount")]
    pub max_concurrent: Option<IntOrString>,
    /// Limits for groups of nodes, such as zones or racks; all must be kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"], "maxItems" = 8))]
    pub per_topology: Vec<TopologyBudget>,
    /// Limits by what makes nodes unhealthy; all must be kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type", "status"],
        "maxItems" = 16,
    ))]
    pub per_cause: Vec<CauseBudget>,
    /// At least so much time lies between the starts of two remediations. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 64))]
    pub min_interval: Option<GoDuration>,
    /// A node that has been under remediation for longer no longer holds a place, so that one node that nothing can
    /// repair does not keep the others waiting for ever. Absent: it holds its place until its remediations end or every
    /// template was tried. At least 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 64))]
    pub stuck_after: Option<GoDuration>,
}

/// A limit for every group of nodes with the same value of a label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopologyBudget {
    /// Label of the nodes, such as topology.kubernetes.io/zone. Nodes without it form one group.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// At most so many nodes of a group are remediated at a time: a number, or a percentage of the selected nodes of the
    /// group, rounded down but at least one.
    #[schemars(schema_with = "schema::amount")]
    pub max_concurrent: IntOrString,
}

/// A limit for nodes that are unhealthy for the same reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CauseBudget {
    /// Type of the unhealthy condition.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 317))]
    pub type_: String,
    /// Status of the unhealthy condition: True, False or Unknown.
    #[schemars(length(min = 1, max = 64))]
    pub status: String,
    /// At most so many nodes with this cause are remediated at a time: a number, or a percentage of the selected nodes,
    /// rounded down but at least one. A node that recovers no longer counts.
    #[schemars(schema_with = "schema::amount")]
    pub max_concurrent: IntOrString,
}

/// How much of the budget is used.
// Every field is always written: the status is merged, and what is left out would stay as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetStatus {
    /// Nodes that hold a place.
    pub used: i64,
    /// Places in all; absent without maxConcurrent.
    #[serde(default)]
    pub limit: Option<i64>,
    /// Number of nodes that wait for a place.
    #[serde(default)]
    pub waiting: i64,
    /// Who is next, at most ten nodes, the first first.
    #[serde(default)]
    pub next: Vec<String>,
    /// When a remediation was last started; minInterval counts from it.
    #[serde(default)]
    #[schemars(schema_with = "schema::time")]
    pub last_started: Option<Time>,
}

const AMOUNT: &str = "string(self).matches('^0*[1-9][0-9]*%?$')";
const NO_AMOUNT: &str =
    "maxConcurrent must be at least 1 or 1%; to start nothing at all, add an entry to pauseRequests";
const SAY_AMOUNT: &str = "'maxConcurrent must be at least 1 or 1%, but is ' + string(self) + '; to start nothing at all, add an entry to pauseRequests'";

pub(super) const RULES: &[Rule] = &[
    Rule::new("spec.budget.maxConcurrent", AMOUNT, NO_AMOUNT).saying(SAY_AMOUNT),
    Rule::new("spec.budget.perTopology[].maxConcurrent", AMOUNT, NO_AMOUNT).saying(SAY_AMOUNT),
    Rule::new("spec.budget.perTopology[].key", super::LABEL_KEY, super::NO_LABEL_KEY).saying(super::SAY_LABEL_KEY),
    Rule::new("spec.budget.perCause[].maxConcurrent", AMOUNT, NO_AMOUNT).saying(SAY_AMOUNT),
    Rule::new("spec.budget.minInterval", super::IS_DURATION, super::NO_DURATION).saying(super::SAY_DURATION),
    Rule::new(
        "spec.budget.stuckAfter",
        "duration(self.replace('µ', 'u')) >= duration('60s')",
        "stuckAfter must be at least 60s and at most 2562047h",
    )
    .saying("'stuckAfter must be at least 60s, but is ' + self"),
];
