//! The other agents of the cluster: leases with records that verify, and identities under which an agent can be asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, PostParams};
use palisade_agent::api::sample::{SHARD_LABEL, shard};
use palisade_core::fencing::record::{
    AgentRecord, BootId, CERTIFICATE, Claims, RECORD, RECORD_SIGNATURE, Terms, Watchdog, encode,
};
use palisade_rpc::{AgentClient, Ask, AskAnswer, Authority, Identity, Key, Limits, Trust};
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::controller::NAMESPACE;
use crate::wait;

/// Limits of a call by default: `peerDialTimeout`, and `apiServerTimeout` and two seconds.
const LIMITS: Limits = Limits { dial: Duration::from_secs(5), request: Duration::from_secs(7) };
/// Where the controller keeps its authority.
const SECRET: &str = "palisade-agent-ca";
/// Leases that are written at the same time.
const IN_FLIGHT: usize = 16;

/// The other agents.
pub(super) struct Askers {
    all: Vec<Arc<Asker>>,
    controller: Identity,
    trust: Trust,
}

struct Asker {
    node: String,
    boot: BootId,
    identity: Identity,
    client: AgentClient,
}

/// How a round of calls went.
pub(super) struct Calls {
    /// Milliseconds of each call that was answered, in ascending order.
    pub took: Vec<f64>,
    /// How many were not.
    pub failed: usize,
    /// Why the last one of these was not.
    pub complaint: String,
}

impl Askers {
    /// Publishes a lease for each of these nodes (name, boot), with a certificate of the controller's own authority; the
    /// first so many can ask.
    pub async fn establish(
        admin: &Client,
        nodes: impl Iterator<Item = (String, String)>,
        askers: usize,
    ) -> anyhow::Result<Self> {
        let secrets: Api<Secret> = Api::namespaced(admin.clone(), NAMESPACE);
        let secret = wait::until(Duration::from_mins(2), "the controller has an authority", async || {
            Ok(secrets.get_opt(SECRET).await?.and_then(|secret| secret.data).ok_or_else(|| "none yet".to_owned()))
        })
        .await?;
        let text = |key: &str| -> anyhow::Result<String> {
            let bytes = secret.get(key).with_context(|| format!("Secret {SECRET} has no {key}"))?;
            Ok(String::from_utf8(bytes.0.clone())?)
        };
        let authority = Authority::from_pem(&text("ca.crt")?, &text("ca.key")?)?;
        let trust = authority.trust()?;
        let mut all = Vec::new();
        for (node, boot) in nodes {
            let key = Key::generate()?;
            let certificate = authority.issue_agent(&key.signing_request(&node)?, &node)?;
            let identity = Identity { key, certificate };
            let client = AgentClient::new(&identity, &trust, LIMITS, None)?;
            let boot = BootId::new(boot).with_context(|| format!("node {node} has no boot id"))?;
            all.push(Arc::new(Asker { node, boot, identity, client }));
        }
        let leases: Api<Lease> = Api::namespaced(admin.clone(), NAMESPACE);
        let publish = |asker: Arc<Asker>| {
            let leases = leases.clone();
            async move { anyhow::Ok(leases.create(&PostParams::default(), &asker.lease()?).await?) }
        };
        stream::iter(all.clone()).map(publish).buffer_unordered(IN_FLIGHT).try_for_each(async |_| Ok(())).await?;
        all.truncate(askers);
        Ok(Self { all, controller: authority.issue_controller()?, trust })
    }

    /// A client that shows the controller's identity.
    pub fn controller(&self) -> anyhow::Result<AgentClient> {
        Ok(AgentClient::new(&self.controller, &self.trust, LIMITS, None)?)
    }

    /// All of them ask at once to have their record of this sequence number relayed.
    pub async fn ask(&self, node: &str, address: &str, sequence: u64) -> anyhow::Result<Calls> {
        let calls = self.all.iter().map(|asker| {
            let (asker, node, address) = (asker.clone(), node.to_owned(), address.to_owned());
            let ask = asker.sign(sequence);
            async move {
                match asker.client.ask(&node, &address, ask?).await? {
                    AskAnswer::Relayed => Ok(()),
                    other => anyhow::bail!("{other:?}"),
                }
            }
        });
        at_once(calls.collect()).await
    }

    /// As many calls that cost the agent nothing but themselves.
    pub async fn status(&self, node: &str, address: &str) -> anyhow::Result<Calls> {
        let client = self.controller()?;
        let calls = self.all.iter().map(|_| {
            let (client, node, address) = (client.clone(), node.to_owned(), address.to_owned());
            async move { Ok(client.status(&node, &address).await.map(drop)?) }
        });
        at_once(calls.collect()).await
    }
}

/// Lets all begin at the same instant.
async fn at_once<F>(calls: Vec<F>) -> anyhow::Result<Calls>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(calls.len()));
    let mut tasks = JoinSet::new();
    for call in calls {
        let barrier = barrier.clone();
        tasks.spawn(async move {
            barrier.wait().await;
            let begun = Instant::now();
            call.await.map(|()| begun.elapsed().as_secs_f64() * 1e3)
        });
    }
    let mut done = Calls { took: Vec::new(), failed: 0, complaint: String::new() };
    while let Some(ended) = tasks.join_next().await {
        match ended? {
            Ok(took) => done.took.push(took),
            Err(error) => {
                done.failed += 1;
                done.complaint = format!("{error:#}");
            }
        }
    }
    done.took.sort_by(f64::total_cmp);
    Ok(done)
}

impl Asker {
    fn record(&self, sequence: u64) -> String {
        encode(&AgentRecord {
            node: self.node.clone(),
            boot_id: self.boot.clone(),
            sequence,
            address: "127.0.0.1:9".to_owned(),
            terms: Terms {
                time_to_live_millis: 72_000,
                watchdog: Some(Watchdog { identity: "bench".to_owned(), timeout_millis: 60_000, resets: true }),
                reset_steps_millis: 15_000,
                // As long as a jury can be.
                jury: (0..15).map(|number| format!("measured-{number:04}")).collect(),
                min_peers: 1,
                claims: Claims { self_fences: true, may_exempt: false },
            },
            generation: 1,
            acknowledged: None,
            disarmed: false,
        })
    }

    fn sign(&self, sequence: u64) -> anyhow::Result<Ask> {
        let record = self.record(sequence);
        Ok(Ask {
            signature: self.identity.key.sign(record.as_bytes())?,
            certificate: self.identity.certificate.clone(),
            record,
            largest_time_to_live: Duration::from_secs(72),
            largest_reset_bound: Duration::from_mins(2),
            smallest_time_to_live: Duration::from_secs(72),
        })
    }

    fn lease(&self) -> anyhow::Result<Lease> {
        let signed = self.sign(1)?;
        let request = self.identity.key.signing_request(&self.node)?;
        Ok(serde_json::from_value(json!({
            "metadata": { "name": self.node, "labels": { SHARD_LABEL: shard(&self.node) }, "annotations": {
                RECORD: signed.record, RECORD_SIGNATURE: signed.signature, CERTIFICATE: signed.certificate,
                palisade_core::fencing::record::SIGNING_REQUEST: request,
            } },
            "spec": { "holderIdentity": self.node, "leaseDurationSeconds": 72 },
        }))?)
    }
}
