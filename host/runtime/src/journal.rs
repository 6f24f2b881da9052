//! The record of a call, and its replay.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::capability::Granted;
use crate::effect::{Effect, StagedEffect};
use crate::limits::Limits;
use crate::proof::ProofClaim;
use crate::report::{FailureCause, Outcome, Refusal};
use crate::view::{RemediationView, Snapshot};

/// Everything that a call depended on, and what it did. A journal holds claims, never proofs: replaying one can show
/// what a remediator would ask for, but nothing in it opens a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Journal {
    /// Digest of the component.
    pub digest: String,
    /// Contract it was called under.
    pub contract: String,
    /// What was seen.
    pub input: JournalInput,
    /// What was done.
    pub record: JournalRecord,
}

/// What a call saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalInput {
    /// The remediation.
    pub remediation: RemediationView,
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What the usable proof claimed.
    pub proof: Option<ProofClaim>,
    /// Earlier effects.
    pub ledger: BTreeMap<String, Effect>,
    /// Limits.
    pub limits: Limits,
    /// Grants.
    pub granted: Granted,
}

/// What a call did. Two runs of the same module on the same input give equal records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalRecord {
    /// Host calls in order.
    pub calls: Vec<HostCall>,
    /// The answer, or the kind of failure.
    pub outcome: Result<Outcome, FailureCause>,
    /// Step afterwards.
    pub step: String,
    /// Memory afterwards.
    #[serde(with = "crate::hex")]
    pub memory: Vec<u8>,
    /// Effects that left the call.
    pub effects: Vec<StagedEffect>,
    /// Refusals.
    pub refusals: Vec<Refusal>,
    /// Log lines.
    pub log: Vec<String>,
    /// Fuel used.
    pub fuel: u64,
}

/// One host call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostCall {
    /// `interface.function`.
    pub function: String,
    /// What was passed, or what came back, in short; reads come from the snapshot and need none.
    pub note: String,
}

/// A replay that came out differently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Another component.
    #[error("the journal was written by component {journal}, this one is {module}")]
    OtherModule {
        /// Digest in the journal.
        journal: String,
        /// Digest of the module.
        module: String,
    },
    /// The same component did something else: a bug in the host, or a journal that was changed.
    #[error("the replay differs from the journal in: {}", fields.join(", "))]
    Differs {
        /// Names of the fields of [`JournalRecord`] that differ.
        fields: Vec<&'static str>,
    },
}

impl JournalRecord {
    /// Names of the fields in which two records differ.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let pairs = [
            ("calls", self.calls == other.calls),
            ("outcome", self.outcome == other.outcome),
            ("step", self.step == other.step),
            ("memory", self.memory == other.memory),
            ("effects", self.effects == other.effects),
            ("refusals", self.refusals == other.refusals),
            ("log", self.log == other.log),
            ("fuel", self.fuel == other.fuel),
        ];
        pairs.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}
