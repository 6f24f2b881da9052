//! What came of a Job, from its object and its pods. Pure.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use palisade_runtime::{JobState, JobView};

/// So much of the end of the output is shown, in bytes.
const SHOWN: usize = 1_024;

/// Where a job stands.
pub fn view(job: &Job, pods: &[Pod], now: &Time, is_evidence: bool) -> JobView {
    let status = job.status.clone().unwrap_or_default();
    let condition = |kind: &str| {
        status.conditions.iter().flatten().find(|condition| condition.type_ == kind && condition.status == "True")
    };
    let ended = ended(pods);
    let (state, at, mut detail) = if let Some(failed) = condition("Failed") {
        let why = failed.message.clone().or_else(|| failed.reason.clone()).unwrap_or_default();
        (JobState::Failed, failed.last_transition_time.clone(), why)
    } else if condition("Complete").is_some() {
        (JobState::Succeeded, status.completion_time.clone(), String::new())
    } else if pods.iter().any(|pod| phase(pod) == "Running") {
        (JobState::Running, status.start_time.clone(), String::new())
    } else {
        (JobState::Pending, status.start_time.clone(), waits(pods))
    };
    let exit_code = ended.as_ref().map(|ended| ended.exit_code);
    if let (JobState::Failed, Some(code)) = (state, exit_code) {
        detail = format!("exit code {code}; {detail}");
    }
    JobView {
        state,
        exit_code,
        age_millis: at.map(|at| age(&at, now)),
        output: tail(&ended.and_then(|ended| ended.message).unwrap_or_default()),
        detail,
        is_evidence,
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// The end of the container that ended last, a failed one first.
fn ended(pods: &[Pod]) -> Option<ContainerStateTerminated> {
    let statuses = pods.iter().filter_map(|pod| pod.status.as_ref()).flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    });
    let ends = statuses.filter_map(|status| status.state.as_ref()?.terminated.clone());
    ends.max_by_key(|end| (end.exit_code != 0, end.finished_at.as_ref().map(|at| at.0)))
}

/// Why its pod does not run yet.
fn waits(pods: &[Pod]) -> String {
    let Some(status) = pods.iter().find_map(|pod| pod.status.as_ref()) else {
        return "it has no pod yet".to_owned();
    };
    let waiting = status
        .container_statuses
        .iter()
        .flatten()
        .find_map(|container| container.state.as_ref()?.waiting.clone())
        .and_then(|waiting| waiting.message.or(waiting.reason));
    let scheduling = status.conditions.iter().flatten().find(|condition| condition.status == "False");
    waiting.or_else(|| scheduling.and_then(|condition| condition.message.clone())).unwrap_or_default()
}

fn age(at: &Time, now: &Time) -> u64 {
    u64::try_from(now.0.as_millisecond().saturating_sub(at.0.as_millisecond())).unwrap_or(0)
}

fn tail(text: &str) -> String {
    let mut start = text.len().saturating_sub(SHOWN);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn seen(status: &Value, pods: &[Value]) -> JobView {
        let job: Job = serde_json::from_value(json!({ "metadata": {}, "status": status })).unwrap();
        let pods: Vec<Pod> = pods
            .iter()
            .map(|status| serde_json::from_value(json!({ "metadata": {}, "status": status })).unwrap())
            .collect();
        view(&job, &pods, &Time("2026-01-01T00:10:00Z".parse().unwrap()), false)
    }

    fn terminated(code: i32, message: &str) -> Value {
        json!({ "phase": "Failed", "containerStatuses": [{
            "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": code, "message": message } },
        }] })
    }

    #[test]
    fn a_job_is_pending_running_and_over() {
        let pending = seen(&json!({}), &[]);
        assert_eq!((pending.state, pending.detail.as_str()), (JobState::Pending, "it has no pod yet"));
        assert_eq!(seen(&json!({}), &[json!({ "phase": "Running" })]).state, JobState::Running);
        let done = seen(
            &json!({ "conditions": [{ "type": "Complete", "status": "True" }], "completionTime": "2026-01-01T00:09:00Z" }),
            &[terminated(0, "off\n")],
        );
        assert_eq!((done.state, done.exit_code, done.age_millis), (JobState::Succeeded, Some(0), Some(60_000)));
        assert_eq!(done.output, "off");
    }

    #[test]
    fn cs_15_the_end_of_the_output_is_kept_and_cut() {
        let failed = seen(
            &json!({ "conditions": [{ "type": "Failed", "status": "True", "message": "it took too long" }] }),
            &[terminated(3, &format!("{}end", "ä".repeat(2_000)))],
        );
        assert_eq!((failed.state, failed.exit_code), (JobState::Failed, Some(3)));
        assert_eq!(failed.detail, "exit code 3; it took too long");
        assert!(failed.output.len() <= SHOWN && failed.output.ends_with("end"));
    }
}
