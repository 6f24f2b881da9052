//! `palisade approve` and `palisade deny`: answers to the questions of a remediation, under the caller's own name.

use anyhow::{Context, bail};
use clap::Args;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::{Client, ResourceExt};
use palisade_api::keys::approval::{APPROVE, BREAK_GLASS, CONFIRM, DENY};
use serde_json::{Value, json};

use crate::connect::{Connection, resource, user, wait};

/// Which remediation, and why.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The remediation, for example `wasmremediation/worker-1`.
    #[arg(value_name = "KIND/NAME")]
    remediation: String,
    /// Its namespace.
    #[arg(long, short, default_value = palisade_api::keys::palisade::NAMESPACE)]
    namespace: String,
    /// Why: recorded with your name and the time.
    #[arg(long, value_name = "REASON")]
    why: String,
    #[command(flatten)]
    connection: Connection,
}

/// What to say yes to.
#[derive(Debug, Args)]
pub struct Yes {
    #[command(flatten)]
    common: Arguments,
    /// You looked: the node is powered off or cut off, cannot write to anything, and stays so.
    #[arg(long)]
    confirm_isolated: bool,
    /// Confirm in an emergency, alone, for everybody who would have to. Told loudly.
    #[arg(long, requires = "confirm_isolated")]
    break_glass: bool,
}

/// Says yes.
pub fn approve(yes: &Yes) -> anyhow::Result<()> {
    let (question, key) = match (yes.confirm_isolated, yes.break_glass) {
        (false, _) => ("ApproveAction", APPROVE),
        (true, false) => ("ConfirmIsolated", CONFIRM),
        (true, true) => ("ConfirmIsolated", BREAK_GLASS),
    };
    wait(answer(&yes.common, Some(question), key))
}

/// Says no to whatever is asked.
pub fn deny(arguments: &Arguments) -> anyhow::Result<()> {
    wait(answer(arguments, None, DENY))
}

async fn answer(arguments: &Arguments, question: Option<&str>, key: &str) -> anyhow::Result<()> {
    let client = arguments.connection.client().await?;
    let api = remediations(&client, arguments)?;
    let (kind, name) = split(&arguments.remediation)?;
    let object = api.get(name).await.with_context(|| format!("{kind} {}/{name}", arguments.namespace))?;
    let pending = pending(&object.data, question)?;
    let user = user(&client).await?;
    let value = format!("by={user}; code={}; why={}", pending.code, arguments.why.trim());
    // Of this very object: another one of its name asked nothing.
    let patch = json!({ "metadata": { "uid": object.uid(), "annotations": { key: value } } });
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    println!(
        "{user} answered {} of {kind} {}/{name} (node boot {})",
        pending.question, arguments.namespace, pending.boot
    );
    Ok(())
}

struct Pending {
    question: String,
    code: String,
    boot: String,
}

/// The question that waits: the named one, or whichever does.
fn pending(data: &Value, question: Option<&str>) -> anyhow::Result<Pending> {
    let all = data.pointer("/status/palisade/questions").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let asked: Vec<String> =
        all.iter().map(|one| format!("{} {}", text(&one["question"]), text(&one["state"]))).collect();
    let found =
        all.iter().find(|one| one["state"] == "Pending" && question.is_none_or(|question| one["question"] == question));
    match found {
        Some(one) => {
            Ok(Pending { question: text(&one["question"]), code: text(&one["code"]), boot: text(&one["bootId"]) })
        }
        None => bail!(
            "it does not ask {} at the moment (asked: {})",
            question.unwrap_or("anything"),
            if asked.is_empty() { "nothing".to_owned() } else { asked.join(", ") }
        ),
    }
}

fn remediations(client: &Client, arguments: &Arguments) -> anyhow::Result<Api<DynamicObject>> {
    let (wanted, _) = split(&arguments.remediation)?;
    let wanted = wanted.to_lowercase();
    for definition in palisade_api::all_crds() {
        let names = &definition.spec.names;
        let is = |name: &str| name.to_lowercase() == wanted;
        if is(&names.kind) || is(&names.plural) || names.short_names.iter().flatten().any(|short| is(short)) {
            return Ok(Api::namespaced_with(client.clone(), &arguments.namespace, &resource(&definition)));
        }
    }
    bail!("{wanted:?} is no kind of remediation; use for example wasmremediation/NAME")
}

fn split(text: &str) -> anyhow::Result<(&str, &str)> {
    text.split_once('/').with_context(|| format!("{text:?} is not KIND/NAME, for example wasmremediation/worker-1"))
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
}
