//! What comes of a step.

use palisade_core::fencing::agent::Event;
use palisade_core::fencing::proof::ProofKind;
use palisade_core::fencing::prover::{self, Prover, WriteOutcome};
use palisade_core::fencing::sightings::Sightings;
use palisade_core::time::Mono;
use std::sync::Arc;

use crate::action::Action;
use crate::budget::Budget;
use crate::env::Env;
use crate::mutants::Mutant;
use crate::world::{Foul, Message, World};

impl Env {
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
            Action::Brink => {
                let brink = self.brink(world)?;
                self.pass_until(world, brink);
            }
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
                state.reading = None;
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
            Action::Look(index, kind) => {
                world.budget.evidence -= 1;
                if kind == ProofKind::MachineGone {
                    world.budget.boots = 0;
                }
                let observed = Mono(world.now);
                let boot = world.controllers[index].prover.as_ref()?.intent()?.boot_id.clone();
                world.controller(index).reading = Some((kind, boot, observed));
            }
            Action::Tell(index) => self.tell(world, index)?,
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
                if self.is(Mutant::StaleKubeletList) {
                    let pods = world.api.pods.iter().enumerate();
                    let listed = pods.filter(|(_, pod)| !pod.gone && !pod.marked);
                    world.node(0).listed = Some(listed.fold(0, |bits, (index, _)| bits | 1 << index));
                }
            }
            Action::Publish => {
                let boot = world.nodes[0].boot;
                world.api().node.boot = boot;
                world.node(0).published = true;
            }
            Action::StartPods => {
                let (boot, stale) = (world.nodes[0].boot, world.nodes[0].listed);
                let mut too_late = false;
                for (index, pod) in world.api().pods.iter_mut().enumerate() {
                    let listed = stale.map_or(!pod.gone && !pod.marked, |listed| listed & (1 << index) != 0);
                    if listed && pod.running.is_none() {
                        too_late |= pod.gone;
                        pod.running = Some(boot);
                        pod.version += 1;
                    }
                }
                if let Some(proof) = world.released.filter(|_| too_late) {
                    world.foul(Foul::RunningTwice { node: 0, boot, proof });
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
                let before = std::mem::replace(&mut world.node(0).check, check);
                if self.is(Mutant::LengthenAtOnce) && check > before {
                    let node = world.node(0);
                    if let Some(process) = &mut node.process {
                        process.beyond = process.permit.map(|until| Mono(until.0 + check - before));
                    }
                }
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
            Action::Wake => {
                world.budget.wake -= 1;
                self.agent(world, 0, Event::Woken { by: crate::env::name(1) });
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
            Message::Answer { node, process, event, sent } => self.answer(world, node, process, event, sent),
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
            self.answer(world, node, process, event, sent);
        }
    }

    /// Messages can only arrive.
    pub fn one_way(budget: &Budget) -> bool {
        budget.hold == 0 && budget.late == 0 && budget.duplicate == 0
    }

    /// What can happen in only one way happens at once, so that it makes no states of its own.
    pub fn settle(&self, world: &mut World) {
        let (one_way, pause) = (Self::one_way(&world.budget), world.budget.pause > 0);
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
}

impl World {
    fn next(&mut self) -> Option<Arc<Message>> {
        (!self.net.is_empty()).then(|| self.net.remove(0))
    }
}
