//! Short ways to write answers.

use std::fmt;
use std::time::Duration;

use crate::{Failure, Outcome, Refusal, Verdict};

impl Outcome {
    /// Not done; the host chooses when to call again, at the latest.
    pub fn working(step: impl Into<String>) -> Self {
        Self { verdict: Verdict::Working(None), step: step.into(), memory: Vec::new() }
    }

    /// Done.
    pub fn succeeded(step: impl Into<String>) -> Self {
        Self { verdict: Verdict::Succeeded, step: step.into(), memory: Vec::new() }
    }

    /// It cannot be done; escalation moves on.
    pub fn failed(step: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failed(reason.into()), step: step.into(), memory: Vec::new() }
    }

    /// Of a working answer: call again after this time at the latest.
    #[must_use]
    pub fn within(mut self, wait: Duration) -> Self {
        if let Verdict::Working(after) = &mut self.verdict {
            *after = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        }
        self
    }

    /// What the next call finds in `remediation.memory`; at most 4 KiB.
    #[must_use]
    pub fn remember(mut self, memory: Vec<u8>) -> Self {
        self.memory = memory;
        self
    }
}

impl Refusal {
    /// What the host said.
    pub fn why(&self) -> &str {
        match self {
            Self::PermissionDenied(why) | Self::NotFound(why) | Self::Unavailable(why) | Self::Refused(why) => why,
        }
    }
}

/// With `?`, a refusal ends the call: nothing staged is done, and the host calls again later.
impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Other(format!("the host refused: {}", refusal.why()))
    }
}

impl From<fmt::Error> for Failure {
    fn from(error: fmt::Error) -> Self {
        Self::Other(error.to_string())
    }
}
