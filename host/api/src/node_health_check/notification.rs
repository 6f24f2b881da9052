//! Who is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule::Rule;

/// A webhook that gets every event of this policy as a CloudEvent 1.0 (structured mode: HTTP POST with
/// application/cloudevents+json). Events are sent in order and tried again while the webhook fails; a webhook that stays
/// silent for long loses the oldest ones and never delays a remediation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Where to: http:// or https://. With https the certificate must be of an authority of the system, or of `authority`.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Only events with these reasons, such as RemediationCreated or NodeQuarantined. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 64))]
    pub reasons: Vec<String>,
    /// A header that is sent along, such as a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<SecretHeader>,
    /// Who signs the certificate of the webhook, instead of the authorities of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<SecretAuthority>,
}

/// Certificates of authorities in a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretAuthority {
    /// Name of the Secret, in the namespace of the controller.
    #[schemars(length(min = 1, max = 253))]
    pub secret: String,
    /// Key in the Secret; its value is one or more certificates, as PEM.
    #[serde(default = "ca_crt")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn ca_crt() -> String {
    "ca.crt".to_owned()
}

/// A header whose value is in a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretHeader {
    /// Name of the header.
    #[serde(default = "authorization")]
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Name of the Secret, in the namespace of the controller, so that a policy cannot send other Secrets away.
    #[schemars(length(min = 1, max = 253))]
    pub secret: String,
    /// Key in the Secret; its value is the whole value of the header, such as Bearer followed by a token.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn authorization() -> String {
    "Authorization".to_owned()
}

pub(super) const RULES: &[Rule] = &[
    Rule::new(
        "spec.notifications[].url",
        "self.matches('^https?://[^ /]+')",
        "url must begin with http:// or https:// and a host, for example https://hooks.example.com/palisade",
    )
    .saying("'url must begin with http:// or https:// and a host, for example https://hooks.example.com/palisade, but is ' + self"),
    Rule::new(
        "spec.notifications[].header.name",
        "self.matches('^[A-Za-z0-9-]+$')",
        "name must be the name of an HTTP header: letters, digits and dashes",
    )
    .saying("'name must be the name of an HTTP header: letters, digits and dashes, but is ' + self"),
];
