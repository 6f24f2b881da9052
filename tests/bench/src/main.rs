//! `palisade-bench`: a fleet of fake kubelets on a real control plane. Started by `cargo xtask bench` and
//! `cargo xtask controlplane --nodes N`.

mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use palisade_bench::{assertions, measure};

#[derive(Debug, Parser)]
#[command(name = "palisade-bench", about = "A fleet of fake kubelets on a real control plane")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a control plane with a fleet, prints a kubeconfig, and takes orders on standard input.
    Up(up::Options),
    /// Promises of the controller, shown from the audit log.
    Assertions(assertions::Options),
    /// How long after a node is due its remediation exists: one node, and two of five at once.
    Detect(measure::Options),
    /// What a healthy cluster costs the controller: memory, CPU, requests.
    Idle(measure::Options),
    /// What judging and planning a fleet costs, by itself.
    Core(measure::core::Options),
    /// What components cost: to compile, load, call and keep.
    Wasm(measure::wasm::Options),
    /// A thousand remediations at once, as the controller runs them, without the API server.
    Concurrent(measure::concurrent::Options),
    /// Instructions of the core for each node, counted by callgrind.
    Instructions(measure::instructions::Options),
    /// What an agent costs its node: memory, CPU, wake-ups, requests; how fast it starts and answers many peers.
    Agent(measure::agent::Options),
    /// How soon the sandbox can be used, and how long its demonstration takes.
    Sandbox(measure::sandbox::Options),
    /// What the operator's page costs with thousands of nodes.
    Page(measure::page::Options),
    /// Where the seconds go between a fault and the released workload, with real agents.
    Failover(measure::failover::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Fails only when a provider is installed already, and nobody came before us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let result = runtime.block_on(async {
            match cli.command {
                Command::Up(options) => up::run(options).await.map(|()| true),
                Command::Assertions(options) => assertions::run(&options).await,
                Command::Detect(options) => measure::detect::run(&options).await.map(|()| true),
                Command::Failover(options) => measure::failover::run(&options).await.map(|()| true),
                Command::Core(options) => measure::core::run(&options).map(|()| true),
                Command::Wasm(options) => measure::wasm::run(&options).map(|()| true),
                Command::Concurrent(options) => measure::concurrent::run(&options).await.map(|()| true),
                Command::Instructions(options) => measure::instructions::run(&options).map(|()| true),
                Command::Agent(options) => measure::agent::run(&options).await.map(|()| true),
                Command::Sandbox(options) => measure::sandbox::run(&options).await.map(|()| true),
                Command::Page(options) => measure::page::run(&options).await.map(|()| true),
                Command::Idle(options) => measure::idle::run(&options).await.map(|()| true),
            }
        });
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("palisade-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
