//! `palisade`: the controller, the sandbox, and what people ask of them.

mod approve;
mod certificate;
mod collect;
mod connect;
mod controller;
mod doctor;
#[cfg(test)]
mod documented;
mod drill;
mod explain;
mod failover;
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
    /// The proofs that old boots have ended.
    #[command(subcommand)]
    Certificate(certificate::Command),
    /// How long it takes from a fault to the released workload on this cluster, and which setting buys most.
    FailoverTime(failover::Arguments),
    /// A bundle for a report of a fault: objects, events, logs, without secrets.
    Collect(collect::Arguments),
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
        Command::Certificate(command) => return certificate::run(&command),
        Command::FailoverTime(arguments) => return failover::run(&arguments),
        Command::Collect(arguments) => return collect::run(&arguments),
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

    /// The manifest for krew names this program, this version and commands that exist.
    #[test]
    fn krew_installs_what_there_is() {
        let text = include_str!("../../../deploy/krew/palisade.yaml");
        let plugin: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).unwrap();
        assert_eq!(plugin["kind"], "Plugin");
        assert_eq!(plugin["metadata"]["name"], Cli::command().get_name());
        assert_eq!(plugin["spec"]["version"].as_str().unwrap(), format!("v{}", env!("CARGO_PKG_VERSION")));
        let platforms = plugin["spec"]["platforms"].as_sequence().unwrap();
        for platform in platforms {
            let arch = platform["selector"]["matchLabels"]["arch"].as_str().unwrap();
            assert!(platform["uri"].as_str().unwrap().ends_with(&format!("palisade-linux-{arch}.tar.gz")));
            assert_eq!(platform["sha256"].as_str().unwrap().len(), 64);
            assert_eq!(platform["files"][0]["from"], platform["bin"]);
        }
        assert_eq!(platforms.len(), 2);
        // What stands in brackets in its description are commands.
        let said = plugin["spec"]["description"].as_str().unwrap();
        let named: Vec<&str> = said.split('(').skip(1).filter_map(|rest| rest.split(')').next()).collect();
        assert!(named.len() > 5);
        for command in named.iter().flat_map(|names| names.split(", ")) {
            let found = command.split(' ').try_fold(Cli::command(), |known, word| known.find_subcommand(word).cloned());
            assert!(found.is_some(), "{command}");
        }
    }
}
