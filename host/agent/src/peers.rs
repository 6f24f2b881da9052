//! Asking other agents.

use std::sync::RwLock;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use palisade_core::fencing::agent::Peer;
use palisade_core::fencing::juror::PeerAnswer;
use palisade_core::fencing::record::BootId;
use palisade_rpc::{AgentClient, Ask, AskAnswer};

/// The other agents. Whatever goes wrong is `Unknown`, which counts for nothing; only what a peer itself says, proved by
/// its certificate, is `Undecided`.
pub trait Peers: Send + Sync + 'static {
    /// Asks one peer, within its own time limits.
    fn ask(&self, peer: Peer, ask: Ask) -> BoxFuture<'_, PeerAnswer>;
    /// Tells the agent of a node, reached at this address, that it is worth asking its peers now; `by` is the own node.
    /// Nothing depends on whether it hears.
    fn wake<'a>(&'a self, node: &'a str, address: &'a str, by: &'a str) -> BoxFuture<'a, Result<(), String>>;
    /// The identity changed: ask with this client from now on (`None`: nobody can be asked).
    fn reconnect(&self, client: Option<AgentClient>);
}

/// Peers over mutual TLS.
#[derive(Default)]
pub struct RpcPeers {
    client: RwLock<Option<AgentClient>>,
}

impl Peers for RpcPeers {
    fn ask(&self, peer: Peer, ask: Ask) -> BoxFuture<'_, PeerAnswer> {
        let client = self.client.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        async move {
            let Some(client) = client else {
                return PeerAnswer::Unknown { why: "this agent has no certificate yet".into() };
            };
            match client.ask(&peer.node, &peer.address, ask).await {
                Ok(answer) => understood(answer),
                Err(error) => PeerAnswer::Unknown { why: error.to_string() },
            }
        }
        .boxed()
    }

    fn wake<'a>(&'a self, node: &'a str, address: &'a str, by: &'a str) -> BoxFuture<'a, Result<(), String>> {
        let client = self.client.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        async move {
            let client = client.ok_or("this agent has no certificate yet")?;
            client.wake(node, address, by).await.map_err(|error| error.to_string())
        }
        .boxed()
    }

    fn reconnect(&self, client: Option<AgentClient>) {
        *self.client.write().unwrap_or_else(std::sync::PoisonError::into_inner) = client;
    }
}

fn understood(answer: AskAnswer) -> PeerAnswer {
    match answer {
        AskAnswer::Relayed => PeerAnswer::Relayed,
        AskAnswer::NoApi => PeerAnswer::NoApi,
        AskAnswer::Unknown { why } => PeerAnswer::Undecided { why },
        AskAnswer::IntentExists { intent_uid, boot_id } => match BootId::new(boot_id) {
            Some(boot_id) => PeerAnswer::IntentExists { uid: intent_uid, boot_id },
            None => PeerAnswer::Unknown { why: "an intent without a boot".into() },
        },
    }
}
