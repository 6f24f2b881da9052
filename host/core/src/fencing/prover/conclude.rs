//! Step 5: what a consistent read proves, and what contradicts it.

use std::time::Duration;

use super::intend::in_force;
use super::life::{Beats, Life, Verdict, life, note_life};
use super::promises::{jury, quorum};
use super::{Acknowledged, Effect, Fencing, LeaseRead, NodeRead, Prover, RETRY, Refusal, Snapshot, Stage};
use crate::fencing::proof::{Grade, Proof, ProofKind, grade_of};
use crate::fencing::record::{BootId, FenceIntent, Terms};
use crate::fencing::timing;
use crate::time::Mono;

/// A kubelet that runs renews its lease this often (10 s unless configured otherwise), and a little later.
const HEARTBEAT: Duration = Duration::from_secs(12);

/// A proof that may be made now or later.
pub(super) struct Candidate {
    kind: ProofKind,
    grade: Grade,
    ready: Mono,
    new_boot: Option<BootId>,
    explanation: String,
}

impl Prover {
    pub(super) fn conclude(&mut self, snapshot: &Snapshot, now: Mono) -> Vec<Effect> {
        self.due = now + RETRY;
        let Stage::Fencing(fencing) = &self.stage else { return vec![] };
        let mut fencing = fencing.clone();

        let lease = match carrying(&fencing, snapshot) {
            Ok(lease) => lease,
            Err(why) => return self.begin_again(why, now),
        };
        match Self::life_after_deadline(&mut fencing, snapshot).judge(&mut fencing.suspect, now) {
            Verdict::Alive(sign) => {
                return self.contradict(fencing, &format!("{sign} after its right to live had run out"));
            }
            Verdict::Wait => {
                self.stage = Stage::Fencing(fencing);
                return vec![];
            }
            Verdict::Quiet => {}
        }
        note_life(&mut fencing, snapshot);
        note_acknowledgement(&mut fencing, lease);

        let candidates = self.candidates(&fencing, snapshot, lease);
        self.explain_refusals(&fencing, &candidates);
        let good = candidates.iter().filter(|candidate| candidate.grade >= self.settings.require);
        let Some(best) = good.min_by_key(|candidate| candidate.ready) else {
            self.stage = Stage::Fencing(fencing);
            return vec![];
        };
        // A decision at an instant rests on a read begun after it.
        if snapshot.begun < best.ready {
            self.due = self.due.min(best.ready);
            self.stage = Stage::Fencing(fencing);
            return vec![];
        }
        self.prove(best, fencing, now)
    }

    /// When a read has to begin to prove the end, by what the last one showed and if nothing else happens; `None` while
    /// time alone proves nothing.
    pub fn decides_at(&self, snapshot: &Snapshot) -> Option<Mono> {
        let fencing = self.fencing()?;
        let lease = carrying(fencing, snapshot).ok()?;
        let candidates = self.candidates(fencing, snapshot, lease);
        candidates.iter().filter(|one| one.grade >= self.settings.require).map(|one| one.ready).min()
    }

    /// P1 for an intent of ours that this prover did not follow from its beginning.
    pub(super) fn boot_changed_before_attach(
        &mut self,
        intent: FenceIntent,
        node: &NodeRead,
        lease: &LeaseRead,
        now: Mono,
    ) -> Vec<Effect> {
        let from = lease.intent_first_seen.unwrap_or(now);
        let fencing = Self::fencing_on(intent, lease, node, from, now);
        let Some(candidate) = boot_changed(&fencing, Some(node), Some(lease), now) else {
            return self.begin_again("the boots of node and agent lease differ", now);
        };
        self.prove(&candidate, Box::new(fencing), now)
    }

    pub(super) fn prove(&mut self, candidate: &Candidate, mut fencing: Box<Fencing>, now: Mono) -> Vec<Effect> {
        fencing.suspect = None;
        let proof = Box::new(self.proof_of(&fencing, candidate, now));
        self.refusal = None;
        self.due = now + RETRY;
        self.stage = Stage::Proven { proof: proof.clone(), fencing };
        vec![Effect::Proven(proof)]
    }

