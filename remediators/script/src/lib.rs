//! Runs one job of the administrator's list, once. Its success is the remediation's success; the end of the node's boot
//! it proves only if the administrator declared that it does.

use std::time::Duration;

use palisade_remediator::fencing::{self, Method, Stage};
use palisade_remediator::flow;
use palisade_remediator::jobs::{self, JobState};
use palisade_remediator::workloads::{self, ReleaseMethod};
use palisade_remediator::{Failure, Outcome, Refusal, Remediation, Remediator};

/// A job is looked at this often; its end also wakes the host.
const LOOK: Duration = Duration::from_secs(3);

/// The remediator.
#[derive(Debug)]
pub struct Script;

impl Remediator for Script {
    fn reconcile(remediation: Remediation) -> Result<Outcome, Failure> {
        let remains = workloads::remaining();
        if remediation.deleting {
            return flow::restore(&remains);
        }
        if remains.released.is_some() && remains.gone() {
            return Ok(Outcome::succeeded("released"));
        }
        let name = job(&remediation.parameters);
        if name.is_empty() {
            let reason = "spec.script names no job: it must be the name of a job that the administrator allows; the text \
                          of a script is not run";
            return Ok(Outcome::failed("cannot-start-no-job", reason));
        }
        if remediation.timed_out && remains.released.is_none() {
            return Ok(Outcome::failed("timed-out", "its owner gave up waiting"));
        }
        let fence = fencing::progress();
        if fence.stage == Stage::Contradicted {
            return Ok(Outcome::failed("contradicted", fence.waiting_for));
        }
        let result = match jobs::result(name) {
            Ok(result) => result,
            Err(Refusal::Unavailable(_)) => return Ok(Outcome::working("waiting-for-jobs").within(LOOK)),
            Err(refusal) => return Ok(Outcome::failed("cannot-start-no-job", refusal.why())),
        };
        if result.is_evidence {
            if let Some(proof) = fencing::proof() {
                flow::release(&proof, ReleaseMethod::ResourceDeletion)?;
                return Ok(Outcome::working("releasing"));
            }
            if remains.released.is_some() {
                return Ok(Outcome::working("releasing"));
            }
            fencing::request("fence", Method::External)?;
            if matches!(fence.stage, Stage::Idle | Stage::Requested | Stage::Marked) {
                // What the job proves counts only if the pods of the node were marked before it began.
                return Ok(Outcome::working("marking").within(LOOK));
            }
        }
        match result.state {
            JobState::NotRun => {
                jobs::run("job", name)?;
                Ok(Outcome::working("starting").within(LOOK))
            }
            JobState::Pending | JobState::Running => Ok(Outcome::working("running").within(LOOK)),
            JobState::Succeeded if result.is_evidence => Ok(Outcome::working("waiting-for-proof").within(LOOK)),
            JobState::Succeeded => Ok(Outcome::succeeded("job-succeeded")),
            JobState::Failed => Ok(Outcome::failed("job-failed", format!("job {name} failed: {}", result.detail))),
        }
    }
}

/// Of `{"job":"NAME"}`. Names have no characters that JSON writes otherwise.
fn job(parameters: &str) -> &str {
    let rest = parameters.split_once(r#""job":""#).map_or("", |(_, rest)| rest);
    let name = rest.split('"').next().unwrap_or_default();
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.') { name } else { "" }
}

palisade_remediator::remediator! {
    name: "script",
    remediator: Script,
    capabilities: [fencing, workloads, jobs],
    parameters: r#"{"type":"object","properties":{"job":{"type":"string"}}}"#,
}

#[cfg(test)]
mod tests;
