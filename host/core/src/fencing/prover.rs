//! The controller's side of the protocol: from "this node has to end" to a proof that its boot has.
//!
//! Pure: the driver tells what it saw and what time it is, the prover answers with what to do. It never trusts a watch:
//! a watch only says *when* a version was first seen and *that* it is time to read again.

mod conclude;
mod event;
mod promises;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use event::{
    Effect, Event, Evidence, Heartbeat, LeaseRead, NodeRead, Refusal, Settings, Snapshot, WriteIntent, WriteOutcome,
};
pub use promises::JurorAnswer;
use promises::{Promises, jury, quorum};

use super::proof::Proof;
use super::record::{AgentRecord, BootId, FenceIntent};
use crate::time::Mono;

/// Pause before something that failed is tried again, and between consistent reads while nothing happens.
pub const RETRY: Duration = Duration::from_secs(2);

/// One attempt to prove the end of the boot that runs on one node.
#[derive(Debug, Clone)]
pub struct Prover {
    settings: Settings,
    stage: Stage,
    /// When the last marks were stored: evidence from outside counts only after it.
    marked: Option<Mono>,
    /// When the next effect is due.
    due: Mono,
    refusal: Option<Refusal>,
}

#[derive(Debug, Clone)]
enum Stage {
    /// Step 1 is to be done, not before `due`.
    Unmarked,
    /// Step 1 is under way.
    Marking,
    /// Step 2: waiting for a consistent read, begun after the marks were stored.
    Reading,
    /// Step 3: the compare-and-swap is under way.
    Writing(Box<Fencing>),
    /// Steps 4 and 5.
    Fencing(Box<Fencing>),
    /// Done; watching for contradictions.
    Proven { proof: Box<Proof>, fencing: Box<Fencing> },
    /// A sign of the boot after its proof. For good.
    Contradicted { what: String, fencing: Box<Fencing> },
}

/// What is known about one stored intent.
#[derive(Debug, Clone)]
struct Fencing {
    intent: FenceIntent,
    lease_uid: String,
    node_uid: String,
    /// From when `D` counts, apart from `NoApi`.
    counted_from: Mono,
    /// When this controller knew the intent to be stored.
    intended: Mono,
    promises: Promises,
    /// When the acknowledgement was first seen.
    acknowledged: Option<Mono>,
    /// A round of promise requests is under way.
    asking: bool,
    ask_again: Mono,
    evidence: Option<Evidence>,
    baseline: Baseline,
    /// How much later than the agent the kubelet was heard last; both by their own machine's clock.
    kubelet_after_agent: Option<Duration>,
}

/// A read that names a boot on both sides.
struct Readable<'a> {
    node: &'a NodeRead,
    node_boot: &'a BootId,
    lease: &'a LeaseRead,
    record: &'a AgentRecord,
}

/// The newest sign of life, to tell a new one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Baseline {
    sequence: u64,
    heartbeat: Option<String>,
}

impl Prover {
    /// Starts at step 1.
    pub fn new(settings: Settings, now: Mono) -> Self {
        Self { settings, stage: Stage::Unmarked, marked: None, due: now, refusal: None }
    }

    /// Takes what happened, answers what to do. Every answer ends with [`Effect::Wait`].
    pub fn on(&mut self, event: Event, now: Mono) -> Vec<Effect> {
        let mut effects = match event {
            Event::Tick => self.tick(now),
            Event::Marked => self.marked(now),
            Event::MarkFailed { why } => self.begin_again(&format!("marking failed: {why}"), now),
            Event::Read(snapshot) => self.read(&snapshot, now),
            Event::ReadFailed { why } => {
                self.refuse("the API cannot be read", &why, "the API answers consistent reads again");
                self.due = now + RETRY;
                vec![]
            }
            Event::IntentWritten(outcome) => self.written(outcome, now),
            Event::PromiseAnswer { intent_uid, juror, asked, answer } => {
                self.answer(&intent_uid, &juror, asked, answer, now)
            }
            Event::RoundEnded => self.round_ended(now),
            Event::Evidence(evidence) => self.evidence(evidence, now),
        };
        effects.push(Effect::Wait { until: self.due });
        effects
    }

    /// The proof, unless something contradicted it.
    pub fn proof(&self) -> Option<&Proof> {
        match &self.stage {
            Stage::Proven { proof, .. } => Some(proof),
            _ => None,
        }
    }

