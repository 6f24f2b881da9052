//! `SelfNodeRemediationConfig`: timings and options of the agents.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::resource::{AGE, Column, resource};
use crate::rule::Rule;
use crate::schema;

/// Timings and options of the agents. Explicit `false` and `0` are kept: every field with a default is always written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelfNodeRemediationConfigSpec {
    /// Watchdog device on every node.
    #[serde(default = "default::watchdog")]
    pub watchdog_file_path: String,
    /// Floor for the time after which a node counts as rebooted. Never shortens what the protocol demands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safe_time_to_assume_node_rebooted_seconds: Option<i64>,
    /// Pause between checks of the API server.
    #[serde(default = "default::api_check_interval")]
    pub api_check_interval: GoDuration,
    /// Time limit of one check of the API server.
    #[serde(default = "default::five_seconds")]
    pub api_server_timeout: GoDuration,
    /// Failed checks in a row after which peers are asked.
    #[serde(default = "default::threshold")]
    #[schemars(range(min = 1))]
    pub max_api_error_threshold: i64,
    /// Time limit of API calls that refresh the list of peers.
    #[serde(default = "default::five_seconds")]
    pub peer_api_server_timeout: GoDuration,
    /// Pause between refreshes of the list of peers.
    #[serde(default = "default::peer_update_interval")]
    #[schemars(extend("default" = "15m"))]
    pub peer_update_interval: GoDuration,
    /// Time limit for connecting to a peer.
    #[serde(default = "default::five_seconds")]
    pub peer_dial_timeout: GoDuration,
    /// Time limit of one request to a peer; at least apiServerTimeout + 2s is used.
    #[serde(default = "default::peer_request_timeout")]
    pub peer_request_timeout: GoDuration,
    /// Whether the agent may reboot by software. If false, only the watchdog ends a boot.
    #[serde(default = "default::software_reboot")]
    pub is_software_reboot_enabled: bool,
    /// URL that control-plane nodes try in their self diagnosis; empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_health_check_url: Option<String>,
    /// Extension: what a control-plane node does that lost the API. Left out: SelfFence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "control_plane_policy")]
    pub control_plane_policy: Option<ControlPlanePolicy>,
    /// Port of the agents.
    #[serde(default = "default::host_port")]
    #[schemars(range(min = 1))]
    pub host_port: i64,
    /// Further tolerations of the agents' pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::tolerations")]
    pub custom_ds_tolerations: Vec<Toleration>,
    /// Further requirements on the nodes that run an agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::node_selector_requirements")]
    pub custom_ds_node_selector_requirements: Vec<NodeSelectorRequirement>,
    /// With fewer peers a node does not fence itself on isolation; 0 allows it without any peer.
    #[serde(default = "default::min_peers")]
    #[schemars(range(min = 0))]
    pub min_peers_for_remediation: i64,
}

/// What a control-plane node does that lost the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ControlPlanePolicy {
    /// It ends itself like every other node, and its end can be proven by time.
    #[default]
    SelfFence,
    /// It may exempt itself by its own diagnostics or because another control-plane node answers. In return its end is
    /// never proven by time alone: it needs its acknowledgement, a new boot, or evidence from outside.
    Diagnose,
}

fn control_plane_policy(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["SelfFence", "Diagnose"] })
}

impl Default for SelfNodeRemediationConfigSpec {
    fn default() -> Self {
        Self {
            watchdog_file_path: default::watchdog(),
            safe_time_to_assume_node_rebooted_seconds: None,
            api_check_interval: default::api_check_interval(),
            api_server_timeout: default::five_seconds(),
            max_api_error_threshold: default::threshold(),
            peer_api_server_timeout: default::five_seconds(),
            peer_update_interval: default::peer_update_interval(),
            peer_dial_timeout: default::five_seconds(),
            peer_request_timeout: default::peer_request_timeout(),
            is_software_reboot_enabled: default::software_reboot(),
            endpoint_health_check_url: None,
            control_plane_policy: None,
            host_port: default::host_port(),
            custom_ds_tolerations: Vec::new(),
            custom_ds_node_selector_requirements: Vec::new(),
            min_peers_for_remediation: default::min_peers(),
        }
    }
}

