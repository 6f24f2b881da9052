//! `NodeHealthCheck`: which nodes are watched, when they count as unhealthy, and what is done then.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::IntOrString;
use crate::duration::GoDuration;
use crate::resource::{AGE, Column, resource};
use crate::schema;

/// A policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeHealthCheckSpec {
    /// The nodes this policy watches. Keep control-plane nodes and workers in separate policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub selector: Option<LabelSelector>,
    /// A node is unhealthy when any of these node conditions has had its status for at least its duration.
    #[serde(default = "default_unhealthy_conditions")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type", "status"]))]
    pub unhealthy_conditions: Vec<UnhealthyCondition>,
    /// Remediation starts only while at least so many of the selected nodes are healthy: a number or a percentage,
    /// rounded up. Exclusive with maxUnhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::threshold")]
    pub min_healthy: Option<IntOrString>,
    /// Remediation starts only while at most so many of the selected nodes are not healthy: a number or a percentage,
    /// rounded up. Exclusive with minHealthy. Not for remediators that delete nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::threshold")]
    pub max_unhealthy: Option<IntOrString>,
    /// After too many nodes were unhealthy at once, how long no new remediation starts once enough are healthy again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm_cooldown_duration: Option<GoDuration>,
    /// Template of the remediation. Exclusive with escalatingRemediations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_reference")]
    pub remediation_template: Option<ObjectReference>,
    /// Templates that are tried one after another, by order. Exclusive with remediationTemplate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalating_remediations: Vec<EscalatingRemediation>,
    /// While there is an entry, no new remediation starts; running ones go on. An entry says who asked and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pause_requests: Vec<String>,
    /// How long a recovered node still counts as unhealthy; negative: until a person confirms it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::signed_duration")]
    pub healthy_delay: Option<GoDuration>,
}

impl Default for NodeHealthCheckSpec {
    fn default() -> Self {
        Self {
            selector: None,
            unhealthy_conditions: default_unhealthy_conditions(),
            min_healthy: None,
            max_unhealthy: None,
            storm_cooldown_duration: None,
            remediation_template: None,
            escalating_remediations: Vec::new(),
            pause_requests: Vec::new(),
            healthy_delay: None,
        }
    }
}

fn default_unhealthy_conditions() -> Vec<UnhealthyCondition> {
    ["False", "Unknown"]
        .map(|status| UnhealthyCondition {
            type_: "Ready".to_owned(),
            status: status.to_owned(),
            duration: GoDuration::from_secs(300),
        })
        .into()
}

/// A node condition that makes a node unhealthy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct UnhealthyCondition {
    /// Type of the node condition.
    #[serde(rename = "type")]
    #[schemars(length(min = 1))]
    pub type_: String,
    /// Status of the node condition: True, False or Unknown.
    #[schemars(length(min = 1))]
    pub status: String,
    /// How long the condition must have had this status.
    pub duration: GoDuration,
}

/// One step of an escalation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EscalatingRemediation {
    /// Template of the remediation.
    #[schemars(schema_with = "schema::object_reference")]
    pub remediation_template: ObjectReference,
    /// Lower comes first; no two steps have the same.
    pub order: i64,
    /// How long the node may take to get healthy before the next step; at least 60s.
    pub timeout: GoDuration,
}

/// What was observed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeHealthCheckStatus {
    /// Number of selected nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_nodes: Option<i64>,
    /// Number of selected nodes that are healthy and have no remediation left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy_nodes: Option<i64>,
    /// Former list of remediations; always empty.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::time_map")]
    pub in_flight_remediations: BTreeMap<String, Time>,
    /// Nodes that are unhealthy or still have remediations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub unhealthy_nodes: Vec<UnhealthyNode>,
    /// Current state; types Disabled, StormActive and StormCooldownActive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Disabled, Paused, Remediating or Enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Why this phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When this status last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_update_time: Option<Time>,
}

/// An unhealthy node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnhealthyNode {
    /// Name of the node.
    pub name: String,
    /// Remediations made for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remediations: Vec<Remediation>,
    /// Since when its conditions are healthy again while remediations are still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub conditions_healthy_timestamp: Option<Time>,
    /// Whether only healthyDelay keeps it from counting as healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_delayed: Option<bool>,
}

/// A remediation made for a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Remediation {
    /// The remediation object.
    #[schemars(schema_with = "schema::object_reference")]
    pub resource: ObjectReference,
    /// When it was created.
    #[schemars(schema_with = "schema::time")]
    pub started: Time,
    /// When its time ran out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub timed_out: Option<Time>,
    /// Template it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_name: Option<String>,
}

resource! {
    /// A policy: which nodes are watched, when they count as unhealthy, and what is done then.
    NodeHealthCheck(NodeHealthCheckSpec, NodeHealthCheckStatus),
    group: "remediation.medik8s.io",
    plural: "nodehealthchecks",
    scope: Cluster,
    short_names: ["nhc"],
    categories: [],
    description: "Which nodes are watched, when they count as unhealthy, and how they are remediated.",
    columns: &[
        Column::new("Phase", "string", ".status.phase", "Disabled, Paused, Remediating or Enabled"),
        Column::new("Observed", "integer", ".status.observedNodes", "Selected nodes"),
        Column::new("Healthy", "integer", ".status.healthyNodes", "Healthy nodes among them"),
        Column::new("Template", "string", ".spec.remediationTemplate.name", "Template; empty with an escalation"),
        AGE,
        Column::wide("Template kind", "string", ".spec.remediationTemplate.kind", "Kind of the template"),
        Column::wide("Min healthy", "string", ".spec.minHealthy", "Threshold"),
        Column::wide("Max unhealthy", "string", ".spec.maxUnhealthy", "Threshold"),
        Column::wide("Unhealthy", "string", ".status.unhealthyNodes[*].name", "Unhealthy nodes"),
        Column::wide("Reason", "string", ".status.reason", "Why this phase"),
    ],
    spec: defaulted,
    rules: &[],
}