    /// A sign of the boot after `D`, which withdrew the proof.
    pub fn contradiction(&self) -> Option<&str> {
        match &self.stage {
            Stage::Contradicted { what, .. } => Some(what),
            _ => None,
        }
    }

    /// The stored intent this prover works with.
    pub fn intent(&self) -> Option<&FenceIntent> {
        self.fencing().map(|fencing| &fencing.intent)
    }

    /// When this controller knew the intent to be stored.
    pub fn intended(&self) -> Option<Mono> {
        self.fencing().map(|fencing| fencing.intended)
    }

    /// Jurors that promised, and how many have to.
    pub fn promised(&self) -> Option<(usize, usize)> {
        self.fencing().map(|fencing| (fencing.promises.promised(), quorum(jury(&fencing.intent.terms).len())))
    }

    /// Names of the jurors that promised.
    pub fn jurors(&self) -> Vec<String> {
        self.fencing().map(|fencing| fencing.promises.names()).unwrap_or_default()
    }

    /// Whether nobody can extend the node's life any more.
    pub fn quorum_reached(&self) -> bool {
        self.fencing().is_some_and(|fencing| self.extension_impossible(fencing).is_ok())
    }

    /// `D` as far as it is known; further `NoApi` answers may still move it.
    pub fn deadline(&self) -> Option<Mono> {
        match &self.stage {
            Stage::Proven { proof, .. } => proof.deadline,
            _ => self.fencing().map(|fencing| self.deadline_of(fencing)),
        }
    }

    /// What stands in the way at the moment, and what would unblock it.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// What is being waited for, for people. Names no remaining time (see [`Self::deadline`]), so that the text changes
    /// only when something does.
    pub fn waiting_for(&self) -> String {
        match &self.stage {
            Stage::Unmarked | Stage::Marking => self.with_refusal("the workloads of the node to be marked"),
            Stage::Reading => self.with_refusal("a consistent read of node and agent lease"),
            Stage::Writing(_) => "the fence intent to be stored in the agent lease".to_owned(),
            Stage::Fencing(fencing) => self.fencing_waits_for(fencing),
            Stage::Proven { proof, .. } => format!("nothing: {}", proof.explanation),
            Stage::Contradicted { what, .. } => {
                format!("a person: {what}; nothing more is released for this boot")
            }
        }
    }

    fn with_refusal(&self, text: &str) -> String {
        match &self.refusal {
            Some(refusal) => format!("{text} ({refusal})"),
            None => text.to_owned(),
        }
    }

    fn fencing(&self) -> Option<&Fencing> {
        match &self.stage {
            Stage::Fencing(fencing) => Some(fencing),
            _ => None,
        }
    }

    fn tick(&mut self, now: Mono) -> Vec<Effect> {
        if now < self.due {
            return vec![];
        }
        match &mut self.stage {
            Stage::Unmarked => {
                self.stage = Stage::Marking;
                self.due = now + RETRY;
                vec![Effect::Mark]
            }
            // Under way; the driver answers with an event.
            Stage::Marking | Stage::Writing(_) => {
                self.due = now + RETRY;
                vec![]
            }
            Stage::Reading | Stage::Proven { .. } | Stage::Contradicted { .. } => {
                self.due = now + RETRY;
                vec![Effect::Read]
            }
            Stage::Fencing(fencing) => {
                let mut effects = vec![Effect::Read];
                if !fencing.asking && now >= fencing.ask_again {
                    let jurors = fencing.promises.to_ask(&fencing.intent.terms, now);
                    if !jurors.is_empty() {
                        fencing.asking = true;
                        effects.push(ask(&fencing.intent, jurors));
                    }
                }
                self.due = now + RETRY;
                effects
            }
        }
    }

    fn marked(&mut self, now: Mono) -> Vec<Effect> {
        if !matches!(self.stage, Stage::Marking) {
            return vec![];
        }
        self.marked = Some(now);
        self.stage = Stage::Reading;
        self.due = now + RETRY;
        vec![Effect::Read]
    }

    fn begin_again(&mut self, why: &str, now: Mono) -> Vec<Effect> {
        self.refuse("the fencing begins again", why, "node and agent lease both name the same boot");
        self.stage = Stage::Unmarked;
        self.due = now + RETRY;
        vec![]
    }

