//! Asking jurors: over mutual TLS in a cluster, over a network of its own in the simulation.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use palisade_rpc::{AgentClient, PromiseAnswer, PromiseRequest};

/// The agents, as far as the controller calls them.
pub trait Jurors: Send + Sync + 'static {
    /// Asks the agent of a node, reached at an address, for a promise. Bounded in time by whoever implements it.
    fn promise<'a>(
        &'a self,
        juror: &'a str,
        address: &'a str,
        request: PromiseRequest,
    ) -> BoxFuture<'a, Result<PromiseAnswer, String>>;
}

impl Jurors for AgentClient {
    fn promise<'a>(
        &'a self,
        juror: &'a str,
        address: &'a str,
        request: PromiseRequest,
    ) -> BoxFuture<'a, Result<PromiseAnswer, String>> {
        async move { Self::promise(self, juror, address, request).await.map_err(|error| error.to_string()) }.boxed()
    }
}
