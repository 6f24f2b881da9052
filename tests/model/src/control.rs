//! A controller's processes: the real prover and its sightings, and the effects they ask for.

use std::collections::VecDeque;
use std::sync::Arc;

use palisade_core::fencing::juror::Juror;
use palisade_core::fencing::proof::{Grade, ProofKind};
use palisade_core::fencing::prover::{
    Effect, Event, Evidence, JurorAnswer, Prover, Settings, WriteIntent, WriteOutcome,
};
use palisade_core::fencing::record::BootId;
use palisade_core::time::{Mono, millis};
use std::time::Duration;

use crate::env::{Env, boot_id, boot_number, index, name};
use crate::mutants::Mutant;
use crate::release::mark;
use crate::world::{Controller, Doom, Message, Release, World};

impl World {
    pub fn controller(&mut self, index: usize) -> &mut Controller {
        Arc::make_mut(&mut self.controllers[index])
    }
}

impl Env {
    fn owner(&self, controller: usize) -> String {
        if self.config.one_owner { "r".into() } else { format!("r{controller}") }
    }

    /// A fencing begins; where an earlier one ended with a changed boot, the new boot is fenced in its turn.
    pub fn begin(&self, world: &mut World, controller: usize) {
        let now = Mono(world.now);
        let settings =
            Settings { node: name(0), owner: self.owner(controller), require: Grade::Assumed, floor: Duration::ZERO };
        let ended = world.controllers[controller]
            .prover
            .as_ref()
            .and_then(|prover| prover.proof())
            .filter(|proof| !proof.kind.forces())
            .map(|proof| proof.boot.clone());
        let prover = match ended {
            Some(ended) => Prover::after(settings, ended, now),
            None => Prover::new(settings, now),
        };
        let state = world.controller(controller);
        state.prover = Some(prover);
        state.release = None;
        state.kept.clear();
        self.prover(world, controller, Event::Tick);
        if self.is(Mutant::TrustTheGuest) {
            let boot = boot_id(world.api.node.boot);
            let release = Release { kind: ProofKind::HumanConfirmed, intent_uid: String::new(), boot, checked: None };
            world.controller(controller).release = Some(release);
        }
    }

    /// What was found outside the cluster reaches the controller.
    pub fn tell(&self, world: &mut World, controller: usize) -> Option<()> {
        let (kind, mut boot, mut observed) = world.controller(controller).reading.take()?;
        if self.is(Mutant::EvidenceOfAnotherBoot) {
            boot = world.controllers[controller].prover.as_ref()?.intent()?.boot_id.clone();
            observed = Mono(world.now);
        }
        let evidence = Evidence { kind, grade: Grade::Certain, boot, observed, explanation: String::new() };
        self.prover(world, controller, Event::Evidence(evidence));
        Some(())
    }

    /// The remediation lets go of its intent by compare-and-swap, and its session ends.
    pub fn let_go(&self, world: &mut World, controller: usize) {
        let owner = self.owner(controller);
        let state = world.controller(controller);
        state.prover = None;
        state.release = None;
        state.reading = None;
        if self.is(Mutant::IntentStays) {
            return;
        }
        let api = world.api();
        let Some(lease) = &mut api.leases[0] else { return };
        let Some(intent) = &mut lease.view.intent else { return };
        if !intent.owners.contains(&owner) {
            return;
        }
        intent.owners.retain(|other| *other != owner);
        if intent.owners.is_empty() {
            lease.view.intent = None;
            api.doom = None;
        }
        api.version.0 += 1;
        lease.version = api.version;
    }