    fn candidates(&self, fencing: &Fencing, snapshot: &Snapshot, lease: &LeaseRead) -> Vec<Candidate> {
        // A later boot outranks everything: then nothing may be forced any more.
        if let Some(changed) = boot_changed(fencing, snapshot.node.as_ref(), Some(lease), snapshot.begun) {
            return vec![changed];
        }
        let terms = &fencing.intent.terms;
        let mut candidates = Vec::new();
        if let Some(evidence) = &fencing.evidence {
            candidates.push(Candidate {
                kind: evidence.kind,
                grade: evidence.grade,
                ready: evidence.observed,
                new_boot: None,
                explanation: evidence.explanation.clone(),
            });
        }
        if let Some(Acknowledged { first_seen, reset, grade }) = fencing.acknowledged {
            candidates.push(Candidate {
                kind: ProofKind::AgentAcknowledged,
                grade,
                ready: first_seen + reset + timing::margin(reset),
                new_boot: None,
                explanation: format!(
                    "the agent acknowledged the intent and stopped feeding; {} reset the machine within {}",
                    guard(terms),
                    seconds(reset + timing::margin(reset))
                ),
            });
        }
        if Self::lease_expires(fencing).is_ok() {
            candidates.push(Candidate {
                kind: ProofKind::LeaseExpired,
                grade: grade_of(terms),
                ready: self.deadline_of(fencing).max(quiet_from(fencing, snapshot)),
                new_boot: None,
                explanation: format!(
                    "the right to live ran out: {} after the last version of the agent lease was first seen, and with {} nobody can have extended it; {} ended the boot",
                    seconds(terms.life_bound()),
                    if terms.jury.is_empty() { "the intent stored and no jury".to_owned() } else { fencing.promises.describe(terms) },
                    guard(terms),
                ),
            });
        }
        candidates
    }

    /// Whether P3 is available at all, apart from time.
    fn lease_expires(fencing: &Fencing) -> Result<(), Refusal> {
        let terms = &fencing.intent.terms;
        let refuse = |why: String, unblocks: &str| {
            Err(Refusal { what: "no proof by time (P3)".to_owned(), why, unblocks: unblocks.to_owned() })
        };
        let outside = "the agent acknowledges, the node comes back with a new boot, or a proof from outside (power off, machine gone, a person)";
        if !terms.claims.self_fences {
            return refuse("the agent did not claim to fence itself".to_owned(), outside);
        }
        if terms.claims.may_exempt {
            return refuse(
                "the lease of this control-plane node says that it may exempt itself by its own diagnostics (R4, \
                 controlPlanePolicy Diagnose)"
                    .to_owned(),
                outside,
            );
        }
        if (jury(terms).len() as u64) < u64::from(terms.min_peers) {
            return refuse(
                "its jury is smaller than minPeersForRemediation, so it does not fence itself".to_owned(),
                outside,
            );
        }
        if terms.watchdog.is_none() {
            match fencing.kubelet_after_agent {
                Some(after) if after <= terms.time_to_live() => {}
                Some(after) => {
                    return refuse(
                        format!(
                            "the node has no watchdog, and its kubelet was heard {} after its agent: the agent may not have run any more to reboot it",
                            seconds(after)
                        ),
                        outside,
                    );
                }
                None => {
                    return refuse(
                        "the node has no watchdog, and it is not known whether its agent outlived its kubelet"
                            .to_owned(),
                        outside,
                    );
                }
            }
        }
        Self::extension_impossible(fencing)
    }

    /// Steps 3 and 4: nobody can extend the node's life any more.
    pub(super) fn extension_impossible(fencing: &Fencing) -> Result<(), Refusal> {
        let terms = &fencing.intent.terms;
        let refuse = |why: String, unblocks: &str| {
            Err(Refusal { what: "no proof by time (P3)".to_owned(), why, unblocks: unblocks.to_owned() })
        };
        if jury(terms).is_empty() {
            if terms.claims.self_fences && terms.min_peers == 0 {
                return Ok(());
            }
            return refuse("the agent has no jury".to_owned(), "another proof");
        }
        if fencing.promises.majority().is_some() {
            return Ok(());
        }
        refuse(
            fencing.promises.describe(terms),
            &format!("promises of {} jurors, asked within a short time of each other", quorum(jury(terms).len())),
        )
    }

