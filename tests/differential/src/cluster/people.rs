//! People who answer.

use palisade_conformance::remediators::subject::Subject;
use serde_json::Value;

use super::observe::text;

/// An administrator answers a question as soon as it is asked.
pub async fn answer(subject: &Subject, question: &str, key: &str) -> anyhow::Result<()> {
    let pending = |object: &Value| {
        let all = object["status"]["palisade"]["questions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|one| one["question"] == question && one["state"] == "Pending")
    };
    let asked = |object: &Value| pending(object).map(drop).ok_or_else(|| "it is not asked".to_owned());
    let object = subject.until(&format!("question {question}"), asked).await?;
    let question = pending(&object).unwrap_or_default();
    subject.annotate(key, &format!("by=admin; code={}; why=looked at it", text(&question["code"]))).await
}
