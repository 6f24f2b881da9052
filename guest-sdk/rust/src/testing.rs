//! Runs a remediator as plain Rust: no Wasm, no cluster. Only on native targets.
//!
//! A [`Story`] is a remediation from its first call to its last. The scenario plays the host: what a call asks for takes
//! effect, proofs come when the test grants them, and time is what the test says it is.
//!
//! ```
//! use palisade_remediator::fencing::{Method, ProofKind};
//! use palisade_remediator::flow::{self, Flow};
//! use palisade_remediator::testing::{Effect, Scenario, keeps_the_promise};
//! use palisade_remediator::workloads::ReleaseMethod;
//! use palisade_remediator::*;
//! use std::time::Duration;
//!
//! /// Fences as usual, but keeps the node free of new pods for an hour after its workloads were released.
//! struct Probation;
//!
//! impl Remediator for Probation {
//!     fn reconcile(remediation: Remediation) -> Result<Outcome, Failure> {
//!         match flow::fence(&remediation)? {
//!             Flow::Answer(outcome) => Ok(outcome),
//!             Flow::Proven(proof, remains) if !remains.gone() => {
//!                 scheduling::cordon("probation")?;
//!                 flow::release(&proof, ReleaseMethod::ResourceDeletion)?;
//!                 Ok(Outcome::working("releasing"))
//!             }
//!             Flow::Proven(..) | Flow::Released(_) if remediation.age < 3_600_000 => Ok(Outcome::working("probation")),
//!             Flow::Proven(..) | Flow::Released(_) => {
//!                 scheduling::uncordon("probation-over")?;
//!                 Ok(Outcome::succeeded("released"))
//!             }
//!         }
//!     }
//! }
//!
//! // Given a node that failed, when it is proven dead, then it is released and kept empty for an hour.
//! let mut story = Scenario::node("n1").boot("b1").pods(2).start::<Probation>();
//! assert!(story.call().asks(&Effect::RequestFence(Method::SelfFence)));
//! story.prove(ProofKind::LeaseExpired);
//! assert!(story.call().asks(&Effect::Cordon) && story.released());
//! story.workloads_are_gone();
//! assert_eq!(story.call().step(), "probation");
//! story.advance(Duration::from_secs(3_600));
//! assert!(story.call().succeeded() && !story.scenario.ours.cordoned);
//! // And in five hundred worlds that nobody thought of it keeps the rules.
//! keeps_the_promise::<Probation>(500);
//! ```
//!
//! One call is a [`Scenario`] by itself:
//!
//! ```
//! use palisade_remediator::{testing::{Effect, Scenario}, *};
//! # struct R;
//! # impl Remediator for R {
//! #     fn reconcile(_: Remediation) -> Result<Outcome, Failure> {
//! #         fencing::request("fence", fencing::Method::SelfFence)?;
//! #         Ok(Outcome::working("waiting"))
//! #     }
//! # }
//! let played = Scenario::new().play::<R>();
//! assert_eq!(played.effects, [("fence".into(), Effect::RequestFence(fencing::Method::SelfFence))]);
//! ```

mod random;
mod story;

use std::cell::RefCell;

pub use random::{keeps_the_promise, proof_kinds, rules, stages, worlds};
pub use story::Story;

use crate::agent::{AgentState, Reach};
use crate::approval::{Answer, AnswerState, Question};
use crate::fencing::{FenceStatus, Grade, Method, ProofKind, Stage};
use crate::jobs::JobResult;
use crate::machines::{Machine, Replacement};
use crate::power::PowerStatus;
use crate::report::ConditionStatus;
use crate::scheduling::{Ours, OwnTaint};
use crate::target::Node;
use crate::workloads::{ReleaseMethod, Remains, Restoration};
use crate::{Failure, Outcome, Refusal, Remediation, Remediator};

/// An effect as the remediator asked for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// `fencing::request`.
    RequestFence(Method),
    /// `workloads::release`, with the id of the proof.
    Release(String, ReleaseMethod),
    /// `workloads::restore`.
    Restore(Restoration),
    /// `scheduling::cordon`.
    Cordon,
    /// `scheduling::uncordon`.
    Uncordon,
    /// `scheduling::set_taint`.
    SetTaint(OwnTaint),
    /// `scheduling::remove_taint`.
    RemoveTaint(OwnTaint),
    /// `machines::delete`, with the UID.
    DeleteMachine(String),
    /// `power::off`.
    PowerOff,
    /// `power::on`.
    PowerOn,
    /// `approval::ask`: question, message, persons, expiry in milliseconds.
    Ask(Question, String, u32, Option<u64>),
    /// `jobs::run`, with the name.
    RunJob(String),
    /// `report::condition`: kind, status, reason, message.
    Condition(String, ConditionStatus, String, String),
    /// `report::event`: warning, reason, message.
    Event(bool, String, String),
}

/// What the proof of a scenario says.
#[derive(Debug, Clone, PartialEq)]
pub struct ProofFacts {
    /// Its name.
    pub id: String,
    /// Kind of evidence.
    pub kind: ProofKind,
    /// How sure it is.
    pub grade: Grade,
    /// Age in milliseconds.
    pub age: u64,
    /// The boot that ended.
    pub boot_id: String,
}

