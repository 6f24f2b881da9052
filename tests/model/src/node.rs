//! A node's processes: the real agent and the real juror, and the effects they ask for.

use std::collections::VecDeque;

use palisade_core::fencing::agent::{Agent, Base, Effect, Event, Lease, Me, Peer, WriteResult};
use palisade_core::fencing::juror::{AskerBounds, Attempt, Juror, PeerAnswer, Relay, judge_relay};
use palisade_core::fencing::record::{AgentRecord, Watchdog};
use palisade_core::fencing::timing::SCHEDULING_MARGIN;
use palisade_core::time::{Mono, millis};

use crate::config::ONLY;
use crate::env::{Env, boot_id, boot_number, index, name};
use crate::mutants::Mutant;
use crate::world::{Device, Foul, Message, Process, World};

/// The other agents as a roster of so many shows them.
fn peers(me: usize, count: usize, fellows: usize) -> Vec<Peer> {
    let nodes = if count > ONLY { count - ONLY..=count - ONLY } else { 0..=count };
    nodes
        .filter(|node| *node != me)
        .map(|node| Peer {
            node: name(node),
            address: String::new(),
            zone: String::new(),
            control_plane: node <= fellows && fellows > 0,
        })
        .collect()
}

impl Env {
    fn device(&self) -> Watchdog {
        Watchdog { identity: "w".into(), timeout_millis: self.config.watchdog.unwrap_or(0), resets: true }
    }

    /// A process of the agent starts, and finds the host file of this boot, if there is one.
    pub fn start_agent(&self, world: &mut World, index: usize) {
        let now = self.mono(index, world.now);
        let timing = self.config.juror_timing();
        let settings = self.config.settings(world.nodes[index].check);
        let node = world.node(index);
        let me = Me { node: name(index), boot_id: boot_id(node.boot), address: String::new() };
        let mut file = node.disk.clone();
        if let Some(file) = &mut file {
            if self.is(Mutant::ForgetRightToLive) {
                file.until = None;
            }
            if self.is(Mutant::ForgetSentJuries) {
                file.sent.clear();
            }
            if self.is(Mutant::ForgetFence) {
                file.fenced = None;
            }
        }
        let agent = Agent::start(now, me, settings, true, file);
        node.processes += 1;
        node.process = Some(Process { agent, permit: None, open: false, stopped: false, beyond: None });
        if index != 0 || self.config.fleet {
            node.juror = Some(Juror::new(now, timing));
        }
        let roster = peers(index, node.roster, self.config.fellows);
        self.agent(world, index, Event::RosterChanged(roster));
    }

    /// The process dies. With the device open, that counts as feeding.
    pub fn kill_agent(world: &mut World, index: usize) {
        let now = world.now;
        let node = world.node(index);
        if node.process.take().is_some_and(|process| process.open)
            && let Some(device) = &mut node.device
        {
            device.fed = device.fed.max(Mono(now));
        }
        node.paused = false;
    }

