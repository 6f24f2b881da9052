//! After healing everything converges: faults end, everybody runs, remediations end, time passes.
//!
//! Checked from every state that an exploration reaches. What follows after healing has no choices left, so it is one
//! path; paths that meet are walked once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use palisade_core::fencing::prover::{self, WriteOutcome};

use crate::action::Action;
use crate::budget::Budget;
use crate::env::Env;
use crate::world::{Message, Service, World};

/// Ticks until it has to have converged: `D`, the watchdog, a boot, a first claim, the controller's patience, a jury that is
/// old enough.
const TICKS: u16 = 100;

/// What becomes of the remediations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remediations {
    /// They are withdrawn at once.
    Withdrawn,
    /// They go on to their end: a proof.
    GoOn,
}

/// Ticks from a state after healing until it has converged, as far as known. By hash.
#[derive(Debug, Default)]
pub struct Memo([Mutex<HashMap<u64, u16>>; 16]);

impl Memo {
    fn part(&self, key: u64) -> std::sync::MutexGuard<'_, HashMap<u64, u16>> {
        // Plain numbers: never left half changed.
        self.0[(key % 16) as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// States that were walked through.
    pub fn len(&self) -> usize {
        (0..16).map(|part| self.part(part).len()).sum()
    }
}

impl Env {
    /// What has not converged, if anything.
    pub fn heal(&self, world: &World) -> Result<(), String> {
        for remediations in [Remediations::Withdrawn, Remediations::GoOn] {
            self.converges(world, remediations).map_err(|why| format!("{remediations:?}: {why}"))?;
        }
        Ok(())
    }

    fn converges(&self, world: &World, remediations: Remediations) -> Result<(), String> {
        let mut world = self.mended(world, remediations);
        let mut path = Vec::new();
        let mut left = loop {
            let mut hasher = DefaultHasher::new();
            (remediations, &world).hash(&mut hasher);
            let key = hasher.finish();
            if let Some(known) = self.memo.part(key).get(&key) {
                break *known;
            }
            if self.unsettled(&world).is_none() {
                self.memo.part(key).insert(key, 0);
                break 0;
            }
            if path.len() > usize::from(TICKS) {
                let why = self.unsettled(&world).unwrap_or_default();
                return Err(format!("not within {TICKS} ticks: {why}: {}", world.line()));
            }
            path.push(key);
            world = self.heals(&world, remediations)?;
        };
        for key in path.into_iter().rev() {
            left += 1;
            self.memo.part(key).insert(key, left);
        }
        if left > TICKS { Err(format!("takes {left} ticks")) } else { Ok(()) }
    }

    /// The faults end.
    fn mended(&self, world: &World, remediations: Remediations) -> World {
        let mut world = world.clone();
        world.budget = Budget::default();
        world.released = None;
        world.api().service = Service::Up;
        let lost = std::mem::take(&mut world.held);
        for index in 0..world.nodes.len() {
            let node = world.node(index);
            (node.cut, node.alone, node.deaf, node.unreachable) = (false, false, false, false);
            (node.disk_full, node.paused) = (false, false);
        }
        for index in 0..world.controllers.len() {
            let state = world.controller(index);
            (state.cut, state.paused) = (false, false);
        }
        for (_, message) in lost {
            if let Message::Intend { controller, .. } = *message {
                let outcome = WriteOutcome::Unknown { why: String::new() };
                self.prover(&mut world, controller, prover::Event::IntentWritten(outcome));
            }
        }
        // What is under way arrives before anybody lets go: a write that lands later is nobody's any more.
        self.settle(&mut world);
        if remediations == Remediations::Withdrawn {
            for index in 0..world.controllers.len() {
                self.let_go(&mut world, index);
            }
        }
        world
    }

    /// One tick more.
    fn heals(&self, world: &World, remediations: Remediations) -> Result<World, String> {
        let mut world = world.clone();
        let subject = &world.nodes[0];
        let fenced = subject.process.as_ref().is_some_and(|process| process.stopped);
        if fenced && subject.device.is_none() && !self.config.software {
            // Fenced before its device was armed, and software may not reset it: nothing there can end this boot. The
            // agent says so, and a person has to.
            world.power_off(0);
        }
        if world.nodes[0].boot == 0 {
            let node = world.node(0);
            node.boots += 1;
            node.boot = node.boots;
        }
        if world.nodes[0].process.is_none() {
            self.start_agent(&mut world, 0);
        }
        if !world.nodes[0].published {
            world = self.after(&world, Action::Publish).unwrap_or(world);
        }
        self.settle(&mut world);
        world = self.after(&world, Action::Tick).ok_or("time does not pass")?;
        world.released = None;
        if let Some(foul) = &world.foul {
            return Err(foul.to_string());
        }
        if remediations == Remediations::GoOn {
            for index in 0..world.controllers.len() {
                let state = &world.controllers[index];
                if state.release.is_none() && state.prover.as_ref().is_some_and(|prover| prover.proof().is_some()) {
                    self.let_go(&mut world, index);
                }
            }
        }
        Ok(world)
    }

    /// What has not converged yet.
    fn unsettled(&self, world: &World) -> Option<String> {
        let node = &world.nodes[0];
        if world.controllers.iter().any(|state| state.prover.is_some()) {
            return Some("a remediation has not come to a proof".into());
        }
        let Some(process) = node.process.as_ref().filter(|_| node.published) else {
            return Some("no agent runs".into());
        };
        let Some(view) = world.view(0) else { return Some("there is no lease".into()) };
        let Some(record) = &view.record else { return Some("there is no record".into()) };
        let alive = process.permit.is_some_and(|until| self.mono(0, world.now) < until);
        if process.stopped || !alive {
            return Some("the node has no right to live".into());
        }
        if view.intent.is_some() {
            return Some("an intent is left".into());
        }
        let enough = record.terms.jury.len() >= self.config.min_peers as usize;
        if record.terms.claims.self_fences != enough {
            return Some("the node does not claim to fence itself".into());
        }
        if enough && self.config.watchdog.is_some() && node.device.is_none() {
            return Some("its watchdog is not armed".into());
        }
        (record.boot_id != crate::env::boot_id(node.boot)).then(|| "the record is of another boot".into())
    }
}
