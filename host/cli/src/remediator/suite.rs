//! Behaviour in a file: what a remediator answers when it is shown something. The same file serves every language.
//!
//! ```yaml
//! - name: releases with a proof
//!   given: { proof: LeaseExpired, snapshot: { workloads: { pods: 2 } } }
//!   expect:
//!     outcome: working
//!     step: releasing
//!     effects: [{ do: release, how: ResourceDeletion }]
//! ```
//!
//! `given` is laid over a node `worker-1` that was silent for a minute and has three pods (`inspect` the failure text to
//! see all of it). Of an expected effect only the named fields are compared; the list must be complete.

use std::path::Path;

use anyhow::Context;
use palisade_runtime::{
    AgentReach, AgentView, CallInput, CallReport, Capability, FenceStage, FencingView, Grade, Granted, Journal, Limits,
    Module, NodeCondition, Outcome, ProofAuthority, ProofClaim, ProofKind, RemediationView, Snapshot, TargetView,
    WorkloadsView, gate,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One case.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    #[serde(default)]
    given: Given,
    expect: Expected,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    #[serde(default)]
    remediation: Value,
    #[serde(default)]
    snapshot: Value,
    /// The controller holds a proof of this kind.
    proof: Option<ProofKind>,
    /// Capabilities that the administrator did not grant.
    #[serde(default)]
    withheld: Vec<Capability>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expected {
    outcome: Word,
    step: Option<String>,
    /// The reason of a failure, or the message of an error, contains this.
    says: Option<String>,
    requeue_after_millis: Option<u64>,
    #[serde(default)]
    effects: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum Word {
    Working,
    Succeeded,
    Failed,
    Error,
}

/// How a case went.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// Its name.
    pub name: String,
    /// What was wrong; empty if nothing.
    pub wrong: Vec<String>,
    /// The call.
    #[serde(skip)]
    pub journal: Journal,
}

/// Reads the cases of a file.
pub fn read(path: &Path) -> anyhow::Result<Vec<Case>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_yaml_ng::from_str(&text).with_context(|| path.display().to_string())
}

/// Node `worker-1`, silent for a minute, with three pods and one volume.
pub fn input() -> CallInput {
    let ready = NodeCondition {
        kind: "Ready".into(),
        status: "Unknown".into(),
        reason: "NodeStatusUnknown".into(),
        age_millis: 60_000,
    };
    let boot = || "boot-1".to_owned();
    let remediation = RemediationView {
        uid: "uid-1".into(),
        kind: "SelfNodeRemediation".into(),
        namespace: "palisade-system".into(),
        name: "worker-1".into(),
        node: "worker-1".into(),
        parameters: json!({}),
        ..RemediationView::default()
    };
    let snapshot = Snapshot {
        target: Some(TargetView {
            name: "worker-1".into(),
            boot_id: boot(),
            conditions: vec![ready],
            ..TargetView::default()
        }),
        agent: AgentView {
            reach: AgentReach::Silent,
            boot_id: boot(),
            self_fences: true,
            jury: 3,
            ..AgentView::default()
        },
        fencing: FencingView { stage: FenceStage::Idle, ..FencingView::default() },
        workloads: WorkloadsView {
            pods: 3,
            volume_attachments: 1,
            out_of_service_supported: true,
            ..WorkloadsView::default()
        },
        ..Snapshot::default()
    };
    CallInput { remediation, snapshot, ..CallInput::default() }
}

/// Plays a case.
pub fn play(module: &Module, limits: &Limits, case: &Case) -> anyhow::Result<Verdict> {
    let authority = ProofAuthority::new();
    let given = || format!("case {:?}, field given", case.name);
    let mut input = input();
    input.remediation = laid_over(&input.remediation, &case.given.remediation).with_context(given)?;
    input.snapshot = laid_over(&input.snapshot, &case.given.snapshot).with_context(given)?;
    if let Some(kind) = case.given.proof {
        if case.given.snapshot.get("fencing").is_none() {
            input.snapshot.fencing.stage = FenceStage::Proven;
        }
        input.proof = authority.mint(ProofClaim {
            remediation_uid: input.remediation.uid.clone(),
            node: input.remediation.node.clone(),
            boot_id: "boot-1".into(),
            intent_uid: "intent-1".into(),
            kind,
            grade: Grade::Certain,
            age_millis: 0,
        });
    }
    let granted: Granted = palisade_runtime::CAPABILITIES
        .into_iter()
        .filter(|capability| !case.given.withheld.contains(capability))
        .collect();
    let report = module.call(&input, limits, &granted);
    let mut wrong = case.expect.compare(&report);
    // What the controller would do with it, and that it would be the same every time.
    let context = palisade_runtime::GateContext {
        remediation_uid: &input.remediation.uid,
        node: &input.remediation.node,
        granted: &granted,
        authority: &authority,
        proof: input.proof.as_ref(),
        ledger: &input.ledger,
    };
    if let Err(refusal) = gate(report.effects.clone(), &context) {
        wrong.push(format!("the gate refuses it: {refusal}"));
    }
    if let Err(error) = module.replay(&report.journal) {
        wrong.push(format!("the same call again is not the same: {error}"));
    }
    Ok(Verdict { name: case.name.clone(), wrong, journal: report.journal })
}

