//! `cargo xtask simulate`: the real controller and agents over a deterministic network and clock.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context as _;
use clap::Args;

use crate::workspace::{Workspace, cargo};
use crate::{guests, shell};

/// What is to be simulated.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How many seeds, from the first one on.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed; without --seeds only this one, and its trace is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// No new seed is begun after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Seeds at the same time.
    #[arg(long, default_value_t = 2)]
    workers: u64,
    /// Something that is broken on purpose: controller-does-not-wait, agent-ignores-its-end, agent-ignores-intents,
    /// no-api-for-everybody, promises-of-nobody, host-file-forgotten. Found fouls are then no failure.
    #[arg(long, value_name = "NAME")]
    broken: Option<String>,
    /// With one seed: print every request too.
    #[arg(long)]
    trace: bool,
    /// Print one JSON document with every run.
    #[arg(long)]
    json: bool,
}

impl Options {
    /// What `cargo xtask test` does: the named runs, then as many seeds as fit.
    pub const SUITE: Self =
        Self { seeds: None, seed: None, seconds: Some(150), workers: 2, broken: None, trace: false, json: false };
}

/// Without a number of seeds: all named runs, then seeds for a while.
pub fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    guests::build(workspace)?;
    if options.seeds.is_none() && options.seed.is_none() {
        let mut named = shell::command(&workspace.root, &cargo(), &["test", "--workspace", "--test", "simulate"]);
        named.args(["--", "--include-ignored", "--skip", "seeds::", "--test-threads", &options.workers.to_string()]);
        if options.json {
            // Only the document goes to standard output.
            named.stdout(Stdio::null());
        }
        shell::step("named runs of the simulation", &mut named)?;
    }
    let seeds = options.seeds.unwrap_or(if options.seed.is_some() { 1 } else { u64::MAX });
    let file: PathBuf = workspace.target.join("simulation.json");
    let mut command = shell::command(&workspace.root, &cargo(), &["test", "--workspace", "--test", "simulate"]);
    command.args(["--", "--ignored", "--exact", "seeds::as_many_as_wanted", "--nocapture"]);
    let numbers = [
        ("SEEDS", Some(seeds)),
        ("FIRST", options.seed),
        ("SECONDS", options.seconds.or((seeds == u64::MAX).then_some(300))),
        ("WORKERS", Some(options.workers)),
        ("TRACE", Some(u64::from(options.trace))),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            command.env(format!("PALISADE_SIMULATE_{name}"), value.to_string());
        }
    }
    if let Some(broken) = &options.broken {
        command.env("PALISADE_SIMULATE_BREAKAGE", broken);
    }
    if options.json {
        command.env("PALISADE_SIMULATE_JSON", &file).stdout(Stdio::null());
    }
    let result = shell::step("seeds of the simulation", &mut command);
    if options.json {
        println!("{}", std::fs::read_to_string(&file).with_context(|| file.display().to_string())?);
    }
    result
}
