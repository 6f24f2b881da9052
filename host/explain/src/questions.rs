//! The questions of a remediation to people, and their answers: an annotation in the answerer's own name that repeats the
//! question's code. The code stands for this very object and for the boot that was asked about.

use std::fmt::Write as _;

use anyhow::{Context, bail, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};

/// A question that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// `ApproveAction` or `ConfirmIsolated`.
    pub question: String,
    /// What an answer repeats.
    pub code: String,
    /// The boot it is about.
    pub boot: String,
}

/// An answer.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The annotation: one of `palisade_api::keys::approval`.
    pub key: &'a str,
    /// Which question; whichever waits if absent.
    pub question: Option<&'a str>,
    /// The user, as the API server authenticates whoever owns the client.
    pub who: &'a str,
    /// Why.
    pub why: &'a str,
}

/// What the answerer had before their eyes.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// UID of the remediation.
    pub uid: &'a str,
    /// Code of the question.
    pub code: &'a str,
    /// The boot it is about.
    pub boot: &'a str,
}

/// Answers the question that waits. Fails if it is not the one that was shown any more; a change between reading and
/// writing is caught by the UID in the patch and by the code in the answer.
pub async fn answer(
    api: &Api<DynamicObject>,
    name: &str,
    said: &Said<'_>,
    shown: Option<&Shown<'_>>,
) -> anyhow::Result<Pending> {
    let object = api.get(name).await.with_context(|| format!("remediation {name} cannot be read"))?;
    let pending = pending(&object.data, said.question)?;
    let uid = object.uid().unwrap_or_default();
    if let Some(shown) = shown {
        ensure!(
            shown.uid == uid && shown.code == pending.code && shown.boot == pending.boot,
            "it asks something else now than what you saw: look at it again (remediation {uid}, boot {})",
            pending.boot
        );
    }
    let value = format!("by={}; code={}; why={}", said.who, pending.code, said.why.trim());
    // Of this very object: another one of its name asked nothing.
    let patch = json!({ "metadata": { "uid": uid, "annotations": { said.key: value } } });
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(pending)
}

/// The question that waits: the named one, or whichever does.
pub fn pending(data: &Value, question: Option<&str>) -> anyhow::Result<Pending> {
    let all = data.pointer("/status/palisade/questions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found =
        all.iter().find(|one| one["state"] == "Pending" && question.is_none_or(|question| one["question"] == question));
    if let Some(one) = found {
        return Ok(Pending { question: text(&one["question"]), code: text(&one["code"]), boot: text(&one["bootId"]) });
    }
    let mut asked = String::new();
    for one in all {
        let comma = if asked.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(asked, "{comma}{} {}", text(&one["question"]), text(&one["state"]));
    }
    bail!(
        "it does not ask {} at the moment (asked: {})",
        question.unwrap_or("anything"),
        if asked.is_empty() { "nothing" } else { &asked }
    )
}

/// How the objects of a kind of ours are asked for; the kind by its name, plural or short name.
pub fn kind(wanted: &str) -> Option<ApiResource> {
    let wanted = wanted.to_lowercase();
    let is = |name: &str| name.to_lowercase() == wanted;
    let named = |definition: &CustomResourceDefinition| {
        let names = &definition.spec.names;
        is(&names.kind) || is(&names.plural) || names.short_names.iter().flatten().any(|short| is(short))
    };
    palisade_api::all_crds().iter().find(|definition| named(definition)).map(resource)
}

/// How the objects of one of our definitions are asked for.
pub fn resource(definition: &CustomResourceDefinition) -> ApiResource {
    let names = &definition.spec.names;
    let version = definition.spec.versions.first().map(|version| version.name.as_str()).unwrap_or_default();
    let kind = GroupVersionKind::gvk(&definition.spec.group, version, &names.kind);
    ApiResource::from_gvk_with_plural(&kind, &names.plural)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_question_that_waits_is_answered() {
        let data = json!({ "status": { "palisade": { "questions": [
            { "question": "ApproveAction", "state": "Given", "code": "a", "bootId": "b1" },
            { "question": "ConfirmIsolated", "state": "Pending", "code": "c", "bootId": "b1" },
        ] } } });
        assert_eq!(pending(&data, None).ok().map(|found| found.code), Some("c".to_owned()));
        let error = pending(&data, Some("ApproveAction")).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("ApproveAction Given"), "{error}");
        assert!(pending(&json!({}), None).is_err());
    }

    #[test]
    fn kinds_go_by_all_their_names() {
        for name in ["wasmremediation", "WasmRemediations"] {
            assert_eq!(kind(name).map(|found| found.kind).as_deref(), Some("WasmRemediation"));
        }
        assert!(kind("pod").is_none());
    }
}
