//! One node: its verdict, what the verdict rests on, the rule that decides or holds back, and what comes next. Pure.

mod foresee;
mod paint;

use anyhow::bail;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use palisade_api::FencingCertificate;
use palisade_api::keys::{palisade, remediation};
use palisade_api::node_health_check::{NodeHealthCheck, UnhealthyNode};
use palisade_api::reasons::{condition, extension, phase};
use palisade_core::health::Selector;
use serde::Serialize;

use super::State;
use super::cluster::{Remediation, Snapshot, name, ready, taints};

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The node.
    pub node: String,
    /// For scripts.
    pub state: State,
    /// The answer in one sentence.
    pub summary: String,
    /// What the node reports; absent: there is no such node (any more).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<Reported>,
    /// What each policy that selects or tracks it says.
    pub policies: Vec<PolicyAnswer>,
    /// The remediations of the node.
    pub remediations: Vec<RemediationAnswer>,
    /// What could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<String>,
    #[serde(skip)]
    now: Timestamp,
}

/// What the node reports.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reported {
    /// Status of its condition Ready.
    pub ready: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Its reason.
    pub reason: String,
    /// Cordoned.
    pub unschedulable: bool,
    /// Its taints.
    pub taints: Vec<String>,
    /// Labels and annotations of it that rules read.
    pub marks: Vec<String>,
}

/// What a policy says.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAnswer {
    /// The policy.
    pub policy: String,
    /// Its phase, and why.
    pub phase: String,
    /// Why this phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_because: Option<String>,
    /// Its numbers: healthy, observed, and the threshold as it is written.
    pub threshold: String,
    /// Its verdict about the node.
    pub verdict: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The rule that holds back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    /// Why it holds, and what would let it go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// What happens next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// When, at the latest; or when it is looked at again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// Rules about the whole policy that are in force: condition, and what it says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_force: Vec<String>,
    /// What it would do without dryRun.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_do: Vec<String>,
}

/// How a remediation stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RemediationAnswer {
    /// Its kind.
    pub kind: String,
    /// Its namespace and name.
    pub name: String,
    /// Where it stands, in one word: the last stage, or the phase of another remediator.
    pub stage: String,
    /// Since when it exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What is missing for the proof, and what would bring it; people who are asked first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// It waits for the answer of a person.
    pub asks: bool,
    /// When the proof by expiry is complete at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The jurors that promised so far.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub promised: Vec<String>,
    /// The proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<FencingCertificate>,
    /// A sign of life after the proof: nothing more is released.
    pub contradicted: bool,
    /// The condition that says that it failed or is not acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Its last error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Answers for one node.
pub fn of(all: &Snapshot, node: &str) -> anyhow::Result<Answer> {
    let found = all.nodes.iter().find(|one| name(one) == node);
    let policies: Vec<PolicyAnswer> =
        all.policies.iter().filter_map(|policy| of_policy(policy, node, found.map(|node| (node, all.now)))).collect();
    let remediations: Vec<RemediationAnswer> =
        all.remediations.iter().filter(|one| one.node == node).map(of_remediation).collect();
    if found.is_none() && policies.is_empty() && remediations.is_empty() {
        let mut known: Vec<String> = all.nodes.iter().map(name).collect();
        known.sort();
        known.truncate(8);
        bail!(
            "there is no node {node:?}, and no policy or remediation knows one; nodes are for example {}",
            known.join(", ")
        );
    }
    let (state, summary) = summary(found, &policies, &remediations);
    Ok(Answer {
        node: node.to_owned(),
        state,
        summary,
        reported: found.map(reported),
        policies,
        remediations,
        gaps: all.gaps.clone(),
        now: all.now,
    })
}

fn reported(node: &Node) -> Reported {
    let (status, since, reason) = ready(node).unwrap_or_else(|| ("not reported".to_owned(), None, String::new()));
    let labels = node.labels().get(remediation::EXCLUDE).map(|value| format!("label {}={value}", remediation::EXCLUDE));
    let annotations = [palisade::VETO, palisade::ATTEMPTS_FORGIVEN, remediation::CONFIRMED_HEALTHY];
    let annotations =
        annotations.into_iter().filter_map(|key| Some(format!("annotation {key}: {}", node.annotations().get(key)?)));
    Reported {
        ready: status,
        since,
        reason,
        unschedulable: node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true),
        taints: taints(node),
        marks: labels.into_iter().chain(annotations).collect(),
    }
}

