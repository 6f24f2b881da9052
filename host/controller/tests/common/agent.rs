//! Agents that do as they are told: real certificates, real signatures, real RPC; no life of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use palisade_core::fencing::record::{
    AgentRecord, BootId, CERTIFICATE, Claims, RECORD, RECORD_SIGNATURE, SIGNING_REQUEST, Terms, Watchdog, encode,
};
use palisade_rpc::{
    AgentHandler, AskAnswer, Credentials, Identity, Key, PromiseAnswer, PromiseRequest, SignedRecord, StatusAnswer,
    Trust, serve,
};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{NAMESPACE, VICTIM, eventually};

pub const TIME_TO_LIVE_MILLIS: u64 = 800;
pub const WATCHDOG_MILLIS: u64 = 400;
const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];

#[derive(Default)]
pub struct Agents {
    keys: BTreeMap<String, Key>,
    addresses: BTreeMap<String, String>,
    sequence: u64,
    /// Whether jurors promise.
    pub willing: Arc<AtomicBool>,
    /// Jurors that do not, however willing the others are.
    pub refusing: Arc<Mutex<BTreeSet<String>>>,
    servers: JoinSet<()>,
}

struct Juror {
    node: String,
    willing: Arc<AtomicBool>,
    refusing: Arc<Mutex<BTreeSet<String>>>,
}

#[tonic::async_trait]
impl AgentHandler for Juror {
    async fn ask(&self, _: SignedRecord) -> AskAnswer {
        AskAnswer::Unknown { why: "scripted".into() }
    }
    async fn promise(&self, request: PromiseRequest) -> PromiseAnswer {
        let refuses = self.refusing.lock().unwrap().contains(&self.node);
        if self.willing.load(Ordering::SeqCst) && !refuses && request.node != self.node {
            PromiseAnswer::Promised { last_no_api_age: None }
        } else {
            PromiseAnswer::Refused { why: "this process is too young".into() }
        }
    }
    async fn wake(&self, _: String) {}
    async fn status(&self) -> StatusAnswer {
        StatusAnswer::default()
    }
}

impl Agents {
    pub async fn start(client: &Client) -> Self {
        let mut agents = Self { willing: Arc::new(AtomicBool::new(true)), ..Self::default() };
        for node in NODES {
            agents.keys.insert(node.into(), Key::generate().unwrap());
            agents.enrol(client, node).await;
        }
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        eventually("the trust is published", || async {
            maps.get_opt("palisade-agent-trust").await.unwrap().is_some()
        })
        .await;
        let trust = Trust::from_pem(&maps.get("palisade-agent-trust").await.unwrap().data.unwrap()["ca.crt"]).unwrap();
        for node in NODES {
            let certificate = agents.certificate(client, node).await;
            let identity = Identity { key: agents.keys[node].clone(), certificate };
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            agents.addresses.insert(node.into(), listener.local_addr().unwrap().to_string());
            let (sender, credentials) = watch::channel(Some(Credentials::new(&identity, &trust).unwrap()));
            let handler = Arc::new(Juror {
                node: node.into(),
                willing: agents.willing.clone(),
                refusing: agents.refusing.clone(),
            });
            agents.servers.spawn(async move {
                let _keep = sender;
                serve(listener, credentials, handler, std::future::pending()).await.unwrap();
            });
            agents.publish(client, node, "b1", |_| {}).await;
        }
        agents
    }

    async fn enrol(&self, client: &Client, node: &str) {
        let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
        let request = self.keys[node].signing_request(node).unwrap();
        let mut lease = Lease::default();
        lease.metadata.name = Some(node.into());
        lease.annotations_mut().insert(SIGNING_REQUEST.into(), request);
        lease.spec = Some(LeaseSpec { holder_identity: Some(node.into()), ..LeaseSpec::default() });
        leases.create(&PostParams::default(), &lease).await.unwrap();
    }

    async fn certificate(&self, client: &Client, node: &str) -> String {
        let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
        let has = || async {
            let lease = leases.get(node).await.unwrap();
            lease.annotations().get(CERTIFICATE).is_some_and(|certificate| self.keys[node].owns(certificate))
        };
        eventually(&format!("{node} gets a certificate"), has).await;
        leases.get(node).await.unwrap().annotations()[CERTIFICATE].clone()
    }

    /// Writes a signed record.
    pub async fn publish(&mut self, client: &Client, node: &str, boot: &str, change: impl FnOnce(&mut AgentRecord)) {
        self.sequence += 1;
        let mut record = AgentRecord {
            node: node.into(),
            boot_id: BootId::new(boot).unwrap(),
            sequence: self.sequence,
            address: self.addresses[node].clone(),
            terms: Terms {
                time_to_live_millis: TIME_TO_LIVE_MILLIS,
                watchdog: Some(Watchdog { identity: "test".into(), timeout_millis: WATCHDOG_MILLIS, resets: true }),
                reset_steps_millis: 500,
                jury: NODES.iter().filter(|peer| **peer != node).map(ToString::to_string).collect(),
                min_peers: 1,
                claims: Claims { self_fences: true, may_exempt: false },
            },
            generation: 1,
            acknowledged: None,
            disarmed: false,
        };
        change(&mut record);
        let text = encode(&record);
        let signature = self.keys[node].sign(text.as_bytes()).unwrap();
        let patch = json!({
            "metadata": { "annotations": { RECORD: text, RECORD_SIGNATURE: signature } },
            "spec": { "renewTime": MicroTime(jiff::Timestamp::now()) },
        });
        let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
        leases.patch(node, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// A new boot has a new key, and so a new certificate.
    pub async fn boot(&mut self, client: &Client, node: &str, boot: &str) {
        self.keys.insert(node.into(), Key::generate().unwrap());
        let request = self.keys[node].signing_request(node).unwrap();
        let patch = json!({ "metadata": { "annotations": { SIGNING_REQUEST: request } } });
        let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
        leases.patch(node, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        self.certificate(client, node).await;
        self.publish(client, node, boot, |_| {}).await;
    }

    /// The victim stops feeding and says so.
    pub async fn acknowledge(&mut self, client: &Client, intent: &str) {
        let intent = intent.to_owned();
        self.publish(client, VICTIM, "b1", |record| record.acknowledged = Some(intent)).await;
    }
}
