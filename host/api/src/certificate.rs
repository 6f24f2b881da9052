//! The fencing certificate: the proof that a boot has ended, and everything needed to check it again.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::schema;

/// Kind of the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ProofKind {
    /// The node or its lease names another boot.
    BootChanged,
    /// The agent acknowledged the intent and stopped feeding its watchdog.
    AgentAcknowledged,
    /// Nothing can have extended the life of the boot, and its time is over.
    LeaseExpired,
    /// The management device reports the machine as off.
    PoweredOff,
    /// The machine and its instance are gone.
    MachineGone,
    /// A person confirmed it.
    HumanConfirmed,
}

impl std::fmt::Display for ProofKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// How much the evidence is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Grade {
    /// Under the stated assumptions it cannot be wrong.
    Certain,
    /// It rests on a reboot by software that nothing enforces.
    Assumed,
}

impl std::fmt::Display for Grade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// A juror of the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Juror {
    /// Node name.
    pub node: String,
    /// How long ago, at the promise, it had last told the boot that the API is out of reach; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_api_age: Option<GoDuration>,
}

/// The proof that a boot has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FencingCertificate {
    /// Kind of the evidence.
    pub proof: ProofKind,
    /// How much it is worth.
    pub grade: Grade,
    /// The node.
    pub node: String,
    /// The boot that has ended.
    pub boot_id: String,
    /// The boot that followed, if one was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_boot_id: Option<String>,
    /// UID of the agent lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_uid: Option<String>,
    /// UID of the fence intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent_uid: Option<String>,
    /// Time to live in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<GoDuration>,
    /// Timeout of the watchdog; absent: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog_timeout: Option<GoDuration>,
    /// Margin for clock rates and scheduling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<GoDuration>,
    /// How long was waited between intent and proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<GoDuration>,
    /// The jurors that promised.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["node"]))]
    pub jurors: Vec<Juror>,
    /// How many jurors were needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jury_quorum: Option<u32>,
    /// The controller that observed it.
    pub observer: String,
    /// When the intent was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub intent_at: Option<Time>,
    /// When the proof was complete.
    #[schemars(schema_with = "schema::time")]
    pub proven_at: Time,
    /// The argument in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
}
