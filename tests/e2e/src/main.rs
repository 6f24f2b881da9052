//! `palisade-e2e`: what a user does with kubectl, and remediators that mean harm, against a running control plane.
//!
//! The faults themselves are played by `palisade sandbox matrix`; both are started by `cargo xtask test`.

mod agent_rights;
mod bad_input;
mod hostile;
mod kubectl;
mod newcomer;
mod referee;
mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use palisade_sandbox::demo::{BackendKind, Scenario, Style, Timeline};
use palisade_sandbox::lab::fault::Fault;
use palisade_sandbox::program::{self, PartArguments};

use suite::Suite;

/// Black-box tests of an installation.
#[derive(Debug, Parser)]
struct Arguments {
    /// sandbox or real.
    #[arg(long, default_value_t = BackendKind::Sandbox)]
    backend: BackendKind,
    /// Folder with the stock manifests, `medik8s/*/samples` in it.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_FIXTURES", default_value = "../shared/fixtures")]
    fixtures: PathBuf,
    /// Folder with `admission/agent-*.yaml`.
    #[arg(long, value_name = "FOLDER", default_value = "deploy")]
    deploy: PathBuf,
    #[command(flatten)]
    parts: PartArguments,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::OFF).init();
    program::run("palisade-e2e", run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let parts = arguments.parts.parts()?;
    let mut suite = Suite::start(arguments.backend, parts).await?;
    kubectl::definitions_install(&mut suite).await;
    kubectl::invalid_health_checks_name_their_field(&mut suite).await;
    kubectl::samples_apply(&mut suite, &arguments.fixtures).await;
    suite.bring_installation().await?;
    if arguments.backend == BackendKind::Real {
        // The sandbox stores policies, and enforces none.
        agent_rights::of_an_agent_end_at_its_node(&mut suite, &arguments.deploy).await;
    }
    let scenario = Scenario::new(Fault::Isolate, "ResourceDeletion");
    let timeline = Timeline::new(Style::Silent);
    let mut running = suite.stand.prepare(scenario, &suite.stand.dir.join("lab"), timeline).await?;
    bad_input::is_explained(&mut suite).await;
    Box::pin(hostile::others_are_remediated_meanwhile(&mut suite, &mut running)).await;
    if arguments.backend == BackendKind::Sandbox {
        // Its controllers are quicker than the fencing, so that the foul has a consequence.
        Box::pin(referee::sees_a_foul(&mut suite, &mut running)).await;
    }
    Box::pin(running.stop(false)).await;
    if arguments.backend == BackendKind::Sandbox {
        newcomer::breaks_a_node_and_asks_why(&mut suite).await;
    }
    suite.finish().await
}
