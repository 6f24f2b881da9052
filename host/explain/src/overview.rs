//! One screen: the fleet, its policies, the nodes that need something, the remediations. Pure.

use jiff::Timestamp;
use kube::ResourceExt;
use palisade_api::reasons::phase;
use serde::Serialize;

use super::State;
use super::answer::{RemediationAnswer, of_remediation};
use super::cluster::{Snapshot, name, ready};
use super::text::{Style, foreign, length, table};

/// The screen.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// For scripts.
    pub state: State,
    /// Number of nodes.
    pub nodes: usize,
    /// How many of them are Ready.
    pub ready: usize,
    /// Nodes that no policy tracks and that are not Ready.
    pub not_ready: Vec<String>,
    /// The policies.
    pub policies: Vec<Row>,
    /// The nodes that policies track.
    pub tracked: Vec<Tracked>,
    /// The remediations.
    pub remediations: Vec<RemediationAnswer>,
    /// What could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<String>,
    #[serde(skip)]
    now: Timestamp,
}

/// A policy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its name.
    pub policy: String,
    /// Its phase.
    pub phase: String,
    /// Healthy nodes.
    pub healthy: Option<i64>,
    /// Selected nodes.
    pub observed: Option<i64>,
    /// Why this phase.
    pub reason: String,
}

/// A node that a policy tracks.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracked {
    /// The node.
    pub node: String,
    /// The policy.
    pub policy: String,
    /// Its verdict.
    pub verdict: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The rule that holds back.
    pub blocked_by: Option<String>,
    /// What happens next.
    pub next: Option<String>,
}

/// Looks at everything.
pub fn of(all: &Snapshot) -> Overview {
    let is_ready = |node| ready(node).is_some_and(|(status, ..)| status == "True");
    let mut tracked = Vec::new();
    let mut policies = Vec::new();
    for policy in &all.policies {
        let status = policy.status.clone().unwrap_or_default();
        for node in &status.unhealthy_nodes {
            tracked.push(Tracked {
                node: node.name.clone(),
                policy: policy.name_any(),
                verdict: node.verdict.clone().unwrap_or_else(|| "Unhealthy".to_owned()),
                since: node.since.as_ref().map(|since| since.0),
                blocked_by: node.blocked_by.clone(),
                next: node.next.clone(),
            });
        }
        policies.push(Row {
            policy: policy.name_any(),
            phase: status.phase.unwrap_or_else(|| "not looked at yet".to_owned()),
            healthy: status.healthy_nodes,
            observed: status.observed_nodes,
            reason: status.reason.unwrap_or_default(),
        });
    }
    let not_ready: Vec<String> = all
        .nodes
        .iter()
        .filter(|node| !is_ready(node))
        .map(name)
        .filter(|node| !tracked.iter().any(|known| known.node == *node))
        .collect();
    let remediations: Vec<RemediationAnswer> = all.remediations.iter().map(of_remediation).collect();
    let held = tracked.iter().any(|node| node.blocked_by.is_some())
        || policies.iter().any(|policy| policy.phase == phase::DISABLED)
        || remediations.iter().any(|one| one.contradicted || one.asks || one.problem.is_some());
    let busy = !tracked.is_empty() || !not_ready.is_empty() || !remediations.is_empty();
    Overview {
        state: match (held, busy) {
            (true, _) => State::Held,
            (false, true) => State::Busy,
            (false, false) => State::Well,
        },
        nodes: all.nodes.len(),
        ready: all.nodes.iter().filter(|node| is_ready(node)).count(),
        not_ready,
        policies,
        tracked,
        remediations,
        gaps: all.gaps.clone(),
        now: all.now,
    }
}

impl Overview {
    /// For people.
    pub fn text(&self, style: Style) -> String {
        let counted = format!("{} of {} nodes are Ready", self.ready, self.nodes);
        let paint = if self.ready == self.nodes { Style::good } else { Style::busy };
        let mut text = format!("{}\n", paint(style, &counted));
        if !self.not_ready.is_empty() {
            text.extend(["not Ready, and tracked by no policy: ", &self.not_ready.join(", "), "\n"]);
        }
        if self.policies.is_empty() {
            text.push_str(&style.bad("There is no NodeHealthCheck: nobody looks after these nodes.\n"));
        }
        let count = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
        section(
            &mut text,
            style,
            &["POLICY", "PHASE", "HEALTHY", "REASON"],
            self.policies.iter().map(|row| {
                let healthy = format!("{}/{}", count(row.healthy), count(row.observed));
                vec![row.policy.clone(), row.phase.clone(), healthy, foreign(&row.reason)]
            }),
        );
        let since = |since: Option<Timestamp>| {
            let seconds = since.map(|since| self.now.as_second() - since.as_second());
            seconds.map_or_else(|| "-".to_owned(), |seconds| length(seconds.max(0).unsigned_abs()))
        };
        let dash = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), foreign);
        section(
            &mut text,
            style,
            &["NODE", "POLICY", "VERDICT", "FOR", "BLOCKED BY", "NEXT"],
            self.tracked.iter().map(|row| {
                let verdict = foreign(&row.verdict);
                vec![
                    row.node.clone(),
                    row.policy.clone(),
                    verdict,
                    since(row.since),
                    dash(&row.blocked_by),
                    dash(&row.next),
                ]
            }),
        );
        section(
            &mut text,
            style,
            &["REMEDIATION", "KIND", "STAGE", "AGE", "PROOF", "WAITS FOR"],
            self.remediations.iter().map(|row| {
                let proof = row.certificate.as_ref().map_or_else(|| "-".to_owned(), |proof| proof.proof.to_string());
                let waits = row
                    .problem
                    .as_ref()
                    .or(row.waiting_for.as_ref())
                    .map_or_else(|| "-".to_owned(), |text| foreign(text));
                vec![row.name.clone(), row.kind.clone(), row.stage.clone(), since(row.created), proof, waits]
            }),
        );
        for gap in &self.gaps {
            text.extend(["not read: ", &foreign(gap), "\n"]);
        }
        if self.state != State::Well {
            text.push_str("\n`palisade explain NODE` says why.\n");
        }
        text
    }
}

fn section(text: &mut String, style: Style, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut all = vec![head.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()];
    all.extend(rows);
    if all.len() == 1 {
        return;
    }
    let laid = table(&all);
    let (first, rest) = laid.split_once('\n').unwrap_or((&laid, ""));
    text.push('\n');
    text.push_str(&style.bold(first));
    text.push('\n');
    text.push_str(rest);
}
