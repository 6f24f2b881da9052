//! The controller's certificate authority: makes itself, and certifies agents under their node names.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PublicKeyData,
};
use time::{Duration, OffsetDateTime};

use super::{CONTROLLER_NAME, Identity, IdentityError, Key, Trust, agent_name, material};

/// Certificates begin this long in the past: clocks of nodes may be wrong, and no safety rests on the date.
const BACKDATED: Duration = Duration::days(1);
const AUTHORITY_VALID: Duration = Duration::days(3650);
const CERTIFICATE_VALID: Duration = Duration::days(365);
/// A certificate with less validity left than this is issued anew, for the same key. Long enough that a controller may
/// be away for weeks.
pub const RENEW_BEFORE: std::time::Duration = std::time::Duration::from_hours(90 * 24);

/// Signs certificates of agents and of the controller.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    /// Certificates of other authorities that count as well, during a rotation.
    others: String,
    key: Key,
    issuer: Issuer<'static, OwnedKey>,
}

/// The key as rcgen's issuer wants to own it.
#[derive(Debug)]
struct OwnedKey(Key);

impl PublicKeyData for OwnedKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.pair().der_bytes()
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        PublicKeyData::algorithm(self.0.pair())
    }
}

impl rcgen::SigningKey for OwnedKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.pair().sign(message)
    }
}

impl Authority {
    /// A new authority with its own key.
    pub fn create() -> Result<Self, IdentityError> {
        let key = Key::generate()?;
        let mut params = CertificateParams::new(Vec::new()).map_err(material("the authority"))?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "palisade agents");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let now = OffsetDateTime::now_utc();
        params.not_before = now - BACKDATED;
        params.not_after = now + AUTHORITY_VALID;
        let certificate = params.self_signed(key.pair()).map_err(material("the authority"))?.pem();
        Self::open(&certificate, key)
    }

    /// Opens a stored authority (`ca.crt`, `ca.key`).
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, IdentityError> {
        Self::open(certificate, Key::from_pem(key)?)
    }

    fn open(certificate: &str, key: Key) -> Result<Self, IdentityError> {
        if !key.owns(certificate) {
            return Err(IdentityError::Material {
                what: "the authority",
                detail: "its certificate was made for another key".into(),
            });
        }
        let issuer = Issuer::from_ca_cert_pem(certificate, OwnedKey(key.clone())).map_err(material("the authority"))?;
        Ok(Self { certificate: certificate.to_owned(), others: String::new(), key, issuer })
    }

    /// The same authority, which believes these others too (PEM): the one before it, or the one to come.
    #[must_use]
    pub fn believing(mut self, others: &str) -> Self {
        others.clone_into(&mut self.others);
        self
    }

    /// The authority's certificate (PEM): what everybody trusts.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// The authority's private key (PEM), for the Secret.
    pub fn key_pem(&self) -> String {
        self.key.to_pem()
    }

    /// Everything that is to be trusted (PEM): this authority, and the others of a rotation.
    pub fn bundle(&self) -> String {
        format!("{}\n{}", self.certificate.trim_end(), self.others)
    }

    /// Trust in the bundle.
    pub fn trust(&self) -> Result<Trust, IdentityError> {
        Trust::from_pem(&self.bundle())
    }

    /// Whether a certificate was issued by this very authority for this node, and stays valid for a good while.
    pub fn stands_by(&self, certificate: &str, node: &str) -> bool {
        self.stands_by_at(certificate, node, std::time::SystemTime::now())
    }

    /// The same at a given wall-clock time.
    pub fn stands_by_at(&self, certificate: &str, node: &str, now: std::time::SystemTime) -> bool {
        let Ok(own) = Trust::from_pem(&self.certificate) else { return false };
        // The check ends at the signature, because nothing was signed: everything before it was in order.
        let valid = |at| {
            matches!(own.verify_record_at(certificate, node, b"", "", at), Ok(()) | Err(IdentityError::BadSignature))
        };
        valid(now) && valid(now + RENEW_BEFORE)
    }

    /// Certifies the key of a signing request for this node, for client and server use.
    ///
    /// Only the public key is taken from the request (and its self-signature checked): names and uses are ours.
    pub fn issue_agent(&self, request: &str, node: &str) -> Result<String, IdentityError> {
        let request = CertificateSigningRequestParams::from_pem(request).map_err(material("the signing request"))?;
        if request.public_key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(IdentityError::Material {
                what: "the signing request",
                detail: "its key is not a P-256 key".into(),
            });
        }
        self.issue(&agent_name(node), node, &request.public_key)
    }

    /// A new identity for the controller.
    pub fn issue_controller(&self) -> Result<Identity, IdentityError> {
        let key = Key::generate()?;
        let certificate = self.issue(CONTROLLER_NAME, "palisade controller", key.pair())?;
        Ok(Identity { key, certificate })
    }

    fn issue(&self, name: &str, common: &str, key: &impl PublicKeyData) -> Result<String, IdentityError> {
        if rustls::pki_types::DnsName::try_from(name).is_err() {
            return Err(IdentityError::Name(common.to_owned()));
        }
        let mut params =
            CertificateParams::new(vec![name.to_owned()]).map_err(|_| IdentityError::Name(common.to_owned()))?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = OffsetDateTime::now_utc();
        params.not_before = now - BACKDATED;
        params.not_after = now + CERTIFICATE_VALID;
        Ok(params.signed_by(key, &self.issuer).map_err(material("the certificate"))?.pem())
    }
}
