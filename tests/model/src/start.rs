//! Where the explorations start.

use std::sync::Arc;

use palisade_core::fencing::juror::Juror;
use palisade_core::fencing::sightings::Sightings;
use palisade_core::time::Mono;

use crate::action::Action;
use crate::env::Env;
use crate::mutants::Mutant;
use crate::world::{Api, Controller, Message, Node, NodeObject, Pod, Service, Version, World};

/// Real time at which every exploration starts: the jurors are old by then.
pub const ORIGIN: u64 = 1_000_000;

impl Env {
    /// A juror whose process starts now.
    pub fn new_juror(&self, world: &mut World, index: usize) {
        let now = self.mono(index, world.now);
        let timing = self.config.juror_timing();
        let started = if self.is(Mutant::YoungJurorAnswers) { Mono(0) } else { now };
        world.node(index).juror = Some(Juror::new(started, timing));
    }

    /// History: the node lost the API, asked a peer, and found the API again before its question arrived.
    fn stale_ask(&self, world: &mut World) {
        world.node(0).cut = true;
        world.budget.hold = 1;
        for _ in 0..20 {
            let next = match world.net.first().map(|message| &**message) {
                Some(Message::Ask { .. }) if world.budget.hold > 0 => Action::Hold,
                Some(_) => Action::Deliver,
                None if world.held.is_empty() => Action::Tick,
                None => break,
            };
            *world = self.after(world, next).unwrap_or_else(|| world.clone());
        }
        world.node(0).cut = false;
        world.budget.hold = 0;
        for _ in 0..3 {
            *world = self.after(world, Action::Tick).unwrap_or_else(|| world.clone());
        }
    }

    /// The first state: nothing published yet, or, where the first claim is not the subject, a node that claims.
    pub fn start(&self) -> World {
        let config = &self.config;
        let aged = || Juror::new(Mono(ORIGIN.saturating_sub(config.juror_age)), config.juror_timing());
        let node = |index: usize| Node {
            boot: 1,
            boots: 1,
            published: true,
            device: None,
            resets_at: None,
            process: None,
            processes: 0,
            juror: (index != 0).then(aged),
            disk: None,
            paused: false,
            cut: false,
            alone: false,
            deaf: config.deaf.contains(&index),
            unreachable: config.unreachable.contains(&index),
            disk_full: false,
            check: config.check,
            roster: config.roster.map_or(config.jurors, |(first, _)| first),
            kubelet_at: Mono(0),
            renewed_at: Mono(0),
            slow: if index == 0 { config.slow } else { 0 },
            listed: None,
        };
        let pod = |first_class| Pod { first_class, marked: false, running: Some(1), version: 1, gone: false };
        let controller = Controller {
            sightings: Sightings::default(),
            prover: None,
            due: Mono(0),
            paused: false,
            cut: false,
            asking: 0,
            release: None,
            reading: None,
            kept: Vec::new(),
        };
        let agents = if config.fleet { config.jurors + 1 } else { 1 };
        let lead = if config.from_scratch { 0 } else { 3 * config.tick };
        let mut world = World {
            now: ORIGIN - lead,
            api: Arc::new(Api {
                service: Service::Up,
                leases: vec![None; config.jurors + 1],
                node: NodeObject { uid: 1, boot: 1 },
                pods: if config.pods { vec![pod(true), pod(false)] } else { vec![pod(true)] },
                uids: 0,
                version: Version(0),
                doom: None,
            }),
            nodes: (0..=config.jurors).map(|index| Arc::new(node(index))).collect(),
            controllers: (0..config.controllers).map(|_| Arc::new(controller.clone())).collect(),
            net: Vec::new(),
            held: Vec::new(),
            budget: config.budget,
            foul: None,
            released: None,
        };
        for index in 0..agents {
            self.start_agent(&mut world, index);
            if config.fleet || index != 0 {
                // The jurors are as old as configured, also where they belong to whole agents.
                world.node(index).juror = Some(aged());
            }
        }
        let calm = std::mem::take(&mut world.budget);
        if config.from_scratch {
            world.budget = calm;
            return world;
        }
        self.settle(&mut world);
        while world.now < ORIGIN {
            // Nothing is refused while everything works.
            world = self.after(&world, Action::Tick).unwrap_or(world);
        }
        if config.stale_ask {
            self.stale_ask(&mut world);
        }
        if config.jury_in_flight
            && let Some((first, other)) = config.roster
        {
            // History: the answer to the write of another jury is under way.
            world.node(0).roster = other;
            world.budget.late = 1;
            self.roster(&mut world, 0);
            world = self.after(&world, Action::Late).unwrap_or(world);
            // A process that starts later finds the roster as it was.
            world.node(0).roster = first;
        }
        for index in config.cut_at_start {
            world.node(*index).cut = true;
        }
        if config.nodes_cut_at_start {
            world.api().service = Service::NodesCut;
        }
        world.budget = calm;
        world
    }
}
