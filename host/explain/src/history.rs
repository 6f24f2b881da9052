//! What happened, second by second, from what the remediations that still exist recorded. Pure.

use anyhow::ensure;
use jiff::Timestamp;
use palisade_api::FencingCertificate;
use palisade_api::progress::TimeSpent;
use serde::Serialize;

use super::cluster::{Remediation, Snapshot};
use super::text::{Style, foreign, table};

/// The remediations of one node, or one of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// What was asked for.
    pub name: String,
    /// Oldest first.
    pub remediations: Vec<Told>,
}

/// A remediation's own account.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Kind, namespace and name.
    pub remediation: String,
    /// The node.
    pub node: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Its stages.
    pub timeline: Vec<Step>,
    /// Where the time went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<TimeSpent>,
    /// The proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<FencingCertificate>,
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// Seconds after the creation of the remediation.
    pub after: Option<i64>,
    /// What.
    pub stage: String,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Of a node or a remediation.
pub fn of(all: &Snapshot, name: &str) -> anyhow::Result<History> {
    let mut found: Vec<_> =
        all.remediations.iter().filter(|one| one.node == name || one.name == name || one.path() == name).collect();
    ensure!(
        !found.is_empty(),
        "no remediation is named {name:?} or is about a node of that name; those that are over are deleted, and leave \
         events: kubectl get events --all-namespaces --field-selector involvedObject.name={name}"
    );
    found.sort_by_key(|one| one.created);
    Ok(History { name: name.to_owned(), remediations: found.into_iter().map(told).collect() })
}

/// What one of them recorded.
pub fn told(one: &Remediation) -> Told {
    let progress = one.progress.clone().unwrap_or_default();
    let step = |entry: palisade_api::progress::TimelineEntry| Step {
        at: entry.at.0,
        after: one.created.map(|created| entry.at.0.as_second() - created.as_second()),
        stage: entry.stage.to_string(),
        detail: entry.detail,
    };
    Told {
        remediation: format!("{} {}", one.kind, one.path()),
        node: one.node.clone(),
        created: one.created,
        timeline: progress.timeline.into_iter().map(step).collect(),
        spent: progress.spent,
        certificate: progress.certificate,
    }
}

impl History {
    /// For people.
    pub fn text(&self, style: Style) -> String {
        let mut text = String::new();
        for one in &self.remediations {
            text.push_str(&style.bold(&format!("{} of node {}", one.remediation, one.node)));
            text.push('\n');
            if one.timeline.is_empty() {
                text.push_str(
                    "  it has recorded nothing: it is carried out by another operator, or not taken up yet\n",
                );
            }
            let rows: Vec<Vec<String>> = one
                .timeline
                .iter()
                .map(|step| {
                    let clock = step.at.strftime("  %Y-%m-%d %H:%M:%SZ").to_string();
                    let after = step.after.map_or_else(String::new, |seconds| format!("+{seconds} s"));
                    vec![clock, after, step.stage.clone(), foreign(step.detail.as_deref().unwrap_or_default())]
                })
                .collect();
            text.push_str(&table(&rows));
            if let Some(argument) = one.certificate.as_ref().and_then(|proof| proof.explanation.as_ref()) {
                text.extend(["  proof: ", &foreign(argument), "\n"]);
            }
        }
        text
    }
}
