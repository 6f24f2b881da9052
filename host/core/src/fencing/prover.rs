//! The controller's side of the protocol: from "this node has to end" to a proof that its boot has.
//!
//! Pure: the driver tells what it saw and what time it is, the prover answers with what to do. It never trusts a watch:
//! a watch only says *when* a version was first seen and *that* it is time to read again.

mod conclude;
mod contradict;
mod event;
mod intend;
mod life;
mod promises;
#[cfg(test)]
mod tests;
mod watching;

use std::time::Duration;

pub use event::{
    Beat, Effect, Event, Evidence, Heartbeat, LeaseRead, NodeRead, Refusal, Settings, Snapshot, WriteIntent,
    WriteOutcome,
};
use life::Beats;
pub use promises::{JurorAnswer, quorum};
use promises::{Promises, jury};

use super::proof::{Grade, Proof};
use super::record::{BootId, FenceIntent};
use crate::hashing::hash_with_sequence;
use crate::time::Mono;

/// Pause before something that failed is tried again, and between consistent reads while nothing happens.
pub const RETRY: Duration = Duration::from_secs(2);

/// Longest pause between looks at a node that gives nothing to fence.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The kubelet's lease names no boot. A renewal after the end is the next boot's, which names itself in its Node within
/// this time, or the old one's.
pub const SUSPICION: Duration = Duration::from_secs(15);

const SUSPICION_TEXT: &str = "the node to name its boot: its kubelet renewed its lease after the end of the old boot";

/// One attempt to prove the end of the boot that runs on one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prover {
    settings: Settings,
    /// A boot whose end this remediation has proven before, and whose successor is to be fenced.
    superseded: Option<BootId>,
    stage: Stage,
    /// Something from outside ends the boot: an intent is stored also where no agent is (P3 is never available there).
    external: bool,
    /// When the last marks were stored: evidence from outside counts only after it.
    marked: Option<Mono>,
    /// When the next effect is due.
    due: Mono,
    /// Pause before the next look, when it has to begin again.
    patience: Duration,
    refusal: Option<Refusal>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Stage {
    /// Step 1 is to be done, not before `due`.
    Unmarked,
    /// It began again: before anything is marked once more, a read has to show a boot that can be fenced.
    Looking,
    /// Step 1 is under way.
    Marking,
    /// Step 2: waiting for a consistent read, begun after the marks were stored.
    Reading,
    /// Step 3: the compare-and-swap is under way.
    Writing(Box<Fencing>),
    /// Steps 4 and 5.
    Fencing(Box<Fencing>),
    /// Done by an earlier process; waiting for the read that is the baseline.
    Watching(Box<Proof>),
    /// Done; watching for contradictions.
    Proven { proof: Box<Proof>, fencing: Box<Fencing> },
    /// A sign of the boot after its proof. For good.
    Contradicted { what: String, fencing: Box<Fencing> },
}

/// What is known about one stored intent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Fencing {
    intent: FenceIntent,
    lease_uid: String,
    node_uid: String,
    /// From when `D` counts, apart from `NoApi`.
    counted_from: Mono,
    /// When this controller knew the intent to be stored.
    intended: Mono,
    promises: Promises,
    acknowledged: Option<Acknowledged>,
    /// A round of promise requests is under way.
    asking: bool,
    ask_again: Mono,
    evidence: Option<Evidence>,
    baseline: Baseline,
    /// The last consistent read that began after `D`, and the kubelet's signs of life in the first.
    after_end: Option<(Mono, Beats)>,
    /// Since when there is a sign of life that may be the next boot's: meanwhile nothing is proven.
    suspect: Option<Mono>,
    /// How much later than the agent the kubelet was heard last; both by their own machine's clock.
    kubelet_after_agent: Option<Duration>,
}

/// An acknowledgement of the intent. The device that ends the boot is the one its record names, or the intent's, should
/// the agent have opened another one in between: the longer bound and the weaker grade of the two count.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Acknowledged {
    first_seen: Mono,
    reset: Duration,
    grade: Grade,
}

