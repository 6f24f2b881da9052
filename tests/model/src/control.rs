//! A controller's processes: the real prover and its sightings, and the effects they ask for.

use std::collections::VecDeque;
use std::sync::Arc;

use palisade_core::fencing::juror::Juror;
use palisade_core::fencing::proof::{Grade, Proof, ProofKind};
use palisade_core::fencing::prover::{
    Effect, Event, Heartbeat, JurorAnswer, LeaseRead, NodeRead, Prover, Settings, Snapshot, WriteIntent, WriteOutcome,
};
use palisade_core::fencing::record::BootId;
use palisade_core::fencing::sightings::Sightings;
use palisade_core::time::{Mono, millis};
use std::time::Duration;

use crate::env::{Env, boot_id, boot_number, index, name};
use crate::mutants::Mutant;
use crate::world::{Controller, Doom, Foul, Message, Release, World};

/// How long a release may go on after its consistent read, by the controller's own clock.
const RELEASE_LIMIT: u64 = 1_000;

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

    /// The remediation lets go of its intent by compare-and-swap, and its session ends.
    pub fn let_go(&self, world: &mut World, controller: usize) {
        let owner = self.owner(controller);
        let state = world.controller(controller);
        state.prover = None;
        state.release = None;
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

    fn proven(&self, world: &mut World, controller: usize, proof: &Proof) {
        let boot = boot_number(&proof.boot);
        if world.nodes[0].boot == boot {
            world.foul(Foul::FalseProof { node: 0, boot, proof: proof.kind });
        }
        let forces = proof.kind.forces() || self.is(Mutant::ChangedBootForces) || self.is(Mutant::IntentBeforeMarks);
        world.controller(controller).release = forces.then(|| Release {
            kind: proof.kind,
            intent_uid: proof.intent_uid.clone(),
            boot: proof.boot.clone(),
            checked: None,
        });
    }

    /// A consistent read of Node and lease.
    pub fn snapshot(&self, world: &mut World, controller: usize) -> Option<Snapshot> {
        let now = Mono(world.now);
        // One controller stores at most one intent over one version: never used twice.
        let fresh_uid = world.api.leases[0].as_ref().map_or_else(String::new, |lease| {
            (crate::canon::UID + 10 * lease.version.0 + controller as u64).to_string()
        });
        let node = &world.api.node;
        let subject = &world.nodes[0];
        let after_agent = (self.config.watchdog.is_none()).then(|| subject.kubelet_at.since(subject.renewed_at));
        let mut node = NodeRead {
            uid: node.uid.to_string(),
            boot: (node.boot != 0).then(|| boot_id(node.boot)),
            heartbeat: Some(Heartbeat { status: None, lease: None, after_agent }),
        };
        let stored = world.api.leases[0].clone();
        let fenced = world.controllers[controller].prover.as_ref()?.intent().cloned();
        let sightings = &mut world.controller(controller).sightings;
        let mut lease = stored.map(|stored| {
            let uid = stored.uid.to_string();
            let version = stored.version.to_string();
            let first_seen = sightings.see(&name(0), &uid, &version, now);
            let intent_first_seen =
                stored.view.intent.as_ref().map(|intent| sightings.intent(&name(0), &uid, &intent.uid, now));
            LeaseRead {
                first_seen,
                uid,
                version,
                record: stored.view.record,
                unverified: None,
                intent: stored.view.intent,
                intent_first_seen,
            }
        });
        self.distort(world, &mut node, lease.as_mut(), fenced.as_ref());
        let begun = if self.is(Mutant::ShortOfD) { now + Duration::from_millis(2 * self.config.tick) } else { now };
        Some(Snapshot { begun, node: Some(node), lease, fresh_uid })
    }

    /// What the mutants make of a read.
    fn distort(
        &self,
        world: &World,
        node: &mut NodeRead,
        lease: Option<&mut LeaseRead>,
        fenced: Option<&palisade_core::fencing::record::FenceIntent>,
    ) {
        let Some(lease) = lease else { return };
        if self.is(Mutant::AnyIntentUid) && fenced.is_some() {
            lease.intent = fenced.cloned();
        }
        if self.is(Mutant::WatchCache)
            && let Some(fenced) = fenced
        {
            // As it was when the intent was stored.
            lease.intent = Some(fenced.clone());
            node.boot = Some(fenced.boot_id.clone());
            if let Some(record) = &mut lease.record {
                record.boot_id = fenced.boot_id.clone();
            }
        }
        if self.is(Mutant::SilenceOverLeaderChange) {
            lease.first_seen = Mono(0);
            lease.intent_first_seen = lease.intent_first_seen.map(|_| Mono(0));
        }
        let Some(record) = lease.record.as_mut().filter(|_| fenced.is_none() && lease.intent.is_none()) else { return };
        if self.is(Mutant::EitherDirection)
            && let Some(boot) = &node.boot
        {
            record.boot_id = boot.clone();
        }
        if self.is(Mutant::OneWatchdogTimeout)
            && let Some(watchdog) = &mut record.terms.watchdog
        {
            watchdog.timeout_millis /= 2;
        }
        if self.is(Mutant::TimeInSpiteOfExemption) {
            record.terms.claims.may_exempt = false;
        }
        if self.is(Mutant::TodaysTimeToLive) {
            record.terms.time_to_live_millis = millis(crate::config::tuning(world.nodes[0].check).time_to_live());
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

    /// The consistent read before a release. Clears the release when it no longer holds.
    pub fn check_release(&self, world: &mut World, controller: usize) {
        let now = world.now;
        let Some(release) = world.controllers[controller].release.clone() else { return };
        let blind =
            [Mutant::AnyIntentUid, Mutant::TrustTheGuest, Mutant::WatchCache].into_iter().any(|one| self.is(one));
        let holds = blind
            || world
                .view(0)
                .and_then(|view| view.intent.as_ref())
                .is_some_and(|intent| intent.uid == release.intent_uid);
        let other_boot = world.api.node.boot != 0 && boot_id(world.api.node.boot) != release.boot;
        let other_record =
            world.view(0).and_then(|view| view.record.as_ref()).is_some_and(|record| record.boot_id != release.boot);
        let forced = [Mutant::ChangedBootForces, Mutant::IntentBeforeMarks, Mutant::WatchCache]
            .into_iter()
            .any(|one| self.is(one));
        let changed = (other_boot || other_record) && !forced;
        let versions = world.api.pods.iter().map(|pod| pod.version).collect();
        let state = world.controller(controller);
        state.release = (holds && !changed).then_some(Release { checked: Some((Mono(now), versions)), ..release });
    }

    /// Whether a checked release may still be carried out.
    pub fn may_release(&self, world: &World, controller: usize) -> bool {
        let state = &world.controllers[controller];
        let checked = state.release.as_ref().and_then(|release| release.checked.as_ref());
        checked.is_some_and(|(at, _)| self.is(Mutant::ReleaseWithoutVersion) || world.now <= at.0 + RELEASE_LIMIT)
    }

    /// Takes away by force what the proof allows.
    pub fn release(&self, world: &mut World, controller: usize) {
        let Some(release) = world.controllers[controller].release.clone() else { return };
        let Some((_, versions)) = release.checked else { return };
        for (index, version) in versions.iter().enumerate() {
            let pod = world.api.pods[index].clone();
            // The mutant of line 1 takes away only what was marked.
            let kept = self.is(Mutant::IntentBeforeMarks) && release.kind == ProofKind::BootChanged && !pod.marked;
            if kept || pod.gone || (pod.version != *version && !self.is(Mutant::ReleaseWithoutVersion)) {
                continue;
            }
            let subject = &world.nodes[0];
            if let Some(boot) = pod.running.filter(|boot| subject.boot == *boot) {
                world.foul(Foul::RunningTwice { node: 0, boot, proof: release.kind });
            }
            world.api().pods[index].gone = true;
        }
        world.released = Some(release.kind);
        world.controller(controller).release = None;
    }

    /// Every controller that can see the lease has seen it: the earliest sight is the worst case for `D`.
    pub fn watch(world: &mut World) {
        let Some(lease) = world.api.leases[0].clone() else { return };
        for controller in 0..world.controllers.len() {
            let state = &world.controllers[controller];
            if state.paused || !world.controller_reads(state.cut) {
                continue;
            }
            let now = Mono(world.now);
            let (node, uid) = (name(0), lease.uid.to_string());
            let mut known = state.sightings.clone();
            let first = known.see(&node, &uid, &lease.version.to_string(), now);
            // Sights of older versions matter to nobody; they would only make states differ.
            let mut seen = Sightings::default();
            seen.see(&node, &uid, &lease.version.to_string(), first);
            let writing = world.net.iter().chain(world.held.iter().map(|(_, message)| message)).filter_map(|message| {
                match &**message {
                    Message::Intend { controller: sender, write } if *sender == controller => Some(&write.intent),
                    _ => None,
                }
            });
            for intent in lease.view.intent.iter().chain(writing) {
                let at = known.intent(&node, &uid, &intent.uid, now);
                seen.attempt(&node, &uid, &intent.uid, at);
            }
            if seen != state.sightings {
                world.controller(controller).sightings = seen;
            }
        }
    }
}

/// Graceful deletion of the first class.
fn mark(world: &mut World) {
    for pod in &mut world.api().pods {
        if pod.first_class && !pod.marked {
            pod.marked = true;
            pod.version += 1;
        }
    }
}
