//! What a remediator is shown: one remediation, and one snapshot of the world taken before the call.
//!
//! Plain data with lengths and ages only, never wall-clock stamps, so that the same input always gives the same answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The remediation a call is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemediationView {
    /// UID of the remediation object.
    pub uid: String,
    /// Kind of the remediation object, for example `SelfNodeRemediation`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The node it is about. No effect can name another one.
    pub node: String,
    /// Strategy of the template, empty where the kind has none.
    pub strategy: String,
    /// Parameters of the template, checked against the schema of the manifest before the call.
    pub parameters: serde_json::Value,
    /// Step that the last committed call reported; empty before the first.
    pub step: String,
    /// Memory that the last committed call left, at most [`MEMORY_LIMIT`](crate::MEMORY_LIMIT) bytes.
    #[serde(with = "crate::hex")]
    pub memory: Vec<u8>,
    /// Age of the remediation object.
    pub age_millis: u64,
    /// The owner gave up waiting (annotation `remediation.medik8s.io/nhc-timed-out`): start nothing new.
    pub timed_out: bool,
    /// The object is being deleted: put back what is ours.
    pub deleting: bool,
}

/// Everything a call can read, as one consistent picture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The node, `None` when the object is gone.
    pub target: Option<TargetView>,
    /// The native agent of the node.
    pub agent: AgentView,
    /// Progress of the fencing protocol.
    pub fencing: FencingView,
    /// What still runs, or is held, on the node.
    pub workloads: WorkloadsView,
    /// Scheduling state of the node that is ours.
    pub scheduling: SchedulingView,
    /// Machine, power, people, jobs.
    #[serde(default)]
    pub outside: crate::outside::Outside,
}

/// The node as the host sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetView {
    /// Node name.
    pub name: String,
    /// Boot id in the node's status, empty when the kubelet never reported one.
    pub boot_id: String,
    /// Provider id, empty when there is none.
    pub provider_id: String,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// Conditions of the node's status.
    pub conditions: Vec<NodeCondition>,
    /// All taints, ours and others'.
    pub taints: Vec<Taint>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// One condition of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCondition {
    /// Type, for example `Ready`.
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Machine-readable reason.
    pub reason: String,
    /// How long it has had this status.
    pub age_millis: u64,
}

/// A taint of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// Taint key.
    pub key: String,
    /// Value, may be empty.
    pub value: String,
    /// Effect as Kubernetes spells it.
    pub effect: String,
}

/// What is known of the node's agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentView {
    /// Whether, and how, the agent can be reached.
    pub reach: AgentReach,
    /// Boot id that the agent published, empty when it never published.
    pub boot_id: String,
    /// Age of its last renewal as this controller saw it.
    pub last_renewal_millis: Option<u64>,
    /// The watchdog it published.
    pub watchdog: Option<WatchdogView>,
    /// It published the claim that its node ends its own boot when its right to live ends.
    pub self_fences: bool,
    /// Size of its jury.
    pub jury: u32,
}

/// How the agent of a node is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentReach {
    /// It answers the controller.
    Direct,
    /// Only through peers.
    Relayed,
    /// Not at all.
    Silent,
    /// No agent was ever seen on the node.
    #[default]
    Absent,
}

/// The watchdog of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchdogView {
    /// Identity that the driver reports.
    pub identity: String,
    /// Device timeout.
    pub timeout_millis: u64,
    /// Whether firing resets the machine.
    pub resets: bool,
}

/// Where the fencing protocol stands for this remediation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FencingView {
    /// Stage reached.
    pub stage: FenceStage,
    /// The boot to be ended, empty before the intent.
    pub boot_id: String,
    /// What is missing for a proof, for people; empty when nothing is.
    pub waiting_for: String,
    /// Time until the proof is expected, when a bound is known.
    pub due_millis: Option<u64>,
}

/// Stages of fencing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FenceStage {
    /// Nobody asked for it.
    #[default]
    Idle,
    /// Asked for, not yet begun.
    Requested,
    /// Own taint set and the pods of the first class marked.
    Marked,
    /// The intent is in the agent's lease.
    Intended,
    /// A majority of the jury promised.
    Promised,
    /// The host holds a proof.
    Proven,
    /// A proof was withdrawn because the boot showed a sign of life: nothing more is released.
    Contradicted,
}

/// What still runs or is held on the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadsView {
    /// Pods that a release would remove and that still exist.
    pub pods: u32,
    /// Volume attachments of the node that still exist.
    pub volume_attachments: u32,
    /// Names (`namespace/name`) of some of them, for messages.
    pub examples: Vec<String>,
    /// How the workloads were released, once they were.
    pub released: Option<ReleaseMethod>,
    /// The out-of-service taint is on the node and it is ours.
    pub out_of_service: bool,
    /// Anything of ours is left on the node: taints, cordon, fence intent.
    pub held: bool,
    /// The cluster acts on the out-of-service taint.
    pub out_of_service_supported: bool,
}

/// How the workloads of a dead boot are released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReleaseMethod {
    /// Pods and volume attachments are deleted one by one.
    ResourceDeletion,
    /// The out-of-service taint lets Kubernetes do it.
    OutOfServiceTaint,
}

/// Scheduling state of the node that this remediation made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SchedulingView {
    /// This remediation cordoned the node.
    pub cordoned: bool,
    /// Taints that this remediation set through `scheduling`.
    pub taints: Vec<Taint>,
}
