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
pub mod etcd;
mod events;
mod fence;
pub mod health;
mod heartbeats;
mod http;
mod jobs;
mod jurors;
pub mod leader;
mod lean;
mod metrics;
pub mod notify;
mod outbound;
pub mod power;
mod remediation;
pub mod rollout;
mod taints;
mod templates;
mod watch_only;
mod watches;
mod workloads;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use axum::http::header::USER_AGENT;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::reflector::{Store, store};
use kube::{Client, Config};
use palisade_rpc::{AgentClient, Authority, Limits};
use palisade_runtime::{Host, ProofAuthority};
use tokio::task::JoinSet;

pub use clock::shift as shift_clock;
pub use jurors::Jurors;
pub use metrics::Requests;
pub use palisade_core::fencing::proof::Grade;
pub use remediation::rights;

use crate::context::{Context, Triggers};
use crate::events::Recorder;
use crate::fence::Fences;
use crate::fence::read::Seen;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::remediation::kind::Remediation;
use crate::remediation::modules::Modules;

/// Time limits of one question to an agent. A healthy one answers in milliseconds.
const ASK: Limits = Limits { dial: Duration::from_secs(2), request: Duration::from_secs(2) };
/// Pause before the start is tried again while the API is out of reach.
const START_RETRY: Duration = Duration::from_secs(2);

/// The default objects are not waited for longer; then the next try begins.
const DEFAULTS_LIMIT: Duration = Duration::from_secs(10);

/// Which half of the controller runs: each works with the other half of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Both.
    #[default]
    All,
    /// Only the detector: policies make remediations, another operator carries them out.
    Detector,
    /// Only the remediator: another operator's policies make the remediations.
    Remediator,
    /// Neither acts: policies are judged beside another operator's detector, and what would be done is told in a ConfigMap.
    /// No agent is started, and nothing else is written but the leader's lease.
    Watch,
}

/// Options of a controller process.
#[derive(Debug, Clone)]
pub struct Options {
    /// Kubeconfig; the pod's service account if absent.
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of agents and controller.
    pub namespace: String,
    /// Namespace of the leases by which all programs that work on nodes keep out of each other's way.
    pub lease_namespace: String,
    /// Folder of the built-in components.
    pub remediators: PathBuf,
    /// Folder for compiled components.
    pub module_cache: Option<PathBuf>,
    /// Who compiles components into that folder; this process if absent.
    pub compiler: Option<palisade_runtime::Compiler>,
    /// So often a registry is asked whether a tag has moved.
    pub registry_refresh: Duration,
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    pub listen: Option<SocketAddr>,
    /// Where the operator's page is served.
    pub page: Option<SocketAddr>,
    /// The least grade of a proof that counts.
    pub require: Grade,
    /// The agents to keep on the nodes; none where somebody else starts them.
    pub rollout: Option<rollout::Options>,
    /// Which fence agents may be run.
    pub fence_agents: power::catalogue::Catalogue,
    /// Which half of it runs.
    pub role: Role,
    /// Whether it acts only while it holds the leader's lease. Saves the work of a second replica; safety needs none.
    pub leader_elect: bool,
    /// Name of this process in certificates and events.
    pub observer: String,
    /// Name of the node that this process runs on.
    pub node: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            namespace: palisade_api::keys::palisade::NAMESPACE.to_owned(),
            lease_namespace: std::env::var("LEASE_NAMESPACE")
                .ok()
                .filter(|namespace| !namespace.is_empty())
                .unwrap_or_else(|| palisade_api::keys::node_health_check::LEASE_NAMESPACE.to_owned()),
            remediators: PathBuf::from("target/guests"),
            module_cache: None,
            compiler: None,
            registry_refresh: Duration::from_mins(1),
            listen: None,
            page: None,
            require: Grade::Assumed,
            rollout: None,
            fence_agents: power::catalogue::Catalogue::default(),
            role: Role::default(),
            leader_elect: false,
            observer: format!("palisade-controller-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]),
            node: None,
        }
    }
}

