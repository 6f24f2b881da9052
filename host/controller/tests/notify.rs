//! Webhooks against real HTTP servers on this machine, one of which fails first and one of which never answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests outside test functions")]

mod health_support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use health_support::{Cluster, eventually};
use palisade_api::NodeHealthCheck;
use palisade_controller::health::{News, Observe, Options};
use palisade_controller::notify::{Notifier, Pauses, QUEUE};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

const PAUSES: Pauses =
    Pauses { first: Duration::from_millis(10), longest: Duration::from_millis(40), give_up: Duration::from_secs(30) };

/// What arrived: the status that was answered, headers and body.
type Arrived = Arc<Mutex<Vec<(StatusCode, HeaderMap, Value)>>>;

#[derive(Clone)]
struct Hook {
    arrived: Arrived,
    /// Answers in turn; afterwards everything is taken.
    answers: Arc<Mutex<Vec<StatusCode>>>,
    /// Requests wait for one of these.
    gate: Arc<Semaphore>,
    /// Requests that came, also those that wait.
    came: Arc<AtomicUsize>,
}

impl Hook {
    /// Serves on a free port; `answers` are given first.
    async fn serve(answers: &[StatusCode], permits: usize) -> (Self, SocketAddr) {
        let answers = answers.iter().rev().copied().collect();
        let hook = Self {
            arrived: Arc::default(),
            answers: Arc::new(Mutex::new(answers)),
            gate: Arc::new(Semaphore::new(permits)),
            came: Arc::default(),
        };
        let app = Router::new().route("/in/{*rest}", post(take)).with_state(hook.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (hook, address)
    }

    fn taken(&self) -> Vec<Value> {
        let arrived = self.arrived.lock().unwrap();
        arrived.iter().filter(|(status, ..)| status.is_success()).map(|(_, _, body)| body.clone()).collect()
    }
}

async fn take(State(hook): State<Hook>, headers: HeaderMap, body: Bytes) -> StatusCode {
    hook.came.fetch_add(1, Ordering::SeqCst);
    hook.gate.acquire().await.unwrap().forget();
    let status = hook.answers.lock().unwrap().pop().unwrap_or(StatusCode::NO_CONTENT);
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    hook.arrived.lock().unwrap().push((status, headers, body));
    status
}

fn policy(notifications: &Value) -> NodeHealthCheck {
    serde_json::from_value(json!({
        "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
        "metadata": { "name": "nhc", "uid": "u" }, "spec": { "notifications": notifications },
    }))
    .unwrap()
}

fn news(message: &str) -> News<'_> {
    News { reason: "RemediationCreated", warning: false, message, node: Some("b") }
}

