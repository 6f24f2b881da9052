//! Proofs: the only thing that opens a release.
//!
//! A [`Proof`] has private fields and one maker, the [`ProofAuthority`] of the controller process, which mints it from
//! a fencing certificate. It is bound to one remediation, one boot and one intent. It cannot be read back from storage: after a restart the
//! controller mints a new one from the certificate, after checking that it still holds. Inside a guest it is a resource
//! handle, which a guest can receive and return but not make.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hex;

/// Name of a proof: derived from what it is bound to, so that it survives a restart of the controller. It is a name,
/// not a right: the gate wants the [`Proof`] itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProofId(pub(crate) String);

impl ProofId {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a proof says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProofClaim {
    /// The remediation it was made for.
    pub remediation_uid: String,
    /// The node whose boot ended.
    pub node: String,
    /// The boot that ended, never empty.
    pub boot_id: String,
    /// The fence intent it rests on.
    pub intent_uid: String,
    /// Kind of evidence.
    pub kind: ProofKind,
    /// How sure it is.
    pub grade: Grade,
    /// How long ago it was proven.
    pub age_millis: u64,
}

/// Kinds of evidence (P1 to P6 of the fencing protocol).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProofKind {
    /// P1: a later boot was seen.
    BootChanged,
    /// P2: the agent acknowledged the intent and stopped feeding.
    AgentAcknowledged,
    /// P3: the right to live ran out and nobody can have extended it.
    LeaseExpired,
    /// P4: a management device read back as off.
    PoweredOff,
    /// P5: the machine is gone.
    MachineGone,
    /// P6: a person confirmed it.
    HumanConfirmed,
}

/// How sure a proof is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grade {
    /// It rests on software resets that were not observed.
    Assumed,
    /// Nothing can be running.
    Certain,
}

/// The one maker of proofs in a process.
#[derive(Debug)]
pub struct ProofAuthority {
    serial: u64,
}

/// A proof that a boot ended. See the module for why it cannot be forged.
#[derive(Debug, Clone)]
pub struct Proof {
    claim: ProofClaim,
    serial: u64,
}

static AUTHORITIES: AtomicU64 = AtomicU64::new(1);

impl ProofAuthority {
    /// A new authority; proofs of another one are not accepted by its gate. A controller process makes exactly one.
    #[expect(clippy::new_without_default, reason = "an authority is made on purpose, never by default")]
    pub fn new() -> Self {
        Self { serial: AUTHORITIES.fetch_add(1, Ordering::Relaxed) }
    }

    /// Makes a proof from what the prover established; `None` when something it must be bound to is empty.
    #[must_use]
    pub fn mint(&self, claim: ProofClaim) -> Option<Proof> {
        let bound = [&claim.remediation_uid, &claim.node, &claim.boot_id, &claim.intent_uid];
        bound.iter().all(|text| !text.trim().is_empty()).then_some(Proof { claim, serial: self.serial })
    }

    /// Whether this authority made the proof.
    pub fn made(&self, proof: &Proof) -> bool {
        self.serial == proof.serial
    }
}

impl Proof {
    /// What it says.
    pub fn claim(&self) -> &ProofClaim {
        &self.claim
    }

    /// Its name.
    pub fn id(&self) -> ProofId {
        self.claim.id()
    }
}

impl ProofClaim {
    /// The name of a proof with this claim.
    ///
    /// A digest, so that it is short however long the parts are: remediators put it into effect keys.
    pub fn id(&self) -> ProofId {
        let mut digest = Sha256::new();
        for part in [&self.remediation_uid, &self.node, &self.boot_id, &self.intent_uid] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        ProofId(format!("proof-{}", hex::encode(&digest.finalize()[..16])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> ProofClaim {
        ProofClaim {
            remediation_uid: "r".into(),
            node: "n".into(),
            boot_id: "b".into(),
            intent_uid: "i".into(),
            kind: ProofKind::LeaseExpired,
            grade: Grade::Certain,
            age_millis: 0,
        }
    }

    #[test]
    fn a_proof_without_a_boot_is_never_made() {
        let authority = ProofAuthority::new();
        assert!(authority.mint(claim()).is_some());
        assert!(authority.mint(ProofClaim { boot_id: " ".into(), ..claim() }).is_none());
        assert!(authority.mint(ProofClaim { intent_uid: String::new(), ..claim() }).is_none());
    }

    #[test]
    fn the_name_says_what_it_is_bound_to_and_not_when() {
        let name = claim().id();
        assert_eq!(name, ProofClaim { age_millis: 9, kind: ProofKind::BootChanged, ..claim() }.id());
        assert_ne!(name, ProofClaim { intent_uid: "j".into(), ..claim() }.id());
        assert_ne!(name, ProofClaim { node: "nb".into(), boot_id: String::new(), ..claim() }.id());
        let long = ProofClaim { node: "n".repeat(253), ..claim() }.id();
        assert_eq!(long.as_str().len(), "proof-".len() + 32);
    }

    #[test]
    fn another_authority_does_not_know_it() {
        let (ours, theirs) = (ProofAuthority::new(), ProofAuthority::new());
        let proof = ours.mint(claim()).unwrap();
        assert!(ours.made(&proof) && !theirs.made(&proof));
    }
}
