//! Typed evidence that a boot has ended.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::{BootId, Terms};
use crate::time::Mono;

/// How much a proof proves. Ordered: `Assumed < Certain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grade {
    /// Rests on software that must have run to the end on the dead node.
    Assumed,
    /// Rests on hardware, on the boot id, or on a device that reads back as off.
    Certain,
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Assumed => "Assumed",
            Self::Certain => "Certain",
        })
    }
}

/// The evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProofKind {
    /// P1: a source that named the boot now names another one. Forces nothing.
    BootChanged,
    /// P2: the agent acknowledged the intent and stopped feeding.
    AgentAcknowledged,
    /// P3: the right to live ran out and nobody can have extended it.
    LeaseExpired,
    /// P4: the management device read back as off.
    PoweredOff,
    /// P5: machine and instance are gone.
    MachineGone,
    /// P6: a named person confirmed isolation.
    HumanConfirmed,
}

impl ProofKind {
    /// Whether pods may be taken away by force. Not after P1: the new boot may run what was not marked, and its kubelet
    /// confirms what was.
    pub fn forces(self) -> bool {
        self != Self::BootChanged
    }
}

impl fmt::Display for ProofKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A juror that promised to answer "intent exists" from now on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PromisedBy {
    /// Its node.
    pub node: String,
    /// How long before its promise it last answered `NoApi` to this boot.
    pub no_api_age: Option<Duration>,
}

/// A proof as the host makes it: for one boot, and, where the agent lease took part, one intent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proof {
    /// Which evidence.
    pub kind: ProofKind,
    /// How much it proves.
    pub grade: Grade,
    /// The node.
    pub node: String,
    /// The boot that ended.
    pub boot: BootId,
    /// The boot that followed, with P1.
    pub new_boot: Option<BootId>,
    /// UID of the Node object read.
    pub node_uid: String,
    /// UID of the agent lease.
    pub lease_uid: String,
    /// UID of the fence intent.
    pub intent_uid: String,
    /// The intent's copy of the terms.
    pub terms: Terms,
    /// From when `D` counts.
    pub counted_from: Mono,
    /// When this controller knew the intent to be stored.
    pub intended: Mono,
    /// `D`, if it played a role.
    pub deadline: Option<Mono>,
    /// When the proof was made.
    pub proven: Mono,
    /// Who promised.
    pub jurors: Vec<PromisedBy>,
    /// How many had to.
    pub quorum: usize,
    /// One or two sentences for people.
    pub explanation: String,
}

impl Proof {
    /// Time between intent and proof.
    pub fn waited(&self) -> Duration {
        self.proven.since(self.intended)
    }
}

/// What stands behind a proof that rests on the node ending itself.
pub fn grade_of(terms: &Terms) -> Grade {
    match &terms.watchdog {
        Some(watchdog) if watchdog.resets => Grade::Certain,
        _ => Grade::Assumed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fencing::record::Watchdog;

    fn terms(watchdog: Option<bool>) -> Terms {
        Terms {
            time_to_live_millis: 10_000,
            watchdog: watchdog.map(|resets| Watchdog { identity: "w".into(), timeout_millis: 5_000, resets }),
            reset_steps_millis: 3_000,
            jury: vec![],
            min_peers: 0,
            claims: super::super::record::Claims::default(),
        }
    }

    #[test]
    fn only_a_watchdog_that_resets_is_certain() {
        assert_eq!(grade_of(&terms(Some(true))), Grade::Certain);
        assert_eq!(grade_of(&terms(Some(false))), Grade::Assumed);
        assert_eq!(grade_of(&terms(None)), Grade::Assumed);
        assert!(Grade::Assumed < Grade::Certain);
    }

    #[test]
    fn line_1_a_changed_boot_forces_nothing() {
        assert!(!ProofKind::BootChanged.forces());
        assert!(ProofKind::LeaseExpired.forces() && ProofKind::AgentAcknowledged.forces());
    }
}
