//! The controller: watches, applies, records. Decisions are made in `palisade_core` and by the remediators.
//!
//! Every task is level-triggered and may be killed at any line. Several controllers at once are safe without leader
//! election: what they write is guarded by resource versions, so one of two wins and the other looks again.

mod blocking;
mod certificates;
mod clock;
mod context;
mod defaults;
mod error;
mod events;
mod fence;
pub mod health;
mod http;
mod jurors;
mod remediation;
mod taints;
mod watches;
mod workloads;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::reflector::{Store, store};
use kube::{Client, Config};
use palisade_api::{SelfNodeRemediation, WasmRemediation};
use palisade_rpc::{AgentClient, Authority, Limits};
use palisade_runtime::{Host, ProofAuthority};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use jurors::Jurors;
pub use palisade_core::fencing::proof::Grade;

use crate::context::{Context, Triggers};
use crate::events::Recorder;
use crate::fence::Fences;
use crate::fence::read::Seen;
use crate::remediation::modules::Modules;

/// Time limits of one question to an agent. A healthy one answers in milliseconds.
const ASK: Limits = Limits { dial: Duration::from_secs(2), request: Duration::from_secs(2) };
/// Pause before the start is tried again while the API is out of reach.
const START_RETRY: Duration = Duration::from_secs(2);

/// Options of a controller process.
#[derive(Debug, Clone)]
pub struct Options {
    /// Kubeconfig; the pod's service account if absent.
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of agents and controller.
    pub namespace: String,
    /// Folder of the built-in components.
    pub remediators: PathBuf,
    /// Folder for compiled components.
    pub module_cache: Option<PathBuf>,
    /// Where `/healthz` is served.
    pub listen: Option<SocketAddr>,
    /// The least grade of a proof that counts.
    pub require: Grade,
    /// Name of this process in certificates and events.
    pub observer: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            namespace: palisade_api::keys::palisade::NAMESPACE.to_owned(),
            remediators: PathBuf::from("target/guests"),
            module_cache: None,
            listen: None,
            require: Grade::Assumed,
            observer: format!("palisade-controller-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]),
        }
    }
}

/// Runs the controller until `shutdown` ends.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let client = client(&options).await?;
    run_with(client, options, shutdown).await
}

/// The same over a client that the caller made.
pub async fn run_with(client: Client, options: Options, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    run_parts(client, options, Parts::default(), shutdown).await
}

/// What a caller may bring along; what is missing is made.
#[derive(Default, Clone)]
pub struct Parts {
    /// Calls agents.
    pub jurors: Option<Arc<dyn Jurors>>,
    /// Engine of the components: compiling them once is enough for all controllers of a process.
    pub engine: Option<Arc<Host>>,
}

/// The same with parts that the caller brings along.
pub async fn run_parts(
    client: Client,
    options: Options,
    parts: Parts,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    let result = tokio::select! {
        biased;
        () = shutdown => Ok(()),
        result = work(client, options, parts, &mut tasks) => result,
    };
    tasks.shutdown().await;
    result
}

async fn client(options: &Options) -> anyhow::Result<Client> {
    let mut config = match &options.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("reading {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await?,
    };
    // A request that hangs must not hold up a pass for long; watches are ended by the server before this.
    config.connect_timeout = Some(Duration::from_secs(5));
    Ok(Client::try_from(config)?)
}

async fn work(client: Client, options: Options, parts: Parts, tasks: &mut JoinSet<()>) -> anyhow::Result<()> {
    let modules = match parts.engine {
        Some(engine) => Modules::around(engine, options.remediators.clone()),
        None => Modules::new(options.remediators.clone(), options.module_cache.clone())?,
    };
    let authority = Arc::new(establish(&client, &options).await);
    let (leases, lease_writer) = store();
    let (remediators, remediator_writer) = store();
    let (configs, config_writer) = store();
    let (self_node, self_node_triggers) = mpsc::unbounded_channel();
    let (wasm, wasm_triggers) = mpsc::unbounded_channel();
    let context = Arc::new(Context {
        trust: authority.trust()?,
        rpc: match parts.jurors {
            Some(jurors) => jurors,
            None => Arc::new(AgentClient::new(&authority.issue_controller()?, &authority.trust()?, ASK, None)?),
        },
        seen: Seen::default(),
        leases,
        remediators,
        configs,
        modules,
        authority: ProofAuthority::new(),
        fences: Fences::default(),
        events: Recorder::new(options.observer.clone()),
        triggers: Triggers { self_node, wasm, known: Mutex::default() },
        retries: Mutex::default(),
        version: Mutex::default(),
        client: client.clone(),
        options,
    });

    // Sessions hold the context that holds them: somebody has to let go when this future is dropped.
    let _stop = StopSessions(context.clone());
    watches::start(&context, authority, lease_writer, tasks);
    tasks.spawn(watches::fill(Api::all(client.clone()), remediator_writer));
    tasks.spawn(watches::fill(Api::namespaced(client.clone(), &context.options.namespace), config_writer));
    if let Some(address) = context.options.listen {
        tasks.spawn(async move {
            if let Err(error) = http::serve(address).await {
                tracing::error!(%error, "health endpoint");
            }
        });
    }
    install_defaults(&context).await;
    // Decisions about "missing" need full stores; the fencing itself never reads them.
    ready(&context.configs).await;
    ready(&context.remediators).await;
    tasks.spawn(remediation::controller::run::<SelfNodeRemediation>(context.clone(), self_node_triggers));
    tasks.spawn(remediation::controller::run::<WasmRemediation>(context.clone(), wasm_triggers));
    tasks.spawn(remediation::registry::run(context.clone()));
    let detector = health::Options { instance: context.options.observer.clone() };
    tasks.spawn(async move {
        if let Err(error) = health::run(client, detector, std::future::pending()).await {
            tracing::error!(error = format!("{error:#}"), "detector");
        }
    });
    tracing::info!(observer = context.options.observer, "controller runs");

    // No task ends by itself; one that does has panicked, and the process starts anew.
    let ended = tasks.join_next().await;
    anyhow::bail!("a task of the controller ended: {ended:?}")
}

struct StopSessions(Arc<Context>);

impl Drop for StopSessions {
    fn drop(&mut self) {
        self.0.fences.stop_all();
    }
}

/// Waits for the API if it has to: a controller may start before it.
async fn establish(client: &Client, options: &Options) -> Authority {
    loop {
        match certificates::establish(client, &options.namespace).await {
            Ok(authority) => return authority,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "no authority yet, it is tried again");
                tokio::time::sleep(START_RETRY).await;
            }
        }
    }
}

async fn install_defaults(context: &Context) {
    for _ in 0..5 {
        match defaults::install(&context.client, &context.options.namespace).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "default configuration not installed yet"),
        }
        tokio::time::sleep(START_RETRY).await;
    }
}

async fn ready<K>(store: &Store<K>)
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    // An error means that the writer is gone: then the process is ending anyway.
    let _ = tokio::time::timeout(Duration::from_secs(30), store.wait_until_ready()).await;
}
