//! `FenceAgentsRemediation`: a fence agent cuts the power of a node.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{IntOrString, RemediationStrategy};
use crate::duration::GoDuration;
use crate::keys::palisade::CATEGORY;
use crate::progress::Progress;
use crate::resource::{AGE, Column, resource};
use crate::rule::Rule;
use crate::schema;

/// What is wanted of a remediation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FenceAgentsRemediationSpec {
    /// Name of the fence agent, beginning with fence_.
    #[schemars(extend("pattern" = "fence_.+"))]
    pub agent: String,
    /// Secret with further parameters, by node name.
    #[serde(rename = "nodeSecretNames", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_secret_names: BTreeMap<String, String>,
    /// Parameters by parameter name, then by node name.
    #[serde(rename = "nodeparameters", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_parameters: BTreeMap<String, BTreeMap<String, String>>,
    /// How the workload is released once the node is off.
    #[serde(rename = "remediationStrategy", default = "default_strategy")]
    #[schemars(extend("enum" = ["ResourceDeletion", "OutOfServiceTaint"]))]
    pub remediation_strategy: RemediationStrategy,
    /// How often the fence agent is run at most.
    #[serde(rename = "retrycount", default = "default_retry_count")]
    pub retry_count: i64,
    /// Pause between runs.
    #[serde(rename = "retryinterval", default = "default_retry_interval")]
    pub retry_interval: GoDuration,
    /// Secret with parameters of all nodes.
    #[serde(rename = "sharedSecretName", default, skip_serializing_if = "Option::is_none")]
    pub shared_secret_name: Option<String>,
    /// Parameters of all nodes; {{.NodeName}} stands for the node.
    // The limits are what the cost budget of the rules on it needs.
    #[schemars(extend("maxProperties" = 128, "additionalProperties" = { "type": "string", "maxLength": 16384 }))]
    #[serde(rename = "sharedparameters", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shared_parameters: BTreeMap<String, String>,
    /// Time limit of one run.
    #[serde(default = "default_timeout")]
    #[schemars(extend("default" = "60s"))]
    pub timeout: GoDuration,
}

fn default_strategy() -> RemediationStrategy {
    RemediationStrategy::ResourceDeletion
}
fn default_retry_count() -> i64 {
    5
}
fn default_retry_interval() -> GoDuration {
    GoDuration::from_secs(5)
}
fn default_timeout() -> GoDuration {
    GoDuration::from_secs(60)
}

impl Default for FenceAgentsRemediationSpec {
    fn default() -> Self {
        Self {
            agent: String::new(),
            node_secret_names: BTreeMap::new(),
            node_parameters: BTreeMap::new(),
            remediation_strategy: default_strategy(),
            retry_count: default_retry_count(),
            retry_interval: default_retry_interval(),
            shared_secret_name: None,
            shared_parameters: BTreeMap::new(),
            timeout: default_timeout(),
        }
    }
}

/// What was observed of a remediation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FenceAgentsRemediationStatus {
    /// Current state; types Processing, FenceAgentActionSucceeded and Succeeded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// When this status last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_update_time: Option<Time>,
    /// Progress and proof, as Palisade records them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub palisade: Option<Progress>,
}

resource! {
    /// A remediation by a fence agent.
    FenceAgentsRemediation(FenceAgentsRemediationSpec, FenceAgentsRemediationStatus),
    group: "fence-agents-remediation.medik8s.io",
    plural: "fenceagentsremediations",
    scope: Namespaced,
    short_names: ["far"],
    categories: [CATEGORY],
    description: "One unhealthy node that a fence agent switches off or restarts.",
    columns: &[
        Column::new(
            "Node",
            "string",
            r".metadata.annotations.remediation\.medik8s\.io/node-name",
            "Node under remediation; empty: the node has the name of this object",
        ),
        Column::new("Agent", "string", ".spec.agent", "Fence agent"),
        Column::new("Strategy", "string", ".spec.remediationStrategy", "How the workload is released"),
        Column::new(
            "Fenced",
            "string",
            r#".status.conditions[?(@.type=="FenceAgentActionSucceeded")].status"#,
            "Whether the fence agent succeeded",
        ),
        Column::new("Succeeded", "string", r#".status.conditions[?(@.type=="Succeeded")].status"#, "The outcome"),
        AGE,
        Column::wide("Reason", "string", r#".status.conditions[?(@.type=="Succeeded")].reason"#, "Why"),
    ],
    spec: optional,
    rules: RULES,
}

/// What is wanted of a template.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FenceAgentsRemediationTemplateSpec {
    /// For how many nodes the parameters are tried with a harmless status request: a number or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::int_or_string")]
    pub status_validation_sample: Option<IntOrString>,
    /// The remediation to make.
    pub template: FenceAgentsRemediationTemplateResource,
}

/// The remediation that a template makes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct FenceAgentsRemediationTemplateResource {
    /// Specification of the remediation.
    pub spec: FenceAgentsRemediationSpec,
}

