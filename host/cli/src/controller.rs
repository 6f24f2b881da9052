//! `palisade controller`.

mod resident;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use palisade_controller::{Grade, Options, Role};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// It mostly waits for the API server: more threads would only keep more memory, on machines with many cores.
const MOST_WORKERS: usize = 4;

/// Options of the controller.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Kubeconfig; the pod's service account if not given.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of agents and controller.
    #[arg(long, default_value = palisade_api::keys::palisade::NAMESPACE, env = "DEPLOYMENT_NAMESPACE")]
    namespace: String,
    /// Folder of the built-in remediators; `../guests` from this program if not given.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_REMEDIATORS")]
    remediators: Option<PathBuf>,
    /// Folder for compiled remediators; without it they are compiled at every start.
    #[arg(long, value_name = "FOLDER")]
    module_cache: Option<PathBuf>,
    /// So often a registry is asked whether a tag has moved.
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    registry_refresh: palisade_api::GoDuration,
    /// Where `/healthz` is served.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where the operator's page is served, in plain HTTP: a port of this machine (`kubectl port-forward` reaches it), or any
    /// behind something that encrypts. Not served if not given.
    #[arg(long, value_name = "ADDRESS:PORT", env = "PALISADE_PAGE_ADDRESS")]
    page_address: Option<SocketAddr>,
    /// The least grade of a proof on which a workload is released.
    #[arg(long, value_enum, default_value_t = Require::Assumed)]
    require_proof: Require,
    /// Image of the agents, which are rolled out as the `SelfNodeRemediationConfig` says. Needed when the controller runs in
    /// the cluster, unless somebody else starts them.
    #[arg(long, value_name = "IMAGE", env = "SELF_NODE_REMEDIATION_IMAGE", conflicts_with = "no_rollout")]
    agent_image: Option<String>,
    /// Start no agents: somebody else does.
    #[arg(long)]
    no_rollout: bool,
    /// Name of this process in certificates and events; one with a random part if not given.
    #[arg(long, env = "POD_NAME")]
    observer: Option<String>,
    /// Node that this process runs on: before that one is fenced from outside, another replica gets the lead.
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node: Option<String>,
    /// Which half runs, if the other is somebody else's.
    #[arg(long, value_enum, default_value_t = Half::All)]
    run: Half,
    /// Act only while holding the leader's lease: for two replicas or more. Not needed for safety, it only saves work;
    /// one that is alone starts faster without.
    #[arg(long, env = "PALISADE_LEADER_ELECT")]
    leader_elect: bool,
    /// Let the detector live so far in the future: for tests of what takes days.
    #[arg(long, value_name = "DURATION", hide = true)]
    shift_clock: Option<palisade_api::GoDuration>,
    /// Folders of the fence agents, separated by commas. Nothing outside of them is ever run.
    #[arg(
        long,
        value_name = "FOLDER",
        value_delimiter = ',',
        default_value = "/usr/sbin",
        env = "PALISADE_FENCE_AGENT_FOLDERS"
    )]
    fence_agent_folder: Vec<PathBuf>,
    /// Names of the fence agents that may be run, separated by commas; all of the folders if not given.
    #[arg(long, value_name = "NAME", value_delimiter = ',', env = "PALISADE_FENCE_AGENTS")]
    fence_agent: Vec<String>,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "PALISADE_LOG_FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Require {
    /// Only what cannot be wrong under the stated assumptions.
    Certain,
    /// Also a reboot by software that nothing enforces: for clusters without watchdogs.
    Assumed,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Half {
    /// Detector and remediator.
    All,
    /// Only policies; another operator carries their remediations out.
    Detector,
    /// Only remediations; another operator's policies make them.
    Remediator,
    /// Nothing: what would be done is told (palisade status --watched), and another operator does it or not.
    Watch,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One object per line.
    Json,
}

/// Runs until told to stop.
pub fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
    if let Some(shift) = arguments.shift_clock {
        palisade_controller::shift_clock(shift.to_std().try_into().context("--shift-clock")?);
    }
    let beside = || {
        let program = std::env::current_exe().context("path of this program")?;
        let folder = program.parent().map(PathBuf::from).unwrap_or_default();
        anyhow::Ok(folder.join("../guests"))
    };
    let defaults = Options::default();
    anyhow::ensure!(
        arguments.agent_image.is_some() || arguments.no_rollout || arguments.kubeconfig.is_some(),
        "--agent-image: in a cluster the controller rolls out the agents, so name their image (or SELF_NODE_REMEDIATION_IMAGE), \
         or say --no-rollout"
    );
    let options = Options {
        kubeconfig: arguments.kubeconfig,
        namespace: arguments.namespace,
        lease_namespace: defaults.lease_namespace,
        remediators: arguments.remediators.map_or_else(beside, Ok)?,
        module_cache: arguments.module_cache,
        compiler: crate::remediator::compiler(),
        registry_refresh: arguments.registry_refresh.to_std(),
        listen: arguments.listen,
        page: arguments.page_address,
        require: match arguments.require_proof {
            Require::Certain => Grade::Certain,
            Require::Assumed => Grade::Assumed,
        },
        role: match arguments.run {
            Half::All => Role::All,
            Half::Detector => Role::Detector,
            Half::Remediator => Role::Remediator,
            Half::Watch => Role::Watch,
        },
        leader_elect: arguments.leader_elect,
        fence_agents: palisade_controller::power::catalogue::Catalogue {
            folders: arguments.fence_agent_folder,
            only: arguments.fence_agent.into_iter().collect(),
        },
        rollout: arguments.agent_image.map(|image| palisade_controller::rollout::Options { image }),
        observer: arguments.observer.unwrap_or(defaults.observer),
        node: arguments.node.filter(|node| !node.is_empty()),
    };
    anyhow::ensure!(
        options.remediators.is_dir(),
        "--remediators {}: no such folder; build the components with `cargo xtask guests`",
        options.remediators.display()
    );
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let workers = cores.min(MOST_WORKERS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let runtime = runtime.context("async runtime")?;
    let result = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("signal handler")?;
        let asked_to_stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        tokio::spawn(resident::keep_small());
        palisade_controller::run(options, asked_to_stop).await
    });
    runtime.shutdown_background();
    result.map(|()| true)
}
