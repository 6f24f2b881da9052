//! The fencing protocol, model-checked: the real state machines of `palisade_core::fencing` in a modelled environment.
#![allow(missing_docs, clippy::print_stdout)]

mod action;
mod budget;
mod canon;
mod check;
mod config;
mod configs;
mod control;
mod env;
mod heal;
mod mutants;
mod node;
mod passing;
mod release;
mod sight;
mod start;
mod step;
mod trace;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Steps of the random walk of `--all`.
const WALK: u64 = 100_000;

#[derive(Parser)]
#[command(name = "cargo xtask model", about = "Check the fencing protocol exhaustively", max_term_width = 120)]
struct Options {
    /// Only the configurations whose name contains this.
    #[arg(long, value_name = "TEXT")]
    config: Option<String>,
    /// Remove one rule and show the counterexample.
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
    /// The configurations with all rules, then every mutant.
    #[arg(long)]
    all: bool,
    /// The wide configurations too; raise --seconds: they take minutes to hours.
    #[arg(long)]
    deep: bool,
    /// Steps of a random walk through everything at once.
    #[arg(long, default_value_t = 0)]
    walk: u64,
    /// Start of the random walk.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Give up a configuration or mutant after so many seconds; that counts as a failure.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Worker threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Print JSON, one object at the end.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let limit = Duration::from_secs(options.seconds);
    let mut report = check::Report::new(options.json, limit, options.threads);
    let wanted = |name: &str| options.config.as_deref().is_none_or(|text| name.contains(text));
    if let Some(name) = &options.mutant {
        let mut found = false;
        for row in mutants::ALL.iter().filter(|row| row.name == *name) {
            found = true;
            report.mutant(row, true);
        }
        if !found {
            eprintln!("no mutant {name}; there are:");
            for row in mutants::ALL {
                eprintln!("  {:28} {}", row.name, row.removes);
            }
            return ExitCode::FAILURE;
        }
    } else {
        for config in configs::all(options.deep).into_iter().filter(|config| wanted(config.name)) {
            report.config(config);
        }
        let walk = if options.all && options.walk == 0 { WALK } else { options.walk };
        if walk > 0 {
            report.walk(walk, options.seed);
        }
        if options.all {
            for row in mutants::ALL {
                report.mutant(row, false);
            }
            report.elsewhere();
        }
    }
    report.end()
}
