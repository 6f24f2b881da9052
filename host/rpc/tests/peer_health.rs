//! The one question of the stock product's agents, over real TLS on loopback, asked with messages of this test's own:
//! path, numbers and TLS rules are theirs.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail loudly

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use palisade_rpc::peer_health::SERVER_ADDRESS;
use palisade_rpc::{
    AgentHandler, AskAnswer, Authority, Credentials, Health, Identity, Key, PeerHealthHandler, PromiseAnswer,
    PromiseRequest, SharedPair, SignedRecord, StatusAnswer, StockAgents,
};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct Question {
    #[prost(string, tag = "1")]
    node: String,
    #[prost(string, tag = "2")]
    machine: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(int32, tag = "1")]
    status: i32,
}

struct Ours;

#[tonic::async_trait]
impl AgentHandler for Ours {
    async fn ask(&self, _: SignedRecord) -> AskAnswer {
        AskAnswer::Relayed
    }
    async fn wake(&self, _: String) {}
    async fn promise(&self, _: PromiseRequest) -> PromiseAnswer {
        PromiseAnswer::Promised { last_no_api_age: None }
    }
    async fn status(&self) -> StatusAnswer {
        StatusAnswer::default()
    }
}

struct Scripted;

#[tonic::async_trait]
impl PeerHealthHandler for Scripted {
    async fn is_healthy(&self, node: &str, machine: &str) -> Health {
        match (node, machine) {
            ("sick", _) | (_, "sick-machine") => Health::Unhealthy,
            ("lost", _) => Health::ApiError,
            _ => Health::Healthy,
        }
    }
}

/// An agent of ours that also has the shared pair. Without a certificate of its own yet it answers them all the same.
async fn agent(pair: &SharedPair, own: Option<Credentials>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (keep, credentials) = watch::channel(own);
    let (keep_stock, config) = watch::channel(Some(pair.server_config().unwrap()));
    tokio::spawn(async move {
        let _keep = (keep, keep_stock);
        let stock = StockAgents { config, handler: Arc::new(Scripted) };
        palisade_rpc::serve_stock_agents_too(listener, credentials, Arc::new(Ours), stock, std::future::pending()).await
    });
    address
}

/// How a caller connects.
struct Caller<'a> {
    trusts: &'a SharedPair,
    shows: Option<&'a SharedPair>,
    version: &'static SupportedProtocolVersion,
    alpn: bool,
}

impl<'a> Caller<'a> {
    fn right(pair: &'a SharedPair) -> Self {
        Self { trusts: pair, shows: Some(pair), version: &rustls::version::TLS13, alpn: true }
    }

