//! After a proof that an earlier process made and whose release is done: only looking, for a sign of the ended boot.

use super::conclude::carrying_intent;
use super::{Effect, Prover, RETRY, Settings, Snapshot, Stage};
use crate::fencing::proof::Proof;
use crate::time::Mono;

impl Prover {
    /// Starts after a proof of an earlier process. Nothing is marked, nothing is intended: what the first read of this
    /// process shows is the baseline, and any later sign of life of the ended boot is a contradiction.
    pub fn watching(settings: Settings, proof: Proof, now: Mono) -> Self {
        let mut prover = Self::new(settings, now);
        prover.stage = Stage::Watching(Box::new(proof));
        prover
    }

    /// The first read after the start.
    pub(super) fn begin_watching(&mut self, snapshot: &Snapshot, now: Mono) -> Vec<Effect> {
        self.due = now + RETRY;
        let Stage::Watching(proof) = &self.stage else { return vec![] };
        let (Some(node), Some(lease)) = (&snapshot.node, &snapshot.lease) else { return vec![] };
        // Without the intent the agent may renew again: its life is no contradiction any more.
        let Some(intent) = carrying_intent(proof, lease) else { return vec![] };
        let proof = proof.clone();
        let fencing = Self::fencing_on(intent.clone(), lease, node, now, now);
        self.stage = Stage::Proven { proof, fencing: Box::new(fencing) };
        vec![]
    }
}