/// What a policy says of the node; nothing if it has nothing to do with it. With the node as it is at some time, also of
/// a node that is not in the status of the policy yet.
pub fn of_policy(policy: &NodeHealthCheck, node: &str, found: Option<(&Node, Timestamp)>) -> Option<PolicyAnswer> {
    let status = policy.status.clone().unwrap_or_default();
    let tracked = status.unhealthy_nodes.iter().find(|one| one.name == node);
    let selector = Selector::new(policy.spec.selector.as_ref()).ok();
    let selected = found.is_some_and(|(node, _)| selector.is_some_and(|selector| selector.matches(node.labels())));
    if !selected && tracked.is_none() {
        return None;
    }
    let mut answer = whole(policy);
    answer.would_do.retain(|line| mentions(line, node));
    answer.verdict = if status.phase.is_some() { "Healthy".to_owned() } else { "Unknown".to_owned() };
    match (tracked, found) {
        (Some(tracked), _) => track(&mut answer, tracked),
        (None, Some((node, now))) => foresee::add(&mut answer, policy, node, now),
        (None, None) => {}
    }
    Some(answer)
}

/// What a policy says of itself, without a verdict on any node.
pub fn whole(policy: &NodeHealthCheck) -> PolicyAnswer {
    let status = policy.status.clone().unwrap_or_default();
    let whole = status.conditions.iter().filter(|one| one.status == "True" && in_force(&one.type_));
    PolicyAnswer {
        policy: policy.name_any(),
        threshold: threshold(policy),
        in_force: whole.map(|one| format!("{}: {} ({})", one.type_, one.message, one.reason)).collect(),
        phase: status.phase.unwrap_or_else(|| "not looked at yet".to_owned()),
        phase_because: status.reason,
        would_do: status.would_do,
        ..PolicyAnswer::default()
    }
}

fn track(answer: &mut PolicyAnswer, node: &UnhealthyNode) {
    // An operator that is not ours lists unhealthy nodes, and says nothing about them.
    answer.verdict = node.verdict.clone().unwrap_or_else(|| "Unhealthy".to_owned());
    answer.since = node.since.as_ref().map(|since| since.0);
    answer.blocked_by.clone_from(&node.blocked_by);
    answer.because.clone_from(&node.blocked_because);
    if answer.because.is_none() && answer.blocked_by.is_some() {
        // A rule that stops the whole policy says why there.
        let stopped = [phase::PAUSED, phase::DISABLED].contains(&answer.phase.as_str());
        answer.because = if stopped {
            answer.phase_because.clone()
        } else if answer.in_force.is_empty() {
            Some(answer.threshold.clone())
        } else {
            Some(answer.in_force.join("; "))
        };
    }
    answer.next.clone_from(&node.next);
    answer.next_at = node.next_at.as_ref().map(|at| at.0);
}

/// Conditions of a policy that keep it from acting.
fn in_force(kind: &str) -> bool {
    [condition::DISABLED, condition::STORM_ACTIVE, condition::STORM_COOLDOWN].contains(&kind)
        || extension::ALL.contains(&kind)
}

/// Whether a line is about this node, and not about one whose name begins like it.
fn mentions(line: &str, node: &str) -> bool {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || "-.".contains(c)))
        .any(|word| word.trim_end_matches('.') == node)
}

fn threshold(policy: &NodeHealthCheck) -> String {
    let status = policy.status.clone().unwrap_or_default();
    let count = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let limit = match (&policy.spec.min_healthy, &policy.spec.max_unhealthy) {
        (Some(least), _) => format!("minHealthy is {least}"),
        (None, Some(most)) => format!("maxUnhealthy is {most}"),
        (None, None) => "no threshold is set".to_owned(),
    };
    format!("{} of {} selected nodes are healthy, {limit}", count(status.healthy_nodes), count(status.observed_nodes))
}