    /// Something happens to an agent; what it wants done at once is done.
    pub fn agent(&self, world: &mut World, index: usize, event: Event) {
        let mut queue = VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            let now = self.mono(index, world.now);
            let Some(process) = world.node(index).process.as_mut() else { return };
            for effect in process.agent.on(now, event) {
                self.effect(world, index, effect, &mut queue);
            }
        }
    }

    fn effect(&self, world: &mut World, index: usize, effect: Effect, queue: &mut VecDeque<Event>) {
        let now = world.now;
        let cut = world.nodes[index].cut;
        match effect {
            Effect::Permit(until) => {
                if let Some(process) = &mut world.node(index).process {
                    process.permit = until;
                }
            }
            Effect::StopFeeding => self.stop_feeding(world, index),
            Effect::WriteHostFile { write, file } => {
                let node = world.node(index);
                let stored = !node.disk_full;
                if stored {
                    node.disk = Some(*file);
                }
                queue.push_back(Event::HostFileWritten {
                    write,
                    stored: stored || self.is(Mutant::AcknowledgeUnstored),
                });
            }
            Effect::ReadLease { request } => {
                let result =
                    if world.readable(cut) { Ok(self.shown(world, world.lease(index))) } else { Err(String::new()) };
                queue.push_back(Event::ReadAnswer { request, result });
            }
            Effect::WriteLease { request, record, base } => {
                let process = world.nodes[index].processes;
                world.send(Message::Write { node: index, process, request, record, base, sent: Mono(now) });
            }
            Effect::AskPeers { request, record, peers, bounds } if !world.nodes[index].alone => {
                let process = world.nodes[index].processes;
                for peer in peers {
                    let (to, record) = (crate::env::index(&peer.node), record.clone());
                    if index == 0 && world.nodes[to].unreachable {
                        continue;
                    }
                    world.send(Message::Ask { node: index, process, request, to, record, bounds });
                }
            }
            // The worst case: the node always feels well.
            Effect::Diagnose { request, .. } => queue.push_back(Event::Diagnosed { request, result: Ok(()) }),
            Effect::AskPeers { request, peers, .. } if self.is(Mutant::SilenceIsNoApi) => {
                for peer in peers {
                    queue.push_back(Event::PeerAnswer { request, node: peer.node, answer: PeerAnswer::NoApi });
                }
            }
            Effect::OpenWatchdog => {
                let node = world.node(index);
                node.device = Some(Device { fed: Mono(now) });
                if let Some(process) = &mut node.process {
                    process.open = true;
                }
                queue.push_back(Event::WatchdogOpened(Ok(self.device())));
            }
            Effect::Disarm => {
                let node = world.node(index);
                node.device = None;
                if let Some(process) = &mut node.process {
                    process.open = false;
                }
                queue.push_back(Event::WatchdogDisarmed(Ok(())));
            }
            Effect::Reset(steps) if self.config.software => {
                let at = Mono(now) + steps.sysrq + steps.reboot;
                let node = world.node(index);
                node.resets_at = Some(node.resets_at.map_or(at, |earlier| earlier.min(at)));
            }
            Effect::Renewed { sent } => {
                let node = world.node(index);
                node.renewed_at = sent;
                if let Some(juror) = &mut node.juror {
                    juror.renewed(sent);
                }
            }
            Effect::Exit { .. } => Self::kill_agent(world, index),
            Effect::AskPeers { .. } | Effect::Reset(_) | Effect::Say(..) => {}
        }
    }

    pub fn stop_feeding(&self, world: &mut World, index: usize) {
        let now = world.now;
        let boot = boot_id(world.nodes[index].boot);
        let intended = world.view(index).is_some_and(|view| view.intent_for(&boot).is_some());
        let node = world.node(index);
        let roster = node.roster;
        let Some(process) = &mut node.process else { return };
        if self.is(Mutant::JudgeTheLiveRoster) && !intended && roster < self.config.min_peers as usize {
            process.beyond = Some(Mono(u64::MAX / 4));
            return;
        }
        let fed = process.open && !process.stopped && process.permit.is_some();
        process.stopped = true;
        if process.permit.is_some_and(|until| now < until.0) {
            // Not because its time is over, so a mutant that prolongs it obeys too.
            process.beyond = None;
        }
        if fed && let Some(device) = &mut node.device {
            // The feeder may just have looked.
            device.fed = Mono(now + millis(SCHEDULING_MARGIN) - 1);
        }
        if self.config.calm && !intended {
            world.foul(Foul::RebootedInOutage { node: index, why: "isolated".into() });
        }
    }

    /// The request of an agent reaches the API, or does not get through.
    pub fn write_arrives(&self, world: &mut World, node: usize, record: &AgentRecord, base: &Base) -> WriteResult {
        if !world.writable(world.nodes[node].cut) {
            return WriteResult::Failed(String::new());
        }
        let published = self.published(world, record);
        match world.swap(node, published, base) {
            WriteResult::Stored(mut lease) => {
                lease.view.record = Some(record.clone());
                self.shown(world, Some(lease)).map_or(WriteResult::Conflict(None), WriteResult::Stored)
            }
            WriteResult::Conflict(lease) => WriteResult::Conflict(self.shown(world, lease)),
            WriteResult::Failed(why) => WriteResult::Failed(why),
        }
    }

    /// A question reaches a peer, which relays if it can, and gives its word.
    pub fn ask_arrives(
        &self,
        world: &mut World,
        to: usize,
        record: &AgentRecord,
        bounds: &AskerBounds,
    ) -> Option<PeerAnswer> {
        let now = self.mono(to, world.now);
        let subject = index(&record.node);
        let cut = world.nodes[to].cut;
        world.nodes[to].juror.as_ref()?;
        if world.nodes[to].paused || world.nodes[to].boot == 0 {
            return None;
        }
        let attempt = if world.readable(cut) {
            let view = world.view(subject).cloned();
            if let Some(juror) = &mut world.node(to).juror {
                juror.saw(&record.node, now, view.as_ref());
            }
            match self.judge(record, view.as_ref()) {
                Relay::Store if world.writable(cut) => {
                    let published = self.published(world, record);
                    world.put(subject, published);
                    Attempt::Stored
                }
                Relay::Store => Attempt::Failed(String::new()),
                Relay::AlreadyStored => Attempt::Stored,
                Relay::IntentExists { uid } => Attempt::IntentExists { uid },
                Relay::Refuse(why) => Attempt::Refused(why.into()),
            }
        } else {
            Attempt::Failed(String::new())
        };
        let timing = self.config.juror_timing();
        let readable = world.readable(cut);
        let mut bounds = *bounds;
        if self.is(Mutant::AbstainByOwnBounds) {
            bounds.largest_time_to_live = timing.time_to_live;
        }
        let juror = world.node(to).juror.as_mut()?;
        let attempt = match attempt {
            Attempt::Failed(why) if self.is(Mutant::NoApiMeansReadsFail) && readable => Attempt::Refused(why),
            other => other,
        };
        let answer = if self.is(Mutant::NoApiOutsideTheLock) {
            juror.clone().answer(now, record, attempt, &bounds)
        } else {
            juror.answer(now, record, attempt, &bounds)
        };
        if answer == PeerAnswer::NoApi {
            let (boot, now) = (boot_number(&record.boot_id), world.now);
            if let Some(doom) = world.api().doom.as_mut().filter(|doom| doom.boot == boot && subject == 0) {
                doom.from = Mono(now);
            }
        }
        Some(answer)
    }

    fn judge(&self, record: &AgentRecord, view: Option<&palisade_core::fencing::record::LeaseView>) -> Relay {
        let judged = judge_relay(record, view);
        if self.is(Mutant::RelayGoesBack) && matches!(judged, Relay::Refuse(_)) { Relay::Store } else { judged }
    }

    /// The lease as a mutant understands it: an intent for the Node of another UID is not its own.
    fn shown(&self, world: &World, lease: Option<Lease>) -> Option<Lease> {
        let hides = self.is(Mutant::OtherUidIsOther) && world.api.node.uid != 1;
        lease.map(|mut lease| {
            lease.view.intent = lease.view.intent.filter(|_| !hides);
            lease
        })
    }

    /// What a mutant publishes instead of what its agent believes.
    fn published(&self, world: &World, record: &AgentRecord) -> AgentRecord {
        let mut record = record.clone();
        if self.is(Mutant::ClaimInFirstWrite) && record.acknowledged.is_none() {
            record.terms.claims.self_fences = true;
            record.terms.watchdog = self.config.watchdog.map(|_| self.device());
        }
        if self.is(Mutant::JudgeTheLivePolicy) {
            record.terms.claims.may_exempt = false;
        }
        if self.is(Mutant::ShrinkLate) {
            let check = world.nodes[index(&record.node)].check;
            record.terms.time_to_live_millis = millis(crate::config::tuning(check).time_to_live());
        }
        record
    }

    /// An answer reaches the process that asked, if it still runs.
    pub fn answer(&self, world: &mut World, node: usize, process: u8, event: Event, sent: Mono) {
        let current = &world.nodes[node];
        if current.processes == process && current.process.is_some() {
            let event = match event {
                Event::PeerAnswer { request, answer: PeerAnswer::NoApi, .. } if self.is(Mutant::OneJurorIsEnough) => {
                    for other in 1..world.nodes.len() {
                        let event = Event::PeerAnswer { request, node: name(other), answer: PeerAnswer::NoApi };
                        self.agent(world, node, event);
                    }
                    return;
                }
                other => other,
            };
            if self.is(Mutant::LateByOlderTime)
                && let Event::WriteAnswer { result: WriteResult::Stored(lease), .. } = &event
                && let (Some(record), Some(process)) = (&lease.view.record, &mut world.node(node).process)
                && !process.stopped
            {
                // The older request's own T counts from when it was sent.
                process.beyond = process.beyond.max(Some(sent + record.terms.time_to_live()));
            }
            let stored = matches!(event, Event::WriteAnswer { result: WriteResult::Stored(_), .. });
            self.agent(world, node, event);
            if stored && self.is(Mutant::ShrinkLate) {
                let settings = self.config.settings(world.nodes[node].check);
                self.agent(world, node, Event::SettingsChanged(settings));
            }
        }
    }

    /// Whether the process can be reached at all.
    pub fn listens(world: &World, node: usize, process: u8) -> bool {
        let current = &world.nodes[node];
        current.processes == process && current.process.is_some() && !current.paused
    }

    /// The instant at which a process next wants to be called.
    pub fn agent_deadline(&self, world: &World, index: usize) -> Option<u64> {
        let node = &world.nodes[index];
        let process = node.process.as_ref().filter(|_| !node.paused)?;
        process.agent.next_deadline().map(|at: Mono| self.real(index, at))
    }
}

impl Env {
    /// The roster of a node changed.
    pub fn roster(&self, world: &mut World, index: usize) {
        let roster = peers(index, world.nodes[index].roster, self.config.fellows);
        self.agent(world, index, Event::RosterChanged(roster));
    }
}
