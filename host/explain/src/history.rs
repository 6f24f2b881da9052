//! What happened, second by second: what the remediations that still exist recorded, and what events tell, also of those
//! that are gone. Pure.

mod html;

use std::collections::BTreeSet;

use anyhow::ensure;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
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
    /// What was said of the node and of its remediations, oldest first. Clusters keep events for an hour by default.
    pub events: Vec<Said>,
    /// What could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<String>,
}

/// An event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// When it was said last.
    pub at: Timestamp,
    /// Of what: kind and name.
    pub of: String,
    /// Somebody should look.
    pub warning: bool,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
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

/// Names of the objects that events have to be about: the node or remediation itself, and its remediations.
pub fn subjects(all: &Snapshot, name: &str) -> BTreeSet<String> {
    let found = all.remediations.iter().filter(|one| one.answers_to(name));
    let names = found.map(|one| one.name.clone());
    // Events of a remediation in a namespace are found by its bare name.
    names.chain([name.rsplit('/').next().unwrap_or(name).to_owned()]).collect()
}

/// Of a node or a remediation, from a snapshot and the events about its [`subjects`].
pub fn of(all: &Snapshot, events: &[Event], name: &str) -> anyhow::Result<History> {
    let mut found: Vec<_> = all.remediations.iter().filter(|one| one.answers_to(name)).collect();
    let mut events: Vec<Said> = events.iter().filter_map(said).collect();
    let known = all.nodes.iter().any(|node| super::cluster::name(node) == name);
    ensure!(
        !found.is_empty() || !events.is_empty() || known,
        "there is no node and no remediation {name:?}, and no event about one (clusters keep events for an hour by default)"
    );
    found.sort_by_key(|one| one.created);
    events.sort_by_key(|one| one.at);
    let remediations = found.into_iter().map(told).collect();
    Ok(History { name: name.to_owned(), remediations, events, gaps: all.gaps.clone() })
}

/// What an event says; those of others about the same objects belong to the story too.
fn said(event: &Event) -> Option<Said> {
    let stamps = [event.last_timestamp.as_ref(), event.first_timestamp.as_ref()];
    let at = stamps.into_iter().flatten().next().map(|stamp| stamp.0);
    let at = at.or_else(|| event.event_time.as_ref().map(|stamp| stamp.0));
    let at = at.or_else(|| event.metadata.creation_timestamp.as_ref().map(|stamp| stamp.0))?;
    let about = &event.involved_object;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Some(Said {
        at,
        of: format!("{} {}", text(&about.kind), text(&about.name)),
        warning: event.type_.as_deref() == Some("Warning"),
        reason: text(&event.reason),
        message: text(&event.message),
    })
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
        if !self.events.is_empty() {
            text.extend([&style.bold("events"), "\n"]);
        }
        let rows: Vec<Vec<String>> = self
            .events
            .iter()
            .map(|said| {
                let clock = said.at.strftime("  %Y-%m-%d %H:%M:%SZ").to_string();
                vec![clock, foreign(&said.of), foreign(&said.reason), foreign(&said.message)]
            })
            .collect();
        text.push_str(&table(&rows));
        if self.events.is_empty() && self.remediations.is_empty() {
            text.push_str("nothing is recorded about it, and no event (clusters keep events for an hour by default)\n");
        }
        text.extend(self.gaps.iter().map(|gap| format!("not read: {}\n", foreign(gap))));
        text
    }
}

#[cfg(test)]
mod tests;
