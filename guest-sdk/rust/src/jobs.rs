//! Capability `jobs`: run a job that the administrator has defined.

pub use crate::__bindings::palisade::remediation::jobs::{JobResult, JobState};

use crate::{Refusal, host};

/// Runs the job of this name, once for the life of the remediation.
pub fn run(key: &str, name: &str) -> Result<(), Refusal> {
    host::run_job(key, name)
}

/// What came of it.
pub fn result(name: &str) -> Result<JobResult, Refusal> {
    host::job_result(name)
}