fn laid_over<T: Serialize + for<'a> Deserialize<'a>>(base: &T, patch: &Value) -> anyhow::Result<T> {
    let mut value = serde_json::to_value(base)?;
    merge(&mut value, patch, "")?;
    Ok(serde_json::from_value(value)?)
}

/// A field that does not exist is a typing error, not a test.
fn merge(value: &mut Value, patch: &Value, at: &str) -> anyhow::Result<()> {
    match (value, patch) {
        (_, Value::Null) => {}
        (Value::Object(fields), Value::Object(changes)) => {
            // What a manifest or an administrator names freely.
            let open = ["/parameters", "/labels"].iter().any(|end| at.ends_with(end));
            for (name, change) in changes {
                let at = format!("{at}/{name}");
                match fields.get_mut(name) {
                    Some(field) => merge(field, change, &at)?,
                    None if open => {
                        fields.insert(name.clone(), change.clone());
                    }
                    None => {
                        let known: Vec<&String> = fields.keys().collect();
                        anyhow::bail!("{at}: there is no such field; there are {known:?}");
                    }
                }
            }
        }
        (value, patch) => *value = patch.clone(),
    }
    Ok(())
}

impl Expected {
    fn compare(&self, report: &CallReport) -> Vec<String> {
        let (word, says, requeue) = match &report.outcome {
            Ok(Outcome::Working { requeue_after_millis }) => (Word::Working, String::new(), *requeue_after_millis),
            Ok(Outcome::Succeeded) => (Word::Succeeded, String::new(), None),
            Ok(Outcome::Failed { reason }) => (Word::Failed, reason.clone(), None),
            Err(failure) => (Word::Error, failure.message.clone(), None),
        };
        let mut wrong = Vec::new();
        let mut differs = |what: &str, wanted: String, found: String| {
            if wanted != found {
                wrong.push(format!("{what}: expected {wanted}, found {found}"));
            }
        };
        differs("outcome", format!("{:?}", self.outcome), format!("{word:?}"));
        if let Some(step) = &self.step {
            differs("step", step.clone(), report.step.clone());
        }
        if self.requeue_after_millis.is_some() {
            differs("requeueAfterMillis", format!("{:?}", self.requeue_after_millis), format!("{requeue:?}"));
        }
        if let Some(wanted) = &self.says
            && !says.contains(wanted)
        {
            differs("words", format!("…{wanted}…"), says.clone());
        }
        let found: Vec<Value> = report.effects.iter().map(flat).collect();
        let same = found.len() == self.effects.len()
            && self.effects.iter().zip(&found).all(|(wanted, found)| fits(wanted, found));
        if !same {
            differs("effects", json!(self.effects).to_string(), json!(found).to_string());
        }
        if word == Word::Error && self.outcome != Word::Error {
            wrong.push(says);
        }
        wrong.extend(
            report.refusals.iter().filter(|_| self.outcome != Word::Error).map(|refusal| format!("refused: {refusal}")),
        );
        wrong
    }
}

/// An effect with its key among its fields.
fn flat(staged: &palisade_runtime::StagedEffect) -> Value {
    // A plain enum of plain data always has a JSON form.
    let mut value = serde_json::to_value(&staged.effect).unwrap_or_default();
    value["key"] = json!(staged.key);
    value
}

fn fits(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.iter().all(|(name, value)| found.get(name).is_some_and(|found| fits(value, found)))
        }
        (wanted, found) => wanted == found,
    }
}
