//! The driver of one prover: turns its effects into API calls and agent calls, and their ends into events.

mod new_boot;
mod news;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use palisade_api::Stage;
use palisade_core::fencing::proof::{Proof, ProofKind};
use palisade_core::fencing::prover::{self, Effect, Event, JurorAnswer, Prover, Settings, WriteIntent, WriteOutcome};
use palisade_core::fencing::record::BootId;
use palisade_core::time::Mono;
use palisade_rpc::{PromiseAnswer, PromiseRequest};
use palisade_runtime::FenceStage;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::read::{self, Read};
use super::{FenceState, Wake, Wanted, lease, owner};
use crate::clock;
use crate::context::Context;
use crate::error::{Error, within};
use crate::workloads::mark;

/// Marking takes no longer: what is left is done when it begins again.
const MARK_LIMIT: Duration = Duration::from_mins(1);
/// Writing the intent takes no longer; whether it was stored, the next read shows.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Answers and changes in quick succession lead to one read.
const READ_GAP: Duration = Duration::from_millis(150);
/// What happens in quick succession before the proof is looked at by the remediation in one pass.
const NEWS_GAP: Duration = Duration::from_millis(300);
/// While nobody can extend the node's life and no watch shows a sign of it, a consistent read comes this often.
const CALM: Duration = Duration::from_secs(10);
/// That the remediation wants its node fenced is not asked again for this long. What another controller does meanwhile is
/// found after the write of the intent, which always asks.
const JUST_ASKED: Duration = Duration::from_secs(1);

struct Session {
    context: Arc<Context>,
    wanted: Wanted,
    prover: Prover,
    published: Arc<Mutex<FenceState>>,
    state: FenceState,
    effects: VecDeque<Effect>,
    until: Mono,
    answers: mpsc::UnboundedSender<Event>,
    calls: JoinSet<()>,
    /// Since when the proof is P1 and the new boot is awaited.
    boot_changed: Option<Mono>,
    /// What the new boot gave as signs of life so far.
    new_boot_life: Option<Signs>,
    /// The remediation wants nothing more.
    over: bool,
    last: Option<Read>,
    /// When the last marks were stored.
    marked_at: Option<Time>,
    /// When the remediation is to hear of news that can wait.
    news: Option<Mono>,
    /// What the watches had shown of the kubelet when the last consistent read began, and when that was.
    looked: Option<(Mono, Shown)>,
    /// When the remediation was asked last whether it wants its node fenced, and did.
    asked: Option<Mono>,
}

/// Newest heartbeats, by status and lease.
type Shown = (Option<String>, Option<String>);

/// Newest heartbeats of the kubelet, and sequence number of the agent.
type Signs = (Option<String>, Option<String>, Option<u64>);

/// Both ends of the channel through which answers and evidence come.
type Inbox = (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>);

/// Runs until the task is dropped, or the remediation wants nothing more.
pub(super) async fn run(
    context: Arc<Context>,
    wanted: Wanted,
    published: Arc<Mutex<FenceState>>,
    wake: Arc<Wake>,
    (answers, mut inbox): Inbox,
) {
    let prover = match wanted.released.clone() {
        None => Prover::new(settings(&wanted), clock::now()).externally(wanted.external),
        Some(proof) => Prover::watching(settings(&wanted), proof, clock::now()),
    };
    let mut state =
        FenceState { stage: FenceStage::Requested, waiting_for: prover.waiting_for(), ..FenceState::default() };
    state.spans.began = Some(clock::now());
    let mut session = Session {
        context,
        wanted,
        prover,
        published,
        state,
        effects: VecDeque::new(),
        until: clock::now(),
        answers,
        calls: JoinSet::new(),
        boot_changed: None,
        new_boot_life: None,
        over: false,
        last: None,
        marked_at: None,
        news: None,
        looked: None,
        asked: None,
    };
    session.feed(Event::Tick);
    loop {
        session.work().await;
        session.publish();
        if session.over {
            return;
        }
        let next = session.news.map_or(session.until, |news| news.min(session.until));
        let pause = next.since(clock::now());
        tokio::select! {
            // Answers first; in a fixed order, so that a simulated run can be repeated.
            biased;
            Some(event) = inbox.recv() => {
                session.feed(event);
                while let Ok(event) = inbox.try_recv() {
                    session.feed(event);
                }
            }
            () = tokio::time::sleep(pause) => {
                session.tell();
                if session.until <= clock::now() {
                    session.tick();
                }
            }
            () = wake.changed.notified() => {
                session.gather(&mut inbox).await;
                session.look();
            }
            () = wake.lease.notified() => {
                session.gather(&mut inbox).await;
                if !session.knows_lease() {
                    session.look();
                }
            }
        }
    }
}

