//! What Palisade records in the status of a remediation about things outside of the node: its machine, and what people
//! were asked and answered.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// A machine whose deletion this remediation asks for, recorded before it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineRecord {
    /// Group and version.
    pub api_version: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID: another machine of this name is another one.
    pub uid: String,
    /// When the deletion was asked for, on the controller's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub deletion_requested: Option<Time>,
    /// Whether somebody held the machine by a finalizer then, so that its instance goes before it does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub guarded: bool,
    /// Object of the infrastructure provider, which must be gone too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<MachineReference>,
    /// Controller that makes another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<MachineReference>,
    /// Machines that the controller wanted then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
}

/// An object that a machine refers to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineReference {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// UID, where the reference has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// A question to people and its answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuestionRecord {
    /// `ApproveAction` or `ConfirmIsolated`.
    pub question: String,
    /// What was asked, in words.
    pub message: String,
    /// The boot it is about.
    pub boot_id: String,
    /// Names this question; an answer repeats it, so that nobody can answer before it was asked.
    pub code: String,
    /// So many different persons have to say yes.
    pub persons: u32,
    /// When it was asked, on the controller's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub asked: Option<Time>,
    /// Answers after this time do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub expires: Option<Time>,
    /// `Pending`, `Given`, `Denied`, `Expired`, `Stale` or `Withdrawn`; all but the first are final.
    pub state: String,
    /// UIDs of the pods that were marked when it was asked: a confirmation of isolation counts as long as no other was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub marked: Vec<String>,
    /// Who answered, oldest first. Only ever added to, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub answers: Vec<AnswerRecord>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnswerRecord {
    /// The user, as the API server authenticated it.
    pub who: String,
    /// `yes`, `no`, or `break-glass`: a yes that counts for everybody who is missing.
    pub says: String,
    /// Why, in their words.
    pub why: String,
    /// When this controller saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub at: Option<Time>,
    /// Why it did not count; absent: it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}
