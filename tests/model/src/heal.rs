//! After healing everything converges: faults end, everybody runs, remediations are over, time passes.

use crate::config::Budget;
use crate::env::Env;
use crate::step::Action;
use crate::world::{Service, World};

/// Ticks until it has to have converged: a right to live, the watchdog, a boot, the first claim, a jury that is old enough.
const TICKS: usize = 40;

impl Env {
    /// What has not converged, if anything.
    pub fn heal(&self, world: &World) -> Result<(), String> {
        let mut world = world.clone();
        world.budget = Budget::default();
        world.api().service = Service::Up;
        world.held.clear();
        for index in 0..world.nodes.len() {
            let node = world.node(index);
            (node.cut, node.alone, node.deaf, node.unreachable) = (false, false, false, false);
            (node.disk_full, node.paused) = (false, false);
        }
        for index in 0..world.controllers.len() {
            let state = world.controller(index);
            (state.cut, state.paused) = (false, false);
            self.let_go(&mut world, index);
        }
        for _ in 0..TICKS {
            let node = &world.nodes[0];
            let fenced = node.process.as_ref().is_some_and(|process| process.stopped);
            if fenced && node.device.is_none() && !self.config.software {
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
        }
        let node = &world.nodes[0];
        let process = node.process.as_ref().ok_or("no agent runs")?;
        let view = world.view(0).ok_or_else(|| format!("no lease: {}", world.line()))?;
        let record = view.record.as_ref().ok_or("no record")?;
        let alive = process.permit.is_some_and(|until| self.mono(0, world.now) < until);
        if process.stopped || !alive {
            return Err(format!("the node has no right to live: {}", world.line()));
        }
        if view.intent.is_some() {
            return Err(format!("an intent is left: {}", world.line()));
        }
        if !record.terms.claims.self_fences || node.device.is_none() {
            return Err(format!("the node does not claim to fence itself again: {}", world.line()));
        }
        match world.foul {
            Some(foul) => Err(foul.to_string()),
            None => Ok(()),
        }
    }
}
