//! `palisade-install`: the installation as a user meets it. The commands are those of `deploy/README.md`; afterwards
//! nobody of ours is an administrator: controllers run with the token of their service account, agents with tokens that
//! are bound to the pods of the DaemonSet, as a kubelet gives them.

mod agents;
mod audit;
mod commands;
mod docs;
mod drill;
mod leftovers;
mod migration;
mod readme;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use palisade_bench::plane::Parts;

/// Installs, remediates, uninstalls.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// Folder with the manifests, and README.md with the commands.
    #[arg(long, value_name = "FOLDER", default_value = "deploy")]
    deploy: PathBuf,
    /// The Helm program.
    #[arg(long, value_name = "FILE")]
    helm: PathBuf,
    /// The agent program.
    #[arg(long, value_name = "FILE")]
    agent: PathBuf,
    /// Folder with the definitions and samples of the medik8s operators.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_FIXTURES", default_value = "../shared/fixtures")]
    fixtures: PathBuf,
    /// Leave logs and control plane files where they are.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    parts: Parts,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::OFF).init();
    let keep = arguments.keep;
    palisade_sandbox::program::run_in_folder("palisade-install", keep, async |dir| story::play(&arguments, dir).await)
}
