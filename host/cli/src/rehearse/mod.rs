//! `palisade simulate` and `palisade policy test`: what a policy would do, on the same decision core as the controller,
//! in virtual time. Nothing is written to any cluster.
//!
//! Played are nodes, one policy, and what remediations bring about. Other policies, leases of others, upgrades of the
//! cluster and the quorum of etcd are not: they can only hold back more.

mod fleet;
mod live;
mod play;
mod report;
mod script;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use palisade_sandbox::program;

use crate::connect::wait;
use crate::explain::{Output, Style, show};

/// `palisade simulate POLICY`.
#[derive(Debug, Args)]
pub struct Simulate {
    #[command(flatten)]
    what: live::Arguments,
    /// For people, or for programs.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What can be asked of policies.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Plays files that say what is given, what happens, and what is expected of a policy; fails if anything differs.
    Test(Test),
}

/// `palisade policy test FILE...`.
#[derive(Debug, Args)]
pub struct Test {
    /// The files; "Before a policy acts" in deploy/README.md shows one.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Show what happened also when nothing differs.
    #[arg(long)]
    journal: bool,
}

/// What a policy would do.
pub fn simulate(arguments: &Simulate) -> ExitCode {
    program::ended("palisade", say(arguments).map(|()| true))
}

fn say(arguments: &Simulate) -> anyhow::Result<()> {
    let report = wait(live::simulate(&arguments.what))?;
    let text = match arguments.output {
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
        Output::Text => report.text(Style::of_stdout()),
    };
    show(&text)
}

/// Everything about policies.
pub fn policy(command: &Policy) -> ExitCode {
    let Policy::Test(arguments) = command;
    let mut failed = 0;
    for file in &arguments.files {
        let played = script::Script::read(file).and_then(|script| {
            let policy = script.policy(file)?;
            Ok((script.play(&policy)?, script.description))
        });
        match played {
            Ok((outcomes, description)) => {
                let passed = outcomes.wrong.is_empty();
                println!("{} {} {description}", if passed { "ok    " } else { "FAILED" }, file.display());
                for wrong in &outcomes.wrong {
                    println!("  {wrong}");
                }
                if !passed || arguments.journal {
                    print!("{}", report::journal(&outcomes.journal, outcomes.begin));
                }
                failed += usize::from(!passed);
            }
            Err(error) => {
                println!("FAILED {}", file.display());
                eprintln!("palisade: {error:#}");
                failed += 1;
            }
        }
    }
    println!("{} passed, {failed} failed", arguments.files.len() - failed);
    program::ended("palisade", Ok(failed == 0))
}

#[cfg(test)]
mod tests;