const MANY: usize = 1_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_in_order_with_their_header_although_the_webhook_fails_first() {
    // Given a webhook that fails three times, each time in another way, and a token in a Secret that comes late
    let failures = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS];
    let (hook, address) = Hook::serve(&failures, MANY).await;
    let mut cluster = Cluster::new();
    cluster.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "palisade-system" } }));
    cluster.apply(&health_support::template("FooTemplate", "foo"));
    for name in ["a", "b", "c"] {
        cluster.node(name, "True", 3_600).await;
    }
    let notifier = Notifier::new(cluster.client.clone(), "palisade-system", PAUSES);
    cluster.detect_with(Options { observers: vec![Arc::new(notifier)], ..Options::default() });
    // And another that takes connections and never answers
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hooks = json!([
        { "url": format!("http://{address}/in/palisade?team=a"), "header": { "name": "X-Token", "secret": "hook", "key": "token" } },
        { "url": format!("http://{}/", silent.local_addr().unwrap()) },
        { "url": format!("http://{address}/in/warnings"), "reasons": ["NodeQuarantined"] },
    ]);
    cluster.policy(json!({ "notifications": hooks }));
    cluster.status("an idle policy", |status| status["healthyNodes"] == 3).await;
    // When a node fails, it is remediated at once
    cluster.node("b", "Unknown", 60).await;
    cluster.count("Foo", 1).await;
    assert_eq!(hook.taken(), Vec::<Value>::new(), "without its token nothing is sent");
    // And when the token is there, everything arrives, in order
    let header = json!({ "token": "Bearer s3cret\n" });
    cluster.apply(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "hook", "namespace": "palisade-system" }, "stringData": header,
        "data": { "token": "QmVhcmVyIHMzY3JldAo=" } }));
    let taken = eventually("the creation arrives", async || {
        let taken = hook.taken();
        taken.iter().any(|event| event["data"]["reason"] == "RemediationCreated").then_some(taken)
    })
    .await;
    let reasons: Vec<&str> = taken.iter().map(|event| event["data"]["reason"].as_str().unwrap()).collect();
    let position = |reason: &str| reasons.iter().position(|known| *known == reason).unwrap();
    assert!(position("DetectedUnhealthy") < position("RemediationCreated"), "{reasons:?}");
    let created = &taken[position("RemediationCreated")];
    assert_eq!(created["specversion"], "1.0");
    assert_eq!(created["source"], "/apis/remediation.medik8s.io/v1alpha1/nodehealthchecks/nhc");
    assert_eq!((&created["type"], &created["subject"]), (&json!("dev.palisade.RemediationCreated"), &json!("node/b")));
    assert_eq!((&created["data"]["node"], &created["data"]["severity"]), (&json!("b"), &json!("Normal")));
    assert!(created["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    let arrived = hook.arrived.lock().unwrap().clone();
    for (_, headers, _) in &arrived {
        assert_eq!(headers["x-token"], "Bearer s3cret");
        assert_eq!(headers["content-type"], "application/cloudevents+json; charset=utf-8");
    }
    // The first one was sent four times, as the same event
    assert_eq!(arrived.iter().filter(|(.., event)| event["id"] == arrived[0].2["id"]).count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_counted_and_what_is_refused_is_not_sent_again() {
    // Given a webhook that holds its first request, and does not want the first event
    let (hook, address) = Hook::serve(&[StatusCode::UNPROCESSABLE_ENTITY], 0).await;
    let cluster = Cluster::new();
    let notifier = Notifier::new(cluster.client.clone(), "palisade-system", PAUSES);
    let policy = policy(&json!([{ "url": format!("http://{address}/in/x") }]));
    notifier.happened(&policy, &news("0"));
    // It is on its way before the others come.
    eventually("the first is sent", async || (hook.came.load(Ordering::SeqCst) == 1).then_some(())).await;
    let more = QUEUE + 10;
    for number in 1..=more {
        notifier.happened(&policy, &news(&number.to_string()));
    }
    hook.gate.add_permits(MANY);
    let last = more.to_string();
    let taken = eventually("the last arrives", async || {
        let taken = hook.taken();
        taken.iter().any(|event| event["data"]["message"].as_str() == Some(last.as_str())).then_some(taken)
    })
    .await;
    // Then the oldest were lost, which the next one says, and nothing else
    assert_eq!(taken[0]["palisadelost"], 10, "{}", taken[0]);
    assert!(taken[1].get("palisadelost").is_none());
    assert_eq!(taken.len(), QUEUE, "every event is accounted for: one refused, ten lost, the others taken");
    let numbers: Vec<usize> =
        taken.iter().map(|event| event["data"]["message"].as_str().unwrap().parse().unwrap()).collect();
    assert!(numbers.is_sorted());
    assert_eq!(hook.arrived.lock().unwrap()[0].0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_does_not_exist_is_given_up_and_the_next_event_tries_anew() {
    // Given a port on which somebody hangs up at once
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let last = Arc::new(Mutex::new(None));
    let hangs_up = tokio::spawn({
        let last = Arc::clone(&last);
        async move {
            while let Ok((connection, _)) = listener.accept().await {
                *last.lock().unwrap() = Some(tokio::time::Instant::now());
                drop(connection);
            }
        }
    });
    let cluster = Cluster::new();
    let pauses = Pauses { give_up: Duration::from_millis(50), ..PAUSES };
    let notifier = Notifier::new(cluster.client.clone(), "palisade-system", pauses);
    let policy = policy(&json!([{ "url": format!("http://{address}/in/x") }]));
    notifier.happened(&policy, &news("lost"));
    let told = tokio::time::Instant::now();
    // An attempt that fails when the event is old was the last one, however slow this machine is; so was one after which
    // there is none for far longer than the pauses between them.
    let is_old = |at: &tokio::time::Instant| *at > told + pauses.give_up || at.elapsed() > 100 * pauses.longest;
    eventually("it is too old", async || last.lock().unwrap().as_ref().is_some_and(is_old).then_some(())).await;
    hangs_up.abort();
    let _ = hangs_up.await;
    // When somebody listens
    let hook = Hook {
        arrived: Arc::default(),
        answers: Arc::default(),
        gate: Arc::new(Semaphore::new(MANY)),
        came: Arc::default(),
    };
    let app = Router::new().route("/in/{*rest}", post(take)).with_state(hook.clone());
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    notifier.happened(&policy, &news("found"));
    let taken = eventually("the next one", async || Some(hook.taken()).filter(|taken| !taken.is_empty())).await;
    assert_eq!(taken[0]["data"]["message"], "found");
}

/// Serves TLS with a certificate of an authority that nobody knows: takes every event. Returns the authority as PEM.
async fn private_webhook(arrived: &Arc<Mutex<Vec<Value>>>) -> (SocketAddr, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let arrived = Arc::clone(arrived);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            // One that does not trust the certificate hangs up.
            let Ok(mut connection) = acceptor.accept(connection).await else { continue };
            let mut request = Vec::new();
            while connection.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&request).into_owned();
                let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
                if let Ok(event) = serde_json::from_str(&body) {
                    arrived.lock().unwrap().push(event);
                    let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                    connection.write_all(answer).await.unwrap();
                    let _ = connection.shutdown().await;
                    break;
                }
            }
        }
    });
    (address, certified.cert.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_with_a_private_authority_is_reached_once_that_is_named_and_known() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Given a webhook whose authority the policy names, in a Secret that is not there yet
    let arrived = Arc::default();
    let (address, authority) = private_webhook(&arrived).await;
    let cluster = Cluster::new();
    cluster.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "palisade-system" } }));
    let notifier = Notifier::new(cluster.client.clone(), "palisade-system", PAUSES);
    let url = format!("https://localhost:{}/in", address.port());
    let policy = policy(&json!([{ "url": url, "authority": { "secret": "hooks" } }]));
    notifier.happened(&policy, &news("private"));
    // When another authority is there, then nothing arrives, as without one
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let secret = |pem: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "hooks", "namespace": "palisade-system" },
            "data": { "ca.crt": k8s_openapi::ByteString(pem.as_bytes().to_vec()) },
        })
    };
    cluster.apply(&secret(&other));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(arrived.lock().unwrap().is_empty());
    // When the right one is there
    cluster.apply(&secret(&authority));
    let event = eventually("the event", async || arrived.lock().unwrap().first().cloned()).await;
    assert_eq!(event["data"]["message"], "private");
}