/// Runs the controller until `shutdown` ends.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let config = config(&options).await?;
    let requests = Requests::default();
    let own_client: heartbeats::MakeClient = Arc::new({
        let (config, requests) = (config.clone(), requests.clone());
        move || Ok(ClientBuilder::try_from(config.clone())?.with_layer(&requests).build())
    });
    let client = own_client()?;
    let parts = Parts { as_user: Some(as_user(config)), own_client: Some(own_client), requests, ..Parts::default() };
    run_parts(client, options, parts, shutdown).await
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
    /// Writes what people say on the page, as them; without it the page answers no questions.
    pub as_user: Option<palisade_page::AsUser>,
    /// Makes the same client anew, for threads that have connections of their own.
    pub own_client: Option<heartbeats::MakeClient>,
    /// Counts the requests of the client, if it is a layer of it.
    pub requests: Requests,
}

/// The same with parts that the caller brings along.
pub async fn run_parts(
    client: Client,
    options: Options,
    parts: Parts,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    let (leadership, mut candidate) = if options.leader_elect {
        let (leadership, candidate) = Leadership::elected(client.clone(), &options.namespace, &options.observer);
        (leadership, Some(candidate))
    } else {
        (Leadership::always(), None)
    };
    let result = tokio::select! {
        biased;
        () = shutdown => Ok(()),
        () = campaign(candidate.as_mut()) => Err(anyhow::anyhow!("the watch of the leader's lease ended")),
        result = work(client, options, parts, leadership, &mut tasks) => result,
    };
    tasks.shutdown().await;
    // Only now does nothing of this process act any more.
    if let Some(candidate) = candidate {
        candidate.release().await;
    }
    result
}

async fn campaign(candidate: Option<&mut leader::Candidate>) {
    match candidate {
        Some(candidate) => candidate.run().await,
        None => std::future::pending().await,
    }
}

async fn config(options: &Options) -> anyhow::Result<Config> {
    let mut config = match &options.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("reading {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await?,
    };
    // A request that hangs must not hold up a pass for long; watches are ended by the server before this.
    config.connect_timeout = Some(Duration::from_secs(5));
    let agent = format!("palisade-controller/{} ({})", env!("CARGO_PKG_VERSION"), options.observer);
    config.headers.push((USER_AGENT, agent.parse().context("--observer is no part of a user agent")?));
    Ok(config)
}

/// Clients that reach the same API server as nobody but the owner of a token.
fn as_user(config: Config) -> palisade_page::AsUser {
    Arc::new(move |token| {
        let mut config = config.clone();
        config.auth_info = kube::config::AuthInfo { token: Some(token.to_owned().into()), ..Default::default() };
        Ok(Client::try_from(config)?)
    })
}

