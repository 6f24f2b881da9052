//! What Palisade records in the status of a remediation: how far it is, what it has done, and the proof.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::certificate::FencingCertificate;
use crate::duration::GoDuration;
use crate::outside::{MachineRecord, QuestionRecord};
use crate::schema;

/// How far a remediation is. Written by the controller in the one status update that commits a step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Node under remediation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// UID of the node object when the remediation was taken up. Another node of the same name is another node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_uid: Option<String>,
    /// Number of committed steps.
    pub step: i64,
    /// Name of the step that the remediator reached last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 64))]
    pub step_name: Option<String>,
    /// Memory that the remediator asked to keep, base64, at most 4 KiB decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 5464))]
    pub memory: Option<String>,
    /// The module that serves this remediation, latched at its first step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<ModuleReference>,
    /// Effects that are committed but not yet known to be applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub pending: Vec<PendingEffect>,
    /// Effects that were applied, by key: a key never comes to stand for another effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub applied: Vec<PendingEffect>,
    /// What this remediation put on the cluster and has to take back or to finish.
    #[serde(skip_serializing_if = "Owned::is_empty")]
    pub owned: Owned,
    /// What happened, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub timeline: Vec<TimelineEntry>,
    /// Where the time went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<TimeSpent>,
    /// The state of the fencing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fencing: Option<FencingProgress>,
    /// The proof that the old boot has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<FencingCertificate>,
    /// UIDs of fence intents whose boot showed life after its end: nothing is released for them by force, ever.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub contradicted: Vec<String>,
    /// The machine that is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineRecord>,
    /// What people were asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["question"]))]
    pub questions: Vec<QuestionRecord>,
    /// Fuel that the latest call of the remediator used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<i64>,
    /// Calls in a row that ended in a trap, a time-out or an exceeded limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<i64>,
}

/// A loaded module.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ModuleReference {
    /// Name of the remediator.
    pub remediator: String,
    /// Version that its manifest names.
    pub version: String,
    /// sha256 digest of the component.
    pub digest: String,
}

/// A committed effect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PendingEffect {
    /// Names the effect for the life of the remediation.
    pub key: String,
    /// The effect.
    #[schemars(schema_with = "schema::any")]
    pub effect: serde_json::Value,
}

/// Things that are ours.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Owned {
    /// Taints on the node, as `key=value:effect` or `key:effect`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub taints: Vec<String>,
    /// Whether the node was made unschedulable by us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cordoned: Option<bool>,
    /// Pods whose deletion was asked for before the proof.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["uid"]))]
    pub marked_pods: Vec<MarkedPod>,
}

impl Owned {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.taints.is_empty() && self.cordoned.is_none() && self.marked_pods.is_empty()
    }
}

/// A pod that was marked for deletion.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct MarkedPod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEntry {
    /// What happened.
    pub stage: Stage,
    /// When, on the controller's clock; for people, never compared.
    #[schemars(schema_with = "schema::time")]
    pub at: Time,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Lengths of the parts of a remediation, each once it is over. The parts between `detect` and `release` follow each
/// other; their sum is `total` but for what no part is charged with (pauses of a controller that was not running).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TimeSpent {
    /// From the node's last change of readiness to the creation of this object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detect: Option<GoDuration>,
    /// From the creation to the beginning of the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub take_up: Option<GoDuration>,
    /// Until taint and marks were stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<GoDuration>,
    /// Until the fence intent was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intend: Option<GoDuration>,
    /// Until a majority of the jury had promised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promises: Option<GoDuration>,
    /// Until the end of the boot was proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<GoDuration>,
    /// Until everything was released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<GoDuration>,
    /// From the node's last change of readiness to the end of the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<GoDuration>,
}

/// The stages of a remediation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Stage {
    /// The remediation was taken up.
    Started,
    /// Node and pods are marked.
    Marked,
    /// The fence intent is in the lease.
    Intended,
    /// A majority of the jury promised.
    Promised,
    /// The node acknowledged its end.
    Acknowledged,
    /// The end of the old boot is proven.
    Proven,
    /// The workload is released.
    Released,
    /// The node is back.
    Recovered,
    /// Marks and taints are taken back, the intent is cleared.
    Restored,
    /// A sign of the old boot appeared after the proof.
    Contradicted,
    /// It failed.
    Failed,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// State of the fencing while there is no proof yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FencingProgress {
    /// What is missing for a proof and what would bring it, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// The boot to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// UID of the agent lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_uid: Option<String>,
    /// UID of the fence intent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent_uid: Option<String>,
    /// Jurors that promised so far.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub promised: Vec<String>,
    /// When the proof by expiry is complete at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub deadline: Option<Time>,
}
