//! Types that several kinds share.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// An integer or a text, as thresholds have it: `3`, `"3"` or `"51%"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(i64),
    /// A text, usually a percentage.
    Text(String),
}

impl std::fmt::Display for IntOrString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl From<i64> for IntOrString {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<&str> for IntOrString {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// How the workload of a node that is proven dead is released.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum RemediationStrategy {
    /// Whatever fits the cluster best.
    #[default]
    Automatic,
    /// Delete the pods and volume attachments of the node.
    ResourceDeletion,
    /// Set the out-of-service taint, on which the cluster releases pods and volumes.
    OutOfServiceTaint,
    /// A word that this version does not know. Old objects may hold one; it decodes, so that the object can be reported
    /// instead of breaking the watch.
    #[serde(untagged)]
    Unknown(String),
}

impl RemediationStrategy {
    /// The word in manifests.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Automatic => "Automatic",
            Self::ResourceDeletion => "ResourceDeletion",
            Self::OutOfServiceTaint => "OutOfServiceTaint",
            Self::Unknown(word) => word,
        }
    }
}

impl std::fmt::Display for RemediationStrategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl JsonSchema for RemediationStrategy {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RemediationStrategy".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": ["Automatic", "ResourceDeletion", "OutOfServiceTaint"] })
    }
}

/// A status in which nothing is reported.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct EmptyStatus {}