/// The newest sign of life, to tell a new one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Baseline {
    sequence: u64,
    status: Option<String>,
    lease: Option<String>,
}

hash_with_sequence!(Baseline { sequence; status, lease });

impl Prover {
    /// Starts at step 1.
    pub fn new(settings: Settings, now: Mono) -> Self {
        Self {
            settings,
            superseded: None,
            external: false,
            stage: Stage::Unmarked,
            marked: None,
            due: now,
            patience: RETRY,
            refusal: None,
        }
    }

    /// Starts at step 1 for the boot that followed `ended`: an own intent that still names `ended` makes room.
    pub fn after(settings: Settings, ended: BootId, now: Mono) -> Self {
        Self { superseded: Some(ended), ..Self::new(settings, now) }
    }

    /// For a boot that something from outside ends (P4 to P6), with or without an agent on the node.
    #[must_use]
    pub fn externally(mut self, external: bool) -> Self {
        self.external = external;
        self
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
            Stage::Proven { proof, fencing } if fencing.suspect.is_none() => Some(proof),
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
        self.fencing().is_some_and(|fencing| Self::extension_impossible(fencing).is_ok())
    }

    /// `D` as far as it is known; further `NoApi` answers may still move it.
    pub fn deadline(&self) -> Option<Mono> {
        match &self.stage {
            Stage::Proven { proof, .. } => proof.deadline,
            _ => self.fencing().map(|fencing| self.deadline_of(fencing)),
        }
    }

    /// Whether nothing is left to do but to wait: for time to pass, or for a sign of life.
    pub fn is_calm(&self) -> bool {
        match &self.stage {
            Stage::Fencing(fencing) => {
                fencing.suspect.is_none() && !fencing.asking && Self::extension_impossible(fencing).is_ok()
            }
            Stage::Proven { fencing, .. } => fencing.suspect.is_none(),
            Stage::Contradicted { .. } => true,
            _ => false,
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
            Stage::Unmarked | Stage::Looking | Stage::Marking => {
                self.with_refusal("the workloads of the node to be marked")
            }
            Stage::Reading => self.with_refusal("a consistent read of node and agent lease"),
            Stage::Writing(_) => "the fence intent to be stored in the agent lease".to_owned(),
            Stage::Fencing(fencing) => self.fencing_waits_for(fencing),
            Stage::Proven { fencing, .. } if fencing.suspect.is_some() => SUSPICION_TEXT.to_owned(),
            Stage::Proven { proof, .. } | Stage::Watching(proof) => format!("nothing: {}", proof.explanation),
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
            Stage::Looking => {
                self.patience = (self.patience * 2).min(PATIENCE);
                self.due = now + self.patience;
                vec![Effect::Read]
            }
            Stage::Reading | Stage::Watching(_) | Stage::Proven { .. } | Stage::Contradicted { .. } => {
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
        self.stage = Stage::Looking;
        self.due = now + self.patience;
        vec![]
    }

    fn refuse(&mut self, what: &str, why: &str, unblocks: &str) {
        self.refusal = Some(Refusal { what: what.to_owned(), why: why.to_owned(), unblocks: unblocks.to_owned() });
    }

    fn read(&mut self, snapshot: &Snapshot, now: Mono) -> Vec<Effect> {
        match &self.stage {
            Stage::Unmarked | Stage::Marking | Stage::Writing(_) => vec![],
            Stage::Looking => self.look(snapshot, now),
            Stage::Reading if self.marked.is_none_or(|marked| snapshot.begun < marked) => vec![],
            Stage::Reading => self.intend(snapshot, now),
            Stage::Fencing(_) => self.conclude(snapshot, now),
            Stage::Watching(_) => self.begin_watching(snapshot, now),
            Stage::Proven { .. } => self.look_for_contradiction(snapshot, now),
            Stage::Contradicted { .. } => self.look_for_new_boot(snapshot, now),
        }
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
