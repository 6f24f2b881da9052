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

/// The terms of the right to live, as the fence intent copied them: what the bound and the jury rest on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertifiedTerms {
    /// How long the machine may still run unfed: twice the watchdog's timeout, or without one the limits of the steps of
    /// the reset by software.
    pub reset_bound: GoDuration,
    /// Whether the watchdog resets the machine when it fires; absent: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog_resets: Option<bool>,
    /// Names of the nodes of the jury, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub jury: Vec<String>,
    /// A jury smaller than this does not make the node fence itself.
    pub min_peers: u32,
    /// The agent claimed to end its own boot when its right to live runs out.
    pub self_fences: bool,
    /// The node might have exempted itself by its own diagnostics.
    pub may_exempt: bool,
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
    /// The rest of the terms in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<CertifiedTerms>,
    /// How long before the proof the time to live began to count: this controller first saw the version of the agent lease
    /// on which the intent was stored. On its monotonic clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_for: Option<GoDuration>,
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
