//! How registries are spoken to.

use std::time::Duration;

use oci_client::Client;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::credentials::Credentials;
use crate::error::OciError;

/// A connection is made by then.
const CONNECT: Duration = Duration::from_secs(5);
/// So long a registry may be silent in the middle of an answer.
const READ: Duration = Duration::from_secs(15);

/// Who we are, whom we trust, and how much we take. Always TLS.
#[derive(Debug, Clone)]
pub struct Access {
    /// Logins.
    pub credentials: Credentials,
    /// PEM of the authorities whose registries are trusted, instead of the machine's.
    pub authorities: Option<Vec<u8>>,
    /// Asked before the registry itself, in this order: `registry` or `registry/prefix`.
    pub mirrors: Vec<String>,
    /// Largest component, in bytes.
    pub limit: u64,
    /// The whole of a pull or push takes no longer.
    pub patience: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            authorities: None,
            mirrors: Vec::new(),
            limit: 24 << 20,
            patience: Duration::from_mins(1),
        }
    }
}

impl Access {
    pub(crate) fn client(&self) -> Result<Client, OciError> {
        let mut tls_certs_only = Vec::new();
        if let Some(pem) = &self.authorities {
            for authority in CertificateDer::pem_slice_iter(pem) {
                let der = authority
                    .map_err(|error| OciError::Settings(format!("the registry's authority is no PEM: {error:?}")))?;
                tls_certs_only.push(Certificate { encoding: CertificateEncoding::Der, data: der.to_vec() });
            }
            if tls_certs_only.is_empty() {
                let why = "the registry's authority holds no certificate (PEM, BEGIN CERTIFICATE)";
                return Err(OciError::Settings(why.to_owned()));
            }
        }
        let config = ClientConfig {
            protocol: ClientProtocol::Https,
            tls_certs_only,
            // Another artifact for every platform makes no sense here: an index is no component.
            platform_resolver: None,
            read_timeout: Some(READ),
            connect_timeout: Some(CONNECT),
            user_agent: concat!("palisade/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        Client::try_from(config).map_err(|error| OciError::Settings(format!("no client for registries: {error}")))
    }
}
