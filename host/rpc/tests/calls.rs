//! Calls over real mutual TLS on loopback: who is answered and who is turned away.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail loudly

use std::sync::{Arc, Mutex};
use std::time::Duration;

use palisade_core::fencing::record::{AgentRecord, BootId, Claims, Terms, encode};
use palisade_rpc::{
    AgentClient, AgentHandler, Ask, AskAnswer, Authority, CallError, Credentials, Identity, Key, Limits, PromiseAnswer,
    PromiseRequest, SignedRecord, StatusAnswer,
};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

const LIMITS: Limits = Limits { dial: Duration::from_secs(20), request: Duration::from_secs(20) };

/// Answers everything and remembers what arrived.
#[derive(Default)]
struct Recording {
    asked: Mutex<Vec<SignedRecord>>,
    promised: Mutex<Vec<PromiseRequest>>,
    woken: Mutex<Vec<String>>,
}

#[tonic::async_trait]
impl AgentHandler for Recording {
    async fn ask(&self, signed: SignedRecord) -> AskAnswer {
        self.asked.lock().unwrap().push(signed);
        AskAnswer::Relayed
    }
    async fn promise(&self, request: PromiseRequest) -> PromiseAnswer {
        self.promised.lock().unwrap().push(request);
        PromiseAnswer::Promised { last_no_api_age: Some(Duration::from_millis(1500)) }
    }
    async fn wake(&self, by: String) {
        self.woken.lock().unwrap().push(by);
    }
    async fn status(&self) -> StatusAnswer {
        StatusAnswer { node: "juror".into(), boot_id: "b1".into(), ..StatusAnswer::default() }
    }
}

struct Juror {
    address: String,
    handler: Arc<Recording>,
    credentials: watch::Sender<Option<Credentials>>,
    _stop: oneshot::Sender<()>,
}

async fn juror(credentials: Option<Credentials>) -> Juror {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let handler = Arc::new(Recording::default());
    let (credentials, watched) = watch::channel(credentials);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = Arc::clone(&handler);
    tokio::spawn(async move {
        palisade_rpc::serve(listener, watched, serving, async {
            let _ = stopped.await;
        })
        .await
        .unwrap();
    });
    Juror { address, handler, credentials, _stop: stop }
}

fn agent(authority: &Authority, node: &str) -> Identity {
    let key = Key::generate().unwrap();
    let certificate = authority.issue_agent(&key.signing_request(node).unwrap(), node).unwrap();
    Identity { key, certificate }
}

fn credentials(authority: &Authority, node: &str) -> Credentials {
    Credentials::new(&agent(authority, node), &authority.trust().unwrap()).unwrap()
}

fn client(authority: &Authority, identity: &Identity) -> AgentClient {
    AgentClient::new(identity, &authority.trust().unwrap(), LIMITS, None).unwrap()
}

fn ask_of(node: &str, signer: &Identity) -> Ask {
    let record = encode(&AgentRecord {
        node: node.into(),
        boot_id: BootId::new("b1").unwrap(),
        sequence: 3,
        address: "127.0.0.1:1".into(),
        terms: Terms {
            time_to_live_millis: 1000,
            watchdog: None,
            reset_steps_millis: 100,
            jury: vec![],
            min_peers: 0,
            claims: Claims::default(),
        },
        generation: 1,
        acknowledged: None,
        disarmed: false,
    });
    Ask {
        signature: signer.key.sign(record.as_bytes()).unwrap(),
        certificate: signer.certificate.clone(),
        record,
        largest_time_to_live: Duration::from_secs(1),
        largest_reset_bound: Duration::from_millis(100),
        smallest_time_to_live: Duration::from_secs(1),
    }
}

fn promise_of(node: &str) -> PromiseRequest {
    PromiseRequest {
        intent_uid: "intent-1".into(),
        node: node.into(),
        boot_id: "b1".into(),
        time_to_live: Duration::from_secs(1),
        reset_bound: Duration::from_secs(1),
        node_address: "10.0.0.1:30001".into(),
    }
}

#[tokio::test]
async fn a_node_asks_for_itself_and_the_controller_gets_promises_and_status() {
    let authority = Authority::create().unwrap();
    let juror = juror(Some(credentials(&authority, "juror"))).await;

    let subject = agent(&authority, "worker-1");
    let asked = client(&authority, &subject).ask("juror", &juror.address, ask_of("worker-1", &subject)).await.unwrap();
    assert_eq!(asked, AskAnswer::Relayed);
    assert_eq!(juror.handler.asked.lock().unwrap()[0].record.node, "worker-1");

    let controller = client(&authority, &authority.issue_controller().unwrap());
    let promised = controller.promise("juror", &juror.address, promise_of("worker-1")).await.unwrap();
    assert_eq!(promised, PromiseAnswer::Promised { last_no_api_age: Some(Duration::from_millis(1500)) });
    assert_eq!(juror.handler.promised.lock().unwrap().as_slice(), [promise_of("worker-1")]);
    assert_eq!(controller.status("juror", &juror.address).await.unwrap().node, "juror");
}

