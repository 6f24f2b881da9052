//! `palisade sandbox …`.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use palisade_sandbox::demo::{self, BackendKind, Demo, Kill, Matrix, Scenario, Serve};
use palisade_sandbox::lab::fault::Fault;
use palisade_sandbox::lab::process;
use palisade_sandbox::program::PartArguments;
use tracing_subscriber::EnvFilter;

/// Subcommands of `palisade sandbox`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows one remediation from fault to recovery and checks that nothing ever ran twice.
    Demo(DemoArguments),
    /// Starts the cluster with nodes, agents and controller, keeps it until Ctrl-C, and lets go wrong what is typed.
    Serve(ServeArguments),
    /// Plays every fault with every strategy and prints a table.
    Matrix(MatrixArguments),
    /// Becomes another program that ends together with the process that asked for it.
    #[command(hide = true)]
    Exec {
        /// Process id of whom to end with.
        #[arg(long)]
        parent: u32,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

/// What to show.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// What the nodes register with: sandbox (in this process) or real (kube-apiserver and its companions).
    #[arg(long, default_value_t = BackendKind::Sandbox)]
    backend: BackendKind,
    /// kubelet, agent, api, isolate, power, hang, api-outage or zone-cut.
    #[arg(long, default_value_t = Fault::Isolate)]
    fault: Fault,
    /// Number of nodes; 4 if not given, 6 for zone-cut.
    #[arg(long)]
    nodes: Option<u8>,
    /// Pods on the node that fails.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pods: u16,
    /// Strategy of the remediation template.
    #[arg(long, default_value = "Automatic", value_parser = ["Automatic", "ResourceDeletion", "OutOfServiceTaint"])]
    strategy: String,
    /// One JSON object per event, and one with the result at the end.
    #[arg(long)]
    json: bool,
    /// Leave the cluster up afterwards, and say how to reach it.
    #[arg(long)]
    keep: bool,
    /// Detect the fault so late that there is nothing left to wait for.
    #[arg(long)]
    long_silence: bool,
    /// Kill and restart the controller right after this stage: marked, intended, promised, proven, released, each.
    #[arg(long, value_name = "STAGE")]
    kill_controller_at: Option<Kill>,
    #[command(flatten)]
    parts: PartArguments,
}

/// What to serve.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// sandbox or real.
    #[arg(long, default_value_t = BackendKind::Sandbox)]
    backend: BackendKind,
    /// Number of nodes.
    #[arg(long, default_value_t = 4)]
    nodes: u8,
    /// Port of the API; a free one if not given.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Write the kubeconfig to this file too.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    parts: PartArguments,
}

/// What to play.
#[derive(Debug, Args)]
pub struct MatrixArguments {
    /// sandbox or real.
    #[arg(long, default_value_t = BackendKind::Sandbox)]
    backend: BackendKind,
    /// Only cases whose title contains this text.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Show the timeline of every case.
    #[arg(long)]
    verbose: bool,
    /// Only name the cases.
    #[arg(long)]
    list: bool,
    /// One JSON object per case instead of the table.
    #[arg(long)]
    json: bool,
    /// How many cases run side by side; on the real back end every lane starts a control plane.
    #[arg(long, default_value_t = 3)]
    lanes: usize,
    #[command(flatten)]
    parts: PartArguments,
}

/// Runs a subcommand; false if it ran but did not pass.
pub fn run(command: Command) -> anyhow::Result<bool> {
    if let Command::Exec { parent, command } = command {
        let (program, arguments) = command.split_first().context("no program is given")?;
        return Err(process::exec_tied_to(parent, program.as_ref(), arguments).into());
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,kube_client=off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("async runtime")?;
    let result = runtime.block_on(dispatch(command));
    // Blocked system calls of detached tasks must not hold up the end.
    runtime.shutdown_background();
    result
}

async fn dispatch(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Demo(arguments) => {
            let mut scenario = Scenario::new(arguments.fault, &arguments.strategy);
            scenario.nodes = arguments.nodes.unwrap_or(scenario.nodes);
            scenario.pods = arguments.pods;
            scenario.kill_controller = arguments.kill_controller_at;
            scenario.long_silence = arguments.long_silence;
            demo::demo(Demo {
                backend: arguments.backend,
                scenario,
                parts: arguments.parts.parts()?,
                json: arguments.json,
                keep: arguments.keep,
            })
            .await
        }
        Command::Serve(arguments) => {
            let serve = Serve {
                backend: arguments.backend,
                nodes: arguments.nodes,
                port: arguments.port,
                parts: arguments.parts.parts()?,
                kubeconfig: arguments.kubeconfig,
            };
            demo::serve(serve).await.map(|()| true)
        }
        Command::Matrix(arguments) => {
            demo::matrix(Matrix {
                cases: demo::cases(),
                backend: arguments.backend,
                filter: arguments.filter,
                parts: arguments.parts.parts()?,
                verbose: arguments.verbose,
                list: arguments.list,
                json: arguments.json,
                lanes: arguments.lanes,
            })
            .await
        }
        // Handled before the runtime was started.
        Command::Exec { .. } => Ok(false),
    }
}
