//! The remediations, second by second, each with its certificate.

use palisade_api::outside::QuestionRecord;
use palisade_api::progress::{ModuleReference, TimeSpent};
use palisade_explain::answer::{RemediationAnswer, of_remediation};
use palisade_explain::history::{Step, told};
use serde::Serialize;

use crate::board::Seen;

/// A remediation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// UID.
    pub uid: String,
    /// The node.
    pub node: String,
    /// How it stands, as `palisade explain` says it.
    #[serde(flatten)]
    pub answer: RemediationAnswer,
    /// What happened.
    pub timeline: Vec<Step>,
    /// Where the time went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<TimeSpent>,
    /// The step that its remediator reached last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The module that carries it out; absent where another operator does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<ModuleReference>,
    /// What people were asked, and what they answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<QuestionRecord>,
}

/// Newest first.
pub fn remediations(seen: &Seen) -> Vec<Shown> {
    let mut all: Vec<Shown> = seen
        .remediations()
        .map(|one| {
            let told = told(&one.said);
            let progress = one.said.progress.as_ref();
            Shown {
                uid: one.uid.clone(),
                node: told.node,
                answer: of_remediation(&one.said),
                timeline: told.timeline,
                spent: told.spent,
                step: progress.and_then(|progress| progress.step_name.clone()),
                module: progress.and_then(|progress| progress.module.clone()),
                questions: progress.map(|progress| progress.questions.clone()).unwrap_or_default(),
            }
        })
        .collect();
    all.sort_by(|a, b| b.answer.created.cmp(&a.answer.created).then_with(|| a.uid.cmp(&b.uid)));
    all
}