async fn work(
    client: Client,
    options: Options,
    parts: Parts,
    leadership: Leadership,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    if options.role == Role::Watch {
        return watch_only::work(client, options, parts.requests, leadership, tasks).await;
    }
    let modules = match parts.engine {
        Some(engine) => Modules::around(engine, options.remediators.clone(), options.module_cache.clone()),
        None => Modules::new(options.remediators.clone(), options.module_cache.clone(), options.compiler.clone())?,
    };
    let (leases, lease_writer) = store();
    let metrics = Arc::new(Metrics::new(parts.requests, Some(leases.clone()))?);
    if let Some(address) = options.listen {
        // Before anything waits for the API server: whoever probes is told what is missing.
        let (metrics, role) = (metrics.clone(), options.role);
        tasks.spawn(async move {
            if let Err(error) = http::serve(address, metrics, role).await {
                tracing::error!(%error, "health endpoint");
            }
        });
    }
    let authority = Arc::new(establish(&client, &options).await);
    let (remediators, remediator_writer) = store();
    let (configs, config_writer) = store();
    let (kinds, mut looks) = remediation::kind::triggers();
    let devices = Arc::new(power::provider::Devices::new(options.fence_agents.clone()));
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
        configs_changed: Arc::default(),
        modules,
        leadership: leadership.clone(),
        metrics,
        authority: ProofAuthority::new(),
        fences: Fences::default(),
        events: Recorder::new(options.observer.clone()),
        triggers: Triggers { kinds, known: Mutex::default() },
        providers: remediation::outside::Providers { power: devices.clone(), jobs: Arc::new(jobs::provider::CronJobs) },
        retries: Mutex::default(),
        version: Mutex::default(),
        client: client.clone(),
        board: options.page.is_some().then(Arc::default),
        options,
    });

    // Sessions hold the context that holds them: somebody has to let go when this future is dropped.
    let _stop = StopSessions(context.clone());
    watches::start(&context, authority, lease_writer, parts.own_client, tasks);
    tasks.spawn(watches::remediators(context.clone(), remediator_writer));
    tasks.spawn(watches::configs(context.clone(), config_writer));
    if let Some((address, board)) = context.options.page.zip(context.board.clone()) {
        let page = palisade_page::Page::new(board, client.clone(), parts.as_user);
        tasks.spawn(async move {
            // Nodes are remediated without it: whoever looks is told by the log.
            if let Err(error) = palisade_page::serve(address, page).await {
                tracing::error!(error = format!("{error:#}"), "page");
            }
            std::future::pending::<()>().await;
        });
    }
    let role = context.options.role;
    if role != Role::Detector {
        install_defaults(&context).await;
        // Asked for before a node fails; whoever needs it asks again if there is no answer yet.
        let _ = tokio::time::timeout(DEFAULTS_LIMIT, context.server_version()).await;
    }
    // Decisions about "missing" need full stores; the fencing itself never reads them.
    ready(&context.configs).await;
    ready(&context.remediators).await;
    if role != Role::Detector {
        remediation::kind::every_kind!(K => if let Some(look) = looks.remove(<K as Remediation>::KIND) {
            tasks.spawn(remediation::controller::run::<K>(context.clone(), look));
        });
    }
    if role != Role::Detector {
        let (validator, agents) = (context.clone(), devices.agents());
        tasks.spawn(async move {
            let run = || power::validate::run(validator.client.clone(), agents.clone());
            validator.leadership.whenever_leading(run).await;
        });
    }
    if let Some(rollout) = context.options.rollout.clone().filter(|_| role != Role::Detector) {
        let context = context.clone();
        tasks.spawn(async move {
            let leadership = context.leadership.clone();
            leadership.whenever_leading(|| Box::pin(crate::rollout::run(context.clone(), rollout.clone()))).await;
        });
    }
    let annotator = context.clone();
    tasks.spawn(async move {
        annotator.leadership.whenever_leading(|| templates::run(annotator.clone())).await;
    });
    let registry = context.clone();
    tasks.spawn(async move {
        registry.leadership.whenever_leading(|| remediation::registry::run(registry.clone())).await;
    });
    let notifier = notify::Notifier::new(client.clone(), &context.options.namespace, notify::Pauses::default());
    let detector = health::Options {
        instance: context.options.observer.clone(),
        leadership: leadership.clone(),
        lease_namespace: Some(context.options.lease_namespace.clone()),
        guards: vec![Arc::new(etcd::Guard::new(client.clone(), &context.options.namespace))],
        observers: vec![context.metrics.clone(), Arc::new(notifier), Arc::new(watches::Nodes::new(context.clone()))],
        board: context.board.clone(),
        watch: None,
    };
    let (leads, gauge) = (leadership.clone(), context.metrics.clone());
    tasks.spawn(async move {
        loop {
            leads.gained().await;
            gauge.leads(true);
            leads.lost().await;
            gauge.leads(false);
        }
    });
    if role != Role::Remediator {
        tasks.spawn(async move {
            if let Err(error) = health::run(client, detector, std::future::pending()).await {
                tracing::error!(error = format!("{error:#}"), "detector");
            }
        });
    }
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
        let establish = certificates::establish(client, &options.namespace);
        let result = tokio::time::timeout(DEFAULTS_LIMIT, establish).await;
        match result.unwrap_or_else(|_| Err(anyhow::anyhow!("the API server did not answer within {DEFAULTS_LIMIT:?}")))
        {
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
        let install = defaults::install(&context.client, &context.options.namespace);
        let install = async { install.await.map_err(Into::into) };
        match error::within(DEFAULTS_LIMIT, "the installation of the default configuration", install).await {
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
