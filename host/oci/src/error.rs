//! Why a registry did not give, or take, something. Every message says where and what to do.

use oci_client::errors::{OciDistributionError, OciErrorCode};

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OciError {
    /// The reference cannot be understood.
    #[error("{text:?} is not a reference ({why}); write registry/repository:tag or registry/repository@sha256:…")]
    Reference {
        /// What was given.
        text: String,
        /// Why not.
        why: String,
    },
    /// The registry wants other credentials, or any.
    #[error("{at}: not authorized; give credentials that may read it (a pull secret that names this registry)")]
    Unauthorized {
        /// Where.
        at: String,
    },
    /// There is nothing of that name.
    #[error("{at}: there is no such artifact")]
    NotFound {
        /// Where.
        at: String,
    },
    /// No answer, or no trust in whoever answers.
    #[error("{at}: the registry cannot be reached: {why}")]
    Unreachable {
        /// Where.
        at: String,
        /// Why.
        why: String,
    },
    /// The certificate is not signed by anybody who is trusted.
    #[error("{at}: the registry's certificate is not trusted: {why}; name the authority that signed it")]
    Untrusted {
        /// Where.
        at: String,
        /// Why.
        why: String,
    },
    /// It is larger than allowed.
    #[error("{at}: the component has {size} bytes, the limit is {limit}; build it for size")]
    TooLarge {
        /// Where.
        at: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// It is something else.
    #[error("{at}: this is no Wasm component: {why}; push it with `palisade remediator push`")]
    NotAComponent {
        /// Where.
        at: String,
        /// What it is instead.
        why: String,
    },
    /// What came is not what was named.
    #[error("{at}: the registry sent something else than was asked for: {why}")]
    Altered {
        /// Where.
        at: String,
        /// What differs.
        why: String,
    },
    /// The settings cannot be used.
    #[error("{0}")]
    Settings(String),
    /// Anything else.
    #[error("{at}: {why}")]
    Other {
        /// Where.
        at: String,
        /// What the registry said.
        why: String,
    },
}

impl OciError {
    /// What the client said, sorted by what somebody can do about it.
    pub(crate) fn of(at: &str, error: &OciDistributionError) -> Self {
        let at = at.to_owned();
        match error {
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_)
            | OciDistributionError::ServerError { code: 401 | 403, .. } => Self::Unauthorized { at },
            OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::ServerError { code: 404, .. } => Self::NotFound { at },
            OciDistributionError::RegistryError { envelope, .. } => {
                let is = |wanted: &[OciErrorCode]| envelope.errors.iter().any(|error| wanted.contains(&error.code));
                if is(&[OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::NotFound]) {
                    Self::NotFound { at }
                } else if is(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                    Self::Unauthorized { at }
                } else {
                    Self::Other { at, why: envelope.to_string() }
                }
            }
            OciDistributionError::DigestError(error) => Self::Altered { at, why: error.to_string() },
            OciDistributionError::RequestError(error) => {
                let why = innermost(error);
                // The TLS stack tells this in words only.
                if why.contains("certificate") || why.contains("UnknownIssuer") {
                    Self::Untrusted { at, why }
                } else {
                    Self::Unreachable { at, why }
                }
            }
            other => Self::Other { at, why: other.to_string() },
        }
    }

    /// The registry may answer otherwise in a moment, without anybody doing anything.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Other { .. })
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
