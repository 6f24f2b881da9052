//! The fencing protocol, model-checked: the real state machines of `palisade_core::fencing` in a modelled environment.
#![allow(missing_docs, clippy::print_stdout)]

mod canon;
mod config;
mod control;
mod env;
mod mutants;
mod node;
mod start;
mod step;
mod world;

use std::time::Instant;

use stateright::{Checker, Model, Property};

use crate::env::Env;
use crate::step::Action;
use crate::world::World;

impl Model for Env {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.start()]
    }

    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        Env::actions(self, state, actions);
    }

    fn next_state(&self, state: &World, action: Action) -> Option<World> {
        self.after(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing foul", |_, world: &World| world.foul.is_none()),
            Property::sometimes("something is released", |_, world: &World| world.released.is_some()),
        ]
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut config = config::named(&args[0]).expect("config");
    if let Some(over) = std::env::var("OVER").ok() {
        config.budget = config::Budget::default();
        for part in over.split(',') {
            let (k, v) = part.split_once('=').unwrap();
            let v: u8 = v.parse().unwrap();
            let b = &mut config.budget;
            match k { "hold" => b.hold = v, "late" => b.late = v, "cut" => b.cut = v, "begin" => b.begin = v, "api" => b.api = v, "agent_crash" => b.agent_crash = v, "juror_crash" => b.juror_crash = v, "boots" => b.boots = v, "pause" => b.pause = v, "let_go" => b.let_go = v, "controller_crash" => b.controller_crash = v, _ => panic!() }
        }
    }
    let mutant = args.get(1).and_then(|name| mutants::ALL.iter().find(|row| row.name == *name)).map(|row| row.mutant);
    let env = Env { config, mutant };
    let begun = Instant::now();
    let checker = env.checker().threads(2).timeout(std::time::Duration::from_secs(args.get(2).map_or(60, |s| s.parse().unwrap()))).spawn_bfs().join();
    println!("states {} unique {} depth {} done {} in {:?}", checker.state_count(), checker.unique_state_count(), checker.max_depth(), checker.is_done(), begun.elapsed());
    for (name, path) in checker.discoveries() {
        println!("== {name}: {} steps, final {:?}", path.clone().into_actions().len(), path.last_state().foul);
        if path.last_state().foul.is_some() {
            for (state, action) in path.into_vec() {
                println!("{} {:?}", state.now, action);
            }
        }
    }
}
