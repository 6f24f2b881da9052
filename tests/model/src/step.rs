//! What can happen next, and what comes of it.

use palisade_core::fencing::agent::Event;
use palisade_core::fencing::prover::{self, Prover, WriteOutcome};
use palisade_core::fencing::record::LeaseView;
use palisade_core::fencing::sightings::Sightings;
use palisade_core::time::Mono;
use std::sync::Arc;

use crate::config::Cuts;
use crate::env::Env;
use crate::mutants::Mutant;
use crate::world::{Message, Service, World};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Time passes to the next tick, or to the first proof on the way.
    Tick,
    /// The next message arrives, and so does its answer.
    Deliver,
    /// It is held back.
    Hold,
    /// It arrives; its answer is held back.
    Late,
    /// It arrives, and a copy is held back.
    Duplicate,
    /// A message that was held back arrives.
    Arrive(usize),
    /// The controller waits no longer for the answer to its intent.
    GiveUp(usize),
    /// The API server changes for everybody.
    Service(Service),
    /// The path of a node to the API.
    Cut(usize, bool),
    /// The path of node 0 to everybody.
    Alone(bool),
    CutController(usize, bool),
    /// The path from the controllers to a juror.
    Deaf(usize, bool),
    /// Another node writes an acknowledgement for node 0.
    Forge,
    KillAgent,
    StartAgent,
    RestartJuror(usize),
    PauseAgent(bool),
    PauseController(usize, bool),
    RestartController(usize),
    Begin(usize),
    LetGo(usize),
    Fail,
    Boot,
    Publish,
    StartPods,
    RecreateNode,
    DeleteLease,
    Retime(u64),
    Rejury(usize),
    DiskFull(bool),
    Jump,
    /// The consistent read of a release, and the release itself.
    Release(usize),
    /// Only the read; the release comes later.
    CheckRelease(usize),
    /// The late part.
    CarryOut(usize),
}

impl Env {
    /// The instant at which the exploration ends.
    pub fn end(&self) -> u64 {
        if self.config.horizon == 0 { u64::MAX } else { crate::start::ORIGIN + self.config.horizon * self.config.tick }
    }

