//! Asking people, and taking in their answers: what may be done, and that the node is isolated, are two questions.
//!
//! An answer is an annotation on the remediation, `by=USER; code=CODE; why=REASON`. The code is made when the question is
//! asked and is bound, in the status, to this remediation's UID and to the boot that the node named then. That `by` is
//! who wrote the annotation, and may answer, is the admission policy's to say; without it no answer counts.

mod answers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::Api;
use palisade_api::keys::approval::{APPROVE, BREAK_GLASS, CONFIRM, DENY, POLICY};
use palisade_api::outside::QuestionRecord;
use palisade_api::progress::Progress;
use palisade_core::fencing::proof::{Grade, ProofKind};
use palisade_core::fencing::record::BootId;
use palisade_runtime::{AnswerState, AnswerView, Answered, ApprovalView, PersonView, Question, RefusalReason};

use super::{About, Sighting};
use crate::clock;
use crate::context::{Context, Target};
use crate::error::Error;
use crate::fence::read::limited;

pub use answers::{Scene, take_in};

/// A state that is not final.
const PENDING: &str = "Pending";

/// Why answers cannot be trusted in this cluster; `None`: they can.
pub async fn is_checked(context: &Context) -> Result<Option<String>, Error> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(context.client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(context.client.clone());
    let policy = limited("admission policy", policies.get_opt(POLICY)).await?;
    let binding = limited("admission policy binding", bindings.get_opt(POLICY)).await?;
    let strict = policy.and_then(|policy| policy.spec).is_some_and(|spec| {
        spec.failure_policy.as_deref().is_none_or(|failure| failure == "Fail")
            && spec.validations.is_some_and(|validations| !validations.is_empty())
    });
    let denies = binding.map(|binding| binding.spec).is_some_and(|spec| {
        spec.policy_name == POLICY
            && spec.match_resources.is_none()
            && spec.validation_actions.iter().any(|action| action == "Deny")
    });
    Ok((!strict || !denies).then(|| {
        format!(
            "the cluster does not check who answers: ValidatingAdmissionPolicy {POLICY} or its binding is missing or does \
             not deny; install deploy/admission/approvals.yaml"
        )
    }))
}

/// Asks, once for the life of the remediation. What to tell people, if it is news.
pub fn ask(
    progress: &mut Progress,
    target: &Target,
    question: Question,
    message: &str,
    persons: u32,
    expires_millis: Option<u64>,
    boot: &BootId,
) -> Option<String> {
    let name = word(question);
    if progress.questions.iter().any(|known| known.question == name) {
        return None;
    }
    let now = clock::wall();
    let expires = expires_millis.map(|millis| {
        let length = jiff::SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
        seconds(now.0.checked_add(length).unwrap_or(jiff::Timestamp::MAX))
    });
    let code = new_code();
    let text = format!("{message} {}", how_to_answer(target, question, &code));
    progress.questions.push(QuestionRecord {
        question: name.to_owned(),
        message: text.clone(),
        boot_id: boot.to_string(),
        code,
        persons,
        asked: Some(seconds(now.0)),
        expires,
        state: PENDING.to_owned(),
        marked: progress.owned.marked_pods.iter().map(|pod| pod.uid.clone()).collect(),
        answers: Vec::new(),
    });
    Some(text)
}

fn how_to_answer(target: &Target, question: Question, code: &str) -> String {
    let (kind, namespace, name) = (target.kind.to_lowercase(), &target.namespace, &target.name);
    let (yes, flag) = match question {
        Question::ApproveAction => (APPROVE, ""),
        Question::ConfirmIsolated => (CONFIRM, " --confirm-isolated"),
    };
    format!(
        "Yes: palisade approve {kind}/{name} -n {namespace}{flag} --why REASON, or kubectl annotate -n {namespace} {kind} \
         {name} --overwrite {yes}='by=YOU; code={code}; why=REASON'. No: palisade deny {kind}/{name} -n {namespace} --why \
         REASON, or the same with {DENY}."
    )
}

