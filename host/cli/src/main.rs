//! `palisade`: the controller, the sandbox, and what people ask of them.

mod approve;
mod controller;
mod explain;
mod remediator;
mod sandbox;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
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
        Command::Sandbox(command) => sandbox::run(command),
        Command::Remediator(command) => return remediator::run(command),
    };
    program::ended("palisade", result)
}