    /// Everything that can happen.
    pub fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.foul.is_some() || world.released.is_some() {
            return;
        }
        let budget = &world.budget;
        let subject = &world.nodes[0];
        let ready = |index: usize| self.ready(world, index);
        if let Some(message) = world.net.first() {
            actions.push(Action::Deliver);
            let asks = matches!(**message, Message::Write { .. } | Message::Ask { .. });
            if budget.hold > 0 {
                actions.push(Action::Hold);
            }
            if budget.late > 0 && (asks || matches!(**message, Message::Intend { .. })) {
                actions.push(Action::Late);
            }
            if budget.duplicate > 0 {
                actions.push(Action::Duplicate);
            }
            return;
        }
        if let Some(index) = self.pressing(world) {
            actions.push(Action::Release(index));
            if budget.pause > 0 {
                actions.push(Action::CheckRelease(index));
                actions.push(Action::PauseController(index, true));
            }
            return;
        }
        for index in 0..world.controllers.len() {
            let state = &world.controllers[index];
            if let Some(release) = state.release.as_ref().filter(|_| ready(index))
                && release.checked.is_some()
            {
                actions.push(Action::CarryOut(index));
            }
            if budget.pause > 0 && (state.prover.is_some() || state.paused) {
                actions.push(Action::PauseController(index, !state.paused));
            }
            if budget.begin > 0 && !state.paused {
                actions.push(Action::Begin(index));
            }
            if budget.let_go > 0 && ready(index) && world.view(0).is_some_and(|view| view.intent.is_some()) {
                actions.push(Action::LetGo(index));
            }
            if budget.controller_crash > 0 && state.prover.is_some() {
                actions.push(Action::RestartController(index));
            }
        }
        for (index, (_, message)) in world.held.iter().enumerate() {
            if self.can_arrive(world, message) {
                actions.push(Action::Arrive(index));
            }
            if let Message::Intend { controller, .. } = **message
                && !world.controllers[controller].paused
            {
                actions.push(Action::GiveUp(controller));
            }
        }
        if budget.api > 0 {
            for service in [Service::Up, Service::WritesFail, Service::Down, Service::NodesCut] {
                if service != world.api.service {
                    actions.push(Action::Service(service));
                }
            }
        }
        if budget.deaf > 0 {
            let jurors = (1..world.nodes.len()).filter(|index| !self.config.narrow || *index == 2);
            actions.extend(jurors.map(|index| Action::Deaf(index, !world.nodes[index].deaf)));
        }
        if self.is(Mutant::Unsigned) && world.view(0).is_some_and(|view| view.intent.is_some()) {
            actions.push(Action::Forge);
        }
        if budget.cut > 0 {
            actions.push(Action::Cut(0, !subject.cut));
            if !subject.alone {
                actions.push(Action::Alone(true));
            }
            if self.config.cuts == Cuts::All {
                let nodes = 1..world.nodes.len();
                actions.extend(nodes.map(|index| Action::Cut(index, !world.nodes[index].cut)));
                let controllers = 0..world.controllers.len();
                actions.extend(controllers.map(|index| Action::CutController(index, !world.controllers[index].cut)));
            }
        }
        if subject.boot != 0 {
            self.subject_actions(world, actions);
        } else if budget.boots > 0 {
            actions.push(Action::Boot);
        }
        if budget.juror_crash > 0 {
            let jurors = (1..world.nodes.len()).filter(|index| !self.config.narrow || *index == 1);
            actions.extend(jurors.map(Action::RestartJuror));
        }
        if budget.recreate > 0 {
            actions.push(Action::RecreateNode);
        }
        if budget.delete_lease > 0 && world.api.leases[0].is_some() {
            actions.push(Action::DeleteLease);
        }
        // Without a watchdog a dead agent guards nothing: it is started at once, or nothing is assumed of it.
        let unguarded = self.config.watchdog.is_none() && subject.boot != 0 && subject.process.is_none();
        if world.now < self.end() && !unguarded {
            actions.push(Action::Tick);
        }
    }

    #[allow(clippy::unused_self)] // called like its neighbours
    fn ready(&self, world: &World, index: usize) -> bool {
        let state = &world.controllers[index];
        !state.paused && world.controller_writes(state.cut)
    }

    /// A controller that runs and has a proof acts on it at once.
    fn pressing(&self, world: &World) -> Option<usize> {
        (0..world.controllers.len()).find(|index| {
            let release = world.controllers[*index].release.as_ref();
            self.ready(world, *index) && release.is_some_and(|release| release.checked.is_none())
        })
    }

    /// What can happen in only one way happens at once, so that it makes no states of its own.
    pub fn settle(&self, world: &mut World) {
        let budget = &world.budget;
        let (one_way, pause) = (budget.hold == 0 && budget.late == 0 && budget.duplicate == 0, budget.pause > 0);
        while world.foul.is_none() && world.released.is_none() {
            if !world.net.is_empty() {
                if !one_way || self.apply(world, Action::Deliver).is_none() {
                    return;
                }
            } else if let Some(index) = self.pressing(world).filter(|_| !pause) {
                if self.apply(world, Action::Release(index)).is_none() {
                    return;
                }
            } else {
                return;
            }
            Self::watch(world);
        }
    }

    fn subject_actions(&self, world: &World, actions: &mut Vec<Action>) {
        let budget = &world.budget;
        let subject = &world.nodes[0];
        if subject.process.is_none() {
            if !subject.paused {
                actions.push(Action::StartAgent);
            }
        } else if budget.agent_crash > 0 {
            actions.push(Action::KillAgent);
        }
        if subject.process.is_some() && (budget.pause > 0 || subject.paused) {
            actions.push(Action::PauseAgent(!subject.paused));
        }
        if budget.boots > 0 {
            actions.push(Action::Fail);
        }
        if !subject.published && world.writable(subject.cut) {
            actions.push(Action::Publish);
        }
        let startable = world.api.pods.iter().any(|pod| !pod.gone && !pod.marked && pod.running.is_none());
        if self.config.pods
            && startable
            && world.readable(subject.cut)
            && (subject.published || self.is(Mutant::GhostBoot))
        {
            actions.push(Action::StartPods);
        }
        if budget.retime > 0 {
            actions.extend(
                self.config
                    .other_checks
                    .iter()
                    .filter(|check| **check != subject.check)
                    .map(|check| Action::Retime(*check)),
            );
        }
        if budget.rejury > 0 {
            let (first, last) = self.config.roster.map_or((1, self.config.jurors), |(_, other)| (other, other));
            actions.extend((first..=last).filter(|count| *count != subject.roster).map(Action::Rejury));
        }
        if budget.disk > 0 {
            actions.push(Action::DiskFull(!subject.disk_full));
        }
        if budget.jump > 0 && subject.process.is_some() && !subject.paused {
            actions.push(Action::Jump);
        }
    }

    /// Whether the receiver, or the sender waiting for the answer, is able to take it.
    #[allow(clippy::unused_self)]
    fn can_arrive(&self, world: &World, message: &Message) -> bool {
        match message {
            Message::Answer { node, process, .. } => Self::listens(world, *node, *process),
            Message::Promise { controller, .. } | Message::Intend { controller, .. } => {
                !world.controllers[*controller].paused
            }
            Message::Write { .. } | Message::Ask { .. } => true,
        }
    }

    /// The world after a step, or `None` when nothing came of it.
    pub fn after(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        self.apply(&mut world, action)?;
        Self::watch(&mut world);
        self.settle(&mut world);
        Some(world)
    }

    fn apply(&self, world: &mut World, action: Action) -> Option<()> {
        match action {
            Action::Tick => self.pass(world),
            Action::Deliver => {
                let message = world.next()?;
                self.arrive(world, &message, false);
            }
            Action::Hold => {
                world.budget.hold -= 1;
                let message = world.next()?;
                if let Message::Promise { controller, juror, intent_uid, asked, .. } = (*message).clone() {
                    let answer = prover::JurorAnswer::Unreachable { why: String::new() };
                    self.promised(world, controller, juror, intent_uid, asked, answer);
                }
                world.hold(message);
            }
            Action::Late => {
                world.budget.late -= 1;
                let message = world.next()?;
                self.arrive(world, &message, true);
            }
            Action::Duplicate => {
                world.budget.duplicate -= 1;
                let message = world.next()?;
                world.hold(message.clone());
                self.arrive(world, &message, false);
            }
            Action::Arrive(index) => {
                let message = world.held.remove(index).1;
                self.arrive(world, &message, false);
            }
            Action::GiveUp(controller) => {
                let outcome = WriteOutcome::Unknown { why: String::new() };
                self.prover(world, controller, prover::Event::IntentWritten(outcome));
            }
            Action::Service(service) => {
                world.budget.api -= 1;
                world.api().service = service;
            }
            Action::Cut(node, cut) => {
                world.budget.cut -= 1;
                world.node(node).cut = cut;
                if !cut {
                    world.node(node).alone = false;
                }
            }
            Action::Alone(alone) => {
                world.budget.cut -= 1;
                world.node(0).alone = alone;
                world.node(0).cut = alone;
            }
            Action::CutController(index, cut) => {
                world.budget.cut -= 1;
                world.controller(index).cut = cut;
            }
            Action::Deaf(node, deaf) => {
                world.budget.deaf -= 1;
                world.node(node).deaf = deaf;
                if self.config.narrow {
                    world.node(node).unreachable = !deaf;
                }
            }
            Action::Forge => {
                let view = world.view(0)?.clone();
                let mut record = view.record?;
                record.acknowledged = Some(view.intent?.uid);
                record.sequence += 1;
                world.put(0, record);
            }
            Action::KillAgent => {
                world.budget.agent_crash -= 1;
                Self::kill_agent(world, 0);
            }
            Action::StartAgent => self.start_agent(world, 0),
            Action::RestartJuror(node) => {
                world.budget.juror_crash -= 1;
                Self::kill_agent(world, node);
                if self.config.fleet {
                    self.start_agent(world, node);
                } else {
                    self.new_juror(world, node);
                }
            }
            Action::PauseAgent(paused) => {
                if paused {
                    world.budget.pause -= 1;
                }
                world.node(0).paused = paused;
                if !paused {
                    self.agent(world, 0, Event::Tick);
                }
            }
            Action::PauseController(index, paused) => {
                world.budget.pause -= 1;
                world.controller(index).paused = paused;
            }
            Action::RestartController(index) => {
                world.budget.controller_crash -= 1;
                let state = world.controller(index);
                state.sightings = Sightings::default();
                state.prover = None::<Prover>;
                state.release = None;
                state.kept.clear();
                state.paused = false;
                world.held.retain(
                    |(_, message)| !matches!(**message, Message::Promise { controller, .. } if controller == index),
                );
            }
            Action::Begin(index) => {
                world.budget.begin -= 1;
                self.begin(world, index);
            }
            Action::LetGo(index) => {
                world.budget.let_go -= 1;
                self.let_go(world, index);
            }
            Action::Fail => {
                world.budget.boots -= 1;
                world.power_off(0);
            }
            Action::Boot => {
                world.budget.boots -= 1;
                let node = world.node(0);
                node.boots += 1;
                node.boot = node.boots;
            }
            Action::Publish => {
                let boot = world.nodes[0].boot;
                world.api().node.boot = boot;
                world.node(0).published = true;
            }
            Action::StartPods => {
                let boot = world.nodes[0].boot;
                for pod in &mut world.api().pods {
                    if !pod.gone && !pod.marked && pod.running.is_none() {
                        pod.running = Some(boot);
                        pod.version += 1;
                    }
                }
            }
            Action::RecreateNode => {
                world.budget.recreate -= 1;
                let api = world.api();
                api.node.uid += 1;
                api.node.boot = 0;
                world.node(0).published = false;
            }
            Action::DeleteLease => {
                world.budget.delete_lease -= 1;
                let api = world.api();
                api.leases[0] = None;
                api.doom = None;
            }
            Action::Retime(check) => {
                world.budget.retime -= 1;
                world.node(0).check = check;
                if !self.is(Mutant::ShrinkLate) {
                    self.agent(world, 0, Event::SettingsChanged(self.config.settings(check)));
                }
            }
            Action::Rejury(count) => {
                world.budget.rejury -= 1;
                world.node(0).roster = count;
                self.roster(world, 0);
            }
            Action::DiskFull(full) => {
                world.budget.disk -= 1;
                world.node(0).disk_full = full;
            }
            Action::Jump => {
                world.budget.jump -= 1;
                if self.is(Mutant::FenceOnJump) {
                    self.stop_feeding(world, 0);
                }
                self.agent(world, 0, Event::TimeLost);
            }
            Action::Release(index) => {
                self.check_release(world, index);
                if world.controllers[index].release.is_some() {
                    self.release(world, index);
                }
            }
            Action::CheckRelease(index) => {
                world.budget.pause -= 1;
                self.check_release(world, index);
                world.controller(index).paused = true;
            }
            Action::CarryOut(index) => {
                if self.may_release(world, index) {
                    self.release(world, index);
                } else if let Some(release) = &mut world.controller(index).release {
                    release.checked = None;
                }
            }
        }
        Some(())
    }

    /// A message arrives. `late`: its answer is held back.
    fn arrive(&self, world: &mut World, message: &Message, late: bool) {
        match message.clone() {
            Message::Write { node, process, request, record, base, sent } => {
                let result = self.write_arrives(world, node, &record, &base);
                self.back(world, node, process, Event::WriteAnswer { request, result }, sent, late);
            }
            Message::Ask { node, process, request, to, record, bounds } => {
                let Some(answer) = self.ask_arrives(world, to, &record, &bounds) else { return };
                let event = Event::PeerAnswer { request, node: crate::env::name(to), answer };
                self.back(world, node, process, event, Mono(world.now), late);
            }
            Message::Answer { node, process, event, .. } => self.answer(world, node, process, event),
            Message::Intend { controller, write } => {
                let outcome = self.intend_arrives(world, controller, &write);
                let outcome = if late { WriteOutcome::Unknown { why: String::new() } } else { outcome };
                self.prover(world, controller, prover::Event::IntentWritten(outcome));
            }
            Message::Promise { controller, juror, intent_uid, boot, bound, asked } => {
                let answer = self.promise_arrives(world, juror, &intent_uid, &boot, bound);
                self.promised(world, controller, juror, intent_uid, asked, answer);
            }
        }
    }

    fn back(&self, world: &mut World, node: usize, process: u8, event: Event, sent: Mono, late: bool) {
        if late || !Self::listens(world, node, process) {
            if world.nodes[node].processes == process && world.nodes[node].process.is_some() {
                world.hold(Arc::new(Message::Answer { node, process, event, sent }));
            }
        } else {
            self.answer(world, node, process, event);
        }
    }

    /// Time passes to the next tick; whatever is due on the way happens at its instant. Stops at a proof.
    fn pass(&self, world: &mut World) {
        let tick = self.config.tick;
        let target = (world.now / tick + 1) * tick;
        self.jurors(world);
        loop {
            let mut next = target;
            for index in 0..world.nodes.len() {
                let node = &world.nodes[index];
                let due =
                    [self.agent_deadline(world, index), self.fires_at(index, node), node.resets_at.map(|at| at.0)];
                next = due.into_iter().flatten().map(|at| at.max(world.now + 1)).fold(next, u64::min);
            }
            for state in world.controllers.iter().filter(|state| !state.paused && state.prover.is_some()) {
                next = next.min(state.due.0.max(world.now + 1));
            }
            world.now = next;
            self.feed(world);
            self.ends(world);
            for index in 0..world.nodes.len() {
                if self.agent_deadline(world, index).is_some_and(|at| at <= next) {
                    self.agent(world, index, Event::Tick);
                }
            }
            for index in 0..world.controllers.len() {
                let state = &world.controllers[index];
                if !state.paused && state.prover.is_some() && state.due.0 <= next {
                    self.prover(world, index, prover::Event::Tick);
                }
            }
            if next >= target || world.foul.is_some() || self.pressing(world).is_some() {
                return;
            }
        }
    }

    /// Jurors without a whole agent renew their lease when they can, and look after their promises.
    fn jurors(&self, world: &mut World) {
        for index in 0..world.nodes.len() {
            let node = &world.nodes[index];
            let now: Mono = self.mono(index, world.now);
            if node.juror.is_none() || node.boot == 0 || node.paused {
                continue;
            }
            let (writable, readable) = (world.writable(node.cut), world.readable(node.cut));
            let view = world.view(0).cloned();
            let fleet = self.config.fleet;
            if let Some(juror) = &mut world.node(index).juror {
                if writable && !fleet {
                    juror.renewed(now);
                }
                let stale = self.is(Mutant::StaleReadDropsPromise);
                let view = view.filter(|_| !stale).or_else(|| Some(LeaseView::default()).filter(|_| stale));
                if (readable || stale) && juror.promised_nodes().contains("n0") {
                    juror.saw("n0", now + std::time::Duration::from_millis(u64::from(stale)), view.as_ref());
                }
            }
        }
    }
}

impl World {
    fn next(&mut self) -> Option<Arc<Message>> {
        (!self.net.is_empty()).then(|| self.net.remove(0))
    }
}