/// What a component is shown.
pub fn view(progress: &Progress, untrusted: Option<&str>) -> Answered<ApprovalView> {
    if let Some(why) = untrusted {
        return Err(RefusalReason::Unavailable(why.to_owned()));
    }
    Ok(ApprovalView {
        action: answer(progress, Question::ApproveAction),
        isolation: answer(progress, Question::ConfirmIsolated),
    })
}

fn answer(progress: &Progress, question: Question) -> AnswerView {
    let Some(record) = find(progress, question) else { return AnswerView::default() };
    let now = clock::wall().0;
    let age = |at: &Time| u64::try_from(now.as_millisecond().saturating_sub(at.0.as_millisecond())).unwrap_or(0);
    let said = if record.state == "Denied" { "no" } else { "yes" };
    let counted = record.answers.iter().filter(|answer| answer.refused.is_none());
    AnswerView {
        state: match record.state.as_str() {
            "Given" => AnswerState::Given,
            "Denied" => AnswerState::Denied,
            "Expired" => AnswerState::Expired,
            "Stale" => AnswerState::Stale,
            "Withdrawn" => AnswerState::Withdrawn,
            _ => AnswerState::Pending,
        },
        persons: counted
            .filter(|answer| answer.says == said || (said == "yes" && answer.says == "break-glass"))
            .map(|answer| PersonView {
                name: answer.who.clone(),
                reason: answer.why.clone(),
                age_millis: answer.at.as_ref().map_or(0, age),
            })
            .collect(),
        missing: if record.state == PENDING { answers::missing(record) } else { 0 },
        left_millis: record
            .expires
            .as_ref()
            .filter(|_| record.state == PENDING)
            .map(|at| u64::try_from(at.0.as_millisecond().saturating_sub(now.as_millisecond())).unwrap_or(0)),
        boot_id: record.boot_id.clone(),
    }
}

/// Enough persons confirmed the isolation of the boot that is fenced, and no pod was marked since they were asked.
pub fn evidence(about: &About<'_>) -> Option<Sighting> {
    let (record, fence) = (find(about.progress, Question::ConfirmIsolated)?, about.fence?);
    let boot = fence.boot.clone()?;
    if record.state != "Given" || record.boot_id != boot.as_str() || answers::outdated(record, fence) {
        return None;
    }
    let who: Vec<String> = record
        .answers
        .iter()
        .filter(|answer| answer.refused.is_none() && answer.says != "no")
        .map(|answer| format!("{} ({})", answer.who, answer.why))
        .collect();
    Some(Sighting {
        kind: ProofKind::HumanConfirmed,
        grade: Grade::Certain,
        boot,
        begun: clock::now(),
        explanation: format!("isolation confirmed by {}", who.join(", ")),
    })
}

/// Nobody waits for an answer any more.
pub fn withdraw(progress: &mut Progress) {
    for record in progress.questions.iter_mut().filter(|record| record.state == PENDING) {
        "Withdrawn".clone_into(&mut record.state);
    }
}

fn find(progress: &Progress, question: Question) -> Option<&QuestionRecord> {
    progress.questions.iter().find(|record| record.question == word(question))
}

fn word(question: Question) -> &'static str {
    match question {
        Question::ApproveAction => "ApproveAction",
        Question::ConfirmIsolated => "ConfirmIsolated",
    }
}

fn new_code() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..10].to_owned()
}

fn seconds(at: jiff::Timestamp) -> Time {
    Time(jiff::Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// Annotation keys that answer a question, with what each says.
fn keys(question: &str) -> &'static [(&'static str, &'static str)] {
    match question {
        "ApproveAction" => &[(APPROVE, "yes"), (DENY, "no")],
        _ => &[(CONFIRM, "yes"), (BREAK_GLASS, "break-glass"), (DENY, "no")],
    }
}

type Annotations = BTreeMap<String, String>;
type Uids<'a> = BTreeSet<&'a str>;
