//! `NodeHealthCheck`: which nodes are watched, when they count as unhealthy, and what is done then.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::IntOrString;
use crate::duration::GoDuration;
use crate::resource::{AGE, Column, resource};
use crate::rule::Rule;
use crate::schema;

mod attempts;
mod budget;
mod correlation;
mod etcd;
mod maintenance;
mod notification;

pub use attempts::{AttemptLimit, NodeAttempts};
pub use budget::{Budget, BudgetStatus, CauseBudget, TopologyBudget};
pub use correlation::CorrelatedFailures;
pub use etcd::{EtcdGuard, EtcdGuardMode};
pub use maintenance::MaintenanceSignals;
pub use notification::{Notification, SecretAuthority, SecretHeader};

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
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type", "status"],
        "maxItems" = 64,
        "default" = [
            { "type": "Ready", "status": "False", "duration": "300s" },
            { "type": "Ready", "status": "Unknown", "duration": "300s" },
        ],
    ))]
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
    #[schemars(extend("maxItems" = 16))]
    pub escalating_remediations: Vec<EscalatingRemediation>,
    /// While there is an entry, no new remediation starts; running ones go on. An entry says who asked and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pause_requests: Vec<String>,
    /// How long a recovered node still counts as unhealthy; negative: until a person confirms it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::signed_duration")]
    pub healthy_delay: Option<GoDuration>,
    /// How many nodes are remediated at a time. Absent: as many as the thresholds allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Holds fire when nodes fail together. Absent: every node is judged by itself, within the thresholds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlated_failures: Option<CorrelatedFailures>,
    /// How often a node is remediated before a person has to look at it. Absent: as often as it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<AttemptLimit>,
    /// Decides, records and shows what would be done in status.wouldDo and in events, but touches no Node, no lease and
    /// no remediation: running remediations are neither advanced nor ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Webhooks that are told what happens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 8))]
    pub notifications: Vec<Notification>,
    /// How the quorum of etcd is guarded when a control-plane node is remediated. Absent: guard Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdGuard>,
    /// What counts as planned work on a node, beside the lifecycle conditions of Kubernetes. A node that somebody works
    /// on is not remediated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_signals: Option<MaintenanceSignals>,
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
            budget: None,
            correlated_failures: None,
            attempts: None,
            dry_run: None,
            notifications: Vec::new(),
            etcd: None,
            maintenance_signals: None,
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
    #[schemars(extend("maxLength" = 64))]
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
    #[schemars(extend("maxLength" = 64))]
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
    /// How much of the budget is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetStatus>,
    /// Nodes that were remediated lately, with a limit of attempts: at most 1000, the latest ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["node"]))]
    pub attempts: Vec<NodeAttempts>,
    /// What would be done without dryRun, at most 100 lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_do: Vec<String>,
}

/// An unhealthy node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnhealthyNode {
    /// Name of the node.
    pub name: String,
    /// UID of the node, so that another of the same name starts anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_uid: Option<String>,
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
    /// What the policy thinks of it: Unhealthy or Suspect with the condition, Healthy, or NotSelected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// Since when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub since: Option<Time>,
    /// The rule that keeps the policy from starting a remediation, for example threshold, lease or budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    /// Why it holds, and what would let it go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_because: Option<String>,
    /// What happens next if nothing else does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// When that happens at the latest, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub next_at: Option<Time>,
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
        Column::wide("Blocked by", "string", ".status.unhealthyNodes[*].blockedBy", "What keeps them from being remediated"),
        Column::wide("Reason", "string", ".status.reason", "Why this phase"),
    ],
    spec: optional,
    rules: ALL_RULES,
}

