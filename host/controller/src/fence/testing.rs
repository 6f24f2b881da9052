//! Proofs for unit tests.

use palisade_core::fencing::proof::{Grade, Proof, ProofKind};
use palisade_core::fencing::record::{BootId, Claims, Terms};
use palisade_core::time::Mono;

/// A proof by time for a boot.
pub fn proof(node: &str, boot: &str) -> Proof {
    Proof {
        kind: ProofKind::LeaseExpired,
        grade: Grade::Certain,
        node: node.into(),
        boot: BootId::new(boot).unwrap(),
        new_boot: None,
        node_uid: "node".into(),
        lease_uid: "lease".into(),
        intent_uid: "intent".into(),
        terms: Terms {
            time_to_live_millis: 10_000,
            watchdog: None,
            reset_steps_millis: 3_000,
            jury: vec![],
            min_peers: 0,
            claims: Claims::default(),
        },
        counted_from: Mono(0),
        intended: Mono(1_000),
        deadline: Some(Mono(20_000)),
        proven: Mono(21_000),
        jurors: vec![],
        quorum: 0,
        explanation: String::new(),
    }
}
