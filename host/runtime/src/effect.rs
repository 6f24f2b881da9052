//! What a remediator can ask for. Effects carry no node name: only the remediation's own target can be meant.

use serde::{Deserialize, Serialize};

use crate::capability::Capability;
use crate::outside::Question;
use crate::proof::ProofId;
use crate::view::ReleaseMethod;

/// An effect under the key that names it for the life of the remediation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StagedEffect {
    /// Chosen by the remediator; the same key never stands for two different effects.
    pub key: String,
    /// What to do.
    pub effect: Effect,
}

/// One thing to do to the target. Each is idempotent: the controller may apply it again after a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "do")]
pub enum Effect {
    /// Begin, or keep up, fencing of the node's current boot.
    RequestFence {
        /// How the boot shall be ended.
        method: FenceMethod,
    },
    /// Give the workloads of the proven-dead boot free.
    Release {
        /// The proof; the gate compares it with the one the controller holds.
        proof: ProofId,
        /// How.
        how: ReleaseMethod,
    },
    /// Take back what this remediation put on the node.
    Restore {
        /// How much of it.
        what: Restoration,
    },
    /// Mark the node unschedulable.
    Cordon,
    /// Undo this remediation's cordon.
    Uncordon,
    /// Set a taint of our own.
    TaintOwn {
        /// The taint.
        taint: OwnTaint,
    },
    /// Remove a taint that this remediation set.
    UntaintOwn {
        /// The taint.
        taint: OwnTaint,
    },
    /// Delete the machine behind the node.
    DeleteMachine {
        /// Its UID.
        uid: String,
    },
    /// The machine switched off.
    PowerOff,
    /// The machine switched on.
    PowerOn,
    /// Ask people.
    Ask {
        /// What.
        question: Question,
        /// In words.
        message: String,
        /// So many different persons have to say yes.
        persons: u32,
        /// After this time answers do not count.
        expires_millis: Option<u64>,
    },
    /// Run a job of the administrator's list, once for the life of the remediation.
    RunJob {
        /// Its name.
        name: String,
    },
    /// Set a condition on the remediation's status.
    Condition {
        /// Condition type.
        kind: String,
        /// Its status.
        status: ConditionStatus,
        /// Reason in one word, CamelCase.
        reason: String,
        /// For people.
        message: String,
    },
    /// Record an event about the remediation, once for its life under this key.
    Event {
        /// A warning, not a normal event.
        warning: bool,
        /// Reason in one word, CamelCase.
        reason: String,
        /// For people.
        message: String,
    },
}

/// How a boot is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FenceMethod {
    /// The node's agent and its watchdog end it; the lease protocol proves it.
    SelfFence,
    /// Something from outside ends it; the node need not have an agent.
    External,
}

/// What a restore takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restoration {
    /// Only our out-of-service taint: it must not meet new pods.
    OutOfServiceTaint,
    /// Everything: taints, cordon and the fence intent.
    Everything,
}

/// A taint that a remediator may set. Never `NoExecute`: that would release workloads without a proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnTaint {
    /// Key; must begin with one of [`OWN_TAINT_PREFIXES`].
    pub key: String,
    /// Value, may be empty.
    pub value: String,
    /// Effect.
    pub effect: OwnTaintEffect,
}

/// Taint keys a remediator may use begin so.
pub const OWN_TAINT_PREFIXES: [&str; 2] = ["remediation.palisade.dev/", "remediation.medik8s.io/"];

/// Effect of an own taint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnTaintEffect {
    /// No new pods.
    NoSchedule,
    /// Preferably no new pods.
    PreferNoSchedule,
}

/// Status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can tell.
    Unknown,
}

impl Effect {
    /// The capability it needs.
    pub fn capability(&self) -> Capability {
        match self {
            Self::RequestFence { .. } => Capability::Fencing,
            Self::Release { .. } | Self::Restore { .. } => Capability::Workloads,
            Self::Cordon | Self::Uncordon | Self::TaintOwn { .. } | Self::UntaintOwn { .. } => Capability::Scheduling,
            Self::Condition { .. } | Self::Event { .. } => Capability::Report,
            Self::DeleteMachine { .. } => Capability::Machines,
            Self::PowerOff | Self::PowerOn => Capability::Power,
            Self::Ask { .. } => Capability::Approval,
            Self::RunJob { .. } => Capability::Jobs,
        }
    }

    /// Applied once for the life of the remediation under its key. Everything else is a wish for a state, and wishing
    /// again is how a level-triggered remediator keeps it up.
    pub fn once(&self) -> bool {
        matches!(self, Self::Event { .. })
    }

    /// A condition is a statement that may change, so its key does not bind its content for the remediation's life.
    pub fn changeable(&self) -> bool {
        matches!(self, Self::Condition { .. })
    }

    /// In two or three words, for timelines and messages.
    pub fn summary(&self) -> String {
        match self {
            Self::RequestFence { method: FenceMethod::SelfFence } => "fence the boot".into(),
            Self::RequestFence { method: FenceMethod::External } => "fence the boot from outside".into(),
            Self::Release { how, .. } => format!("release workloads ({how:?})"),
            Self::Restore { what: Restoration::OutOfServiceTaint } => "remove the out-of-service taint".into(),
            Self::Restore { what: Restoration::Everything } => "restore the node".into(),
            Self::Cordon => "cordon".into(),
            Self::Uncordon => "uncordon".into(),
            Self::TaintOwn { taint } => format!("set taint {}", taint.key),
            Self::UntaintOwn { taint } => format!("remove taint {}", taint.key),
            Self::Condition { kind, status, .. } => format!("condition {kind}={status:?}"),
            Self::Event { reason, .. } => format!("event {reason}"),
            Self::DeleteMachine { .. } => "delete the machine".into(),
            Self::PowerOff => "power off".into(),
            Self::PowerOn => "power on".into(),
            Self::Ask { question: Question::ApproveAction, .. } => "ask for approval".into(),
            Self::Ask { question: Question::ConfirmIsolated, .. } => "ask to confirm isolation".into(),
            Self::RunJob { name } => format!("run job {name}"),
        }
    }
}
