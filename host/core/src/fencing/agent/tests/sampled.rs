//! The promise itself, over sampled histories: one node with its jurors, one controller, and an API that loses answers.
//!
//! Everything that can happen late happens late or never: writes land and their answers are lost, relays land after the
//! next direct write, agent and jurors restart, the configuration changes in between, the controller writes an intent
//! and collects promises. Checked after every step:
//!
//! - `L` never exceeds now + `T` for any terms that may be in force;
//! - `L` grows only by an answer, and by no more than the smallest `T` in force after the request was sent;
//! - once the controller has its promises, nothing feeds this boot at or after `D`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::bench::{boot, device, me, peers, settings};
use crate::fencing::agent::{Agent, Base, Effect, Event, HostFile, Lease, RequestId, Settings, WriteResult};
use crate::fencing::juror::{AskerBounds, Attempt, Juror, JurorTiming, PeerAnswer, Relay, judge_relay};
use crate::fencing::record::{AgentRecord, FenceIntent, LeaseView};
use crate::fencing::timing::life_bound;
use crate::time::Mono;

const JURORS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    /// Time passes, in tenths of a second.
    Pass(u16),
    /// So many times: some of a second passes, and whatever is open arrives, first come, first served.
    Live {
        times: u8,
        tenths: u8,
    },
    /// The n-th open request reaches the API or its peers; the answer may be lost.
    Deliver {
        which: usize,
        answer_lost: bool,
    },
    /// The n-th open request is lost.
    Lose(usize),
    /// Writes to the API stop or work again, for node and jurors.
    Api(bool),
    /// A juror renews its own lease, if the API works.
    JurorRenews(usize),
    JurorRestarts(usize),
    AgentRestarts,
    /// Another `apiCheckInterval`, so another `T`.
    Configure(u8),
    /// Another roster, so another jury.
    Roster(usize),
    Watch,
    /// A juror wakes the node, with or without a reason.
    Wake(usize),
    TimeLost,
    Intend,
    AskPromise(usize),
}

/// Anything at any time.
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u16..40).prop_map(Step::Pass),
        10 => (1u8..40, 1u8..12).prop_map(|(times, tenths)| Step::Live { times, tenths }),
        6 => (0usize..4, prop::bool::weighted(0.2)).prop_map(|(which, answer_lost)| Step::Deliver { which, answer_lost }),
        2 => (0usize..4).prop_map(Step::Lose),
        2 => prop::bool::weighted(0.6).prop_map(Step::Api),
        2 => (0..JURORS).prop_map(Step::JurorRenews),
        1 => (0..JURORS).prop_map(Step::JurorRestarts),
        1 => Just(Step::AgentRestarts),
        1 => (1u8..6).prop_map(Step::Configure),
        1 => (1..=JURORS).prop_map(Step::Roster),
        1 => Just(Step::Watch),
        1 => (0..JURORS).prop_map(Step::Wake),
        1 => Just(Step::TimeLost),
        2 => Just(Step::Intend),
        6 => (0..JURORS).prop_map(Step::AskPromise),
    ]
}

/// Two plots that endanger the promise. In both the node lives on by its jury during an outage, while the controller
/// collects promises: of jurors that were restarted, or of a jury whose lease was stored but never confirmed to the node.
fn plot() -> impl Strategy<Value = Vec<Step>> {
    let times = || 1u8..30;
    let restarted =
        (times(), 0..JURORS, 0..JURORS, 0..JURORS, times()).prop_map(|(before, juror, one, other, after)| {
            vec![
                Step::Intend,
                Step::Api(false),
                Step::Live { times: before, tenths: 5 },
                Step::JurorRestarts(juror),
                Step::AskPromise(one),
                Step::AskPromise(other),
                Step::Live { times: after, tenths: 5 },
            ]
        });
    let in_flight = (1..=JURORS, any::<bool>(), 0..JURORS, times(), times()).prop_map(
        |(jury, agent_restarts, juror, before, after)| {
            vec![
                Step::Roster(jury),
                Step::Deliver { which: 0, answer_lost: true },
                Step::Intend,
                Step::Api(false),
                if agent_restarts { Step::AgentRestarts } else { Step::Pass(1) },
                Step::Live { times: before, tenths: 5 },
                Step::AskPromise(juror),
                Step::Live { times: after, tenths: 5 },
            ]
        },
    );
    prop_oneof![restarted, in_flight]
}