    /// `D`, never earlier than the user's floor.
    pub(super) fn deadline_of(&self, fencing: &Fencing) -> Mono {
        let bound = end_of_life(fencing);
        if self.settings.floor.is_zero() { bound } else { bound.max(fencing.intended + self.settings.floor) }
    }

    pub(super) fn fencing_waits_for(&self, fencing: &Fencing) -> String {
        let mut parts = Vec::new();
        if fencing.acknowledged.is_some() {
            let reset = fencing.intent.terms.reset_bound();
            parts.push(format!(
                "the reset that the agent acknowledged (within {})",
                seconds(reset + timing::margin(reset))
            ));
        }
        match Self::lease_expires(fencing) {
            Ok(()) => {
                let promises = fencing.promises.describe(&fencing.intent.terms);
                parts.push(format!("the right to live to run out ({promises})"));
            }
            Err(refusal) => parts.push(refusal.to_string()),
        }
        if let Some(refusal) = &self.refusal
            && !parts.iter().any(|part| *part == refusal.to_string())
        {
            parts.push(refusal.to_string());
        }
        parts.join("; or ")
    }

    fn explain_refusals(&mut self, fencing: &Fencing, candidates: &[Candidate]) {
        let weak = candidates.iter().find(|candidate| candidate.grade < self.settings.require);
        self.refusal = match weak {
            Some(weak) => Some(Refusal {
                what: format!("a proof of kind {} does not count", weak.kind),
                why: format!("it is only {} and the policy requires {}", weak.grade, self.settings.require),
                unblocks: "a watchdog that resets, a new boot of the node, power off, or --require-proof assumed"
                    .to_owned(),
            }),
            None => Self::lease_expires(fencing).err(),
        };
    }

    fn proof_of(&self, fencing: &Fencing, candidate: &Candidate, now: Mono) -> Proof {
        let terms = fencing.intent.terms.clone();
        let timed = candidate.kind == ProofKind::LeaseExpired;
        Proof {
            kind: candidate.kind,
            grade: candidate.grade,
            node: self.settings.node.clone(),
            boot: fencing.intent.boot_id.clone(),
            new_boot: candidate.new_boot.clone(),
            node_uid: fencing.node_uid.clone(),
            lease_uid: fencing.lease_uid.clone(),
            intent_uid: fencing.intent.uid.clone(),
            counted_from: fencing.counted_from,
            intended: fencing.intended,
            deadline: timed.then(|| self.deadline_of(fencing)),
            proven: now,
            jurors: fencing.promises.majority().unwrap_or_default().to_vec(),
            quorum: quorum(jury(&terms).len()),
            explanation: candidate.explanation.clone(),
            terms,
        }
    }

    /// Life of boot b after `D`, before a proof was made: where `D` is long past because the agent fell silent long ago,
    /// this tells that the machine did not. Counted are changes between two consistent reads that both began after `D`:
    /// what a controller that was away sees for the first time may be old. The first of them is taken even while P3 is
    /// not available, so that it is old enough when P3 becomes so.
    fn life_after_deadline(fencing: &mut Fencing, snapshot: &Snapshot) -> Life {
        let deadline = end_of_life(fencing);
        if snapshot.begun <= deadline {
            return Life::None;
        }
        let Some((_, mut known)) = fencing.after_end.take().filter(|(begun, _)| *begun > deadline) else {
            fencing.after_end = Some((snapshot.begun, Beats::of(fencing, snapshot)));
            return Life::None;
        };
        let sign = life(fencing, snapshot, |beat| known.new_status(beat), |beat| known.new_lease(beat));
        known.complete(Beats::of(fencing, snapshot));
        fencing.after_end = Some((snapshot.begun, known));
        if Self::lease_expires(fencing).is_ok() { sign } else { Life::None }
    }
}