    /// Something happens to a prover; what it wants done at once is done.
    pub fn prover(&self, world: &mut World, controller: usize, event: Event) {
        let mut queue = VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            let now = Mono(world.now);
            let Some(prover) = &mut world.controller(controller).prover else { return };
            for effect in prover.on(event, now) {
                self.prover_effect(world, controller, effect, &mut queue);
            }
        }
    }

    fn prover_effect(&self, world: &mut World, controller: usize, effect: Effect, queue: &mut VecDeque<Event>) {
        let now = world.now;
        let cut = world.controllers[controller].cut;
        match effect {
            Effect::Wait { until } => world.controller(controller).due = until,
            Effect::Mark if world.controller_writes(cut) => {
                if !self.is(Mutant::IntentBeforeMarks) {
                    mark(world);
                }
                queue.push_back(Event::Marked);
            }
            Effect::Mark => queue.push_back(Event::MarkFailed { why: String::new() }),
            Effect::Read if !world.controller_reads(cut) => queue.push_back(Event::ReadFailed { why: String::new() }),
            Effect::Read => {
                if let Some(snapshot) = self.snapshot(world, controller) {
                    queue.push_back(Event::Read(Box::new(snapshot)));
                }
            }
            Effect::WriteIntent(write) => {
                let node = name(0);
                let sightings = &mut world.controller(controller).sightings;
                sightings.attempt(&node, &write.lease_uid, &write.intent.uid, write.counted_from);
                world.send(Message::Intend { controller, write });
            }
            Effect::AskPromises { intent_uid, boot, jurors } => {
                let Some(terms) = world.controllers[controller].prover.as_ref().and_then(|prover| prover.intent())
                else {
                    return;
                };
                let bound = terms.terms.life_bound();
                if self.is(Mutant::TimeAlone) {
                    for juror in jurors {
                        let answer = JurorAnswer::Promised { no_api_age: None };
                        let (intent_uid, asked) = (intent_uid.clone(), Mono(now));
                        queue.push_back(Event::PromiseAnswer { intent_uid, juror, asked, answer });
                    }
                    queue.push_back(Event::RoundEnded);
                    return;
                }
                world.controller(controller).asking = jurors.len() as u8;
                for juror in jurors {
                    world.send(Message::Promise {
                        controller,
                        juror: index(&juror),
                        intent_uid: intent_uid.clone(),
                        boot: boot.clone(),
                        bound,
                        asked: Mono(now),
                    });
                }
            }
            Effect::Proven(proof) => self.proven(world, controller, &proof),
            Effect::Contradiction { .. } => world.controller(controller).release = None,
        }
    }

    /// The compare-and-swap of the intent reaches the API.
    pub fn intend_arrives(&self, world: &mut World, controller: usize, write: &WriteIntent) -> WriteOutcome {
        if !world.controller_writes(world.controllers[controller].cut) {
            return WriteOutcome::Unknown { why: String::new() };
        }
        let now = world.now;
        let api = world.api();
        let Some(lease) = &mut api.leases[0] else { return WriteOutcome::Conflict };
        if lease.uid.to_string() != write.lease_uid || lease.version.to_string() != write.lease_version {
            return WriteOutcome::Conflict;
        }
        api.version.0 += 1;
        lease.version = api.version;
        lease.view.intent = Some(write.intent.clone());
        let terms = lease.view.record.as_ref().map(|record| record.terms.clone());
        let boot = boot_number(&write.intent.boot_id);
        api.doom = terms.filter(|terms| terms.claims.self_fences && !terms.claims.may_exempt).map(|terms| Doom {
            boot,
            from: Mono(now),
            bound: millis(terms.life_bound()),
        });
        if self.is(Mutant::IntentBeforeMarks) {
            mark(world);
        }
        WriteOutcome::Stored
    }

    /// A juror is asked for its promise.
    pub fn promise_arrives(
        &self,
        world: &mut World,
        juror: usize,
        intent_uid: &str,
        boot: &BootId,
        bound: Duration,
    ) -> JurorAnswer {
        let now = self.mono(juror, world.now);
        let gone = world.nodes[juror].paused || world.nodes[juror].deaf || world.nodes[juror].boot == 0;
        let bound = if self.is(Mutant::AbstainByOwnBounds) { self.config.juror_timing().time_to_live } else { bound };
        let asked: Option<&mut Juror> = world.node(juror).juror.as_mut().filter(|_| !gone);
        match asked.map(|juror| juror.promise(now, &name(0), boot, intent_uid, bound)) {
            Some(Ok(_)) if self.is(Mutant::ForgetNoApiAge) => JurorAnswer::Promised { no_api_age: None },
            Some(Ok(no_api_age)) => JurorAnswer::Promised { no_api_age },
            Some(Err(_)) => JurorAnswer::Refused { why: String::new() },
            None => JurorAnswer::Unreachable { why: String::new() },
        }
    }

    /// An answer of a juror reaches the controller.
    pub fn promised(
        &self,
        world: &mut World,
        controller: usize,
        juror: usize,
        intent_uid: String,
        asked: Mono,
        answer: JurorAnswer,
    ) {
        let state = world.controller(controller);
        state.asking = state.asking.saturating_sub(1);
        let over = state.asking == 0;
        if self.is(Mutant::PromisesFarApart) {
            self.all_at_once(world, controller, juror, &intent_uid, answer);
        } else {
            self.prover(world, controller, Event::PromiseAnswer { intent_uid, juror: name(juror), asked, answer });
        }
        if over {
            self.prover(world, controller, Event::RoundEnded);
        }
    }

    /// The mutant of line 5: every promise ever given counts as given now.
    fn all_at_once(&self, world: &mut World, controller: usize, juror: usize, intent_uid: &str, answer: JurorAnswer) {
        let now = Mono(world.now);
        if let JurorAnswer::Promised { .. } = answer {
            world.controller(controller).kept.retain(|(name, _, _)| index(name) != juror);
            world.controller(controller).kept.push((name(juror), answer, now));
        }
        for (juror, answer, at) in world.controllers[controller].kept.clone() {
            let JurorAnswer::Promised { no_api_age } = answer else { continue };
            let answer = JurorAnswer::Promised { no_api_age: no_api_age.map(|age| age + now.since(at)) };
            let intent_uid = intent_uid.to_owned();
            self.prover(world, controller, Event::PromiseAnswer { intent_uid, juror, asked: now, answer });
        }
    }
}