/// The world of one or more calls. Every field can be set between calls.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Handed to the remediator.
    pub remediation: Remediation,
    /// Answer of `target::get`.
    pub target: Option<Node>,
    /// Answer of `agent::get`.
    pub agent: AgentState,
    /// Answer of `fencing::progress`.
    pub fencing: FenceStatus,
    /// Answer of `fencing::proof`.
    pub proof: Option<ProofFacts>,
    /// Answer of `workloads::remaining`.
    pub remains: Remains,
    /// Answer of `scheduling::ours`.
    pub ours: Ours,
    /// Answer of `machines::get`.
    pub machine: Result<Machine, Refusal>,
    /// Whether `machines::delete` is allowed.
    pub deletable: Result<(), Refusal>,
    /// Answer of `machines::replacement`.
    pub replacement: Result<Replacement, Refusal>,
    /// Answer of `power::status`.
    pub power: Result<PowerStatus, Refusal>,
    /// Answer of `approval::answer` about the action.
    pub approved: Result<Answer, Refusal>,
    /// Answer of `approval::answer` about the isolation.
    pub confirmed: Result<Answer, Refusal>,
    /// The administrator's jobs by name, with the answers of `jobs::result`.
    pub jobs: Vec<(String, JobResult)>,
    /// Refuse every effect for this reason.
    pub refuse: Option<Refusal>,
    pub(crate) effects: Vec<(String, Effect)>,
    pub(crate) log: Vec<String>,
}

/// What a call came to.
#[derive(Debug)]
pub struct Played {
    /// The answer.
    pub answer: Result<Outcome, Failure>,
    /// What would be done, with keys; empty when the answer is an error.
    pub effects: Vec<(String, Effect)>,
    /// Log lines.
    pub log: Vec<String>,
}

thread_local! {
    static WORLD: RefCell<Option<Scenario>> = const { RefCell::new(None) };
}

impl Default for Scenario {
    fn default() -> Self {
        Self::new()
    }
}

impl Scenario {
    /// A fresh remediation of a node of which nothing is known, with three pods on it.
    pub fn new() -> Self {
        Self {
            remediation: Remediation {
                uid: "uid-1".into(),
                kind: "SelfNodeRemediation".into(),
                namespace: "default".into(),
                name: "worker-1".into(),
                node: "worker-1".into(),
                strategy: String::new(),
                parameters: "{}".into(),
                step: String::new(),
                memory: Vec::new(),
                age: 0,
                timed_out: false,
                deleting: false,
            },
            target: None,
            agent: AgentState {
                reach: Reach::Silent,
                boot_id: "boot-1".into(),
                last_renewal: None,
                watchdog: None,
                self_fences: true,
                jury: 3,
            },
            fencing: FenceStatus { stage: Stage::Idle, boot_id: String::new(), waiting_for: String::new(), due: None },
            proof: None,
            remains: Remains {
                pods: 3,
                volume_attachments: 1,
                examples: Vec::new(),
                released: None,
                out_of_service: false,
                held: false,
                out_of_service_supported: true,
            },
            ours: Ours { cordoned: false, taints: Vec::new() },
            machine: Err(Refusal::NotFound("the node names no machine".into())),
            deletable: Ok(()),
            replacement: Err(Refusal::NotFound("the node names no machine".into())),
            power: Err(Refusal::NotFound("no device is named for the node".into())),
            approved: Ok(Answer::not_asked()),
            confirmed: Ok(Answer::not_asked()),
            jobs: Vec::new(),
            refuse: None,
            effects: Vec::new(),
            log: Vec::new(),
        }
    }

    /// The host proves that the boot ended.
    #[must_use]
    pub fn proven(mut self, kind: ProofKind) -> Self {
        self.fencing.stage = Stage::Proven;
        let (id, boot_id) = ("proof-1".into(), "boot-1".into());
        self.proof = Some(ProofFacts { id, kind, grade: Grade::Certain, age: 0, boot_id });
        self
    }

    /// One call.
    pub fn play<R: Remediator>(&self) -> Played {
        WORLD.set(Some(self.clone()));
        let answer = R::reconcile(self.remediation.clone());
        let (effects, log) = with_world(|world| (std::mem::take(&mut world.effects), std::mem::take(&mut world.log)));
        WORLD.set(None);
        let effects = if answer.is_ok() { effects } else { Vec::new() };
        Played { answer, effects, log }
    }
}

impl Answer {
    /// What is known before anybody was asked.
    pub fn not_asked() -> Self {
        Self { state: AnswerState::NotAsked, persons: Vec::new(), missing: 0, left: None, boot_id: String::new() }
    }
}

impl Played {
    /// Name of the step of the answer, empty for an error.
    pub fn step(&self) -> &str {
        self.answer.as_ref().map_or("", |outcome| &outcome.step)
    }

    /// Whether this effect is asked for, under any key.
    pub fn asks(&self, effect: &Effect) -> bool {
        self.effects.iter().any(|(_, asked)| asked == effect)
    }
}

pub(crate) fn with_world<T>(f: impl FnOnce(&mut Scenario) -> T) -> T {
    WORLD.with_borrow_mut(|world| {
        #[expect(clippy::expect_used, reason = "a test harness: outside of a scenario there is nothing to answer from")]
        let world = world.as_mut().expect("host calls work only inside Scenario::play");
        f(world)
    })
}

pub(crate) fn stage(key: &str, effect: Effect) -> Result<(), Refusal> {
    with_world(|world| {
        if let Some(refusal) = &world.refuse {
            return Err(refusal.clone());
        }
        match world.effects.iter_mut().find(|(taken, _)| taken == key) {
            Some((_, earlier)) if *earlier == effect => {}
            Some((_, earlier @ Effect::Condition(..))) if matches!(effect, Effect::Condition(..)) => *earlier = effect,
            Some(_) => return Err(Refusal::Refused(format!("key {key:?} already names another effect"))),
            None => world.effects.push((key.to_owned(), effect)),
        }
        Ok(())
    })
}