#[tokio::test]
async fn nobody_asks_for_another_node_and_no_agent_collects_promises() {
    let authority = Authority::create().unwrap();
    let juror = juror(Some(credentials(&authority, "juror"))).await;
    let mallory = agent(&authority, "worker-2");
    let client = client(&authority, &mallory);

    let for_another = client.ask("juror", &juror.address, ask_of("worker-1", &mallory)).await;
    assert!(matches!(for_another, Err(CallError::Status { .. })), "{for_another:?}");
    let promise = client.promise("juror", &juror.address, promise_of("worker-1")).await;
    assert!(matches!(promise, Err(CallError::Status { .. })), "{promise:?}");
    let status = client.status("juror", &juror.address).await;
    assert!(matches!(status, Err(CallError::Status { .. })), "{status:?}");
    assert!(juror.handler.asked.lock().unwrap().is_empty());
    assert!(juror.handler.promised.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_agent_is_woken_by_another_under_its_own_name_only() {
    let authority = Authority::create().unwrap();
    let subject = juror(Some(credentials(&authority, "worker-1"))).await;
    let peer = client(&authority, &agent(&authority, "juror"));
    peer.wake("worker-1", &subject.address, "juror").await.unwrap();
    let for_another = peer.wake("worker-1", &subject.address, "worker-3").await;
    assert!(matches!(for_another, Err(CallError::Status { .. })), "{for_another:?}");
    let of_another = peer.wake("worker-2", &subject.address, "juror").await;
    assert!(matches!(of_another, Err(CallError::Dial { .. })), "{of_another:?}");
    assert_eq!(subject.handler.woken.lock().unwrap().as_slice(), ["juror"]);
}

#[tokio::test]
async fn a_node_named_controller_is_not_the_controller() {
    let authority = Authority::create().unwrap();
    let juror = juror(Some(credentials(&authority, "juror"))).await;
    let imposter = client(&authority, &agent(&authority, "controller"));
    let status = imposter.status("juror", &juror.address).await;
    assert!(matches!(status, Err(CallError::Status { .. })), "{status:?}");
}

#[tokio::test]
async fn a_record_that_was_changed_after_signing_is_refused() {
    let authority = Authority::create().unwrap();
    let juror = juror(Some(credentials(&authority, "juror"))).await;
    let subject = agent(&authority, "worker-1");
    let mut ask = ask_of("worker-1", &subject);
    ask.record = ask.record.replace("\"sequence\":3", "\"sequence\":4");

    let answer = client(&authority, &subject).ask("juror", &juror.address, ask).await;
    assert!(matches!(answer, Err(CallError::Status { .. })), "{answer:?}");
    assert!(juror.handler.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn another_agent_at_the_address_of_the_juror_is_not_believed() {
    let authority = Authority::create().unwrap();
    let somebody = juror(Some(credentials(&authority, "somebody-else"))).await;
    let subject = agent(&authority, "worker-1");
    let answer = client(&authority, &subject).ask("juror", &somebody.address, ask_of("worker-1", &subject)).await;
    assert!(matches!(answer, Err(CallError::Dial { .. })), "{answer:?}");
}

#[tokio::test]
async fn strangers_are_turned_away() {
    let (ours, theirs) = (Authority::create().unwrap(), Authority::create().unwrap());
    let juror = juror(Some(credentials(&ours, "juror"))).await;
    let stranger = agent(&theirs, "worker-1");
    // The stranger believes our authority, but shows a certificate of its own.
    let client = AgentClient::new(&stranger, &ours.trust().unwrap(), LIMITS, None).unwrap();
    assert!(client.ask("juror", &juror.address, ask_of("worker-1", &stranger)).await.is_err());
    assert!(juror.handler.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn credentials_arrive_and_rotate_while_serving() {
    let authority = Authority::create().unwrap();
    let juror = juror(None).await;
    let controller = client(&authority, &authority.issue_controller().unwrap());
    assert!(controller.status("juror", &juror.address).await.is_err(), "no certificate yet");

    juror.credentials.send_replace(Some(credentials(&authority, "juror")));
    controller.status("juror", &juror.address).await.unwrap();

    let next = Authority::create().unwrap();
    juror.credentials.send_replace(Some(credentials(&next, "juror")));
    assert!(controller.status("juror", &juror.address).await.is_err(), "the old authority is gone");
    let controller = client(&next, &next.issue_controller().unwrap());
    controller.status("juror", &juror.address).await.unwrap();
}

#[tokio::test]
async fn a_silent_address_costs_no_more_than_the_dial_limit() {
    let authority = Authority::create().unwrap();
    // Listens, and never answers the handshake.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let limits = Limits { dial: Duration::from_millis(50), request: Duration::from_millis(50) };
    let identity = agent(&authority, "worker-1");
    let client = AgentClient::new(&identity, &authority.trust().unwrap(), limits, None).unwrap();
    let answer = client.ask("juror", &address, ask_of("worker-1", &identity)).await;
    assert!(matches!(answer, Err(CallError::Dial { .. })), "{answer:?}");
}

#[tokio::test]
async fn calls_leave_from_the_wanted_address() {
    let authority = Authority::create().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let source = "127.0.0.77".parse().unwrap();
    let identity = agent(&authority, "worker-1");
    let client = AgentClient::new(&identity, &authority.trust().unwrap(), LIMITS, Some(source)).unwrap();
    let ask = ask_of("worker-1", &identity);
    let calling = tokio::spawn(async move { client.ask("juror", &address, ask).await });
    let (_connection, from) = listener.accept().await.unwrap();
    calling.abort();
    assert_eq!(from.ip(), source);
}