fn settings(wanted: &Wanted) -> Settings {
    Settings {
        node: wanted.target.node.clone(),
        owner: wanted.target.owner(),
        require: wanted.require,
        floor: wanted.floor,
    }
}

impl Session {
    /// Waits for what comes in quick succession: it may ask for a read, too, and one answers all.
    async fn gather(&mut self, inbox: &mut mpsc::UnboundedReceiver<Event>) {
        tokio::time::sleep(READ_GAP).await;
        while let Ok(event) = inbox.try_recv() {
            self.feed(event);
        }
    }

    /// Has everything read soon: one read answers all that were asked for.
    fn look(&mut self) {
        if !self.effects.iter().any(|queued| matches!(queued, Effect::Read)) {
            self.effects.push_back(Effect::Read);
        }
    }

    /// Whether the newest agent lease that the watch has shown is the one that was read: our own write comes back, too.
    fn knows_lease(&self) -> bool {
        let read = self.last.as_ref().and_then(|read| read.snapshot.lease.as_ref()).map(|lease| lease.version.as_str());
        let shown = self.context.agent_lease(&self.wanted.target.node);
        shown.is_some_and(|shown| shown.metadata.resource_version.as_deref() == read)
    }

    fn feed(&mut self, event: Event) {
        for effect in self.prover.on(event, clock::now()) {
            match effect {
                Effect::Wait { until } => self.until = until,
                Effect::Read => self.look(),
                effect => self.effects.push_back(effect),
            }
        }
    }

    /// The prover wants a look every two seconds, in case that a watch has missed something. Where only time has to pass,
    /// or nothing but a sign of life is waited for, that is one too many for each node that is down: the watches wake the
    /// session by node and agent lease, and tell it of the kubelet.
    fn tick(&mut self) {
        let now = clock::now();
        let seen = self.context.seen.shown(&self.wanted.target.node);
        let known = self.looked.as_ref().is_some_and(|(at, shown)| now.since(*at) < CALM && *shown == seen);
        let due = self.decides_at().is_some_and(|due| due <= now);
        if self.prover.is_calm() && known && !due && self.boot_changed.is_none() {
            let look = now + prover::RETRY;
            self.until = self.decides_at().map_or(look, |due| due.min(look));
            return;
        }
        self.feed(Event::Tick);
    }

    /// When the prover decides next by what was read last, if it waits for nothing but time.
    fn decides_at(&self) -> Option<Mono> {
        self.prover.decides_at(&self.last.as_ref()?.snapshot)
    }

