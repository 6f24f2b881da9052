//! The fleet by zone: one letter for each node, and a line for each that somebody may have to look at.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use palisade_api::keys::cluster::ZONE;
use palisade_core::health::Selector;
use palisade_explain::answer::{PolicyAnswer, of_policy, of_remediation};
use palisade_explain::ready;
use serde::Serialize;

use crate::board::Seen;

/// So many lines; nobody reads more, and the counts tell of all.
const LINES: usize = 200;

/// The fleet.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    /// Number of nodes.
    pub nodes: usize,
    /// How many are Ready.
    pub ready: usize,
    /// How many are in each state, by letter.
    pub counts: BTreeMap<char, usize>,
    /// The zones by name; nodes without one in the last, without name.
    pub zones: Vec<Zone>,
    /// The nodes that are not as they should be, worst first.
    pub attention: Vec<Line>,
    /// How many there are of these in all.
    pub attention_total: usize,
}

/// A zone.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Zone {
    /// Name.
    pub name: String,
    /// Its nodes by name.
    pub nodes: Vec<String>,
    /// Their states: one letter each.
    pub states: String,
    /// How many are in each state.
    pub counts: BTreeMap<char, usize>,
}

/// A node that is not as it should be.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The node.
    pub node: String,
    /// Its zone.
    pub zone: String,
    /// Its state.
    pub state: char,
    /// What the policy says that says most.
    #[serde(flatten)]
    pub policy: Option<PolicyAnswer>,
    /// Its remediation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediation: Option<String>,
    /// How far that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// What it waits for, or what is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// Since when the node is not Ready, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_ready_since: Option<Timestamp>,
}

/// Worst first: held, unhealthy, not Ready and nobody's, under remediation, suspect, nobody's, well.
const ORDER: &str = "hunrsow";

#[derive(Debug, Default)]
struct Told {
    policy: Option<PolicyAnswer>,
    remediation: Option<palisade_explain::answer::RemediationAnswer>,
}

/// Everything in one pass over the nodes.
pub fn fleet(seen: &Seen) -> Fleet {
    let mut told: BTreeMap<&str, Told> = BTreeMap::new();
    let mut selectors = Vec::new();
    for policy in seen.readable() {
        selectors.extend(Selector::new(policy.spec.selector.as_ref()));
        for tracked in policy.status.iter().flat_map(|status| &status.unhealthy_nodes) {
            let entry = told.entry(&tracked.name).or_default();
            // What holds back says more than what goes on.
            if entry.policy.as_ref().is_none_or(|known| known.blocked_by.is_none()) {
                entry.policy = of_policy(policy, &tracked.name, None);
            }
        }
    }
    for one in seen.remediations() {
        let entry = told.entry(&one.said.node).or_default();
        let answer = of_remediation(&one.said);
        if entry.remediation.as_ref().is_none_or(|_| answer.contradicted || answer.problem.is_some()) {
            entry.remediation = Some(answer);
        }
    }
    let mut zones: BTreeMap<(bool, &str), Zone> = BTreeMap::new();
    let (mut ready_nodes, mut counts, mut attention) = (0, BTreeMap::new(), Vec::new());
    for node in seen.nodes.all() {
        let name = node.name_any();
        let known = told.remove(name.as_str()).unwrap_or_default();
        let reported = ready(node);
        let is_ready = reported.as_ref().is_some_and(|(status, ..)| status == "True");
        ready_nodes += usize::from(is_ready);
        let state = state(node, is_ready, &known, &selectors);
        let zone = node.labels().get(ZONE).map(String::as_str).unwrap_or_default();
        if !matches!(state, 'w' | 'o') {
            attention.push(line(
                &name,
                zone,
                state,
                known,
                reported.filter(|_| !is_ready).and_then(|(_, since, _)| since),
            ));
        }
        *counts.entry(state).or_default() += 1;
        let entry =
            zones.entry((zone.is_empty(), zone)).or_insert_with(|| Zone { name: zone.to_owned(), ..Zone::default() });
        entry.nodes.push(name);
        entry.states.push(state);
        *entry.counts.entry(state).or_default() += 1;
    }
    // A machine that was deleted on purpose still has its remediation.
    attention.extend(told.into_iter().map(|(name, known)| line(name, "", worst(&known).unwrap_or('r'), known, None)));
    attention.sort_by_key(|line| ORDER.find(line.state));
    let attention_total = attention.len();
    attention.truncate(LINES);
    Fleet {
        nodes: seen.nodes.all().len(),
        ready: ready_nodes,
        counts,
        zones: zones.into_values().collect(),
        attention,
        attention_total,
    }
}

/// Without a look at the node.
fn worst(known: &Told) -> Option<char> {
    if known.remediation.as_ref().is_some_and(|one| one.contradicted || one.problem.is_some())
        || known.policy.as_ref().is_some_and(|policy| policy.blocked_by.is_some())
    {
        return Some('h');
    }
    if known.remediation.is_some() {
        return Some('r');
    }
    let verdict = known.policy.as_ref().map(|policy| policy.verdict.as_str())?;
    Some(if verdict.starts_with("Suspect") { 's' } else { 'u' })
}

fn state(node: &Node, is_ready: bool, known: &Told, selectors: &[Selector]) -> char {
    worst(known).unwrap_or_else(|| match is_ready {
        false => 'n',
        true if selectors.iter().any(|selector| selector.matches(node.labels())) => 'w',
        true => 'o',
    })
}

fn line(node: &str, zone: &str, state: char, known: Told, not_ready_since: Option<Timestamp>) -> Line {
    let remediation = known.remediation;
    Line {
        node: node.to_owned(),
        zone: zone.to_owned(),
        state,
        policy: known.policy,
        stage: remediation.as_ref().map(|one| one.stage.clone()),
        waits: remediation.as_ref().and_then(|one| one.problem.clone().or_else(|| one.waiting_for.clone())),
        remediation: remediation.map(|one| format!("{} {}", one.kind, one.name)),
        not_ready_since,
    }
}
