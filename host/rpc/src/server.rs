//! Answering: mutual TLS, and every call authorised by the name in the caller's certificate.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use palisade_core::fencing::record::AgentRecord;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::identity::{CONTROLLER_NAME, Identity, IdentityError, Trust, agent_name, certificate_names};
use crate::message::{Ask, AskAnswer, PromiseAnswer, PromiseRequest, StatusAnswer};
use crate::peer_health::{self, PeerHealthHandler};
use crate::peer_health_proto::peer_health_server::PeerHealthServer;
use crate::proto::agent_server::{Agent, AgentServer};
use crate::{proto, tls};

/// Time limit of a TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Handshakes under way at once; more callers wait in the listener's queue.
const HANDSHAKES: usize = 32;
/// A record is about 1 KiB, a certificate too: nobody sends more than this.
const MESSAGE_LIMIT: usize = 64 * 1024;
/// Bytes of headers of a call.
const HEADER_LIMIT: u32 = 8 * 1024;
/// Calls at a time on one connection; ours make one.
const STREAMS: u32 = 8;
/// Our callers make one call on a connection and go. Who stays longer than any call takes, with its answer, is sent away:
/// what a connection holds in memory is not for others to keep.
const CONNECTION_AGE: Duration = Duration::from_mins(1);

/// A record whose signature, certificate and caller were checked.
#[derive(Debug, Clone)]
pub struct SignedRecord {
    /// The decoded record; its node is the caller.
    pub record: AgentRecord,
    /// The request as it came: exact bytes, signature, certificate, bounds.
    pub ask: Ask,
}

/// What an agent does with calls that passed authorisation.
#[tonic::async_trait]
pub trait AgentHandler: Send + Sync + 'static {
    /// A peer asks for itself.
    async fn ask(&self, signed: SignedRecord) -> AskAnswer;
    /// The controller asks for a promise.
    async fn promise(&self, request: PromiseRequest) -> PromiseAnswer;
    /// The agent of `by` says that it is worth asking the peers now.
    async fn wake(&self, by: String);
    /// The controller asks how this agent is.
    async fn status(&self) -> StatusAnswer;
}

/// What the server shows and believes; replaced as a whole when certificates rotate.
#[derive(Clone)]
pub struct Credentials {
    config: Arc<ServerConfig>,
    trust: Trust,
}

impl Credentials {
    /// Credentials of this identity.
    pub fn new(identity: &Identity, trust: &Trust) -> Result<Self, IdentityError> {
        Ok(Self { config: tls::server_config(identity, trust)?, trust: trust.clone() })
    }
}

/// What is needed to answer agents of the stock product on the same port.
pub struct StockAgents {
    /// The key pair they share; none while there is none, and then they are turned away.
    pub config: watch::Receiver<Option<Arc<ServerConfig>>>,
    /// Answers their question.
    pub handler: Arc<dyn PeerHealthHandler>,
}