    fn config(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(self.trusts.roots().unwrap());
        let mut config = match self.shows {
            Some(pair) => {
                builder.with_client_auth_cert(vec![pair.leaf().unwrap()], pair.private_key().unwrap()).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        if self.alpn {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        config
    }

    async fn asks(&self, address: &str, node: &str, machine: &str) -> Result<i32, String> {
        let all = async {
            let tcp = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            let connector = tokio_rustls::TlsConnector::from(Arc::new(self.config()));
            let name = ServerName::IpAddress(SERVER_ADDRESS.into());
            let stream = connector.connect(name, tcp).await.map_err(|error| error.to_string())?;
            let mut once = Some(TokioIo::new(stream));
            let channel = Endpoint::from_static("http://peer")
                .connect_with_connector(tower::service_fn(move |_: Uri| {
                    let stream = once.take().ok_or_else(|| std::io::Error::other("once"));
                    async move { stream }
                }))
                .await
                .map_err(|error| error.to_string())?;
            question(channel, node, machine).await.map_err(|status| format!("{}", status.code()))
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.unwrap_or_else(|_| Err("no answer".into()))
    }
}

async fn question(channel: Channel, node: &str, machine: &str) -> Result<i32, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let path = PathAndQuery::from_static("/selfnoderemediation.health.PeerHealth/IsHealthy");
    let question = Question { node: node.into(), machine: machine.into() };
    let answer = grpc.unary(Request::new(question), path, ProstCodec::<Question, Answer>::default()).await?;
    Ok(answer.into_inner().status)
}

#[tokio::test]
async fn c104_the_numbers_on_the_wire() {
    let pair = SharedPair::create().unwrap();
    let address = agent(&pair, None).await;
    let caller = Caller::right(&pair);
    assert_eq!(caller.asks(&address, "well", "").await, Ok(1));
    assert_eq!(caller.asks(&address, "sick", "").await, Ok(2));
    assert_eq!(caller.asks(&address, "well", "sick-machine").await, Ok(2));
    assert_eq!(caller.asks(&address, "lost", "").await, Ok(3));
    assert!(caller.asks(&address, "", "").await.is_err());
}

/// RSA of 4096 bits, authority and leaf of the same name: the shape in which upgraded clusters have it.
#[tokio::test]
async fn c025_a_pair_as_the_stock_manager_makes_it_is_accepted() {
    let key = || KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096).unwrap();
    let pair = SharedPair::signed(&key(), &key()).unwrap();
    let address = agent(&pair, None).await;
    assert_eq!(Caller::right(&pair).asks(&address, "sick", "").await, Ok(2));
}

#[tokio::test]
async fn c105_whoever_breaks_a_rule_is_refused() {
    let (pair, other) = (SharedPair::create().unwrap(), SharedPair::create().unwrap());
    let address = agent(&pair, None).await;
    let without = Caller { shows: None, ..Caller::right(&pair) };
    let foreign = Caller { shows: Some(&other), ..Caller::right(&pair) };
    let old = Caller { version: &rustls::version::TLS12, ..Caller::right(&pair) };
    let silent = Caller { alpn: false, ..Caller::right(&pair) };
    for (what, caller) in [("without", without), ("foreign", foreign), ("TLS 1.2", old), ("no ALPN", silent)] {
        let answer = caller.asks(&address, "well", "").await;
        assert!(answer.is_err(), "{what}: {answer:?}");
    }
    let plain = Endpoint::new(format!("http://{address}")).unwrap().connect().await;
    let plain = match plain {
        Ok(channel) => question(channel, "well", "").await.map_err(|status| status.to_string()),
        Err(error) => Err(error.to_string()),
    };
    assert!(plain.is_err(), "{plain:?}");
    assert_eq!(Caller::right(&pair).asks(&address, "well", "").await, Ok(1));
}

/// Mixed agents: ours are answered as ever on the same port, and the shared key opens nothing of ours.
#[tokio::test]
async fn extra_mixed_agents_share_a_port_and_the_shared_key_opens_nothing_of_ours() {
    let pair = SharedPair::create().unwrap();
    let authority = Authority::create().unwrap();
    let trust = authority.trust().unwrap();
    let identity = |node: &str| {
        let key = Key::generate().unwrap();
        let certificate = authority.issue_agent(&key.signing_request(node).unwrap(), node).unwrap();
        Identity { key, certificate }
    };
    let own = Credentials::new(&identity("juror"), &trust).unwrap();
    let address = agent(&pair, Some(own)).await;
    assert_eq!(Caller::right(&pair).asks(&address, "well", "").await, Ok(1));
    let limits = palisade_rpc::Limits { dial: Duration::from_secs(20), request: Duration::from_secs(20) };
    let controller = authority.issue_controller().unwrap();
    let controller = palisade_rpc::AgentClient::new(&controller, &trust, limits, None).unwrap();
    controller.status("juror", &address).await.unwrap();

    // The service of ours, asked with the shared key.
    let tcp = TcpStream::connect(&address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(Caller::right(&pair).config()));
    let stream = connector.connect(ServerName::IpAddress(SERVER_ADDRESS.into()), tcp).await.unwrap();
    let mut once = Some(TokioIo::new(stream));
    let channel = Endpoint::from_static("http://peer")
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let stream = once.take().ok_or_else(|| std::io::Error::other("once"));
            async move { stream }
        }))
        .await
        .unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/palisade.agent.v1.Agent/Status");
    let answer = grpc
        .unary(Request::new(Question::default()), path, ProstCodec::<Question, Answer>::default())
        .await
        .unwrap_err();
    assert_eq!(answer.code(), tonic::Code::Unimplemented);
}
