//! How often a node is remediated before a person has to look at it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::rule::Rule;
use crate::schema;

/// How often a node is remediated before a person has to look at it. An attempt is one failure of a node for which a
/// remediation was made, with all steps of its escalation. It is remembered in status.attempts, so it survives the
/// deletion of the remediation and restarts of the controller, and is forgotten with the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptLimit {
    /// After so many attempts within the window the node is quarantined: nothing more is started for it. 1 to 20.
    #[schemars(range(min = 1, max = 20))]
    pub max: i64,
    /// Attempts older than this do not count; at least 60s.
    #[schemars(extend("maxLength" = 64))]
    pub window: GoDuration,
    /// How long a quarantine lasts. Absent: until a person ends it with the annotation palisade.dev/attempts-forgiven on
    /// the Node, whose value is a time (RFC 3339) up to which attempts do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 64))]
    pub quarantine_for: Option<GoDuration>,
}

/// What is remembered of a node's attempts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeAttempts {
    /// Name of the node.
    pub node: String,
    /// When the attempts within the window began, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::times")]
    pub started: Vec<Time>,
    /// Since when the node is quarantined, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub quarantined: Option<Time>,
}

pub(super) const RULES: &[Rule] = &[
    Rule::new(
        "spec.attempts.window",
        "duration(self.replace('µ', 'u')) >= duration('60s')",
        "window must be at least 60s and at most 2562047h",
    )
    .saying("'window must be at least 60s, but is ' + self"),
    Rule::new(
        "spec.attempts.quarantineFor",
        "duration(self.replace('µ', 'u')) >= duration('60s')",
        "quarantineFor must be at least 60s and at most 2562047h; leave it out for a quarantine that a person ends",
    )
    .saying(
        "'quarantineFor must be at least 60s, but is ' + self + '; leave it out for a quarantine that a person ends'",
    ),
];
