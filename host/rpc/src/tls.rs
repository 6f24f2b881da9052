//! Mutual TLS 1.3 with one crypto provider, named explicitly: no process-wide default is needed or changed.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::identity::{Identity, IdentityError, Trust};

/// HTTP/2, the only protocol spoken.
pub(crate) const ALPN: &[u8] = b"h2";

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn tls_error(error: impl std::fmt::Display) -> IdentityError {
    IdentityError::Material { what: "the TLS identity", detail: error.to_string() }
}

/// A server that shows `identity` and wants a client certificate of `trust`.
pub fn server_config(identity: &Identity, trust: &Trust) -> Result<Arc<ServerConfig>, IdentityError> {
    server_config_of(trust.roots(), vec![crate::identity::parse(&identity.certificate)?], identity.key.tls())
}

/// The same for any certificate and any roots.
pub(crate) fn server_config_of(
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, IdentityError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build().map_err(tls_error)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(tls_error)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Every answer is judged by the certificate shown for it: no resumed sessions.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A client that shows `identity` and believes certificates of `trust`.
pub fn client_config(identity: &Identity, trust: &Trust) -> Result<Arc<ClientConfig>, IdentityError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .with_root_certificates(trust.roots())
        .with_client_auth_cert(vec![crate::identity::parse(&identity.certificate)?], identity.key.tls())
        .map_err(tls_error)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}