    fn refuse(&mut self, what: &str, why: &str, unblocks: &str) {
        self.refusal = Some(Refusal { what: what.to_owned(), why: why.to_owned(), unblocks: unblocks.to_owned() });
    }

    fn read(&mut self, snapshot: &Snapshot, now: Mono) -> Vec<Effect> {
        match &self.stage {
            Stage::Unmarked | Stage::Marking | Stage::Writing(_) => vec![],
            Stage::Reading if self.marked.is_none_or(|marked| snapshot.begun < marked) => vec![],
            Stage::Reading => self.intend(snapshot, now),
            Stage::Fencing(_) => self.conclude(snapshot, now),
            Stage::Proven { .. } => self.look_for_contradiction(snapshot, now),
            Stage::Contradicted { .. } => self.look_for_new_boot(snapshot, now),
        }
    }

    /// Steps 2 and 3.
    fn intend(&mut self, snapshot: &Snapshot, now: Mono) -> Vec<Effect> {
        self.due = now + RETRY;
        let Some(Readable { node, node_boot, lease, record }) = self.readable(snapshot) else { return vec![] };

        if let Some(intent) = &lease.intent {
            let ours = intent.owners.contains(&self.settings.owner);
            if intent.boot_id == *node_boot && intent.boot_id == record.boot_id {
                let mut intent = intent.clone();
                if ours {
                    return self.fence(intent, lease, node, lease.intent_first_seen.unwrap_or(now), now);
                }
                // A second remediation attaches: same intent, same terms, one more owner.
                intent.owners.push(self.settings.owner.clone());
                return self.write(intent, lease, node, lease.intent_first_seen.unwrap_or(now), now);
            }
            if ours && (intent.boot_id == *node_boot || intent.boot_id == record.boot_id) {
                // Both named that boot when the intent was written, and now one of them names another: P1 (after a
                // restart of this controller, or before the other source caught up).
                return self.boot_changed_before_attach(intent.clone(), node, lease, now);
            }
            if intent.boot_id == *node_boot || intent.boot_id == record.boot_id {
                return self.begin_again(
                    &format!(
                        "the stored intent is for boot {}, the node names {node_boot}, the agent lease {}",
                        intent.boot_id, record.boot_id
                    ),
                    now,
                );
            }
            // Both sources name a later boot: the stored intent guards nothing any more and makes room.
        }
        if *node_boot != record.boot_id {
            return self.begin_again(
                &format!("the node names boot {node_boot}, its agent lease names {}", record.boot_id),
                now,
            );
        }
        let mut terms = record.terms.clone();
        // Nothing guards a disarmed node, whatever was claimed before.
        terms.claims.self_fences &= !record.disarmed;
        let intent = FenceIntent {
            uid: snapshot.fresh_uid.clone(),
            boot_id: record.boot_id.clone(),
            terms,
            based_on_sequence: record.sequence,
            owners: vec![self.settings.owner.clone()],
        };
        self.write(intent, lease, node, lease.first_seen, now)
    }

