//! Answering the agents of the stock self node remediation, while a cluster moves from them to these.
//!
//! They ask their peers "is this node healthy?" when they lose the API, and take a peer that does not answer for one that
//! cannot be reached: without this, an outage in the middle of a rollout reboots the nodes that are not updated yet. Only
//! answers are given here. Nothing that such an agent says is ever believed, so the one key that all of them share opens
//! nothing of ours: their callers are served by a server of their own, which knows this one question.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use time::{Duration, OffsetDateTime};
use tonic::{Request, Response, Status};

use crate::identity::{IdentityError, material};
use crate::peer_health_proto::peer_health_server::PeerHealth;
use crate::peer_health_proto::{HealthRequest, HealthResponse};
use crate::tls;

/// The one name in their certificates, whatever the real address is.
pub const SERVER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Certificates of theirs are valid so long.
const VALID: Duration = Duration::days(3650);

/// What a peer knows about a node. The numbers are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The API answers, and there is no remediation for it.
    Healthy = 1,
    /// There is a remediation for it.
    Unhealthy = 2,
    /// The API does not answer.
    ApiError = 3,
}

/// Answers the question.
#[tonic::async_trait]
pub trait PeerHealthHandler: Send + Sync + 'static {
    /// About a node; the name of its machine may be empty.
    async fn is_healthy(&self, node: &str, machine: &str) -> Health;
}

/// The key pair that all stock agents share, PEM, and the authority that signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedPair {
    /// `caPem`.
    pub authority: String,
    /// `certPem`.
    pub certificate: String,
    /// `keyPem`.
    pub key: String,
}

impl SharedPair {
    /// A pair as the stock manager makes it when there is none. The authority's key is forgotten at once.
    pub fn create() -> Result<Self, IdentityError> {
        let key = || KeyPair::generate().map_err(material("the shared key"));
        Self::signed(&key()?, &key()?)
    }

    /// The same with keys of any kind.
    pub fn signed(authority: &KeyPair, leaf: &KeyPair) -> Result<Self, IdentityError> {
        let params = || {
            let mut params = CertificateParams::new(Vec::new()).map_err(material("the shared certificate"))?;
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::OrganizationName, "medik8s");
            params.not_before = OffsetDateTime::now_utc() - Duration::days(1);
            params.not_after = params.not_before + VALID;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
            Ok::<_, IdentityError>(params)
        };
        let mut root = params()?;
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
        let mut shared = params()?;
        shared.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        shared.subject_alt_names = vec![SanType::IpAddress(SERVER_ADDRESS)];
        let root_certificate = root.self_signed(authority).map_err(material("the shared authority"))?;
        let issuer = Issuer::from_params(&root, authority);
        let certificate = shared.signed_by(leaf, &issuer).map_err(material("the shared certificate"))?;
        Ok(Self { authority: root_certificate.pem(), certificate: certificate.pem(), key: leaf.serialize_pem() })
    }

    /// What a server shows and wants: this certificate, and one of the same authority.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, IdentityError> {
        let roots = Arc::new(self.roots()?);
        tls::server_config_of(roots, vec![self.leaf()?], self.private_key()?)
    }

    /// The authority as a root.
    pub fn roots(&self) -> Result<RootCertStore, IdentityError> {
        let mut roots = RootCertStore::empty();
        let parsed = CertificateDer::from_pem_slice(self.authority.as_bytes()).map_err(material("caPem"))?;
        roots.add(parsed).map_err(material("caPem"))?;
        Ok(roots)
    }

    /// The shared certificate.
    pub fn leaf(&self) -> Result<CertificateDer<'static>, IdentityError> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).map_err(material("certPem"))
    }

    /// The shared key, in any of the three usual encodings.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, IdentityError> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(material("keyPem"))
    }
}

/// The service around a handler.
pub(crate) struct Service(pub Arc<dyn PeerHealthHandler>);

#[tonic::async_trait]
impl PeerHealth for Service {
    async fn is_healthy(&self, request: Request<HealthRequest>) -> Result<Response<HealthResponse>, Status> {
        let request = request.into_inner();
        if request.node_name.is_empty() {
            return Err(Status::invalid_argument("nodeName is empty: name the node that asks"));
        }
        let health = self.0.is_healthy(&request.node_name, &request.machine_name).await;
        tracing::info!(node = request.node_name, ?health, "an agent of the stock product asked");
        Ok(Response::new(HealthResponse { status: health as i32 }))
    }
}
