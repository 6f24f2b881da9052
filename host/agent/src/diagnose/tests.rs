//! Whoever answers, and whoever does not.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);
/// For those that never answer.
const SHORT: Duration = Duration::from_millis(300);

fn endpoint(text: &str) -> Target {
    Target::endpoint(text).unwrap().unwrap()
}

#[test]
fn every_usual_way_to_write_an_endpoint_is_understood() {
    assert_eq!(Target::endpoint(" ").unwrap(), None);
    let tcp = |address: &str| Target::Tcp { address: address.into() };
    assert_eq!(endpoint("router.example"), tcp("router.example:443"));
    assert_eq!(endpoint("10.0.0.1:53"), tcp("10.0.0.1:53"));
    assert_eq!(endpoint("fd00::1"), tcp("[fd00::1]:443"));
    let Target::Http { tls, address, host, path } = endpoint("https://[fd00::1]/x?y") else { panic!() };
    assert_eq!((tls, address.as_str(), host.as_str(), path.as_str()), (true, "[fd00::1]:443", "fd00::1", "/x?y"));
    for nonsense in ["ftp://x", "a host", "x:port", "https://"] {
        assert!(Target::endpoint(nonsense).unwrap_err().contains("endpointHealthCheckUrl"), "{nonsense}");
    }
}

#[tokio::test]
async fn any_answer_counts_and_silence_does_not() {
    // Given a server that refuses everything politely, and one that accepts connections and never says a word,
    let polite = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let polite_at = polite.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = polite.accept().await.unwrap();
            let mut request = [0; 64];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n").await;
        }
    });
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_at = silent.local_addr().unwrap();
    // then the refusal is an answer, and the silence is none, whatever TCP says.
    assert!(endpoint(&format!("http://{polite_at}/")).answers(LIMIT).await);
    assert!(!endpoint(&format!("http://{silent_at}/")).answers(SHORT).await);
    assert!(!endpoint(&format!("https://{silent_at}/")).answers(SHORT).await);
    // A host that refuses a connection is there.
    drop(silent);
    assert!(endpoint(&silent_at.to_string()).answers(LIMIT).await);
    // A name that cannot be resolved is not.
    assert!(!endpoint("no-such-host.invalid").answers(LIMIT).await);
}

/// Answers everything, politely, until it is dropped.
async fn answering() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 64];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        }
    });
    (at, serving)
}

#[tokio::test]
async fn c107_an_endpoint_that_answered_and_does_not_any_more_is_lost() {
    // Given a kubelet and an endpoint that answer,
    let (kubelet, _kubelet) = answering().await;
    let (router, serving) = answering().await;
    let diagnosis = SelfDiagnosis::of(Some(endpoint(&format!("http://{kubelet}/healthz"))));
    diagnosis.watch_endpoint(&format!("http://{router}/"), LIMIT).await.unwrap();
    diagnosis.check(LIMIT).await.unwrap();
    // when the endpoint does not any more, although its host can be resolved and reached,
    serving.abort();
    let _ = serving.await;
    // then the node is not well.
    let why = diagnosis.check(LIMIT).await.unwrap_err();
    assert!(why.contains("answered before"), "{why}");
    // One that never answered has no part in it, and neither has nonsense.
    diagnosis.watch_endpoint("http://127.0.0.1:1/", LIMIT).await.unwrap();
    diagnosis.check(LIMIT).await.unwrap();
    assert!(diagnosis.watch_endpoint("ftp://x", LIMIT).await.is_err());
    diagnosis.check(LIMIT).await.unwrap();
}

#[tokio::test]
async fn c107_a_kubelet_that_accepts_and_says_nothing_is_dead_within_the_limit() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let diagnosis = SelfDiagnosis::of(Some(endpoint(&format!("http://{at}/healthz"))));
    let begun = std::time::Instant::now();
    let why = diagnosis.check(SHORT).await.unwrap_err();
    assert!(why.contains("kubelet"), "{why}");
    assert!(begun.elapsed() < LIMIT);
    assert!(SelfDiagnosis::new(None).check(SHORT).await.is_err(), "whoever cannot be asked is not well");
}

#[tokio::test]
async fn a_kubelet_is_asked_by_tls_whatever_its_certificate() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["kubelet".into()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
        let mut request = [0; 64];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n").await;
        let _ = stream.flush().await;
    });
    let Target::Http { tls, host, path, .. } = Target::kubelet(IpAddr::from([127, 0, 0, 1])) else { panic!() };
    let here = Target::Http { tls, address: format!("127.0.0.1:{port}"), host, path };
    assert!(here.answers(LIMIT).await);
}
