//! Checking what others show: certificate chain, validity, name, then signature.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::{IdentityError, agent_name};

/// The authorities whose certificates count. Several during a rotation.
#[derive(Debug, Clone)]
pub struct Trust {
    roots: Arc<RootCertStore>,
}

impl Trust {
    /// Reads a bundle of PEM certificates; at least one must be usable.
    pub fn from_pem(bundle: &str) -> Result<Self, IdentityError> {
        let unusable = |detail: String| IdentityError::Material { what: "the trust bundle", detail };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unusable("it holds no certificate".into()));
        }
        Ok(Self { roots: Arc::new(roots) })
    }

    /// Whether `signature` (base64) over `bytes` was made by the agent of `node`, whose certificate this is.
    pub fn verify_record(
        &self,
        certificate: &str,
        node: &str,
        bytes: &[u8],
        signature: &str,
    ) -> Result<(), IdentityError> {
        self.verify_record_at(certificate, node, bytes, signature, SystemTime::now())
    }

    /// The same at a given wall-clock time.
    pub fn verify_record_at(
        &self,
        certificate: &str,
        node: &str,
        bytes: &[u8],
        signature: &str,
        now: SystemTime,
    ) -> Result<(), IdentityError> {
        let der = parse(certificate)?;
        let certificate = end_entity(&der)?;
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        certificate
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &self.roots.roots,
                &[],
                UnixTime::since_unix_epoch(since_epoch),
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(|error| IdentityError::Untrusted(error.to_string()))?;
        check_name(&certificate, &agent_name(node))?;
        let signature = BASE64.decode(signature.trim()).map_err(|_| IdentityError::BadSignature)?;
        certificate
            .verify_signature(webpki::aws_lc_rs::ECDSA_P256_SHA256, bytes, &signature)
            .map_err(|_| IdentityError::BadSignature)
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }
}

/// Whether an already verified certificate (of a TLS connection) carries this name.
pub(crate) fn certificate_names(certificate: &CertificateDer<'_>, name: &str) -> Result<(), IdentityError> {
    check_name(&end_entity(certificate)?, name)
}

pub(crate) fn parse(certificate: &str) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(certificate.as_bytes())
        .map_err(|error| IdentityError::Material { what: "the certificate", detail: error.to_string() })
}

fn end_entity<'a>(der: &'a CertificateDer<'a>) -> Result<EndEntityCert<'a>, IdentityError> {
    EndEntityCert::try_from(der)
        .map_err(|error| IdentityError::Material { what: "the certificate", detail: error.to_string() })
}

fn check_name(certificate: &EndEntityCert<'_>, name: &str) -> Result<(), IdentityError> {
    let dns = DnsName::try_from(name).map_err(|_| IdentityError::Name(name.to_owned()))?;
    certificate
        .verify_is_valid_for_subject_name(&ServerName::DnsName(dns))
        .map_err(|_| IdentityError::WrongName(name.to_owned()))
}
