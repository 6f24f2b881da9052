//! The process: options to parts, parts to a running node.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::HeaderValue;
use http::header::USER_AGENT;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use palisade_core::fencing::agent::Me;
use palisade_core::fencing::record::BootId;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::api::Api;
use crate::api::kube::KubeApi;
use crate::clock::{BootClock, Clock};
use crate::configuration;
use crate::devices::Machine;
use crate::diagnose::{Diagnostics, SelfDiagnosis};
use crate::host_file::{HostDir, HostStore};
use crate::identity::{Keep, Keyring};
use crate::juror::{JurorService, Shared};
use crate::node::{Node, Outcome, Parts};
use crate::options::Options;
use crate::peers::{Peers, RpcPeers};
use crate::stock;

/// The key, the certificate, the first lease and the first roster are made by then.
const START: Duration = Duration::from_secs(30);

/// Runs the agent until it is stopped. Needs no API server to start: the host file, the key and the certificate of this
/// boot are on the host.
pub async fn run(options: Options) -> Result<Outcome> {
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    let started = clock.now();
    let settings = options.settings();
    let diagnosis = Arc::new(SelfDiagnosis::new(options.node_ip));
    let boot_id = std::fs::read_to_string(&options.boot_id_file)
        .with_context(|| format!("boot id file {}", options.boot_id_file.display()))?;
    let boot_id =
        BootId::new(boot_id).with_context(|| format!("boot id file {} is empty", options.boot_id_file.display()))?;
    let host = Arc::new(HostDir::open(&options.host_dir)?);
    let host_file = host.load();
    let keyring = Keyring::load(&options.node_name, Arc::clone(&host) as Arc<dyn Keep>)?;
    let client = client(&options).await?;
    let api: Arc<dyn Api> = Arc::new(KubeApi::new(&client, &options.namespace));
    let listener = listen(&options).await?;
    let shared = Shared::new(Node::juror(started, &settings));
    let me = Me { node: options.node_name.clone(), boot_id: boot_id.clone(), address: options.address() };
    tracing::info!(
        node = me.node,
        boot = %boot_id,
        address = me.address,
        time_to_live = ?settings.tuning.time_to_live(),
        watchdog = ?options.watchdog,
        reboot = ?options.reboot_by(),
        inherits = host_file.as_ref().is_some_and(|file| file.boot_id == boot_id),
        "agent starts"
    );

    let (credentials, shown) = watch::channel(None);
    let peers: Arc<dyn Peers> = Arc::new(RpcPeers::default());
    let service = JurorService {
        node: me.node.clone(),
        boot_id,
        started,
        api: Arc::clone(&api),
        peers: Arc::clone(&peers),
        clock: Arc::clone(&clock),
        shared: Arc::clone(&shared),
        api_timeout: options.api_server_timeout,
    };
    let (end, ended) = oneshot::channel::<()>();
    let stock = options
        .stock_certificates
        .clone()
        .map(|folder| stock::follow(folder, client.clone(), &options.namespace, options.api_server_timeout));
    let server = tokio::spawn(async move {
        let ended = async {
            let _ = ended.await;
        };
        match stock {
            Some(stock) => palisade_rpc::serve_stock_agents_too(listener, shown, Arc::new(service), stock, ended).await,
            None => palisade_rpc::serve(listener, shown, Arc::new(service), ended).await,
        }
    });

    let machine = Machine::new(options.equipment(), Arc::clone(&clock));
    let (node, handle) = Node::new(Parts {
        me,
        settings,
        control_plane: options.control_plane,
        zone: options.zone.clone(),
        source: options.source_address,
        roster_interval: options.peer_update_interval,
        clock,
        api,
        peers,
        devices: Arc::new(machine),
        diagnostics: Arc::clone(&diagnosis) as Arc<dyn Diagnostics>,
        host: host as Arc<dyn HostStore>,
        host_file,
        keyring,
        shared,
        credentials,
    });

    tokio::spawn(give_back_the_start(START));
    let told = handle.clone();
    let tell = move |settings| told.configure(settings);
    let following = tokio::spawn(configuration::follow(client, options.clone(), tell, diagnosis));

    // Time for one attempt that fails, one that succeeds, and the disarming; well within a pod's grace period.
    let limit = options.api_server_timeout * 2 + Duration::from_secs(2);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = node.run();
    tokio::pin!(running);
    let outcome = loop {
        tokio::select! {
            outcome = &mut running => break outcome,
            _ = terminate.recv() => handle.stop(limit),
            _ = interrupt.recv() => handle.stop(limit),
        }
    };
    // Nobody waits for callers that keep their connection open.
    drop(end);
    server.abort();
    following.abort();
    Ok(outcome)
}

/// Most of what a resting agent keeps is code that only its start ran. Once and no more: memory is locked as it is
/// touched, so that a node under pressure is fed, and what a disturbance has touched since is to stay.
async fn give_back_the_start(over: Duration) {
    tokio::time::sleep(over).await;
    if let Err(error) = palisade_resident::give_back() {
        tracing::debug!(%error, "pages of code are kept");
    }
}

/// On all addresses: an IPv6 socket takes IPv4 callers too; a kernel without IPv6 gets an IPv4 socket.
async fn listen(options: &Options) -> Result<TcpListener> {
    if let Some(listen) = options.listen {
        return TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"));
    }
    if let Ok(listener) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, options.port)).await {
        return Ok(listener);
    }
    let all = (Ipv4Addr::UNSPECIFIED, options.port);
    TcpListener::bind(all).await.with_context(|| format!("cannot listen on port {}", options.port))
}

async fn client(options: &Options) -> Result<Client> {
    let mut config = match &options.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).with_context(|| format!("kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("kubeconfig {}", path.display()))?
        }
        None => Config::incluster().context("no --kubeconfig, and not in a cluster")?,
    };
    if config.cluster_url.scheme_str() == Some("http") {
        // No certificate will be checked; without this the client would look for the system's, which a minimal image
        // does not have.
        config.root_cert.get_or_insert_default();
    }
    // A connection that does not come about must not outlive the attempt it was made for.
    config.connect_timeout = Some(options.api_server_timeout);
    let name = format!("palisade-agent/{} {}", env!("CARGO_PKG_VERSION"), options.node_name);
    if let Ok(name) = HeaderValue::from_str(&name) {
        config.headers.push((USER_AGENT, name));
    }
    Client::try_from(config).context("the client of the API server")
}
