//! The story of one job, call by call.

use palisade_remediator::Verdict;
use palisade_remediator::fencing::{Method, ProofKind, Stage};
use palisade_remediator::jobs::{JobResult, JobState};
use palisade_remediator::testing::{Effect, Played, Scenario};
use palisade_remediator::workloads::ReleaseMethod;

use super::{Script, job};

fn scenario(state: JobState, is_evidence: bool) -> Scenario {
    let mut scenario = Scenario::new();
    scenario.remediation.parameters = r#"{"job":"power-cut"}"#.into();
    let result =
        JobResult { state, exit_code: None, age: None, output: String::new(), detail: "exit 3".into(), is_evidence };
    scenario.jobs = vec![("power-cut".into(), result)];
    scenario
}

fn effects(played: &Played) -> Vec<&Effect> {
    played.effects.iter().map(|(_, effect)| effect).collect()
}

#[test]
fn b3_2_a_job_is_started_only_while_none_was_run() {
    let played = scenario(JobState::NotRun, false).play::<Script>();
    assert_eq!(effects(&played), [&Effect::RunJob("power-cut".into())]);
    for state in [JobState::Pending, JobState::Running, JobState::Succeeded, JobState::Failed] {
        assert!(scenario(state, false).play::<Script>().effects.is_empty(), "{state:?}");
    }
}

#[test]
fn cs_13_success_without_trust_is_no_evidence() {
    let played = scenario(JobState::Succeeded, false).play::<Script>();
    assert!(played.effects.is_empty());
    assert_eq!(played.answer.unwrap().verdict, Verdict::Succeeded);
}

#[test]
fn evidence_needs_marks_before_the_job_and_the_hosts_proof_after_it() {
    let mut scenario_ = scenario(JobState::NotRun, true);
    scenario_.fencing.stage = Stage::Idle;
    assert_eq!(effects(&scenario_.play::<Script>()), [&Effect::RequestFence(Method::External)]);
    scenario_.fencing.stage = Stage::Intended;
    assert!(scenario_.play::<Script>().asks(&Effect::RunJob("power-cut".into())));

    let mut done = scenario(JobState::Succeeded, true);
    done.fencing.stage = Stage::Intended;
    assert_eq!(done.play::<Script>().step(), "waiting-for-proof");
    let played = done.proven(ProofKind::PoweredOff).play::<Script>();
    assert!(played.asks(&Effect::Release("proof-1".into(), ReleaseMethod::ResourceDeletion)));
}

#[test]
fn b3_1_the_text_of_a_script_is_never_run() {
    for script in ["", "rm -rf /", r#"a\"b"#, "echo hello\\n"] {
        let mut scenario = scenario(JobState::NotRun, false);
        scenario.remediation.parameters = format!(r#"{{"job":"{script}"}}"#);
        let played = scenario.play::<Script>();
        assert!(played.effects.is_empty());
        assert!(
            matches!(played.answer.unwrap().verdict, Verdict::Failed(why) if why.contains("names no job")),
            "{script}"
        );
    }
    assert_eq!(job(r#"{"job":"a-b.c"}"#), "a-b.c");
}

#[test]
fn b3_3_a_remediation_that_is_over_runs_nothing() {
    let mut scenario_ = scenario(JobState::NotRun, false);
    scenario_.remediation.deleting = true;
    assert!(!scenario_.play::<Script>().asks(&Effect::RunJob("power-cut".into())));
    let mut scenario_ = scenario(JobState::NotRun, false);
    scenario_.remediation.timed_out = true;
    assert!(scenario_.play::<Script>().effects.is_empty());
}

#[test]
fn a_failed_job_says_why() {
    let played = scenario(JobState::Failed, false).play::<Script>();
    assert!(matches!(played.answer.unwrap().verdict, Verdict::Failed(why) if why.contains("exit 3")));
}