const NO_TEMPLATE_KIND: &str = "kind must be the kind of a remediation template: the remediation's kind followed by Template, for example SelfNodeRemediationTemplate";
const SAY_TEMPLATE_KIND: &str = "'kind must be the kind of a remediation template, but is ' + (has(self.kind) ? self.kind : 'missing') + '; use the remediation kind followed by Template, for example SelfNodeRemediationTemplate'";
const IS_TEMPLATE_KIND: &str = "has(self.kind) && self.kind != 'Template' && self.kind.endsWith('Template')";

/// What other operators check in a webhook, and a few things they should.
const RULES: &[Rule] = &[
    Rule::new(
        "",
        "has(self.spec)",
        "spec is missing: one of minHealthy and maxUnhealthy should be specified, a selector, and a remediationTemplate",
    )
    .blaming(".spec")
    .required(),
    Rule::new(
        "spec",
        "!has(self.minHealthy) || !has(self.maxUnhealthy)",
        "minHealthy and maxUnhealthy cannot be specified at the same time; remove one of them",
    )
    .saying("'minHealthy and maxUnhealthy cannot be specified at the same time: minHealthy is ' + string(self.minHealthy) + ' and maxUnhealthy is ' + string(self.maxUnhealthy) + '; remove one of them'")
    .blaming(".maxUnhealthy"),
    Rule::new(
        "spec",
        "has(self.minHealthy) || has(self.maxUnhealthy)",
        "one of minHealthy and maxUnhealthy should be specified; for example minHealthy: 51%",
    )
    .blaming(".minHealthy")
    .required(),
    Rule::new(
        "spec.minHealthy",
        "!string(self).startsWith('-')",
        "minHealthy must not be negative; use 0 or more, or a percentage such as 51%",
    )
    .saying("'minHealthy must not be negative, but is ' + string(self) + '; use 0 or more, or a percentage such as 51%'"),
    Rule::new(
        "spec.maxUnhealthy",
        "!string(self).startsWith('-')",
        "maxUnhealthy must not be negative; use 0 or more, or a percentage such as 49%",
    )
    .saying("'maxUnhealthy must not be negative, but is ' + string(self) + '; use 0 or more, or a percentage such as 49%'"),
    Rule::new(
        "spec",
        "!has(self.maxUnhealthy) || !has(self.remediationTemplate) || !has(self.remediationTemplate.kind) || self.remediationTemplate.kind.lowerAscii() != 'machinedeletionremediationtemplate'",
        NO_MAX_UNHEALTHY,
    )
    .blaming(".maxUnhealthy"),
    Rule::new(
        "spec",
        "!has(self.maxUnhealthy) || !has(self.escalatingRemediations) || !self.escalatingRemediations.exists(e, has(e.remediationTemplate.kind) && e.remediationTemplate.kind.lowerAscii() == 'machinedeletionremediationtemplate')",
        NO_MAX_UNHEALTHY,
    )
    .blaming(".maxUnhealthy"),
    Rule::new(
        "spec",
        // A policy that was stored without one before there were rules may still be paused: the rule stands on the whole
        // specification, so it has to find out by itself that the selector did not change.
        "has(self.selector) && (has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0 || has(self.selector.matchExpressions) && size(self.selector.matchExpressions) > 0) || oldSelf.hasValue() && has(self.selector) == has(oldSelf.value().selector) && (!has(self.selector) || self.selector == oldSelf.value().selector)",
        "selector is mandatory: set selector.matchLabels or selector.matchExpressions, for example a requirement that node-role.kubernetes.io/worker Exists",
    )
    .blaming(".selector")
    .required()
    .unless_it_was_so(),
    Rule::new(
        "spec.selector.matchExpressions[]",
        "self.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist']",
        "operator must be In, NotIn, Exists or DoesNotExist",
    )
    .saying("'operator must be In, NotIn, Exists or DoesNotExist, but is ' + self.operator")
    .blaming(".operator"),
    Rule::new(
        "spec.selector.matchExpressions[]",
        "!(self.operator in ['In', 'NotIn']) || has(self.values) && size(self.values) > 0",
        "values must not be empty with the operators In and NotIn; list at least one value",
    )
    .saying("'values must not be empty with the operator ' + self.operator + ' for key ' + self.key + '; list at least one value'")
    .blaming(".values"),
    Rule::new(
        "spec.selector.matchExpressions[]",
        "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || size(self.values) == 0",
        "values must be empty with the operators Exists and DoesNotExist; remove them",
    )
    .saying("'values must be empty with the operator ' + self.operator + ' for key ' + self.key + '; remove them'")
    .blaming(".values"),
    Rule::new("spec.selector.matchExpressions[].values[]", LABEL_VALUE, NO_LABEL_VALUE).saying(SAY_LABEL_VALUE),
    Rule::new("spec.selector.matchExpressions[].key", LABEL_KEY, NO_LABEL_KEY).saying(SAY_LABEL_KEY),
    Rule::new(
        "spec.selector.matchLabels",
        "self.all(key, key.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
        "matchLabels must have label keys such as node-role.kubernetes.io/worker",
    ),
    Rule::new(
        "spec.selector.matchLabels",
        "self.all(key, self[key].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$'))",
        "matchLabels must have label values: at most 63 letters, digits, dashes, underscores or dots, beginning and ending with a letter or digit",
    ),
    Rule::new(
        "spec.unhealthyConditions",
        "size(self) > 0",
        "unhealthyConditions must not be empty, or no node would ever be unhealthy; leave the field out to get the defaults",
    ),
    Rule::new("spec.unhealthyConditions[].duration", IS_DURATION, NO_DURATION).saying(SAY_DURATION),
    Rule::new("spec.stormCooldownDuration", IS_DURATION, NO_DURATION).saying(SAY_DURATION),
    Rule::new("spec.healthyDelay", IS_DURATION, NO_DURATION).saying(SAY_DURATION),
    Rule::new(
        "spec",
        "has(self.remediationTemplate) || has(self.escalatingRemediations) && size(self.escalatingRemediations) > 0",
        "one of remediationTemplate and escalatingRemediations must be specified; name for example the SelfNodeRemediationTemplate of your installation",
    )
    .blaming(".remediationTemplate")
    .required(),
    Rule::new(
        "spec",
        "!has(self.remediationTemplate) || !has(self.escalatingRemediations) || size(self.escalatingRemediations) == 0",
        "remediationTemplate and escalatingRemediations cannot be specified at the same time; remove one of them",
    )
    .blaming(".escalatingRemediations"),
    Rule::new("spec.remediationTemplate", IS_TEMPLATE_KIND, NO_TEMPLATE_KIND).saying(SAY_TEMPLATE_KIND),
    Rule::new("spec.escalatingRemediations[].remediationTemplate", IS_TEMPLATE_KIND, NO_TEMPLATE_KIND)
        .saying(SAY_TEMPLATE_KIND),
    Rule::new(
        "spec.escalatingRemediations",
        "self.all(x, self.exists_one(y, y.order == x.order))",
        "escalatingRemediations must not use an order twice; give every entry its own",
    )
    .saying("'escalatingRemediations must not use an order twice: order {} is used more than once; give every entry its own'.replace('{}', string(self.filter(x, !self.exists_one(y, y.order == x.order))[0].order))"),
    Rule::new(
        "spec.escalatingRemediations[].timeout",
        "duration(self.replace('µ', 'u')) >= duration('60s')",
        "timeout must be at least 60s and at most 2562047h, so that remediations do not run side by side",
    )
    .saying("'timeout must be at least 60s, so that remediations do not run side by side, but is ' + self"),
    unchanged_while_remediating(
        ".spec.selector",
        "!has(self.spec) || !has(oldSelf.spec) || has(self.spec.selector) == has(oldSelf.spec.selector) && (!has(self.spec.selector) || self.spec.selector == oldSelf.spec.selector) || !has(oldSelf.status) || !has(oldSelf.status.unhealthyNodes) || !oldSelf.status.unhealthyNodes.exists(n, has(n.remediations) && size(n.remediations) > 0)",
        "changing selector is prohibited due to running remediation; wait until status.unhealthyNodes lists no remediation, or set pauseRequests and delete the remediations first",
    ),
    unchanged_while_remediating(
        ".spec.remediationTemplate",
        "!has(self.spec) || !has(oldSelf.spec) || has(self.spec.remediationTemplate) == has(oldSelf.spec.remediationTemplate) && (!has(self.spec.remediationTemplate) || self.spec.remediationTemplate == oldSelf.spec.remediationTemplate) || !has(oldSelf.status) || !has(oldSelf.status.unhealthyNodes) || !oldSelf.status.unhealthyNodes.exists(n, has(n.remediations) && size(n.remediations) > 0)",
        "changing remediationTemplate is prohibited due to running remediation; wait until status.unhealthyNodes lists no remediation, or set pauseRequests and delete the remediations first",
    ),
    unchanged_while_remediating(
        ".spec.escalatingRemediations",
        "!has(self.spec) || !has(oldSelf.spec) || has(self.spec.escalatingRemediations) == has(oldSelf.spec.escalatingRemediations) && (!has(self.spec.escalatingRemediations) || self.spec.escalatingRemediations == oldSelf.spec.escalatingRemediations) || !has(oldSelf.status) || !has(oldSelf.status.unhealthyNodes) || !oldSelf.status.unhealthyNodes.exists(n, has(n.remediations) && size(n.remediations) > 0)",
        "changing escalatingRemediations is prohibited due to running remediation; wait until status.unhealthyNodes lists no remediation, or set pauseRequests and delete the remediations first",
    ),
];

