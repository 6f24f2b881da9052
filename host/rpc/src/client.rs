//! Calling an agent: one fresh connection per call, bounded in time, to a name that the certificate proves.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::identity::{Identity, IdentityError, Trust, agent_name};
use crate::message::{Ask, AskAnswer, PromiseAnswer, PromiseRequest, StatusAnswer};
use crate::proto::{StatusRequest, WakeRequest, agent_client::AgentClient as Stub};

/// Time limits of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Resolving, connecting and the TLS handshake together (`peerDialTimeout`).
    pub dial: Duration,
    /// The request once connected (`max(peerRequestTimeout, apiServerTimeout + 2s)`).
    pub request: Duration,
}

/// Why a call gave no answer. None of these says anything about the peer or the API: they all count for nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The node name cannot be a certificate name, or the local identity is unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No connection within the dial limit.
    #[error("no connection to the agent of {node} at {address}: {detail}")]
    Dial {
        /// The node.
        node: String,
        /// Where it was tried.
        address: String,
        /// What happened.
        detail: String,
    },
    /// No answer within the request limit.
    #[error("the agent of {node} did not answer within {limit:?}")]
    Timeout {
        /// The node.
        node: String,
        /// The limit.
        limit: Duration,
    },
    /// The agent refused the call.
    #[error("the agent of {node} refused: {detail}")]
    Status {
        /// The node.
        node: String,
        /// What it said.
        detail: String,
    },
}

/// Calls agents under one identity.
#[derive(Clone)]
pub struct AgentClient {
    tls: Arc<ClientConfig>,
    limits: Limits,
    source: Option<IpAddr>,
}

impl AgentClient {
    /// A client that shows `identity`; `source` binds outgoing connections to a local address.
    pub fn new(
        identity: &Identity,
        trust: &Trust,
        limits: Limits,
        source: Option<IpAddr>,
    ) -> Result<Self, IdentityError> {
        Ok(Self { tls: crate::tls::client_config(identity, trust)?, limits, source })
    }

    /// Asks the agent of `node`, reached at `address` (`host:port`), to relay.
    pub async fn ask(&self, node: &str, address: &str, ask: Ask) -> Result<AskAnswer, CallError> {
        let request = proto_request(ask);
        let call = async move |mut stub: Stub<Channel>| stub.ask(request).await;
        Ok(self.call(node, address, call).await?.into())
    }

    /// Asks a juror for its promise. Only the controller is answered.
    pub async fn promise(
        &self,
        node: &str,
        address: &str,
        request: PromiseRequest,
    ) -> Result<PromiseAnswer, CallError> {
        let request: crate::proto::PromiseRequest = request.into();
        let call = async move |mut stub: Stub<Channel>| stub.promise(request).await;
        Ok(self.call(node, address, call).await?.into())
    }

    /// Tells the agent of `node` that it is worth asking its peers now; `by` is the node of this client's identity.
    pub async fn wake(&self, node: &str, address: &str, by: &str) -> Result<(), CallError> {
        let request = WakeRequest { juror: by.to_owned() };
        let call = async move |mut stub: Stub<Channel>| stub.wake(request).await;
        self.call(node, address, call).await.map(drop)
    }

    /// Asks an agent about itself. Only the controller is answered.
    pub async fn status(&self, node: &str, address: &str) -> Result<StatusAnswer, CallError> {
        let call = async move |mut stub: Stub<Channel>| stub.status(StatusRequest {}).await;
        Ok(self.call(node, address, call).await?.into())
    }

    async fn call<T, F>(&self, node: &str, address: &str, call: F) -> Result<T, CallError>
    where
        F: AsyncFnOnce(Stub<Channel>) -> Result<tonic::Response<T>, tonic::Status>,
    {
        let channel = self.connect(node, address).await?;
        let answer = tokio::time::timeout(self.limits.request, call(Stub::new(channel))).await;
        match answer {
            Err(_) => Err(CallError::Timeout { node: node.to_owned(), limit: self.limits.request }),
            Ok(Err(status)) => Err(CallError::Status {
                node: node.to_owned(),
                detail: format!("{}: {}", status.code(), status.message()),
            }),
            Ok(Ok(response)) => Ok(response.into_inner()),
        }
    }

    async fn connect(&self, node: &str, address: &str) -> Result<Channel, CallError> {
        let failed = |detail: String| CallError::Dial { node: node.to_owned(), address: address.to_owned(), detail };
        let name = ServerName::try_from(agent_name(node)).map_err(|_| IdentityError::Name(node.to_owned()))?;
        let dialled = tokio::time::timeout(self.limits.dial, async {
            let tcp = dial(address, self.source).await?;
            let _ = tcp.set_nodelay(true);
            tokio_rustls::TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await
        })
        .await;
        let stream = match dialled {
            Err(_) => return Err(failed(format!("not within {:?}", self.limits.dial))),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Ok(Ok(stream)) => stream,
        };
        // The channel is made around this one connection; when it is gone the call has failed.
        let mut once = Some(TokioIo::new(stream));
        Endpoint::from_static("http://agent.palisade.internal")
            .connect_with_connector(tower::service_fn(move |_: Uri| {
                let stream = once.take().ok_or_else(|| std::io::Error::other("the connection was lost"));
                async move { stream }
            }))
            .await
            .map_err(|error| failed(error.to_string()))
    }
}

fn proto_request(ask: Ask) -> crate::proto::AskRequest {
    ask.into()
}

/// Connects to the first address that answers, from the wanted local address.
async fn dial(address: &str, source: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let mut last = None;
    for target in lookup_host(address).await? {
        let Some(source) = source else {
            match TcpStream::connect(target).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
            continue;
        };
        if source.is_ipv4() != target.is_ipv4() {
            continue;
        }
        let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind((source, 0).into())?;
        match socket.connect(target).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::Error::other("no usable address")))
}