    async fn work(&mut self) {
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::Mark => self.mark().await,
                Effect::Read => self.read().await,
                Effect::WriteIntent(write) => self.write(&write).await,
                Effect::AskPromises { intent_uid, boot, jurors } => self.ask(&intent_uid, &boot, jurors),
                Effect::Proven(proof) => self.proven(&proof),
                Effect::Contradiction { intent_uid, what } => {
                    self.happened(Stage::Contradicted, &intent_uid, format!("intent {intent_uid}: {what}"));
                    self.state.intent_uid = Some(intent_uid);
                }
                Effect::Wait { until } => self.until = until,
            }
            self.publish();
            if self.over {
                return;
            }
        }
        self.await_new_boot();
    }

    /// Whether the remediation still wants its node fenced; an answer of the last moment counts.
    async fn is_wanted(&mut self) -> Result<bool, Error> {
        if self.asked.is_some_and(|asked| clock::now().since(asked) <= JUST_ASKED) {
            return Ok(true);
        }
        let begun = clock::now();
        let wanted = owner::wants_fencing(&self.context, &self.wanted.target).await?;
        self.asked = wanted.then_some(begun);
        Ok(wanted)
    }

    async fn write(&mut self, write: &WriteIntent) {
        let (context, target) = (self.context.clone(), self.wanted.target.clone());
        match self.is_wanted().await {
            Ok(true) => {}
            Ok(false) => return self.end("its remediation wants no fencing any more"),
            Err(error) => {
                return self.feed(Event::IntentWritten(WriteOutcome::Unknown { why: error.to_string() }));
            }
        }
        // Before it is sent: its answer may be lost.
        context.seen.attempt(&target.node, &write.lease_uid, &write.intent.uid, write.counted_from);
        let (client, namespace) = (&context.client, &context.options.namespace);
        let store = lease::store(client, namespace, &target.node, write);
        let outcome = tokio::time::timeout(WRITE_LIMIT, store).await.unwrap_or_else(|_| WriteOutcome::Unknown {
            why: format!("the API server did not answer within {WRITE_LIMIT:?}"),
        });
        // Another controller may have let go of everything since: then nobody else clears what was just written.
        if outcome != WriteOutcome::Conflict && matches!(owner::wants_fencing(&context, &target).await, Ok(false)) {
            if let Err(error) = lease::let_go(client, namespace, &target.node, &target.owner()).await {
                tracing::warn!(node = target.node, %error, "an intent without remediation is left in the agent lease");
            }
            return self.end("its remediation went while the intent was written");
        }
        self.feed(Event::IntentWritten(outcome));
    }

    fn end(&mut self, why: &str) {
        tracing::info!(remediation = self.wanted.target.name, node = self.wanted.target.node, why, "fencing ends");
        self.over = true;
    }

    async fn mark(&mut self) {
        match self.is_wanted().await {
            Ok(true) => {}
            Ok(false) => return self.end("its remediation wants no fencing any more"),
            Err(error) => return self.feed(Event::MarkFailed { why: error.to_string() }),
        }
        let node = self.wanted.target.node.clone();
        let read = self.context.seen.just_read(&node);
        self.context.seen.forget_read(&node);
        match within(MARK_LIMIT, "marking", mark::mark(&self.context.client, &node, read)).await {
            Ok(marked) => {
                self.state.marked = marked;
                self.marked_at = Some(clock::wall());
                self.state.spans.marked.get_or_insert_with(clock::now);
                self.state.tainted = true;
                self.state.stage = self.state.stage.max(FenceStage::Marked);
                self.feed(Event::Marked);
            }
            Err(error) => self.feed(Event::MarkFailed { why: error.to_string() }),
        }
    }

    async fn read(&mut self) {
        let context = self.context.clone();
        let node = &self.wanted.target.node;
        self.looked = Some((clock::now(), context.seen.shown(node)));
        match read::read(&context.client, &context.options.namespace, node, &context.seen, &context.trust).await {
            Ok(read) => {
                if self.wanted.external
                    && self.wanted.released.is_none()
                    && read.snapshot.lease.is_none()
                    && read.node.is_some()
                {
                    return self.make_lease().await;
                }
                let snapshot = read.snapshot.clone();
                self.last = Some(read);
                self.feed(Event::Read(Box::new(snapshot)));
                self.note_progress();
            }
            Err(error) => {
                self.looked = None;
                self.feed(Event::ReadFailed { why: error.to_string() });
            }
        }
    }

    /// A node without agent gets a lease all the same: the intent in it tells an agent that starts later, and other
    /// remediations, that this boot has to end.
    async fn make_lease(&mut self) {
        match owner::wants_fencing(&self.context, &self.wanted.target).await {
            Ok(true) => {}
            Ok(false) => return self.end("its remediation wants no fencing any more"),
            Err(error) => return self.feed(Event::ReadFailed { why: error.to_string() }),
        }
        let (client, namespace) = (&self.context.client, &self.context.options.namespace);
        match lease::make_bare(client, namespace, &self.wanted.target.node).await {
            Ok(()) => self.effects.push_back(Effect::Read),
            Err(error) => self.feed(Event::ReadFailed { why: error.to_string() }),
        }
    }

    /// Asks all jurors at once; each is bounded in time, and the round ends when the last one did.
    fn ask(&mut self, intent_uid: &str, boot: &BootId, jurors: Vec<String>) {
        let Some(intent) = self.prover.intent() else { return };
        let request = PromiseRequest {
            intent_uid: intent_uid.to_owned(),
            node: self.wanted.target.node.clone(),
            boot_id: boot.as_str().to_owned(),
            time_to_live: intent.terms.time_to_live(),
            reset_bound: intent.terms.reset_bound(),
            node_address: self.context.agent_address(&self.wanted.target.node).unwrap_or_default(),
        };
        let (context, answers, intent_uid) = (self.context.clone(), self.answers.clone(), intent_uid.to_owned());
        self.calls.spawn(async move {
            let mut round = JoinSet::new();
            for juror in jurors {
                let (context, request) = (context.clone(), request.clone());
                let (answers, intent_uid) = (answers.clone(), intent_uid.clone());
                round.spawn(async move {
                    let asked = clock::now();
                    let answer = promise(&context, &juror, request).await;
                    // The session may be gone; then nobody wants to know.
                    let _ = answers.send(Event::PromiseAnswer { intent_uid, juror, asked, answer });
                });
            }
            while round.join_next().await.is_some() {}
            let _ = answers.send(Event::RoundEnded);
        });
        while self.calls.try_join_next().is_some() {}
    }

    fn proven(&mut self, proof: &Proof) {
        self.boot_changed = (proof.kind == ProofKind::BootChanged).then(clock::now);
        let detail = format!(
            "{} ({}), boot {}, intent {}, {:.1}s after the intent: {}",
            proof.kind,
            proof.grade,
            proof.boot,
            proof.intent_uid,
            proof.waited().as_secs_f64(),
            proof.explanation
        );
        self.happened(
            Stage::Proven,
            &format!("{} ({}), boot {}, intent {}", proof.kind, proof.grade, proof.boot, proof.intent_uid),
            detail,
        );
        self.state.spans.intended.get_or_insert(proof.intended);
        self.state.spans.proven = Some(proof.proven);
        if proof.kind == ProofKind::LeaseExpired && !proof.terms.jury.is_empty() {
            // Where the last promise came when the time was over already, nothing was waited for after it.
            self.state.spans.promised.get_or_insert(proof.proven);
        }
        let began = self.state.spans.began.unwrap_or(proof.intended);
        self.context.metrics.fenced(&proof.kind.to_string(), proof.proven.since(began));
        self.state.proof = Some(proof.clone());
        self.state.boot = Some(proof.boot.clone());
        self.state.intent_uid = Some(proof.intent_uid.clone());
        self.state.lease_uid = Some(proof.lease_uid.clone());
        self.state.usable = false;
    }
}

async fn promise(context: &Context, juror: &str, request: PromiseRequest) -> JurorAnswer {
    let Some(address) = context.agent_address(juror) else {
        return JurorAnswer::Unreachable { why: "its address is not known".to_owned() };
    };
    match context.rpc.promise(juror, &address, request).await {
        Ok(PromiseAnswer::Promised { last_no_api_age }) => JurorAnswer::Promised { no_api_age: last_no_api_age },
        Ok(PromiseAnswer::Refused { why }) => JurorAnswer::Refused { why },
        Err(why) => JurorAnswer::Unreachable { why },
    }
}