/// Serves on `listener` until `shutdown` completes.
///
/// While `credentials` holds none (the first certificate is still to come) callers are turned away. A change counts
/// from the next connection on.
pub async fn serve(
    listener: TcpListener,
    credentials: watch::Receiver<Option<Credentials>>,
    handler: Arc<dyn AgentHandler>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error> {
    serve_all(listener, credentials, handler, None, shutdown).await
}

/// The same, and agents of the stock product are answered their one question.
///
/// Callers of ours name the agent that they want; those name an address, and a TLS client does not send addresses. So a
/// caller that names nobody is one of theirs, and meets a server that knows nothing but that question.
pub async fn serve_stock_agents_too(
    listener: TcpListener,
    credentials: watch::Receiver<Option<Credentials>>,
    handler: Arc<dyn AgentHandler>,
    stock: StockAgents,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error> {
    let (accepted, connections) = mpsc::channel(4);
    let service = PeerHealthServer::new(peer_health::Service(stock.handler)).max_decoding_message_size(MESSAGE_LIMIT);
    let answering = tokio::spawn(
        tonic::transport::Server::builder()
            .concurrency_limit_per_connection(2)
            .serve_with_incoming(service, ReceiverStream::new(connections)),
    );
    let stock = Strangers { config: stock.config, accepted };
    let outcome = serve_all(listener, credentials, handler, Some(stock), shutdown).await;
    answering.abort();
    outcome
}

type Accepted = mpsc::Sender<std::io::Result<TlsStream<TcpStream>>>;

/// Where callers go that name nobody.
#[derive(Clone)]
struct Strangers {
    config: watch::Receiver<Option<Arc<ServerConfig>>>,
    accepted: Accepted,
}

async fn serve_all(
    listener: TcpListener,
    credentials: watch::Receiver<Option<Credentials>>,
    handler: Arc<dyn AgentHandler>,
    strangers: Option<Strangers>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error> {
    let (accepted, connections) = mpsc::channel(16);
    let acceptor = tokio::spawn(accept(listener, credentials.clone(), accepted, strangers));
    let service = AgentServer::new(Service { credentials, handler }).max_decoding_message_size(MESSAGE_LIMIT);
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .concurrency_limit_per_connection(STREAMS as usize)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(MESSAGE_LIMIT as u32)
        .initial_connection_window_size(MESSAGE_LIMIT as u32 * 2)
        .http2_max_header_list_size(HEADER_LIMIT)
        .max_connection_age(CONNECTION_AGE)
        .max_connection_age_grace(HANDSHAKE_LIMIT)
        .serve_with_incoming_shutdown(service, ReceiverStream::new(connections), shutdown);
    let outcome = served.await;
    acceptor.abort();
    outcome
}

async fn accept(
    listener: TcpListener,
    credentials: watch::Receiver<Option<Credentials>>,
    accepted: Accepted,
    strangers: Option<Strangers>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let (stream, from) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                // Out of file descriptors or the like: the next accept would fail at once again.
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let config = credentials.borrow().as_ref().map(|credentials| Arc::clone(&credentials.config));
        if config.is_none() && strangers.is_none() {
            tracing::debug!(%from, "turned away: this agent has no certificate yet");
            continue;
        }
        let (accepted, strangers) = (accepted.clone(), strangers.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let _ = stream.set_nodelay(true);
            let shaken = async {
                let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
                let stranger = strangers.filter(|_| hello.client_hello().server_name().is_none());
                let config = stranger.as_ref().map_or(config, |strangers| strangers.config.borrow().clone());
                let Some(config) = config else { return Err(std::io::Error::other("there is no certificate yet")) };
                let stream = hello.into_stream(config).await?;
                if stream.get_ref().1.alpn_protocol() != Some(tls::ALPN) {
                    return Err(std::io::Error::other("the caller does not speak HTTP/2"));
                }
                Ok((stream, stranger.map_or(accepted, |strangers| strangers.accepted)))
            };
            match tokio::time::timeout(HANDSHAKE_LIMIT, shaken).await {
                Ok(Ok((stream, accepted))) => {
                    let _ = accepted.send(Ok(stream)).await;
                }
                Ok(Err(error)) => tracing::debug!(%from, %error, "handshake failed"),
                Err(_) => tracing::debug!(%from, "handshake took too long"),
            }
        });
    }
}

struct Service {
    credentials: watch::Receiver<Option<Credentials>>,
    handler: Arc<dyn AgentHandler>,
}

impl Service {
    /// The record of an `Ask`, if the caller speaks for itself and its signature verifies.
    fn check(&self, caller: &CertificateDer<'_>, ask: Ask) -> Result<SignedRecord, Status> {
        let record: AgentRecord = serde_json::from_str(&ask.record)
            .map_err(|error| Status::invalid_argument(format!("the record cannot be read: {error}")))?;
        authorise(caller, &agent_name(&record.node))?;
        let trust = self.credentials.borrow().as_ref().map(|credentials| credentials.trust.clone());
        let trust = trust.ok_or_else(|| Status::unavailable("no trust yet"))?;
        trust
            .verify_record(&ask.certificate, &record.node, ask.record.as_bytes(), &ask.signature)
            .map_err(|error| Status::permission_denied(error.to_string()))?;
        Ok(SignedRecord { record, ask })
    }
}

#[tonic::async_trait]
impl Agent for Service {
    async fn ask(&self, request: Request<proto::AskRequest>) -> Result<Response<proto::AskAnswer>, Status> {
        let caller = caller(&request)?;
        let signed = self.check(&caller, request.into_inner().into())?;
        Ok(Response::new(self.handler.ask(signed).await.into()))
    }

    async fn promise(&self, request: Request<proto::PromiseRequest>) -> Result<Response<proto::PromiseAnswer>, Status> {
        authorise(&caller(&request)?, CONTROLLER_NAME)?;
        Ok(Response::new(self.handler.promise(request.into_inner().into()).await.into()))
    }

    async fn wake(&self, request: Request<proto::WakeRequest>) -> Result<Response<proto::WakeAnswer>, Status> {
        let caller = caller(&request)?;
        let by = request.into_inner().juror;
        authorise(&caller, &agent_name(&by))?;
        self.handler.wake(by).await;
        Ok(Response::new(proto::WakeAnswer {}))
    }

    async fn status(&self, request: Request<proto::StatusRequest>) -> Result<Response<proto::StatusAnswer>, Status> {
        authorise(&caller(&request)?, CONTROLLER_NAME)?;
        Ok(Response::new(self.handler.status().await.into()))
    }
}

/// The certificate that the caller proved in the handshake.
fn caller<T>(request: &Request<T>) -> Result<CertificateDer<'static>, Status> {
    request
        .peer_certs()
        .and_then(|certificates| certificates.first().cloned())
        .ok_or_else(|| Status::unauthenticated("no client certificate"))
}

fn authorise(caller: &CertificateDer<'_>, name: &str) -> Result<(), Status> {
    certificate_names(caller, name).map_err(|error| Status::permission_denied(error.to_string()))
}