/// The lease, if it still is the same object and carries this very intent.
pub(super) fn carrying<'a>(fencing: &Fencing, snapshot: &'a Snapshot) -> Result<&'a LeaseRead, &'static str> {
    let lease = snapshot.lease.as_ref().ok_or("the agent lease that carried the intent is gone")?;
    if lease.uid != fencing.lease_uid {
        return Err("the agent lease was deleted and made again");
    }
    if lease.intent.as_ref().is_none_or(|intent| intent.uid != fencing.intent.uid) {
        return Err("the agent lease no longer carries this intent");
    }
    Ok(lease)
}

/// The intent that a proof rests on, if the lease is the same object and still carries it.
pub(super) fn carrying_intent<'a>(proof: &Proof, lease: &'a LeaseRead) -> Option<&'a FenceIntent> {
    let intent = lease.intent.as_ref().filter(|_| lease.uid == proof.lease_uid)?;
    (intent.uid == proof.intent_uid && intent.boot_id == proof.boot).then_some(intent)
}

fn note_acknowledgement(fencing: &mut Fencing, lease: &LeaseRead) {
    let Some(record) = lease.record.as_ref().filter(|record| {
        record.boot_id == fencing.intent.boot_id && record.acknowledged.as_ref() == Some(&fencing.intent.uid)
    }) else {
        return;
    };
    let (intended, named) = (&fencing.intent.terms, in_force(record));
    let acknowledged = fencing.acknowledged.get_or_insert(Acknowledged {
        first_seen: lease.first_seen,
        reset: intended.reset_bound(),
        grade: grade_of(intended),
    });
    acknowledged.reset = acknowledged.reset.max(named.reset_bound());
    acknowledged.grade = acknowledged.grade.min(grade_of(&named));
}

/// From when the kubelet of the boot counts as silent. One that was heard just before `D` would be heard again within a
/// heartbeat if nothing had ended it, as with a watchdog that does not keep its word: better to hear it before the
/// release than after it.
fn quiet_from(fencing: &Fencing, snapshot: &Snapshot) -> Mono {
    let node = snapshot.node.as_ref().filter(|node| node.boot.as_ref() == Some(&fencing.intent.boot_id));
    let heard = node.and_then(|node| node.heartbeat.as_ref()).and_then(|heartbeat| {
        [&heartbeat.status, &heartbeat.lease].into_iter().flatten().map(|beat| beat.first_seen).max()
    });
    let silence = HEARTBEAT.min(fencing.intent.terms.time_to_live());
    heard.map_or(Mono::default(), |heard| heard + silence)
}

/// `D` itself.
fn end_of_life(fencing: &Fencing) -> Mono {
    let from = fencing.promises.last_no_api().map_or(fencing.counted_from, |last| last.max(fencing.counted_from));
    from + fencing.intent.terms.life_bound()
}

/// P1: a source that named b at the intent names another, non-empty boot in a later version. Only reads made after the
/// intent come here, so every version they show is later.
pub(super) fn boot_changed(
    fencing: &Fencing,
    node: Option<&NodeRead>,
    lease: Option<&LeaseRead>,
    ready: Mono,
) -> Option<Candidate> {
    let ended = &fencing.intent.boot_id;
    let by_node = node.and_then(|node| node.boot.as_ref()).map(|boot| ("Node", boot));
    let by_lease = lease.and_then(|lease| lease.record.as_ref()).map(|record| ("agent lease", &record.boot_id));
    let (source, boot) = [by_node, by_lease].into_iter().flatten().find(|(_, boot)| *boot != ended)?;
    Some(Candidate {
        kind: ProofKind::BootChanged,
        grade: Grade::Certain,
        ready,
        new_boot: Some(boot.clone()),
        explanation: format!("the {source} named boot {ended} and now names {boot}; nothing is forced"),
    })
}

fn guard(terms: &Terms) -> String {
    match &terms.watchdog {
        Some(watchdog) => format!("the watchdog ({})", watchdog.identity),
        None => "the software reboot".to_owned(),
    }
}

fn seconds(length: Duration) -> String {
    format!("{:.1}s", length.as_secs_f64())
}
