//! Calls between agents, and from controllers to agents: the messages of the real service over the simulated network.
//!
//! TLS is left out: who may call whom is a matter of `palisade-rpc` and its tests. That a node without certificate
//! neither asks nor answers is kept, and so is the check of what an asking node signed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use palisade_agent::juror::JurorService;
use palisade_agent::peers::Peers;
use palisade_controller::Jurors;
use palisade_core::fencing::agent::Peer;
use palisade_core::fencing::juror::PeerAnswer;
use palisade_core::fencing::record::{AgentRecord, BootId};
use palisade_rpc::{
    AgentClient, AgentHandler as _, Ask, AskAnswer, Credentials, PromiseAnswer, PromiseRequest, SignedRecord,
};
use tokio::sync::watch;

use crate::network::{Actor, Network};
use crate::trace::Trace;
use crate::world::Breakage;

/// A running agent that answers.
#[derive(Clone)]
pub struct Server {
    /// Its node: what its certificate would prove.
    pub node: String,
    /// Where it is on the network.
    pub actor: Actor,
    /// What answers.
    pub service: Arc<JurorService>,
    /// What its server shows.
    pub shown: watch::Receiver<Option<Credentials>>,
    /// True once the process is gone.
    pub gone: watch::Receiver<bool>,
}

/// The agents by address; clones share it.
#[derive(Clone, Default)]
pub struct Directory(Arc<Mutex<BTreeMap<String, Server>>>);

impl Directory {
    /// An agent listens.
    pub fn listen(&self, address: &str, server: Server) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(address.to_owned(), server);
    }

    fn find(&self, address: &str) -> Option<Server> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(address).cloned()
    }
}

impl Server {
    /// Runs a call to its end, or until the process is gone. What arrived is worked on, whatever becomes of the caller.
    async fn work<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> Result<T, String> {
        let mut gone = self.gone.clone();
        let work = tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = gone.wait_for(|gone| *gone) => None,
                answer = call => Some(answer),
            }
        });
        work.await.ok().flatten().ok_or_else(|| "the connection was lost".to_owned())
    }

    fn is_up(&self, node: &str) -> Result<(), String> {
        if *self.gone.borrow() {
            return Err("connection refused".into());
        }
        if self.node != node || self.shown.borrow().is_none() {
            return Err("handshake failed".into());
        }
        Ok(())
    }
}

/// One call: there, the answer, and back, within a limit. It may be lost on either way, and arrive twice.
async fn call<T, F>(
    network: &Network,
    (from, directory, address, node): (Actor, &Directory, &str, &str),
    limit: Duration,
    answer: impl Fn(Server) -> F,
) -> Result<T, String>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let work = async {
        let server = directory.find(address).ok_or("no such host")?;
        network.hop(from, server.actor).await?;
        let (lost, twice) = network.accident();
        if lost {
            return futures::future::pending().await;
        }
        server.is_up(node)?;
        if twice {
            let (again, network) = (answer(server.clone()), network.clone());
            let late = server.clone();
            tokio::spawn(async move {
                tokio::time::sleep(network.latency() * 50).await;
                let _ = late.work(again).await;
            });
        }
        let result = server.work(answer(server.clone())).await?;
        let (lost, _) = network.accident();
        if lost {
            return futures::future::pending().await;
        }
        network.hop(server.actor, from).await?;
        Ok(result)
    };
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

/// How one agent asks others.
pub struct SimulatedPeers {
    /// Who asks.
    pub from: Actor,
    /// The network.
    pub network: Network,
    /// Everybody.
    pub directory: Directory,
    /// `peerDialTimeout` and the request's limit together.
    pub limit: Duration,
    /// Whether it has an identity to show.
    pub ready: Mutex<bool>,
    /// Where answers are noted.
    pub trace: Trace,
    /// What is broken on purpose.
    pub breakage: Option<Breakage>,
}

