//! After a proof: what contradicts it, and what settles a contradiction.

use super::conclude::{boot_changed, carrying};
use super::life::{Verdict, life};
use super::{Effect, Fencing, Prover, RETRY, Snapshot, Stage};
use crate::time::Mono;

impl Prover {
    /// After the proof: anything that contradicts it, or the next boot, after which nothing may be forced any more.
    pub(super) fn look_for_contradiction(&mut self, snapshot: &Snapshot, now: Mono) -> Vec<Effect> {
        self.due = now + RETRY;
        let Stage::Proven { proof, fencing } = &self.stage else { return vec![] };
        if !proof.kind.forces() {
            return vec![];
        }
        let fencing = fencing.clone();
        // Another boot ends the matter, whatever became of the lease meanwhile.
        if let Some(changed) = boot_changed(&fencing, snapshot.node.as_ref(), snapshot.lease.as_ref(), now) {
            return self.prove(&changed, fencing, now);
        }
        if let Err(why) = carrying(&fencing, snapshot) {
            return self.begin_again(why, now);
        }
        let kind = proof.kind;
        let proof = proof.clone();
        let mut fencing = fencing;
        let known = fencing.baseline.clone();
        let sign = life(
            &fencing,
            snapshot,
            |beat| known.status.as_ref().is_some_and(|known| *known != beat.token),
            |beat| known.lease.as_ref().is_some_and(|known| *known != beat.token),
        );
        match sign.judge(&mut fencing.suspect, now) {
            Verdict::Alive(sign) => self.contradict(fencing, &format!("{sign} after its end was proven ({kind})")),
            Verdict::Wait | Verdict::Quiet => {
                self.stage = Stage::Proven { proof, fencing };
                vec![]
            }
        }
    }

    /// After a contradiction only one thing helps: the boot is followed by another one.
    pub(super) fn look_for_new_boot(&mut self, snapshot: &Snapshot, now: Mono) -> Vec<Effect> {
        self.due = now + RETRY;
        let Stage::Contradicted { fencing, .. } = &self.stage else { return vec![] };
        let fencing = fencing.clone();
        match boot_changed(&fencing, snapshot.node.as_ref(), snapshot.lease.as_ref(), now) {
            Some(changed) => self.prove(&changed, fencing, now),
            None => vec![],
        }
    }

    pub(super) fn contradict(&mut self, fencing: Box<Fencing>, what: &str) -> Vec<Effect> {
        let intent_uid = fencing.intent.uid.clone();
        self.stage = Stage::Contradicted { what: what.to_owned(), fencing };
        vec![Effect::Contradiction { intent_uid, what: what.to_owned() }]
    }
}
