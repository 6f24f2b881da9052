//! One line of an audit log.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// How far a request had come when the line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Stage {
    /// It arrived.
    RequestReceived,
    /// A watch began.
    ResponseStarted,
    /// It was answered, or a watch ended.
    ResponseComplete,
    /// The API server failed.
    Panic,
}

/// A user.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct User {
    /// Its name.
    #[serde(default)]
    pub username: String,
}

/// What a request was about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// Plural resource name.
    pub resource: String,
    /// `status` and the like; empty for the object itself.
    pub subresource: String,
    /// Empty for cluster-scoped objects and lists over all namespaces.
    pub namespace: String,
    /// Empty for lists, and where the server chose the name.
    pub name: String,
    /// Empty for the core group.
    pub api_group: String,
}

/// What the answer was.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Answer {
    /// HTTP status code; 0 if there was none.
    #[serde(default)]
    pub code: u16,
}

/// One line of an audit log.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// How far the request had come.
    pub stage: Stage,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub uri: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Who asked.
    pub user: User,
    /// With which program.
    #[serde(default)]
    pub user_agent: String,
    /// What it was about; nothing for paths such as `/version`.
    #[serde(default)]
    pub object_ref: ObjectRef,
    /// The answer.
    #[serde(default)]
    pub response_status: Answer,
    /// The body, where the policy logs it.
    #[serde(default)]
    pub request_object: Value,
    /// The answer's body, where the policy logs it.
    #[serde(default)]
    pub response_object: Value,
    /// When the request arrived.
    #[serde(rename = "requestReceivedTimestamp")]
    pub received: Timestamp,
    /// When this stage was reached.
    #[serde(rename = "stageTimestamp")]
    pub reached: Timestamp,
}

impl Entry {
    /// Whether it changed something, or tried to.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether the answer was no error.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.response_status.code)
    }

    /// Resource, subresource and group in one word: `leases.coordination.k8s.io`, `nodes/status`.
    pub fn kind(&self) -> String {
        let about = &self.object_ref;
        if about.resource.is_empty() {
            return self.uri.split('?').next().unwrap_or_default().to_owned();
        }
        let mut word = about.resource.clone();
        if !about.subresource.is_empty() {
            word = format!("{word}/{}", about.subresource);
        }
        if !about.api_group.is_empty() {
            word = format!("{word}.{}", about.api_group);
        }
        word
    }

    /// In one line, for messages.
    pub fn line(&self) -> String {
        let name = match (self.object_ref.namespace.as_str(), self.object_ref.name.as_str()) {
            ("", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        };
        let code = self.response_status.code;
        format!("{} {} {} {name} -> {code} [{}]", self.reached, self.verb, self.kind(), self.user_agent)
    }
}
