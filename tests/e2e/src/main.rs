//! `palisade-e2e`: what a user does with kubectl, and remediators that mean harm, against a running control plane.
//!
//! The faults themselves are played by `palisade sandbox matrix`; both are started by `cargo xtask test`.

mod agent_rights;
mod bad_input;
mod hostile;
mod kubectl;
mod referee;
mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use palisade_sandbox::demo::{BackendKind, Parts, Scenario, Style, Timeline};
use palisade_sandbox::lab::fault::Fault;

use suite::Suite;

/// Black-box tests of an installation.
#[derive(Debug, Parser)]
struct Arguments {
    /// sandbox or real.
    #[arg(long, default_value_t = BackendKind::Sandbox)]
    backend: BackendKind,
    /// The `palisade` program; beside this one if not given.
    #[arg(long, value_name = "FILE")]
    palisade: Option<PathBuf>,
    /// The agent program; beside this one if not given.
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Folder of all components, the hostile one included; `../guests` from this program if not given.
    #[arg(long, value_name = "FOLDER")]
    remediators: Option<PathBuf>,
    /// Folder of the CRD manifests.
    #[arg(long, value_name = "FOLDER", default_value = "crds")]
    crds: PathBuf,
    /// The real control plane program.
    #[arg(long, value_name = "FILE")]
    controlplane: Option<PathBuf>,
    /// Folder with `admission/agent-*.yaml`.
    #[arg(long, value_name = "FOLDER", default_value = "deploy")]
    deploy: PathBuf,
    /// Folder with the stock manifests, `medik8s/*/samples` in it.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_FIXTURES", default_value = "../shared/fixtures")]
    fixtures: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Fails only when a provider is installed already, and nobody came before us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::OFF).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let result = runtime.block_on(run(arguments));
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("palisade-e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let here = std::env::current_exe()?;
    let folder = here.parent().map(PathBuf::from).unwrap_or_default();
    let parts = Parts {
        palisade: arguments.palisade.unwrap_or_else(|| folder.join("palisade")),
        agent: arguments.agent.unwrap_or_else(|| folder.join("palisade-agent")),
        remediators: arguments.remediators.unwrap_or_else(|| folder.join("../guests")),
        crds: arguments.crds,
        controlplane: arguments.controlplane,
    };
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
    suite.finish().await
}
