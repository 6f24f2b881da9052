//! `cargo xtask`: every developer command of Palisade. Prepares what is missing and says what it does.

mod bench;
mod build;
mod check;
mod conformance;
mod controlplane;
mod crds;
mod demo;
mod differential;
mod etcd;
mod guests;
mod images;
mod install;
mod kill_matrix;
mod kit;
mod languages;
mod manifests;
mod model;
mod monitoring;
mod netns;
mod page;
mod power;
mod registry;
mod shell;
mod simulate;
mod suite;
mod tools;
mod vm;
mod workspace;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Palisade", max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Break a node and watch it being fenced, proven dead and recovered.
    #[command(disable_help_flag = true)]
    Demo {
        /// Options of the demo; `cargo xtask demo --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Run everything: checks, unit tests, components, both back ends.
    Test {
        /// Only the steps whose name contains this text.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// Exactly this one of the steps that run side by side; for the suite itself.
        #[arg(long, value_name = "NAME", hide = true, conflicts_with = "only")]
        step: Option<String>,
    },
    /// Formatting, lints, dependency policy, CRD drift.
    Check,
    /// Assertions and measurements with a fleet of fake kubelets on a real control plane.
    #[command(disable_help_flag = true)]
    Bench {
        /// `assertions` or a measurement, with its options; `cargo xtask bench --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Kill, stop, fence and isolate agents on real kernels with real watchdog devices, in virtual machines.
    #[command(disable_help_flag = true)]
    Vm {
        /// `--release` for the static agent; the rest as `cargo xtask vm --help` lists.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Check the fencing protocol exhaustively: the real core in a modelled environment, and every rule removed in turn.
    #[command(disable_help_flag = true)]
    Model {
        /// Options of the checker; `cargo xtask model --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// The real controller and agents over a deterministic network and clock: named runs, and random ones by seed.
    Simulate(simulate::Options),
    /// Build all Wasm components into the guests folder of the target directory.
    Guests,
    /// Write `crds/` from the API types, or check that it is up to date.
    Crds {
        /// Fail on a difference instead of writing.
        #[arg(long)]
        check: bool,
    },
    /// Write `deploy/palisade.yaml` from the chart, or check that it is up to date.
    Manifests {
        /// Fail on a difference instead of writing.
        #[arg(long)]
        check: bool,
    },
    /// Write the tables of `deploy/docs` that the code decides. The test suite compares them.
    Docs,
    /// A cluster of four nodes to play with: type a fault and a node, and ask `palisade` about it in another terminal.
    Sandbox {
        /// Options of `palisade sandbox serve`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Build the images of `deploy/container` around stand-ins, without a daemon, and look inside.
    Images,
    /// Install, remediate with the installed rights, uninstall: what `deploy/` ships, on a real control plane.
    #[command(disable_help_flag = true)]
    Install {
        /// Options of the program; `cargo xtask install --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// The operator's page in a real Chromium, on a real control plane with 5,000 nodes.
    Page {
        /// Options of the program; `cargo xtask install --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Alerts and dashboard: promtool, and a real Prometheus that scrapes a controller with failures on a real control plane.
    #[command(disable_help_flag = true)]
    Monitoring {
        /// Options of the program; `cargo xtask monitoring --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Faults of the network with agents and controller in network namespaces, on a real control plane.
    #[command(disable_help_flag = true)]
    Netns {
        /// Options of the program; `cargo xtask netns --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// The black-box suite of the specifications, on both back ends unless one is chosen.
    #[command(disable_help_flag = true)]
    Conformance {
        /// Options of the suite; `cargo xtask conformance --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Kill the controller at every write that it makes for a remediation; the end has to be the same.
    #[command(disable_help_flag = true)]
    KillMatrix {
        /// Options of the matrix; `cargo xtask kill-matrix --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// The same remediations in the SDK's harness, in the Wasm runtime and on a real control plane: equal, or a defect.
    #[command(disable_help_flag = true)]
    Differential {
        /// Options of the suite; `cargo xtask differential --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Modules against a real registry: pushed, signed, pulled, swapped, withdrawn, refused.
    Registry,
    /// The kit chapter of guest-sdk/README.md, carried out as a newcomer would.
    Kit,
    /// The templates of all languages, each shown the same behaviour in the runtime.
    Languages {
        /// Only these: rust, c, javascript.
        languages: Vec<String>,
    },
    /// The guard of etcd's quorum against a real etcd of three members with TLS.
    Etcd,
    /// Real fence agents against simulators of IPMI and Redfish management controllers.
    Power,
    /// Start a real control plane (kube-apiserver, etcd, controller manager, scheduler) and print its kubeconfig; with
    /// `--nodes N` with N fake nodes on it and orders to let them fail, as a new cluster unless `--keep` is given.
    Controlplane {
        /// Options of the control plane program; `--help` after `--` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
}

fn main() -> std::process::ExitCode {
    match run(Cli::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    match cli.command {
        Command::Demo { options } => demo::run(&workspace, "demo", &options),
        Command::Test { step: Some(step), .. } => suite::step(&workspace, &step),
        Command::Test { only, .. } => suite::run(&workspace, only.as_deref()),
        Command::Check => check::run(&workspace),
        Command::Bench { options } => bench::run(&workspace, &options),
        Command::Vm { options } => vm::run(&workspace, &options),
        Command::Model { options } => model::run(&workspace, &options),
        Command::Simulate(options) => simulate::run(&workspace, &options),
        Command::Guests => guests::build(&workspace).map(drop),
        Command::Crds { check } => crds::run(&workspace, check),
        Command::Manifests { check } => manifests::run(&workspace, check),
        Command::Sandbox { options } => demo::run(&workspace, "serve", &options),
        Command::Docs => manifests::docs(&workspace),
        Command::Images => images::check(&workspace),
        Command::Install { options } => install::run(&workspace, &options),
        Command::Monitoring { options } => monitoring::run(&workspace, &options),
        Command::Netns { options } => netns::run(&workspace, &options),
        Command::Conformance { options } => conformance::run(&workspace, &options),
        Command::KillMatrix { options } => kill_matrix::run(&workspace, &options),
        Command::Differential { options } => differential::run(&workspace, &options),
        Command::Registry => registry::run(&workspace),
        Command::Kit => kit::run(&workspace),
        Command::Languages { languages: only } => languages::run(&workspace, &only),
        Command::Etcd => etcd::run(&workspace),
        Command::Page { options } => page::run(&workspace, &options),
        Command::Power => power::run(&workspace),
        Command::Controlplane { options } => controlplane::run(&workspace, &options),
    }
}
