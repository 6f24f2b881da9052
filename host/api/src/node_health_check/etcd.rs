//! The guard of etcd's quorum.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::rule::Rule;
use crate::schema;

/// Before a control-plane node is remediated: does etcd keep its quorum without it?
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EtcdGuard {
    /// Auto: asked wherever the cluster shows its etcd (the endpoints below, else static pods labelled component=etcd in
    /// kube-system); where it shows none, nothing is refused. Required: refused too where nothing is known. Off: never
    /// asked.
    pub guard: EtcdGuardMode,
    /// Client URLs of etcd members, such as https://10.0.0.1:2379. One that answers is enough to learn of the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::urls")]
    pub endpoints: Vec<String>,
    /// Name of a Secret in the namespace of the controller with tls.crt, tls.key and ca.crt of an etcd client. Needed
    /// with https endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub client_secret: Option<String>,
}

/// When the quorum is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum EtcdGuardMode {
    /// Where the cluster shows its etcd.
    #[default]
    Auto,
    /// Always.
    Required,
    /// Never.
    Off,
}

impl JsonSchema for EtcdGuardMode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EtcdGuardMode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": ["Auto", "Required", "Off"] })
    }
}

pub(super) const RULES: &[Rule] = &[
    Rule::new(
        "spec.etcd.endpoints[]",
        "self.matches('^https?://[^ /]+:[0-9]+$')",
        "endpoints must be client URLs of etcd members, such as https://10.0.0.1:2379",
    )
    .saying("'endpoints must be client URLs of etcd members, such as https://10.0.0.1:2379, but one is ' + self"),
    Rule::new(
        "spec.etcd",
        "!has(self.endpoints) || !self.endpoints.exists(e, e.startsWith('https')) || has(self.clientSecret) && size(self.clientSecret) > 0",
        "clientSecret is needed with https endpoints; name a Secret with tls.crt, tls.key and ca.crt in the namespace of the controller",
    )
    .blaming(".clientSecret")
    .required(),
];