mod default {
    use crate::duration::GoDuration;

    pub fn watchdog() -> String {
        "/dev/watchdog".to_owned()
    }
    pub fn api_check_interval() -> GoDuration {
        GoDuration::from_secs(15)
    }
    pub fn five_seconds() -> GoDuration {
        GoDuration::from_secs(5)
    }
    pub fn threshold() -> i64 {
        3
    }
    pub fn peer_update_interval() -> GoDuration {
        GoDuration::from_secs(15 * 60)
    }
    pub fn peer_request_timeout() -> GoDuration {
        GoDuration::from_secs(7)
    }
    pub fn software_reboot() -> bool {
        true
    }
    pub fn host_port() -> i64 {
        30001
    }
    pub fn min_peers() -> i64 {
        1
    }
}

/// What became of a configuration.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SelfNodeRemediationConfigStatus {
    /// Current state; types Valid and RolledOut.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Generation of the specification that the conditions are about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

resource! {
    /// Configuration of the agents.
    SelfNodeRemediationConfig(SelfNodeRemediationConfigSpec, SelfNodeRemediationConfigStatus),
    group: "self-node-remediation.medik8s.io",
    plural: "selfnoderemediationconfigs",
    scope: Namespaced,
    short_names: ["snrc", "snrconfig"],
    categories: [],
    description: "Timings and options of the node agents; exactly one object counts.",
    columns: &[
        Column::new("Watchdog", "string", ".spec.watchdogFilePath", "Watchdog device"),
        Column::new("Check interval", "string", ".spec.apiCheckInterval", "Pause between API checks"),
        Column::new("Errors", "integer", ".spec.maxApiErrorThreshold", "Failed checks before peers are asked"),
        Column::new("Software reboot", "boolean", ".spec.isSoftwareRebootEnabled", "Whether agents reboot by software"),
        Column::new("Rolled out", "string", r#".status.conditions[?(@.type=="RolledOut")].status"#, "Whether all agents run with it"),
        AGE,
        Column::wide("Port", "integer", ".spec.hostPort", "Port of the agents"),
        Column::wide("Min peers", "integer", ".spec.minPeersForRemediation", "Peers needed for self fencing"),
    ],
    spec: defaulted,
    rules: RULES,
}

const RULES: &[Rule] = &[
    Rule::new(
        "",
        "self.metadata.name == 'self-node-remediation-config'",
        "only one configuration counts, and its name must be self-node-remediation-config; use that name",
    )
    .saying("'only one configuration counts, and its name must be self-node-remediation-config, but it is ' + self.metadata.name")
    .blaming(".metadata")
    .forbidden(),
    Rule::new(
        "spec.apiCheckInterval",
        "duration(self.replace('µ', 'u')) >= duration('1s')",
        "ApiCheckInterval cannot be less than 1s (nor more than 2562047h); raise apiCheckInterval",
    )
    .saying("'ApiCheckInterval cannot be less than 1s, but apiCheckInterval is ' + self"),
    Rule::new(
        "spec.apiServerTimeout",
        "duration(self.replace('µ', 'u')) >= duration('10ms')",
        "ApiServerTimeout cannot be less than 10ms (nor more than 2562047h); raise apiServerTimeout",
    )
    .saying("'ApiServerTimeout cannot be less than 10ms, but apiServerTimeout is ' + self"),
    Rule::new(
        "spec.peerApiServerTimeout",
        "duration(self.replace('µ', 'u')) >= duration('10ms')",
        "PeerApiServerTimeout cannot be less than 10ms (nor more than 2562047h); raise peerApiServerTimeout",
    )
    .saying("'PeerApiServerTimeout cannot be less than 10ms, but peerApiServerTimeout is ' + self"),
    Rule::new(
        "spec.peerUpdateInterval",
        "duration(self.replace('µ', 'u')) >= duration('10s')",
        "PeerUpdateInterval cannot be less than 10s (nor more than 2562047h); raise peerUpdateInterval",
    )
    .saying("'PeerUpdateInterval cannot be less than 10s, but peerUpdateInterval is ' + self"),
    Rule::new(
        "spec.peerDialTimeout",
        "duration(self.replace('µ', 'u')) >= duration('10ms')",
        "PeerDialTimeout cannot be less than 10ms (nor more than 2562047h); raise peerDialTimeout",
    )
    .saying("'PeerDialTimeout cannot be less than 10ms, but peerDialTimeout is ' + self"),
    Rule::new(
        "spec.peerRequestTimeout",
        "duration(self.replace('µ', 'u')) >= duration('10ms')",
        "PeerRequestTimeout cannot be less than 10ms (nor more than 2562047h); raise peerRequestTimeout",
    )
    .saying("'PeerRequestTimeout cannot be less than 10ms, but peerRequestTimeout is ' + self"),
    Rule::new(
        "spec.customDsTolerations[]",
        "!has(self.operator) || self.operator in ['', 'Equal', 'Exists']",
        "operator of a toleration must be Equal or Exists",
    )
    .saying("'operator of a toleration must be Equal or Exists, but is ' + self.operator")
    .blaming(".operator"),
    Rule::new(
        "spec.customDsTolerations[]",
        "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
        "value of a toleration must be empty when its operator is Exists; remove the value",
    )
    .saying("'value of a toleration must be empty when its operator is Exists, but is ' + self.value")
    .blaming(".value"),
    Rule::new(
        "spec.customDsTolerations[]",
        "!has(self.effect) || self.effect in ['', 'NoSchedule', 'PreferNoSchedule', 'NoExecute']",
        "effect of a toleration must be NoSchedule, PreferNoSchedule or NoExecute, or empty for all",
    )
    .saying("'effect of a toleration must be NoSchedule, PreferNoSchedule or NoExecute, but is ' + self.effect")
    .blaming(".effect"),
    Rule::new(
        "spec.customDsNodeSelectorRequirements[]",
        "self.key != ''",
        "key of a node selector requirement must not be empty; name a node label",
    )
    .blaming(".key"),
    Rule::new(
        "spec.customDsNodeSelectorRequirements[]",
        "self.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt']",
        "operator of a node selector requirement must be In, NotIn, Exists, DoesNotExist, Gt or Lt",
    )
    .saying("'operator of a node selector requirement must be In, NotIn, Exists, DoesNotExist, Gt or Lt, but is ' + self.operator")
    .blaming(".operator"),
    Rule::new(
        "spec.customDsNodeSelectorRequirements[]",
        "!(self.operator in ['In', 'NotIn']) || has(self.values) && size(self.values) > 0",
        "values must not be empty with the operators In and NotIn; list at least one value",
    )
    .saying("'values must not be empty with the operator ' + self.operator + ' for key ' + self.key")
    .blaming(".values"),
    Rule::new(
        "spec.customDsNodeSelectorRequirements[]",
        "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || size(self.values) == 0",
        "values must be empty with the operators Exists and DoesNotExist; remove them",
    )
    .saying("'values must be empty with the operator ' + self.operator + ' for key ' + self.key")
    .blaming(".values"),
    Rule::new(
        "spec.customDsNodeSelectorRequirements[]",
        "!(self.operator in ['Gt', 'Lt']) || has(self.values) && size(self.values) == 1 && self.values[0].matches('^[-+]?[0-9]+$')",
        "values must be exactly one integer with the operators Gt and Lt",
    )
    .saying("'values must be exactly one integer with the operator ' + self.operator + ' for key ' + self.key")
    .blaming(".values"),
];