    /// Node and lease with a boot each, or the reason why not.
    fn readable<'a>(&mut self, snapshot: &'a Snapshot) -> Option<Readable<'a>> {
        let other = "an agent that publishes its lease on this node, or a proof from outside: power off, machine gone, a person";
        let Some(node) = &snapshot.node else {
            self.refuse("no boot can be fenced", "the Node object does not exist", "the Node object comes back");
            return None;
        };
        let Some(node_boot) = &node.boot else {
            self.refuse("no boot can be fenced", "the Node reports no boot id", "the kubelet reports one");
            return None;
        };
        let Some(lease) = &snapshot.lease else {
            self.refuse("no intent can be stored", "the node has no agent lease", other);
            return None;
        };
        let Some(record) = &lease.record else {
            let why = lease.unverified.as_deref().unwrap_or("the agent lease carries no record");
            self.refuse("no intent can be stored", why, other);
            return None;
        };
        Some(Readable { node, node_boot, lease, record })
    }

    fn fencing_on(intent: FenceIntent, lease: &LeaseRead, node: &NodeRead, counted_from: Mono, now: Mono) -> Fencing {
        Fencing {
            intent,
            lease_uid: lease.uid.clone(),
            node_uid: node.uid.clone(),
            counted_from,
            intended: now,
            promises: Promises::default(),
            acknowledged: None,
            asking: false,
            ask_again: now,
            evidence: None,
            baseline: Baseline {
                sequence: lease.record.as_ref().map_or(0, |record| record.sequence),
                heartbeat: node.heartbeat.as_ref().map(|heartbeat| heartbeat.token.clone()),
            },
            kubelet_after_agent: node.heartbeat.as_ref().and_then(|heartbeat| heartbeat.after_agent),
        }
    }

    fn write(&mut self, intent: FenceIntent, lease: &LeaseRead, node: &NodeRead, from: Mono, now: Mono) -> Vec<Effect> {
        self.refusal = None;
        let effect = WriteIntent {
            lease_uid: lease.uid.clone(),
            lease_version: lease.version.clone(),
            intent: intent.clone(),
            counted_from: from,
        };
        self.stage = Stage::Writing(Box::new(Self::fencing_on(intent, lease, node, from, now)));
        vec![Effect::WriteIntent(Box::new(effect))]
    }

    fn written(&mut self, outcome: WriteOutcome, now: Mono) -> Vec<Effect> {
        let Stage::Writing(fencing) = &self.stage else { return vec![] };
        match outcome {
            WriteOutcome::Stored => {
                let mut fencing = fencing.clone();
                fencing.intended = now;
                self.enter(fencing, now)
            }
            // The lease moved on: read again at once.
            WriteOutcome::Conflict => {
                self.stage = Stage::Reading;
                self.due = now + RETRY;
                vec![Effect::Read]
            }
            // Nobody knows: a later read shows it. If the write did land, the lease carries its UID, whose base the
            // sightings remember. Not at once: where reads work and writes do not, that would spin.
            WriteOutcome::Unknown { why } => {
                self.refuse("the intent may not be stored", &why, "the API answers writes again");
                self.stage = Stage::Reading;
                self.due = now + RETRY;
                vec![]
            }
        }
    }

    fn fence(&mut self, intent: FenceIntent, lease: &LeaseRead, node: &NodeRead, from: Mono, now: Mono) -> Vec<Effect> {
        self.enter(Box::new(Self::fencing_on(intent, lease, node, from, now)), now)
    }

    /// Step 4 begins at once, in parallel with a first look.
    fn enter(&mut self, mut fencing: Box<Fencing>, now: Mono) -> Vec<Effect> {
        self.refusal = None;
        let jurors = fencing.promises.to_ask(&fencing.intent.terms, now);
        let mut effects = vec![Effect::Read];
        if !jurors.is_empty() {
            fencing.asking = true;
            effects.push(ask(&fencing.intent, jurors));
        }
        self.stage = Stage::Fencing(fencing);
        self.due = now + RETRY;
        effects
    }

    fn answer(&mut self, uid: &str, juror: &str, asked: Mono, answer: JurorAnswer, now: Mono) -> Vec<Effect> {
        let Stage::Fencing(fencing) = &mut self.stage else { return vec![] };
        // A promise for an earlier intent says nothing about this one.
        if fencing.intent.uid != uid {
            return vec![];
        }
        let had_majority = fencing.promises.majority().is_some();
        let terms = fencing.intent.terms.clone();
        fencing.promises.record(&terms, juror, asked, now, answer);
        // The last promise may be all that was missing: look at once.
        if !had_majority && fencing.promises.majority().is_some() { vec![Effect::Read] } else { vec![] }
    }

    fn round_ended(&mut self, now: Mono) -> Vec<Effect> {
        if let Stage::Fencing(fencing) = &mut self.stage {
            fencing.asking = false;
            fencing.ask_again = now + RETRY / 2;
            if fencing.promises.majority().is_none() {
                self.due = self.due.min(fencing.ask_again);
            }
        }
        vec![]
    }

    fn evidence(&mut self, evidence: Evidence, now: Mono) -> Vec<Effect> {
        // Evidence older than the last mark proves nothing about what was started in between.
        let fresh = self.marked.is_some_and(|marked| evidence.observed > marked);
        match &mut self.stage {
            Stage::Fencing(fencing) if fresh && fencing.intent.boot_id == evidence.boot => {
                fencing.evidence = Some(evidence);
                self.due = now;
                vec![Effect::Read]
            }
            _ => vec![],
        }
    }
}

fn ask(intent: &FenceIntent, jurors: Vec<String>) -> Effect {
    Effect::AskPromises { intent_uid: intent.uid.clone(), boot: intent.boot_id.clone(), jurors }
}
