//! Who is who: one P-256 key per agent and boot, certified by the controller's authority under the node's name.
//!
//! A lease record counts only if its signature verifies: the certificate chains to the trust, is valid now, names the
//! node, and made the signature. One compromised node can then speak for itself and for nobody else.

mod authority;
mod key;
mod trust;

pub use authority::{Authority, RENEW_BEFORE};
pub use key::{Key, request_matches_certificate};
pub use trust::Trust;
pub(crate) use trust::{certificate_names, parse};

/// DNS suffix of the agents' certificate names.
pub const AGENTS_SUFFIX: &str = "agents.palisade.dev";

/// Certificate name of the controller. Outside the agents' suffix, so that no node can be called that.
pub const CONTROLLER_NAME: &str = "controller.palisade.dev";

/// Certificate name (SAN DNS) of a node's agent.
pub fn agent_name(node: &str) -> String {
    format!("{node}.{AGENTS_SUFFIX}")
}

/// What a process shows to prove its name: its key and the certificate issued for it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The private key.
    pub key: Key,
    /// The certificate, PEM.
    pub certificate: String,
}

/// Why a key, certificate or signature is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A key, request or certificate cannot be read or made.
    #[error("{what} cannot be used: {detail}")]
    Material {
        /// Which thing.
        what: &'static str,
        /// What the library said.
        detail: String,
    },
    /// A node name that cannot be a DNS name in a certificate.
    #[error("node name {0:?} cannot be certified: it is not a DNS name of at most 253 characters with its suffix")]
    Name(String),
    /// The certificate does not chain to the trust, or is not valid now.
    #[error("the certificate is not trusted: {0}")]
    Untrusted(String),
    /// The certificate belongs to another name.
    #[error("the certificate does not name {0}")]
    WrongName(String),
    /// The signature was not made over these bytes by the key of the certificate.
    #[error("the signature does not match the record")]
    BadSignature,
}

pub(crate) fn material<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> IdentityError {
    move |error| IdentityError::Material { what, detail: error.to_string() }
}
