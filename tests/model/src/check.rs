//! Runs the checker and reports.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stateright::{Checker, Model, Property};

use crate::action::Action;
use crate::config::Config;
use crate::configs;
use crate::env::Env;
use crate::mutants::{Mutant, Row};
use crate::world::{Foul, World};

/// The one property: everything that must never happen is recorded in the state when it happens.
const SAFE: &str = "no false proof, no workload twice, no boot beyond its bound, no reboot without cause";

const LIVE_NOT: &str = "it does not converge after healing";

/// Configurations from whose every state it is followed what happens when the faults end.
const CONVERGES: &[&str] = &[
    "cut",
    "zone-cut",
    "majority-cut",
    "later-boot",
    "split-jury",
    "lengthen",
    "skew",
    "agent-restart",
    "woken",
    "min-peers",
    "disk",
    "identity",
];

/// From every state: when the faults end.
const LIVE: &str = "after healing everything converges, with the remediations withdrawn and with them going on";

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
        let safe = Property::always(SAFE, |_: &Self, world: &World| world.foul.is_none());
        let live = Property::always(LIVE, |env: &Self, world: &World| world.foul.is_some() || env.heal(world).is_ok());
        match self.mutant {
            None if CONVERGES.contains(&self.config.name) => vec![safe, live],
            Some(Mutant::IntentStays) => vec![live],
            // A mutant of a safety rule does not need the other.
            None | Some(_) => vec![safe],
        }
    }
}

/// What was found so far.
pub struct Report {
    json: bool,
    limit: Duration,
    threads: usize,
    begun: Instant,
    rows: Vec<Value>,
    bad: Vec<String>,
}

impl Report {
    pub fn new(json: bool, limit: Duration, threads: usize) -> Self {
        Self { json, limit, threads, begun: Instant::now(), rows: Vec::new(), bad: Vec::new() }
    }

    /// A configuration with all rules: explored completely, nothing found.
    pub fn config(&mut self, config: Config) {
        let (name, about, limit) = (config.name, config.about, config.limit);
        let begun = Instant::now();
        let env = Env::new(config, None);
        let memo = Arc::clone(&env.memo);
        let checker = env.checker().threads(self.threads).timeout(self.limit).spawn_bfs().join();
        let took = begun.elapsed();
        let counterexample = checker.discovery(SAFE).or_else(|| checker.discovery(LIVE));
        let complete = took < self.limit;
        let (states, steps) = (checker.unique_state_count(), checker.state_count());
        let reboots = counterexample
            .as_ref()
            .is_some_and(|path| matches!(path.last_state().foul, Some(Foul::RebootedInOutage { .. })));
        let verdict = match (&counterexample, limit) {
            (Some(_), Some(limit)) if reboots => format!("known limit: {limit}"),
            (Some(_), _) => "VIOLATED".to_owned(),
            (None, Some(_)) => "LIMIT NOT SEEN: what is written about it is too careful".to_owned(),
            (None, None) if complete => "holds, complete".to_owned(),
            (None, None) => "NOT COMPLETE".to_owned(),
        };
        let good = verdict == "holds, complete" || (reboots && limit.is_some());
        self.row(&format!(
            "{name:18} {states:>9} states {steps:>9} steps depth {:>3} healing {:>8} {:>6.1}s  {verdict}",
            checker.max_depth(),
            memo.len(),
            took.as_secs_f64()
        ));
        if let Some(path) = counterexample.filter(|_| !good) {
            let path = path.into_vec();
            self.trace(&path);
            if let Some((state, _)) = path.last() {
                let why = Self::healing(name, state);
                self.row(&why);
            }
        }
        if !good {
            self.bad.push(format!("configuration {name}: {verdict}"));
        }
        self.rows.push(json!({
            "configuration": name, "about": about, "states": states, "steps": steps, "depth": checker.max_depth(),
            "healing": memo.len(), "seconds": took.as_secs_f64(), "verdict": verdict,
        }));
    }

