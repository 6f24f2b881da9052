//! One question: does anybody answer there?

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Port of every kubelet.
pub const KUBELET_PORT: u16 = 10250;
/// Beginning of any answer in HTTP/1.
const ANSWER: &[u8] = b"HTTP/1.";

/// Where something is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// HTTP, with TLS if so; any answer counts, also a refusal.
    Http {
        /// Whether to speak TLS. The certificate is not judged: the question is whether anybody answers.
        tls: bool,
        /// `host:port`.
        address: String,
        /// Host without port.
        host: String,
        /// Path and query.
        path: String,
    },
    /// TCP: accepted or refused, both are answers.
    Tcp {
        /// `host:port`.
        address: String,
    },
}

impl Target {
    /// The kubelet of a node.
    pub fn kubelet(node: IpAddr) -> Self {
        let address = SocketAddr::new(node, KUBELET_PORT);
        Self::Http { tls: true, address: address.to_string(), host: node.to_string(), path: "/healthz".into() }
    }

    /// `endpointHealthCheckUrl`: a URL, or a host with or without a port. Empty: none.
    pub fn endpoint(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let bad =
            |why: &str| format!("endpointHealthCheckUrl {text:?} {why}; write https://host/path, host or host:port");
        let Some((scheme, _)) = text.split_once("://") else {
            let bare: Option<IpAddr> = text.trim_matches(['[', ']']).parse().ok();
            let address = match bare {
                Some(ip) => SocketAddr::new(ip, 443).to_string(),
                None if text.contains(['/', ' ']) => return Err(bad("is not a host")),
                None if text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => text.to_owned(),
                None if text.contains(':') => return Err(bad("has a port that is not a number")),
                None => format!("{text}:443"),
            };
            return Ok(Some(Self::Tcp { address }));
        };
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(bad("is neither http nor https")),
        };
        let uri: Uri = text.parse().map_err(|error| bad(&format!("is not a URL ({error})")))?;
        let host = uri.host().ok_or_else(|| bad("has no host"))?;
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        Ok(Some(Self::Http {
            tls,
            address: format!("{host}:{port}"),
            host: host.trim_matches(['[', ']']).to_owned(),
            path,
        }))
    }

    /// Whether it answers within the limit.
    pub async fn answers(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.ask()).await.unwrap_or(false)
    }

    async fn ask(&self) -> bool {
        match self {
            Self::Tcp { address } => match TcpStream::connect(address).await {
                Ok(_) => true,
                Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
            },
            Self::Http { tls, address, host, path } => {
                let Ok(stream) = TcpStream::connect(address).await else { return false };
                if !tls {
                    return exchange(stream, host, path).await;
                }
                let Some((config, name)) = anybody().zip(ServerName::try_from(host.clone()).ok()) else {
                    return false;
                };
                match TlsConnector::from(config).connect(name, stream).await {
                    Ok(stream) => exchange(stream, host, path).await,
                    Err(_) => false,
                }
            }
        }
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str, path: &str) -> bool {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut first = [0; ANSWER.len()];
    stream.write_all(request.as_bytes()).await.is_ok()
        && stream.flush().await.is_ok()
        && stream.read_exact(&mut first).await.is_ok()
        && first == ANSWER
}

/// TLS towards whoever it is: nothing secret is said, and nothing is believed but that somebody answered.
fn anybody() -> Option<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(Anybody(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(Arc::new(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
