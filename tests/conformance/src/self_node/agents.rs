//! Agents that do as the case tells them: real certificates from the controller under test, real signatures, real
//! calls; no life of their own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use palisade_core::fencing::record::{
    AgentRecord, BootId, CERTIFICATE, Claims, INTENT, RECORD, RECORD_SIGNATURE, SIGNING_REQUEST, Terms, Watchdog,
    encode,
};
use palisade_rpc::{
    AgentHandler, AskAnswer, Credentials, Identity, Key, PromiseAnswer, PromiseRequest, SignedRecord, StatusAnswer,
    Trust, serve,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::node::{Node, State};
use crate::plane::NAMESPACE;
use crate::world::{SOON, World};

/// `T` of the records, in milliseconds.
pub const TIME_TO_LIVE: u64 = 800;
/// `Wd` of the records, in milliseconds.
pub const WATCHDOG: u64 = 400;

struct Juror {
    willing: Arc<AtomicBool>,
}

#[tonic::async_trait]
impl AgentHandler for Juror {
    async fn ask(&self, _: SignedRecord) -> AskAnswer {
        AskAnswer::Unknown { why: "scripted".into() }
    }
    async fn wake(&self, _: String) {}
    async fn promise(&self, _: PromiseRequest) -> PromiseAnswer {
        if self.willing.load(Ordering::SeqCst) {
            PromiseAnswer::Promised { last_no_api_age: None }
        } else {
            PromiseAnswer::Refused { why: "this process is too young".into() }
        }
    }
    async fn status(&self) -> StatusAnswer {
        StatusAnswer::default()
    }
}

/// A node with its agent.
pub struct Agent {
    /// The node.
    pub node: Node,
    world: Rc<World>,
    key: RefCell<Key>,
    address: RefCell<String>,
    jury: Vec<String>,
    sequence: Cell<u64>,
    server: RefCell<Option<JoinHandle<()>>>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(server) = self.server.borrow_mut().take() {
            server.abort();
        }
    }
}

/// The node under remediation and the two that vouch.
pub struct Trio {
    /// The one to be remediated.
    pub victim: Agent,
    /// Its jurors.
    pub jurors: [Agent; 2],
    /// Whether they promise.
    pub willing: Arc<AtomicBool>,
}

impl World {
    /// Three ready nodes whose agents have published their leases.
    pub async fn trio(self: &Rc<Self>) -> anyhow::Result<Trio> {
        let nodes = [self.booted().await?, self.booted().await?, self.booted().await?];
        let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        let willing = Arc::new(AtomicBool::new(true));
        let mut agents = Vec::new();
        for node in nodes {
            let jury = names.iter().filter(|name| **name != node.name).cloned().collect();
            agents.push(Agent::enrol(self, node, jury).await?);
        }
        for agent in &agents {
            agent.begin(willing.clone()).await?;
        }
        let mut agents = agents.into_iter();
        let mut next = || agents.next().context("three agents");
        Ok(Trio { victim: next()?, jurors: [next()?, next()?], willing })
    }

    /// A ready node that names its boot.
    pub async fn booted(self: &Rc<Self>) -> anyhow::Result<Node> {
        let node = self.node(State::Fine).await?;
        self.boots(&node, "b1").await?;
        Ok(node)
    }

    /// The kubelet of a node names another boot.
    pub async fn boots(&self, node: &Node, boot: &str) -> anyhow::Result<()> {
        let info = json!({ "architecture": "amd64", "bootID": boot, "containerRuntimeVersion": "x", "kernelVersion": "x",
            "kubeProxyVersion": "x", "kubeletVersion": "x", "machineID": "x", "operatingSystem": "linux", "osImage": "x",
            "systemUUID": "x" });
        self.patch_status("Node", "", &node.name, json!({ "nodeInfo": info })).await
    }
}

impl Trio {
    /// From now on the jurors promise nothing.
    pub fn refuse(&self) {
        self.willing.store(false, Ordering::SeqCst);
    }

    /// From now on they do.
    pub fn promise(&self) {
        self.willing.store(true, Ordering::SeqCst);
    }
}

