//! What can happen next.

use palisade_core::fencing::proof::ProofKind;

use crate::config::Cuts;
use crate::env::Env;
use crate::mutants::Mutant;
use crate::world::{Message, Service, World};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Time passes to the next tick, or to the first proof on the way.
    Tick,
    /// Time passes until just before the watchdog of node 0 fires.
    Brink,
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
    /// Somebody looks for evidence that does not come from the node, and finds it.
    Look(usize, ProofKind),
    /// The controller hears of it.
    Tell(usize),
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
    /// A juror wakes node 0, with or without a reason.
    Wake,
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
        if world.foul.is_some() {
            return;
        }
        let budget = &world.budget;
        let subject = &world.nodes[0];
        if world.released.is_some() {
            if self.config.after_release {
                self.later_boot(world, actions);
            }
            return;
        }
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
            if budget.evidence > 0 && subject.boot == 0 && state.reading.is_none() {
                let fenced = state.prover.as_ref().is_some_and(|prover| prover.intent().is_some());
                let kinds = [ProofKind::PoweredOff, ProofKind::MachineGone, ProofKind::HumanConfirmed];
                actions.extend(kinds.into_iter().filter(|_| fenced).map(|kind| Action::Look(index, kind)));
            }
            if state.reading.is_some() && state.prover.is_some() && !state.paused {
                actions.push(Action::Tell(index));
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
            if self.config.brink && budget.agent_crash > 0 && self.brink(world).is_some() {
                actions.push(Action::Brink);
            }
        }
    }

    /// After a release: what another boot of the node may still do with what was taken away.
    fn later_boot(&self, world: &World, actions: &mut Vec<Action>) {
        let subject = &world.nodes[0];
        if subject.boot == 0 {
            if world.budget.boots > 0 {
                actions.push(Action::Boot);
            }
        } else if !subject.published {
            if world.writable(subject.cut) {
                actions.push(Action::Publish);
            }
        } else if self.startable(world) && world.readable(subject.cut) {
            actions.push(Action::StartPods);
        }
    }

    /// Whether the kubelet has a pod to start: by a list as it is now, or, in a mutant, by one from before.
    #[allow(clippy::unused_self)] // called like its neighbours
    fn startable(&self, world: &World) -> bool {
        let stale = world.nodes[0].listed;
        let listed = |index: usize| stale.is_some_and(|listed| listed & (1 << index) != 0);
        let pods = world.api.pods.iter().enumerate();
        pods.into_iter()
            .any(|(index, pod)| pod.running.is_none() && (listed(index) || stale.is_none() && !pod.gone && !pod.marked))
    }

    #[allow(clippy::unused_self)] // called like its neighbours
    pub fn ready(&self, world: &World, index: usize) -> bool {
        let state = &world.controllers[index];
        !state.paused && world.controller_writes(state.cut)
    }

    /// A controller that runs and has a proof acts on it at once.
    pub fn pressing(&self, world: &World) -> Option<usize> {
        (0..world.controllers.len()).find(|index| {
            let release = world.controllers[*index].release.as_ref();
            self.ready(world, *index) && release.is_some_and(|release| release.checked.is_none())
        })
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
        if self.config.pods
            && self.startable(world)
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
        if budget.wake > 0 && subject.process.is_some() && !subject.paused {
            actions.push(Action::Wake);
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
}