/// How a remediation stands.
pub fn of_remediation(one: &Remediation) -> RemediationAnswer {
    let progress = one.progress.clone().unwrap_or_default();
    let fencing = progress.fencing.unwrap_or_default();
    let proven = progress.certificate.is_some();
    let asked = progress.questions.iter().filter(|question| question.state == "Pending");
    let mut waits: Vec<String> = asked.map(|one| format!("somebody to answer {}", one.question)).collect();
    let asks = !proven && !waits.is_empty();
    waits.extend(fencing.waiting_for);
    let stage = progress.timeline.last().map(|entry| entry.stage.to_string());
    let failed = one.condition(condition::SUCCEEDED).filter(|(status, ..)| *status == "False");
    let disabled = one.condition(condition::DISABLED).filter(|(status, ..)| *status == "True");
    RemediationAnswer {
        kind: one.kind.clone(),
        name: one.path(),
        stage: stage.or_else(|| one.said("phase").map(str::to_owned)).unwrap_or_else(|| "not taken up".to_owned()),
        created: one.created,
        deleting: one.deleting,
        waiting_for: (!proven && !waits.is_empty()).then(|| waits.join("; ")),
        asks,
        deadline: fencing.deadline.filter(|_| !proven).map(|deadline| deadline.0),
        promised: if proven { Vec::new() } else { fencing.promised },
        certificate: progress.certificate,
        contradicted: !progress.contradicted.is_empty(),
        problem: disabled.or(failed).map(|(_, reason, message)| format!("{reason}: {message}")),
        last_error: one.said("lastError").map(str::to_owned),
    }
}

fn summary(node: Option<&Node>, policies: &[PolicyAnswer], remediations: &[RemediationAnswer]) -> (State, String) {
    if let Some(one) = remediations.iter().find(|one| one.contradicted) {
        return (
            State::Held,
            format!(
                "{} {} is contradicted: the old boot showed life after its end; nothing more is released",
                one.kind, one.name
            ),
        );
    }
    if let Some((rule, policy)) = policies.iter().find_map(|one| Some((one.blocked_by.as_deref()?, one))) {
        let because = policy.because.as_deref().unwrap_or("it says no more");
        return (
            State::Held,
            format!("{} by policy {}, held back by rule {rule}: {because}", policy.verdict, policy.policy),
        );
    }
    if let Some(one) = remediations.iter().find(|one| one.problem.is_some()) {
        let problem = one.problem.as_deref().unwrap_or_default();
        return (State::Held, format!("{} {} does not go on: {problem}", one.kind, one.name));
    }
    // One that waits for people goes before one that goes on by itself.
    if let Some(one) = remediations.iter().find(|one| one.asks).or(remediations.first()) {
        let state = if one.asks { State::Held } else { State::Busy };
        let then = match (&one.waiting_for, &one.certificate) {
            (Some(waiting), _) => waiting.clone(),
            (None, Some(proof)) => format!("its old boot is proven to have ended ({}, {})", proof.proof, proof.grade),
            (None, None) => "nothing is proven yet".to_owned(),
        };
        return (state, format!("being remediated by {} {}, stage {}: {then}", one.kind, one.name, one.stage));
    }
    if let Some(one) = policies.iter().find(|one| one.since.is_some() || one.next.is_some()) {
        let next = one.next.as_deref().unwrap_or("a remediation");
        return (State::Busy, format!("{} by policy {}; next: {next}", one.verdict, one.policy));
    }
    if node.is_none() {
        return (State::Well, "there is no such node any more".to_owned());
    }
    let is_ready = node.and_then(ready).is_some_and(|(status, ..)| status == "True");
    match (policies.is_empty(), is_ready) {
        (true, _) => (State::Held, "no NodeHealthCheck selects it: nobody looks after this node".to_owned()),
        (false, true) => (State::Well, "healthy".to_owned()),
        (false, false) => (State::Busy, "not Ready, and no policy has said anything about it yet".to_owned()),
    }
}

#[cfg(test)]
mod tests;