/// What was observed of a template.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FenceAgentsRemediationTemplateStatus {
    /// Current state; type FenceAgentStatusValidationSucceeded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Why a status request failed, by node name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub validation_failed: BTreeMap<String, String>,
    /// Nodes whose status request succeeded.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub validation_passed: BTreeMap<String, String>,
}

resource! {
    /// A template from which remediations are made.
    FenceAgentsRemediationTemplate(FenceAgentsRemediationTemplateSpec, FenceAgentsRemediationTemplateStatus),
    group: "fence-agents-remediation.medik8s.io",
    plural: "fenceagentsremediationtemplates",
    scope: Namespaced,
    short_names: ["fartemplate"],
    categories: [],
    description: "Template of FenceAgentsRemediation objects, referred to by a NodeHealthCheck.",
    columns: &[
        Column::new("Agent", "string", ".spec.template.spec.agent", "Fence agent"),
        Column::new("Strategy", "string", ".spec.template.spec.remediationStrategy", "How the workload is released"),
        Column::new(
            "Validated",
            "string",
            r#".status.conditions[?(@.type=="FenceAgentStatusValidationSucceeded")].status"#,
            "Whether the status requests succeeded",
        ),
        AGE,
    ],
    spec: optional,
    rules: TEMPLATE_RULES,
}

const fn has_parameters(path: &'static str) -> Rule {
    Rule::new(
        path,
        "has(self.sharedparameters) && size(self.sharedparameters) > 0 || has(self.nodeparameters) && size(self.nodeparameters) > 0 || has(self.sharedSecretName) || has(self.nodeSecretNames) && size(self.nodeSecretNames) > 0",
        "mandatory parameters are missing: set sharedparameters, nodeparameters, sharedSecretName or nodeSecretNames",
    )
    .blaming(".sharedparameters")
    .required()
}

const fn tells_nodes_apart(path: &'static str) -> Rule {
    Rule::new(
        path,
        "!has(self.sharedparameters) || size(self.sharedparameters) == 0 || has(self.nodeparameters) && size(self.nodeparameters) > 0 || has(self.sharedSecretName) || self.sharedparameters.exists(p, self.sharedparameters[p].contains('.NodeName'))",
        "sharedparameters alone would hit the same device for every node; use {{.NodeName}} in a value or add nodeparameters",
    )
    .blaming(".sharedparameters")
}

const fn known_action(path: &'static str) -> Rule {
    Rule::new(
        path,
        "['action', '--action'].all(p, !(p in self) || self[p] in ['', 'reboot', 'off'])",
        "--action must be reboot or off, or be left out",
    )
}

/// No attempt is no success, and what is tried for ever never lets an escalation move on. The controller checks the same.
const fn bounded_count(path: &'static str) -> Rule {
    Rule::new(path, "self >= 1 && self <= 100", "retrycount must be 1 to 100: without an attempt nothing is fenced")
}

/// An agent that gets no time cannot act. The controller checks the same.
const fn bounded_timeout(path: &'static str) -> Rule {
    Rule::new(
        path,
        "duration(self.replace('µ', 'u')) >= duration('1s') && duration(self.replace('µ', 'u')) <= duration('30m')",
        "timeout must be 1s to 30m",
    )
}

/// The one placeholder is `{{.NodeName}}`; what is left of one after it was taken out is another one, or half of one.
const fn known_placeholder(path: &'static str) -> Rule {
    Rule::new(
        path,
        "self.all(p, !self[p].replace(' ', '').replace('-', '').replace('{{.NodeName}}', '.').contains('{{'))",
        "only the placeholder {{.NodeName}} is known; correct it, or write the value without {{",
    )
}

/// What other operators check in a webhook and the schema alone can decide; the rest is checked at run time.
const RULES: &[Rule] = &[
    Rule::new(
        "",
        "has(self.spec)",
        "spec is missing: name at least an agent, such as fence_ipmilan, and its parameters",
    )
    .blaming(".spec")
    .required(),
    has_parameters("spec"),
    tells_nodes_apart("spec"),
    known_action("spec.sharedparameters"),
    known_placeholder("spec.sharedparameters"),
    bounded_count("spec.retrycount"),
    bounded_timeout("spec.timeout"),
];

const TEMPLATE_RULES: &[Rule] = &[
    Rule::new(
        "spec.statusValidationSample",
        "type(self) == int && self >= 0 || type(self) == string && self.matches('^([0-9]|[1-9][0-9]|100)%$')",
        "Value must be an integer >=0, or string between 0% and 100%",
    ),
    has_parameters("spec.template.spec"),
    tells_nodes_apart("spec.template.spec"),
    known_action("spec.template.spec.sharedparameters"),
    known_placeholder("spec.template.spec.sharedparameters"),
    bounded_count("spec.template.spec.retrycount"),
    bounded_timeout("spec.template.spec.timeout"),
];
