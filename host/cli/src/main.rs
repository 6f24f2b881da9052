//! `palisade`: the controller, the sandbox, and what people ask of them.

mod approve;
mod connect;
mod controller;
mod doctor;
mod drill;
mod explain;
mod hold;
mod migrate;
mod rehearse;
mod remediator;
mod sandbox;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use palisade_sandbox::program;

/// Brings failed nodes back, and releases their workload only when their end is proven.
#[derive(Debug, Parser)]
#[command(name = "palisade", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the controller.
    Controller(controller::Arguments),
    /// Says yes to what a remediation asks: to the action, or that the node is isolated.
    Approve(approve::Yes),
    /// Says no to what a remediation asks.
    Deny(approve::Arguments),
    /// Says of one node why it is, or is not, being remediated, and what comes next.
    Explain(explain::Explain),
    /// The fleet, its policies and remediations on one screen.
    Status(explain::Status),
    /// What happened to a node, second by second.
    History(explain::History),
    /// What was left behind, what cannot fence, what nobody looks after.
    Doctor(doctor::Arguments),
    /// Fences a node on purpose, under guard, and reports how it went.
    Drill(drill::Arguments),
    /// What stands in the way, and what would change, when Palisade takes over from the medik8s operators.
    Migrate(migrate::Arguments),
    /// Lets a policy start nothing new; what runs goes on.
    Pause(hold::Pause),
    /// Takes back a pause.
    Resume(hold::Resume),
    /// Keeps remediation away from a node, or from all nodes of a policy, for a while.
    Veto(hold::Veto),
    /// What a policy would do on this cluster from now on, or would have done in the last hour. Changes nothing.
    Simulate(rehearse::Simulate),
    /// Tests of policies, for those who keep them in a repository.
    #[command(subcommand)]
    Policy(rehearse::Policy),
    /// Completion of these commands for a shell.
    Completion(words::Completion),
    /// Manual pages of all commands, into a folder.
    Man(words::Man),
    /// A small cluster on this machine, with nodes that can fail.
    #[command(subcommand)]
    Sandbox(sandbox::Command),
    /// Make, test, try out and publish remediators of your own, without a cluster.
    #[command(subcommand)]
    Remediator(remediator::Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Fails only when a provider is installed already, and nobody came before us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let result = match cli.command {
        Command::Controller(arguments) => controller::run(arguments),
        Command::Approve(yes) => approve::approve(&yes).map(|()| true),
        Command::Deny(arguments) => approve::deny(&arguments).map(|()| true),
        Command::Explain(arguments) => return explain::explain(&arguments),
        Command::Status(arguments) => return explain::status(&arguments),
        Command::History(arguments) => return explain::history(&arguments),
        Command::Doctor(arguments) => return doctor::run(&arguments),
        Command::Drill(arguments) => return drill::run(&arguments),
        Command::Migrate(arguments) => return migrate::run(&arguments),
        Command::Pause(arguments) => hold::pause(&arguments).map(|()| true),
        Command::Resume(arguments) => hold::resume(&arguments).map(|()| true),
        Command::Veto(arguments) => hold::veto(&arguments).map(|()| true),
        Command::Simulate(arguments) => return rehearse::simulate(&arguments),
        Command::Policy(command) => return rehearse::policy(&command),
        Command::Completion(arguments) => words::completion(&arguments, Cli::command()).map(|()| true),
        Command::Man(arguments) => words::man(&arguments, Cli::command()).map(|()| true),
        Command::Sandbox(command) => sandbox::run(command),
        Command::Remediator(command) => return remediator::run(command),
    };
    program::ended("palisade", result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_can_be_parsed() {
        Cli::command().debug_assert();
    }
}
