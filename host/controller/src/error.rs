//! Why a pass over a remediation did not come to its end. Each is retried.

use std::time::Duration;

/// Runs something with a limit: a request that hangs must not hold up a node's fencing for ever.
pub async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(Error::Busy(format!("{what} did not come to an end within {limit:?}"))))
}

/// An error of one pass; other remediations go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API did not answer, or refused.
    #[error("{}", api_text(.0))]
    Api(Box<kube::Error>),
    /// Somebody else wrote the object in between; the next pass sees it.
    #[error("the object was changed meanwhile")]
    Conflict,
    /// Too much is going on for one pass.
    #[error("{0}")]
    Busy(String),
    /// Something stands in the way that only a change of an object can remove.
    #[error("{0}")]
    Blocked(String),
}

impl Error {
    /// The API server does not know the object (any more).
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// The controller lacks a right.
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Api(error) => match &**error {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 409 => Self::Conflict,
            _ => Self::Api(Box::new(error)),
        }
    }
}

fn api_text(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("the API server refused ({}): {}", status.code, status.message),
        other => format!("the API server cannot be reached: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_hangs_is_given_up() {
        let hangs = std::future::pending::<Result<(), Error>>();
        let error = within(Duration::from_mins(1), "the pass", hangs).await.unwrap_err();
        assert_eq!(error.to_string(), "the pass did not come to an end within 60s");
    }
}