/// With those of the extensions.
const ALL_RULES: &[Rule] = &{
    const PARTS: [&[Rule]; 6] =
        [RULES, budget::RULES, correlation::RULES, attempts::RULES, notification::RULES, etcd::RULES];
    joined::<{ length(&PARTS) }>(&PARTS)
};

const fn length(parts: &[&[Rule]]) -> usize {
    let (mut part, mut length) = (0, 0);
    while part < parts.len() {
        length += parts[part].len();
        part += 1;
    }
    length
}

const fn joined<const N: usize>(parts: &[&[Rule]]) -> [Rule; N] {
    let mut all = [parts[0][0]; N];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let mut index = 0;
        while index < parts[part].len() {
            all[at] = parts[part][index];
            at += 1;
            index += 1;
        }
        part += 1;
    }
    all
}

const NO_MAX_UNHEALTHY: &str = "maxUnhealthy cannot be used with MachineDeletionRemediationTemplate, because deleted nodes are no longer counted; use minHealthy";

const LABEL_KEY: &str = "self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')";
const LABEL_VALUE: &str = "self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$')";
const NO_LABEL_VALUE: &str = "values must be label values: at most 63 letters, digits, dashes, underscores or dots, beginning and ending with a letter or digit";
const SAY_LABEL_VALUE: &str = "'values must be label values (letters, digits, dashes, underscores or dots, beginning and ending with a letter or digit), but one is ' + self";
const NO_LABEL_KEY: &str = "key must be a label key such as node-role.kubernetes.io/worker";
const SAY_LABEL_KEY: &str = "'key must be a label key such as node-role.kubernetes.io/worker, but is ' + self";

// The pattern lets numbers through that no 64-bit duration can hold; such an object could not be decoded.
const IS_DURATION: &str = "duration(self.replace('µ', 'u')) <= duration('2562047h47m16s')";
const NO_DURATION: &str = "a duration must not be longer than 2562047h (about 292 years)";
const SAY_DURATION: &str = "'a duration must not be longer than 2562047h (about 292 years), but is ' + self";

const fn unchanged_while_remediating(field: &'static str, rule: &'static str, message: &'static str) -> Rule {
    Rule::new("", rule, message).blaming(field).forbidden()
}
