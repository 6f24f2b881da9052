//! Private keys: making, keeping, asking for a certificate, signing records.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{CertificateParams, CertificateSigningRequestParams, DnType, KeyPair, PublicKeyData, SigningKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{IdentityError, agent_name, material};

/// A P-256 private key. Cheap to clone; never printed.
#[derive(Clone)]
pub struct Key {
    pair: Arc<KeyPair>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(P-256)")
    }
}

impl Key {
    /// A fresh key.
    pub fn generate() -> Result<Self, IdentityError> {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(material("a new key"))?;
        Ok(Self { pair: Arc::new(pair) })
    }

    /// Reads a PKCS#8 key.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(pem, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(material("the private key"))?;
        Ok(Self { pair: Arc::new(pair) })
    }

    /// The key in PKCS#8 PEM. Whoever holds it is this node.
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// A certificate signing request (PEM) for a node's agent.
    pub fn signing_request(&self, node: &str) -> Result<String, IdentityError> {
        let mut params =
            CertificateParams::new(vec![agent_name(node)]).map_err(|_| IdentityError::Name(node.to_owned()))?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, node);
        let request = params.serialize_request(self.pair.as_ref()).map_err(material("the signing request"))?;
        request.pem().map_err(material("the signing request"))
    }

    /// Base64 signature over exactly these bytes (ECDSA P-256 with SHA-256, ASN.1).
    pub fn sign(&self, bytes: &[u8]) -> Result<String, IdentityError> {
        Ok(BASE64.encode(self.pair.sign(bytes).map_err(material("the signing key"))?))
    }

    /// Whether a certificate was issued for this key. One that was issued for an earlier boot's key is of no use.
    pub fn owns(&self, certificate: &str) -> bool {
        certificate_key(certificate).is_some_and(|key| key == self.pair.subject_public_key_info())
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    pub(crate) fn tls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pair.serialize_der()))
    }
}

/// Whether a certificate answers a signing request: same public key. The controller issues anew when it does not.
pub fn request_matches_certificate(request: &str, certificate: &str) -> bool {
    let Ok(request) = CertificateSigningRequestParams::from_pem(request) else { return false };
    certificate_key(certificate).is_some_and(|key| key == request.public_key.subject_public_key_info())
}

/// The public key of a PEM certificate, as `SubjectPublicKeyInfo` DER.
fn certificate_key(pem: &str) -> Option<Vec<u8>> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let certificate = webpki::EndEntityCert::try_from(&der).ok()?;
    Some(certificate.subject_public_key_info().as_ref().to_vec())
}