    /// A removed rule: there has to be a counterexample.
    pub fn mutant(&mut self, row: &Row, trace: bool) {
        let begun = Instant::now();
        let Some(config) = configs::named(row.config) else {
            self.bad.push(format!("mutant {}: no configuration {}", row.name, row.config));
            return;
        };
        let env = Env::new(config, Some(row.mutant));
        let checker = env.checker().threads(self.threads).timeout(self.limit).spawn_bfs().join();
        let took = begun.elapsed().as_secs_f64();
        let property = if row.mutant == Mutant::IntentStays { LIVE } else { SAFE };
        let found = checker.discovery(property).map(stateright::Path::into_vec);
        let length = found.as_ref().map(|path| path.len() - 1);
        let last = found.as_ref().and_then(|path| path.last());
        let what = last.map(|(state, _)| state.foul.as_ref().map_or_else(|| LIVE_NOT.to_owned(), ToString::to_string));
        let verdict = match (&length, &what) {
            (Some(length), Some(what)) => format!("caught in {length} steps: {what}"),
            _ => "NOT CAUGHT".to_owned(),
        };
        let states = checker.unique_state_count();
        self.row(&format!(
            "line {:8} {:28} {:16} {states:>8} states {took:>5.1}s  {verdict}",
            row.line, row.name, row.config
        ));
        if trace && let Some(path) = &found {
            self.trace(path);
        }
        if length.is_none() {
            self.bad.push(format!("mutant {} (line {}) is not caught", row.name, row.line));
        }
        self.rows.push(json!({
            "mutant": row.name, "line": row.line, "removes": row.removes, "configuration": row.config, "states": states,
            "seconds": took, "steps": length, "foul": what,
        }));
    }

    /// Everything at once, at random: cannot be complete.
    pub fn walk(&mut self, steps: u64, seed: u64) {
        let begun = Instant::now();
        let env = Env::new(configs::everything(), None);
        let mut random = seed;
        let (mut done, mut runs) = (0, 0_u64);
        let mut foul = None;
        let (mut path_end, mut unhealed) = (None, 0_u64);
        while done < steps && foul.is_none() {
            runs += 1;
            let mut path = vec![(env.start(), None)];
            for _ in 0..200 {
                let Some((world, _)) = path.last() else { break };
                let mut actions = Vec::new();
                Env::actions(&env, world, &mut actions);
                if actions.is_empty() {
                    break;
                }
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let action = actions[(random >> 33) as usize % actions.len()];
                // Time has to pass for anything to go wrong.
                let action =
                    if (random >> 20) & 3 != 0 && actions.contains(&Action::Tick) { Action::Tick } else { action };
                let Some(next) = env.after(world, action) else { continue };
                done += 1;
                if let Some(last) = path.last_mut() {
                    last.1 = Some(action);
                }
                let bad = next.foul.is_some();
                path_end = Some(next.clone());
                path.push((next, None));
                if bad {
                    foul = Some(path);
                    break;
                }
            }
            let end = path_end.take().filter(|world| foul.is_none() && world.released.is_none());
            if let Some(Err(why)) = end.map(|world| env.heal(&world)) {
                self.bad.push(format!("random walk with seed {seed}, run {runs}: does not converge: {why}"));
                unhealed += 1;
            }
        }
        let verdict = if foul.is_some() { "VIOLATED" } else { "nothing found" };
        self.row(&format!(
            "{:18} {runs:>9} runs   {done:>9} steps seed {seed} {:>6.1}s  {verdict}; {unhealed} did not converge after healing",
            "random walk",
            begun.elapsed().as_secs_f64()
        ));
        if let Some(path) = foul {
            self.trace(&path);
            self.bad.push(format!("random walk with seed {seed}"));
        }
        self.rows.push(json!({"walk": steps, "runs": runs, "seed": seed, "seconds": begun.elapsed().as_secs_f64(), "verdict": verdict}));
    }

    /// Why a state does not converge, in words.
    fn healing(name: &str, state: &World) -> String {
        let why = configs::named(name).map(|config| Env::new(config, None).heal(state));
        why.and_then(Result::err).map_or_else(String::new, |why| format!("    after healing: {why}"))
    }

    fn row(&self, line: &str) {
        if !self.json {
            println!("{line}");
        }
    }

    fn trace(&self, path: &[(World, Option<Action>)]) {
        let Some((first, _)) = path.first() else { return };
        for (state, action) in path {
            let after = (state.now - first.now) as f64 / 1000.0;
            match action {
                Some(action) => self.row(&format!("    {after:>6.2}s  {}\n             {action}", state.line())),
                None => self.row(&format!("    {after:>6.2}s  {}", state.line())),
            }
        }
    }

    /// What no model can express.
    pub fn elsewhere(&mut self) {
        for (line, file, test) in crate::mutants::ELSEWHERE {
            self.row(&format!("line {line}: not in the model, but in {file}: {test}"));
            self.rows.push(json!({"line": line, "file": file, "test": test}));
        }
    }

    pub fn end(self) -> ExitCode {
        let seconds = self.begun.elapsed().as_secs_f64();
        if self.json {
            println!("{:#}", json!({"rows": self.rows, "failures": self.bad, "seconds": seconds}));
        } else {
            println!("{} rows in {seconds:.0}s", self.rows.len());
        }
        for line in &self.bad {
            eprintln!("model: {line}");
        }
        if self.bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