/// Either anything, or a plot with anything in between.
fn history() -> impl Strategy<Value = Vec<Step>> {
    let fillers = prop::collection::vec(prop::collection::vec(step(), 0..2), 8);
    let plotted = (prop::collection::vec(step(), 0..8), plot(), fillers).prop_map(|(mut history, plot, fillers)| {
        for (step, filler) in plot.into_iter().zip(fillers) {
            history.push(step);
            history.extend(filler);
        }
        history
    });
    prop_oneof![prop::collection::vec(step(), 5..60), plotted]
}

enum Open {
    Read(RequestId),
    Write(RequestId, AgentRecord, Base),
    Ask(RequestId, AgentRecord, String, AskerBounds),
}

/// The one Lease object.
struct Stored {
    version: u64,
    view: LeaseView,
}

struct Intent {
    at: Mono,
    copy: FenceIntent,
    promised: BTreeMap<String, (Mono, Option<Mono>)>,
}

struct World {
    now: Mono,
    settings: Settings,
    agent: Agent,
    disk: Option<HostFile>,
    jurors: Vec<Juror>,
    api: bool,
    lease: Option<Stored>,
    open: Vec<Open>,
    sent: BTreeMap<RequestId, Mono>,
    /// What the adapters answer at once, after all effects of an event.
    queue: VecDeque<Event>,
    permit: Option<Mono>,
    ended: bool,
    intent: Option<Intent>,
    /// The bound that the controller computed: nothing may feed from here on.
    deadline: Option<Mono>,
}

impl World {
    fn new() -> Self {
        let now = Mono(1_000_000);
        let settings = settings();
        let timing = JurorTiming { time_to_live: settings.tuning.time_to_live(), round: Duration::from_secs(4) };
        // The jurors are old already, or nothing they say would count for a minute.
        let jurors = vec![Juror::new(Mono(0), timing); JURORS];
        let agent = Agent::start(now, me(), settings.clone(), true, None);
        let mut world = Self {
            now,
            settings,
            agent,
            disk: None,
            jurors,
            api: true,
            lease: None,
            open: Vec::new(),
            sent: BTreeMap::new(),
            queue: VecDeque::new(),
            permit: None,
            ended: false,
            intent: None,
            deadline: None,
        };
        world.event(Event::RosterChanged(peers(JURORS)));
        world
    }

    fn event(&mut self, event: Event) {
        self.queue.push_back(event);
        while let Some(event) = self.queue.pop_front() {
            self.one_event(event);
        }
    }

