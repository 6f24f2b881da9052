//! What the guests' agents talk to: an API server in this process, somebody who signs certificates and writes intents
//! as the controller does, and one more real agent, so that a single guest has a jury.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use palisade_core::fencing::record::{
    AgentRecord, BootId, CERTIFICATE, FenceIntent, INTENT, LeaseView, SIGNING_REQUEST, encode,
};
use palisade_rpc::Authority;
use palisade_rpc::identity::request_matches_certificate;
use palisade_sandbox::api::{ApiServer, ApiStore, Settings};
use palisade_sandbox::lab::port;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::timing::Timing;

const NAMESPACE: &str = "palisade-system";
/// Requests that are remembered.
const AUDIT: usize = 10_000;
/// How often signing requests are looked at.
const SIGNING: Duration = Duration::from_millis(200);
/// How often a lease is looked at while waiting for it.
const LOOK: Duration = Duration::from_millis(200);

/// The outside world of the guests.
pub struct Cluster {
    /// Address of this machine that guests, and programs here, reach alike.
    pub host: IpAddr,
    /// The API server's state.
    pub store: ApiStore,
    leases: Api<Lease>,
    /// A kubeconfig that guests and programs here can use.
    pub kubeconfig: PathBuf,
    _server: ApiServer,
    _juror: Child,
    _tasks: JoinSet<()>,
}

impl Cluster {
    /// Starts everything; `agent` runs on this machine as the juror.
    pub async fn start(folder: &Path, agent: &Path, timing: &Timing) -> anyhow::Result<Self> {
        let host = own_address()?;
        let store = ApiStore::new(Settings { audit: AUDIT, ..Settings::default() });
        let client = store.client();
        let server = ApiServer::start(store.clone(), SocketAddr::new(host, 0)).await.context("the API server")?;
        let kubeconfig = folder.join("kubeconfig");
        server.write_kubeconfig(&kubeconfig)?;
        let authority = Authority::create()?;
        prepare(&client, &authority).await?;
        let mut tasks = JoinSet::new();
        let leases: Api<Lease> = Api::namespaced(client, NAMESPACE);
        tasks.spawn(sign(leases.clone(), authority));
        let juror = juror(folder, agent, host, &kubeconfig, timing)?;
        Ok(Self { host, store, leases, kubeconfig, _server: server, _juror: juror, _tasks: tasks })
    }

    /// The kubeconfig, the same for guests.
    pub fn kubeconfig(&self) -> anyhow::Result<Vec<u8>> {
        crate::image::read(&self.kubeconfig)
    }

    /// A free address that guests and this machine reach alike.
    pub fn free_address(&self) -> anyhow::Result<SocketAddr> {
        port::free(self.host)
    }

    /// The record of a node.
    pub async fn record(&self, node: &str) -> anyhow::Result<Option<AgentRecord>> {
        let Some(lease) = self.leases.get_opt(node).await? else { return Ok(None) };
        Ok(LeaseView::from_annotations(lease.annotations())?.record)
    }

    /// Waits for a record with a property; gives it, or what was missing.
    pub async fn record_with(
        &self,
        node: &str,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&AgentRecord) -> bool,
    ) -> anyhow::Result<AgentRecord> {
        let deadline = Instant::now() + limit;
        loop {
            let record = self.record(node).await?;
            match record {
                Some(record) if wanted(&record) => return Ok(record),
                record if Instant::now() >= deadline => {
                    bail!("{node}: {what} was not published within {limit:?}; the lease says {record:?}")
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Writes a fence intent for this boot by compare-and-swap, as the controller does; gives its UID and the instant.
    pub async fn intend(&self, node: &str, boot: &BootId) -> anyhow::Result<(String, Instant)> {
        let uid = uuid::Uuid::new_v4().to_string();
        loop {
            let lease = self.leases.get(node).await?;
            let record = LeaseView::from_annotations(lease.annotations())?.record.context("no record")?;
            let intent = FenceIntent {
                uid: uid.clone(),
                boot_id: boot.clone(),
                terms: record.terms,
                based_on_sequence: record.sequence,
                owners: vec![format!("vm-test/{node}")],
            };
            let begun = Instant::now();
            match self.annotate(&lease, json!({ INTENT: encode(&intent) })).await {
                Ok(()) => return Ok((uid, begun)),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the intent back, as its owner does when it is done.
    pub async fn clear_intent(&self, node: &str) -> anyhow::Result<()> {
        loop {
            let lease = self.leases.get(node).await?;
            match self.annotate(&lease, json!({ INTENT: null })).await {
                Ok(()) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn annotate(&self, lease: &Lease, annotations: serde_json::Value) -> Result<(), kube::Error> {
        annotate(&self.leases, lease, annotations).await
    }
}

async fn annotate(leases: &Api<Lease>, lease: &Lease, annotations: serde_json::Value) -> Result<(), kube::Error> {
    let patch = json!({ "metadata": { "resourceVersion": lease.resource_version(), "annotations": annotations } });
    leases.patch(&lease.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
}

async fn prepare(client: &Client, authority: &Authority) -> anyhow::Result<()> {
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(NAMESPACE.into()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let trust = ConfigMap {
        metadata: ObjectMeta { name: Some("palisade-agent-trust".into()), ..ObjectMeta::default() },
        data: Some([("ca.crt".to_owned(), authority.certificate_pem().to_owned())].into()),
        ..ConfigMap::default()
    };
    Api::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &trust).await?;
    Ok(())
}

/// Answers signing requests, as the controller does.
async fn sign(leases: Api<Lease>, authority: Authority) {
    loop {
        if let Ok(list) = leases.list(&ListParams::default()).await {
            for lease in list.items {
                let text = |key: &str| lease.annotations().get(key).cloned().unwrap_or_default();
                let (request, certificate) = (text(SIGNING_REQUEST), text(CERTIFICATE));
                if request.is_empty() || request_matches_certificate(&request, &certificate) {
                    continue;
                }
                if let Ok(certificate) = authority.issue_agent(&request, &lease.name_any()) {
                    // A conflict is met again at the next look.
                    let _ = annotate(&leases, &lease, json!({ CERTIFICATE: certificate })).await;
                }
            }
        }
        tokio::time::sleep(SIGNING).await;
    }
}

/// An agent on this machine that guards nothing: it only answers.
fn juror(folder: &Path, agent: &Path, host: IpAddr, kubeconfig: &Path, timing: &Timing) -> anyhow::Result<Child> {
    let boot_id = folder.join("juror-boot-id");
    std::fs::write(&boot_id, uuid::Uuid::new_v4().to_string())?;
    let address = port::free(host)?.to_string();
    let log = std::fs::File::create(folder.join("juror.log"))?;
    Command::new(agent)
        .args(["--node-name", "juror", "--watchdog", "none", "--reboot", "none", "--no-realtime"])
        .args(["--listen", &address, "--advertise", &address])
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .arg("--host-dir")
        .arg(folder.join("juror"))
        .arg("--boot-id-file")
        .arg(&boot_id)
        .args(timing.arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", agent.display()))
}

/// The address other machines would see. No packet is sent: connecting a datagram socket only looks up the route.
fn own_address() -> anyhow::Result<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let found = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()).map(|address| address.ip());
    match found {
        Ok(address) if !address.is_loopback() && !address.is_unspecified() => Ok(address),
        _ => bail!("this machine has no IPv4 address but loopback; guests could not reach it"),
    }
}