impl Agent {
    async fn enrol(world: &Rc<World>, node: Node, jury: Vec<String>) -> anyhow::Result<Self> {
        let key = Key::generate()?;
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": node.name, "namespace": NAMESPACE,
                "annotations": { SIGNING_REQUEST: key.signing_request(&node.name)? } },
            "spec": { "holderIdentity": node.name },
        });
        world.plane.create(&lease).await?;
        Ok(Self {
            node,
            world: Rc::clone(world),
            key: RefCell::new(key),
            address: RefCell::default(),
            jury,
            sequence: Cell::new(0),
            server: RefCell::default(),
        })
    }

    async fn certificate(&self) -> anyhow::Result<String> {
        let name = &self.node.name;
        let lease = self
            .world
            .until(&format!("the certificate of {name}"), "Lease", NAMESPACE, name, |lease| {
                let certificate = lease["metadata"]["annotations"][CERTIFICATE].as_str().unwrap_or_default();
                if self.key.borrow().owns(certificate) { Ok(()) } else { Err("not issued yet".to_owned()) }
            })
            .await?;
        Ok(lease["metadata"]["annotations"][CERTIFICATE].as_str().unwrap_or_default().to_owned())
    }

    async fn begin(&self, willing: Arc<AtomicBool>) -> anyhow::Result<()> {
        let identity = Identity { certificate: self.certificate().await?, key: self.key.borrow().clone() };
        let trust = self.world.get("ConfigMap", NAMESPACE, "palisade-agent-trust").await?.context("no trust")?;
        let trust = Trust::from_pem(trust["data"]["ca.crt"].as_str().unwrap_or_default())?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        *self.address.borrow_mut() = listener.local_addr()?.to_string();
        let (sender, credentials) = watch::channel(Some(Credentials::new(&identity, &trust)?));
        let server = tokio::spawn(async move {
            let _keep = sender;
            let handler = Arc::new(Juror { willing });
            let _ = serve(listener, credentials, handler, std::future::pending()).await;
        });
        *self.server.borrow_mut() = Some(server);
        self.publish("b1", |_| {}).await
    }

    /// Writes a signed record.
    pub async fn publish(&self, boot: &str, change: impl FnOnce(&mut AgentRecord)) -> anyhow::Result<()> {
        self.sequence.set(self.sequence.get() + 1);
        let mut record = AgentRecord {
            node: self.node.name.clone(),
            boot_id: BootId::new(boot).context("a boot id")?,
            sequence: self.sequence.get(),
            address: self.address.borrow().clone(),
            terms: Terms {
                time_to_live_millis: TIME_TO_LIVE,
                watchdog: Some(Watchdog { identity: "case".into(), timeout_millis: WATCHDOG, resets: true }),
                reset_steps_millis: 500,
                jury: self.jury.clone(),
                min_peers: 1,
                claims: Claims { self_fences: true, may_exempt: false },
            },
            generation: 1,
            acknowledged: None,
            disarmed: false,
        };
        change(&mut record);
        let text = encode(&record);
        let signature = self.key.borrow().sign(text.as_bytes())?;
        let patch = json!({ "metadata": { "annotations": { RECORD: text, RECORD_SIGNATURE: signature } } });
        self.world.patch("Lease", NAMESPACE, &self.node.name, patch).await.map(drop)
    }

    /// The intent in its lease.
    pub fn intent(&self) -> Option<Value> {
        let lease = self.world.eyes().get("Lease", NAMESPACE, &self.node.name)?;
        serde_json::from_str(lease["metadata"]["annotations"][INTENT].as_str()?).ok()
    }

    /// Waits for an intent in its lease.
    pub async fn intended(&self) -> anyhow::Result<Value> {
        let what = format!("an intent in the lease of {}", self.node.name);
        self.world.eyes().until(&what, SOON, || self.intent().ok_or_else(|| "there is none".to_owned())).await
    }

    /// Waits until its lease carries no intent.
    pub async fn let_go(&self) -> anyhow::Result<()> {
        let what = format!("no intent in the lease of {}", self.node.name);
        let none = || if self.intent().is_none() { Ok(()) } else { Err("there still is one".to_owned()) };
        self.world.eyes().until(&what, SOON, none).await
    }

    /// The machine is back: kubelet and agent run with a new boot.
    pub async fn comes_back(&self, boot: &str) -> anyhow::Result<()> {
        // The kubelet is first: a boot that nobody has named gets no other key.
        self.world.boots(&self.node, boot).await?;
        let key = Key::generate()?;
        let request = key.signing_request(&self.node.name)?;
        *self.key.borrow_mut() = key;
        let patch = json!({ "metadata": { "annotations": { SIGNING_REQUEST: request } } });
        self.world.patch("Lease", NAMESPACE, &self.node.name, patch).await?;
        self.certificate().await?;
        self.publish(boot, |_| {}).await?;
        self.node.becomes(State::Fine).await
    }

    /// Taints of the node, as `key:effect`.
    pub fn taints(&self) -> Vec<String> {
        let node = self.world.eyes().get("Node", "", &self.node.name);
        let taints = node.map(|node| node["spec"]["taints"].clone()).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = taints.as_array().cloned().unwrap_or_default();
        // The API server itself sets this one on a new node, and nobody is here to take it away.
        list.iter()
            .filter(|taint| taint["key"] != "node.kubernetes.io/not-ready")
            .map(|taint| format!("{}:{}", text(&taint["key"]), text(&taint["effect"])))
            .collect()
    }

    /// Waits until the node carries this taint, or carries it no more.
    pub async fn tainted(&self, taint: &str, wanted: bool) -> anyhow::Result<()> {
        let what = format!("taint {taint} of {} {}", self.node.name, if wanted { "set" } else { "removed" });
        let probe = || {
            let taints = self.taints();
            if taints.iter().any(|known| known == taint) == wanted { Ok(()) } else { Err(format!("it has {taints:?}")) }
        };
        self.world.eyes().until(&what, SOON, probe).await
    }

    /// Fails if anything of a remediation was ever seen on the node or in its lease.
    pub fn never_touched(&self) -> anyhow::Result<()> {
        let name = &self.node.name;
        let tainted = self.world.eyes().history("Node", |node| {
            let ours = |taint: &Value| taint["key"].as_str().unwrap_or_default().contains("medik8s.io");
            node["metadata"]["name"] == **name
                && node["spec"]["taints"].as_array().is_some_and(|taints| taints.iter().any(ours))
        });
        ensure!(tainted.is_empty(), "node {name} was tainted");
        let intents = self.world.eyes().history("Lease", |lease| {
            lease["metadata"]["name"] == **name && !lease["metadata"]["annotations"][INTENT].is_null()
        });
        ensure!(intents.is_empty(), "an intent was written for {name}");
        Ok(())
    }
}