impl Peers for SimulatedPeers {
    fn ask(&self, peer: Peer, ask: Ask) -> BoxFuture<'_, PeerAnswer> {
        let ready = *self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        async move {
            if !ready {
                return PeerAnswer::Unknown { why: "this agent has no certificate yet".into() };
            }
            if self.breakage == Some(Breakage::NoApiForEverybody) {
                return PeerAnswer::NoApi;
            }
            let way = (self.from, &self.directory, peer.address.as_str(), peer.node.as_str());
            let answer = call(&self.network, way, self.limit, |server| {
                let ask = ask.clone();
                async move {
                    // The signature is made by this very process; whose it is was checked in the handshake.
                    let record: Result<AgentRecord, _> = serde_json::from_str(&ask.record);
                    match record {
                        Ok(record) => server.service.ask(SignedRecord { record, ask }).await,
                        Err(error) => AskAnswer::Unknown { why: error.to_string() },
                    }
                }
            })
            .await;
            let answer = match answer {
                Ok(AskAnswer::Relayed) => PeerAnswer::Relayed,
                Ok(AskAnswer::NoApi) => PeerAnswer::NoApi,
                // It answered: for R4 that shows that it is there.
                Ok(AskAnswer::Unknown { why }) => PeerAnswer::Undecided { why },
                Err(why) => PeerAnswer::Unknown { why },
                Ok(AskAnswer::IntentExists { intent_uid, boot_id }) => match BootId::new(boot_id) {
                    Some(boot_id) => PeerAnswer::IntentExists { uid: intent_uid, boot_id },
                    None => PeerAnswer::Unknown { why: "an intent without a boot".into() },
                },
            };
            self.trace.request(&format!("{} asked {}: {answer:?}", self.from, peer.node));
            answer
        }
        .boxed()
    }

    fn wake<'a>(&'a self, node: &'a str, address: &'a str, by: &'a str) -> BoxFuture<'a, Result<(), String>> {
        let ready = *self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        async move {
            if !ready {
                return Err("this agent has no certificate yet".into());
            }
            if self.breakage == Some(Breakage::ControllerDoesNotWait) {
                // A node that is woken ends sooner than even this controller releases; one of an older version is not.
                return Err("not known".into());
            }
            let way = (self.from, &self.directory, address, node);
            let woken = call(&self.network, way, self.limit, |server| {
                let by = by.to_owned();
                async move { server.service.wake(by).await }
            })
            .await;
            self.trace.request(&format!("{} woke {node}: {woken:?}", self.from));
            woken
        }
        .boxed()
    }

    fn reconnect(&self, client: Option<AgentClient>) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = client.is_some();
    }
}

/// How one controller asks jurors.
pub struct SimulatedJurors {
    /// Who asks.
    pub from: Actor,
    /// The network.
    pub network: Network,
    /// Everybody.
    pub directory: Directory,
    /// Where answers are noted.
    pub trace: Trace,
    /// What is broken on purpose.
    pub breakage: Option<Breakage>,
}

/// As the controller's own limits: two seconds to connect and two to answer.
const PROMISE_LIMIT: Duration = Duration::from_secs(4);

impl Jurors for SimulatedJurors {
    fn promise<'a>(
        &'a self,
        juror: &'a str,
        address: &'a str,
        request: PromiseRequest,
    ) -> BoxFuture<'a, Result<PromiseAnswer, String>> {
        async move {
            if self.breakage == Some(Breakage::PromisesOfNobody) {
                return Ok(PromiseAnswer::Promised { last_no_api_age: None });
            }
            self.network.thawed(self.from).await;
            let way = (self.from, &self.directory, address, juror);
            let answer = call(&self.network, way, PROMISE_LIMIT, |server| {
                let request = request.clone();
                async move { server.service.promise(request).await }
            })
            .await;
            self.trace.request(&format!("{} asked {juror} for a promise: {answer:?}", self.from));
            answer
        }
        .boxed()
    }
}
