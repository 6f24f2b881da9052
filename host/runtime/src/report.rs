//! What goes into a call and what comes out of it. Both are data, so a call can be journalled, explained and replayed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::effect::{Effect, StagedEffect};
use crate::journal::Journal;
use crate::proof::Proof;
use crate::view::{RemediationView, Snapshot};

/// Input of one call.
#[derive(Debug, Clone, Default)]
pub struct CallInput {
    /// The remediation.
    pub remediation: RemediationView,
    /// The world.
    pub snapshot: Snapshot,
    /// The proof the controller holds. One for another remediation or node is treated as none, and reported.
    pub proof: Option<Proof>,
    /// Effects committed before, by key: the same key must not come to mean something else.
    pub ledger: BTreeMap<String, Effect>,
}

/// Everything a call produced.
#[derive(Debug, Clone)]
pub struct CallReport {
    /// What the remediator answered, or why there is no answer.
    pub outcome: Result<Outcome, CallFailure>,
    /// Step to show and to hand to the next call.
    pub step: String,
    /// Memory for the next call, at most [`MEMORY_LIMIT`](crate::MEMORY_LIMIT) bytes. Unchanged after a failure.
    pub memory: Vec<u8>,
    /// What to gate, commit and apply. Empty after a failure.
    pub effects: Vec<StagedEffect>,
    /// Effects the host refused during the call.
    pub refusals: Vec<Refusal>,
    /// Lines that the remediator logged.
    pub log: Vec<String>,
    /// Fuel used.
    pub fuel: u64,
    /// Wall-clock time of the call; not part of the journal.
    pub took: Duration,
    /// Record that replays the call.
    pub journal: Journal,
}

/// What a remediator answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// Not done; call again after this time, or earlier when something changed.
    Working {
        /// The longest wait, `None` for the host's default.
        requeue_after_millis: Option<u64>,
    },
    /// Done.
    Succeeded,
    /// It cannot be done; escalation moves on.
    Failed {
        /// For people.
        reason: String,
    },
}

/// Why a call has no answer. It is "no opinion", never "fenced".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallFailure {
    /// What kind of failure.
    pub cause: FailureCause,
    /// Names remediator, version, remediation, cause and remedy; for conditions and events.
    pub message: String,
}

/// Kinds of failures of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureCause {
    /// The remediator returned an error itself.
    Error,
    /// It returned that it cannot read its memory. The host may call again with empty memory.
    BadMemory,
    /// It trapped (a panic traps too).
    Trap,
    /// It ran out of fuel.
    OutOfFuel,
    /// It ran past the deadline.
    Deadline,
    /// It wanted more memory than allowed and gave up.
    Memory,
    /// It recursed too deeply.
    Stack,
    /// It moved too much data, or made too many host calls.
    Excess,
    /// It used a handle that the host never gave it, or one already used up.
    Handle,
    /// It called an interface that was not granted and has no way to report a refusal.
    NotGranted,
    /// Its answer breaks the contract, for example too much memory.
    Contract,
    /// The host could not run it now.
    Host,
}

impl FailureCause {
    /// Counts towards opening the breaker; a host problem does not.
    pub fn blames_module(self) -> bool {
        !matches!(self, Self::Host)
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CallFailure {}

/// An effect that the host did not stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Key it was asked under.
    pub key: String,
    /// The effect, in words.
    pub effect: String,
    /// Why not.
    pub reason: RefusalReason,
}

/// Why an effect was refused. The same reasons reach the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefusalReason {
    /// The capability was not granted.
    PermissionDenied(String),
    /// What it is about does not exist.
    NotFound(String),
    /// The host cannot do it now.
    Unavailable(String),
    /// The rules forbid it: another proof, a taken key, a foreign taint, too many effects.
    Refused(String),
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, why) = match self {
            Self::PermissionDenied(why) => ("permission denied", why),
            Self::NotFound(why) => ("not found", why),
            Self::Unavailable(why) => ("unavailable", why),
            Self::Refused(why) => ("refused", why),
        };
        write!(f, "{kind}: {why}")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (key {:?}): {}", self.effect, self.key, self.reason)
    }
}