    fn one_event(&mut self, event: Event) {
        let before = self.agent.until();
        let answers = matches!(event, Event::WriteAnswer { .. } | Event::PeerAnswer { .. });
        let answered = match &event {
            Event::WriteAnswer { request, .. } | Event::PeerAnswer { request, .. } => self.sent.get(request).copied(),
            _ => None,
        };
        let effects = self.agent.on(self.now, event);
        if self.agent.until() > before {
            assert!(answers, "the life grew without an answer");
            let sent = answered.expect("the life grew by an answer to a request that was never sent");
            let disk = self.disk.clone().expect("sent without a host file");
            let longest = self.agent.confirmed().map(|known| known.terms.time_to_live());
            assert!(self.agent.until().unwrap() <= sent + longest.unwrap(), "longer than the confirmed T: {disk:?}");
        }
        for effect in effects {
            self.carry_out(effect);
        }
        self.check();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Permit(until) => self.permit = until,
            Effect::StopFeeding => self.ended = true,
            Effect::WriteHostFile { write, file } => {
                self.disk = Some(*file);
                self.queue.push_back(Event::HostFileWritten { write, stored: true });
            }
            Effect::ReadLease { request } => self.open.push(Open::Read(request)),
            Effect::WriteLease { request, record, base } => {
                self.on_disk(&record);
                self.sent.insert(request, self.now);
                self.open.push(Open::Write(request, record, base));
            }
            Effect::AskPeers { request, record, peers, bounds } => {
                self.on_disk(&record);
                self.sent.insert(request, self.now);
                for peer in peers {
                    self.open.push(Open::Ask(request, record.clone(), peer.node, bounds));
                }
            }
            Effect::OpenWatchdog => {
                assert!(!self.ended && self.permit.is_some_and(|until| self.now < until), "opened past L");
                self.queue.push_back(Event::WatchdogOpened(Ok(device())));
            }
            _ => {}
        }
    }

    /// Written before the request it describes is sent.
    fn on_disk(&self, record: &AgentRecord) {
        let disk = self.disk.as_ref().expect("sent before anything was on disk");
        if record.acknowledged.is_none() {
            assert!(disk.sequence >= record.sequence);
            let known = disk.sent.iter().chain(&disk.confirmed).any(|known| known.terms == record.terms);
            assert!(known, "sent, but not on disk");
        } else {
            assert!(disk.fenced.is_some(), "acknowledged, but not on disk");
        }
    }

    fn check(&self) {
        let Some(until) = self.agent.until() else { return };
        if self.ended {
            return;
        }
        let disk = self.disk.iter();
        for known in disk.flat_map(|disk| disk.sent.iter().chain(&disk.confirmed)) {
            // What the disk remembers may be confirmed away in memory since; then it bounds no more.
            if self.agent.confirmed().is_none_or(|confirmed| known.sequence >= confirmed.sequence) {
                assert!(until <= self.now + known.terms.time_to_live(), "L exceeds terms in force");
            }
        }
        if let Some(deadline) = self.deadline {
            let fed_until = self.permit.unwrap_or_default();
            assert!(fed_until <= deadline, "may be fed until {fed_until:?}, proven dead at {deadline:?}");
        }
    }

    fn lease(&self) -> Option<Lease> {
        self.lease.as_ref().map(|stored| Lease { version: stored.version.to_string(), view: stored.view.clone() })
    }

    fn put(&mut self, record: AgentRecord) {
        let (version, mut view) =
            self.lease.take().map_or((1, LeaseView::default()), |stored| (stored.version, stored.view));
        view.record = Some(record);
        self.lease = Some(Stored { version: version + 1, view });
    }

    fn deliver(&mut self, open: Open, answer_lost: bool) {
        let answer = match open {
            Open::Read(request) => {
                let result = if self.api { Ok(self.lease()) } else { Err("cut".into()) };
                Event::ReadAnswer { request, result }
            }
            Open::Write(request, record, base) => {
                let current = self.lease.as_ref().map_or(Base::Absent, |stored| Base::At(stored.version.to_string()));
                let result = if !self.api {
                    WriteResult::Failed("cut".into())
                } else if base == current {
                    self.put(record);
                    WriteResult::Stored(self.lease().unwrap())
                } else {
                    WriteResult::Conflict(self.lease())
                };
                Event::WriteAnswer { request, result }
            }
            Open::Ask(request, record, node, bounds) => {
                let answer = self.juror_answers(&node, &record, &bounds);
                Event::PeerAnswer { request, node, answer }
            }
        };
        if !answer_lost {
            self.event(answer);
        }
    }

    fn juror_answers(&mut self, node: &str, record: &AgentRecord, bounds: &AskerBounds) -> PeerAnswer {
        let index: usize = node[1..].parse::<usize>().unwrap() - 1;
        let attempt = if self.api {
            let view = self.lease.as_ref().map(|stored| stored.view.clone());
            self.jurors[index].saw("n0", self.now, view.as_ref());
            match judge_relay(record, view.as_ref()) {
                Relay::Store => {
                    self.put(record.clone());
                    Attempt::Stored
                }
                Relay::AlreadyStored => Attempt::Stored,
                Relay::IntentExists { uid } => Attempt::IntentExists { uid },
                Relay::Refuse(why) => Attempt::Refused(why.into()),
            }
        } else {
            Attempt::Failed("cut".into())
        };
        self.jurors[index].answer(self.now, record, attempt, bounds)
    }

    /// Step 3: the intent, by compare-and-swap, with copies of what the lease says.
    fn intend(&mut self) {
        if self.intent.is_some() || !self.api {
            return;
        }
        let Some(stored) = &mut self.lease else { return };
        let Some(record) = stored.view.record.clone() else { return };
        if !record.terms.claims.self_fences {
            return;
        }
        let intent = FenceIntent {
            uid: "u1".into(),
            boot_id: boot("b1"),
            terms: record.terms,
            based_on_sequence: record.sequence,
            owners: vec![],
        };
        stored.view.intent = Some(intent.clone());
        stored.version += 1;
        self.intent = Some(Intent { at: self.now, copy: intent, promised: BTreeMap::new() });
    }

    /// Steps 4 and 5.
    fn ask_promise(&mut self, index: usize) {
        let Some(Intent { at, copy: intent, promised }) = &mut self.intent else { return };
        let node = format!("n{}", index + 1);
        if !intent.terms.jury.contains(&node) || self.deadline.is_some() {
            return;
        }
        let bound = life_bound(intent.terms.time_to_live(), intent.terms.reset_bound());
        if let Ok(age) = self.jurors[index].promise(self.now, "n0", &boot("b1"), &intent.uid, bound) {
            promised.insert(node, (self.now, age.map(|age| self.now - age)));
        }
        // The whole majority must have been asked within Wd + margin.
        let window = Duration::from_secs(10);
        let now = self.now;
        promised.retain(|_, (asked, _)| now.since(*asked) <= window);
        if 2 * promised.len() > intent.terms.jury.len() {
            let last = promised.values().filter_map(|(_, no_api)| *no_api).max().unwrap_or_default();
            self.deadline = Some(last.max(*at) + intent.terms.time_to_live());
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Live { times, tenths } => {
                for _ in 0..times {
                    self.run(&Step::Pass(tenths.into()));
                    for open in std::mem::take(&mut self.open) {
                        self.deliver(open, false);
                    }
                }
            }
            Step::Pass(tenths) => {
                let end = self.now + Duration::from_millis(u64::from(tenths) * 100);
                while self.now < end {
                    let next = self.agent.next_deadline().unwrap_or(end).max(self.now + Duration::from_millis(1));
                    self.now = next.min(end);
                    self.event(Event::Tick);
                }
            }
            Step::Deliver { which, answer_lost } => {
                if which < self.open.len() {
                    let open = self.open.remove(which);
                    self.deliver(open, answer_lost);
                }
            }
            Step::Lose(which) => {
                if which < self.open.len() {
                    self.open.remove(which);
                }
            }
            Step::Api(works) => self.api = works,
            Step::JurorRenews(index) if self.api => self.jurors[index].renewed(self.now),
            Step::JurorRenews(_) => {}
            Step::JurorRestarts(index) => {
                let timing =
                    JurorTiming { time_to_live: self.settings.tuning.time_to_live(), round: Duration::from_secs(4) };
                self.jurors[index] = Juror::new(self.now, timing);
            }
            Step::AgentRestarts => {
                self.agent = Agent::start(self.now, me(), self.settings.clone(), true, self.disk.clone());
                // Writes and questions that were sent stay on their way; nobody waits for their answers.
                self.sent.clear();
                self.permit = None;
                self.event(Event::RosterChanged(peers(JURORS)));
            }
            Step::Configure(seconds) => {
                self.settings.tuning.api_check_interval = Duration::from_secs(u64::from(seconds));
                self.event(Event::SettingsChanged(self.settings.clone()));
            }
            Step::Roster(count) => self.event(Event::RosterChanged(peers(count))),
            Step::Watch => {
                if let Some(lease) = self.lease().filter(|_| self.api) {
                    self.event(Event::LeaseSeen(lease));
                }
            }
            Step::Wake(index) => self.event(Event::Woken { by: format!("n{}", index + 1) }),
            Step::TimeLost => self.event(Event::TimeLost),
            Step::Intend => self.intend(),
            Step::AskPromise(index) => self.ask_promise(index),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn no_history_keeps_a_boot_alive_beyond_its_proof(history in history()) {
        let mut world = World::new();
        world.run(&Step::Live { times: 8, tenths: 5 });
        for step in &history {
            world.run(step);
        }
    }
}

#[test]
fn the_sampled_world_reaches_what_it_is_meant_to_test() {
    // Given a node that claims, and an API that fails for everybody,
    let mut world = World::new();
    world.run(&Step::Live { times: 8, tenths: 5 });
    assert!(world.agent.confirmed().unwrap().terms.claims.self_fences);
    world.run(&Step::Api(false));
    world.run(&Step::Live { times: 250, tenths: 5 });
    assert!(!world.ended, "an outage reboots nobody");
    // when it returns and the controller fences the node, then a majority of promises gives a deadline, and the node ends.
    world.run(&Step::Api(true));
    world.run(&Step::Intend);
    world.run(&Step::AskPromise(0));
    world.run(&Step::AskPromise(1));
    assert!(world.deadline.is_some());
    world.run(&Step::Live { times: 40, tenths: 5 });
    assert!(world.ended);
}
