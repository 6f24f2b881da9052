//! The file of `palisade policy test`: what is given, what happens when, and what is expected. Pure but for reading it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use palisade_api::{GoDuration, NodeHealthCheck};
use palisade_core::health::{NodeCondition, NodeView};
use serde::Deserialize;

use super::fleet::Fleet;
use super::play::{Change, Effect, Happening, Play, Standing, later};

/// So many nodes are more than Kubernetes supports.
const MOST_NODES: u32 = 10_000;

/// A rehearsal, as people write it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Script {
    /// What it shows.
    #[serde(default)]
    pub description: String,
    /// A file beside this one, or the `NodeHealthCheck` itself.
    policy: serde_yaml_ng::Value,
    given: Given,
    /// In any order.
    #[serde(default)]
    when: Vec<When>,
    /// In any order.
    expect: Vec<Expect>,
    /// Nodes that must not be remediated at any time; a trailing `*` stands for any rest.
    #[serde(default)]
    never_remediated: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    nodes: Vec<Group>,
    #[serde(default)]
    remediation: Outcome,
}

/// One node, or `count` nodes whose names end in 1, 2, …
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Group {
    name: String,
    count: Option<u32>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    unschedulable: bool,
}

/// What a remediation brings about; without it, nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Outcome {
    heals_after: Option<GoDuration>,
    fails_after: Option<GoDuration>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct When {
    at: GoDuration,
    nodes: Vec<String>,
    #[serde(default)]
    conditions: BTreeMap<String, String>,
    #[serde(default)]
    labels: BTreeMap<String, Option<String>>,
    #[serde(default)]
    annotations: BTreeMap<String, Option<String>>,
    unschedulable: Option<bool>,
    #[serde(default)]
    deleted: bool,
}

/// Each field that is given has to hold.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expect {
    at: GoDuration,
    /// Exactly these nodes are under remediation.
    remediated: Option<Vec<String>>,
    /// The kind of the newest remediation of these nodes.
    #[serde(default)]
    by: BTreeMap<String, String>,
    /// The rules that hold these nodes back; others may be held back too.
    #[serde(default)]
    blocked: BTreeMap<String, String>,
    phase: Option<String>,
    healthy: Option<usize>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcomes {
    /// What was expected and is not so.
    pub wrong: Vec<String>,
    /// What happened.
    pub journal: Vec<Happening>,
    /// When the play began.
    pub begin: Timestamp,
}

impl Script {
    /// Reads it.
    ///
    /// # Errors
    /// With the place in the file and what would be right.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_yaml_ng::from_str(&text).with_context(|| path.display().to_string())
    }

    /// The policy that it is about.
    ///
    /// # Errors
    /// When there is none.
    pub fn policy(&self, beside: &Path) -> anyhow::Result<NodeHealthCheck> {
        match &self.policy {
            serde_yaml_ng::Value::String(file) => {
                policy_of_file(&beside.parent().unwrap_or_else(|| Path::new(".")).join(file))
            }
            value => policy_of(value.clone()).context("policy"),
        }
    }

    /// Plays it.
    ///
    /// # Errors
    /// When the file asks for what cannot be played.
    pub fn play(&self, policy: &NodeHealthCheck) -> anyhow::Result<Outcomes> {
        let begin = Timestamp::from_second(1_767_225_600).context("the first of January 2026")?;
        let nodes = self.given.nodes.iter().map(|group| group.nodes(begin)).collect::<anyhow::Result<Vec<_>>>()?;
        let fleet = Fleet::new(policy, nodes.into_iter().flatten().collect())?;
        let known: Vec<String> = fleet.names().map(str::to_owned).collect();
        let remediation = &self.given.remediation;
        let effect = Effect {
            heals_after: remediation.heals_after.map(GoDuration::to_std),
            fails_after: remediation.fails_after.map(GoDuration::to_std),
        };
        let mut play = Play::new(fleet, effect);
        for (index, when) in self.when.iter().enumerate() {
            let change = when.change(&known).with_context(|| format!("when[{index}].nodes"))?;
            play.schedule(later(begin, when.at)?, change);
        }
        for (index, expected) in self.expect.iter().enumerate() {
            let named = expected.remediated.iter().flatten().chain(expected.by.keys()).chain(expected.blocked.keys());
            for node in named {
                ensure!(known.contains(node), "expect[{index}]: there is no node {node:?} in given.nodes");
            }
        }
        let mut expected: Vec<&Expect> = self.expect.iter().collect();
        ensure!(!expected.is_empty(), "expect is empty: nothing would be tested");
        expected.sort_by_key(|expected| expected.at);
        let mut wrong = Vec::new();
        for expected in expected {
            let standing = play.until(later(begin, expected.at)?)?;
            wrong.extend(expected.compare(&standing).into_iter().map(|what| format!("at {}: {what}", expected.at)));
        }
        for started in play.journal.iter().filter(|happening| happening.what == "started") {
            let node = started.node.as_deref().unwrap_or_default();
            if self.never_remediated.iter().any(|pattern| matches(pattern, node)) {
                let at = GoDuration::from_millis(started.at.as_millisecond() - begin.as_millisecond());
                wrong.push(format!("at {at}: {node} is remediated, and neverRemediated names it"));
            }
        }
        Ok(Outcomes { wrong, journal: play.journal, begin })
    }
}

/// The `NodeHealthCheck` of a file, which may hold other objects too.
///
/// # Errors
/// When it holds none, or several.
pub fn policy_of_file(path: &Path) -> anyhow::Result<NodeHealthCheck> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut found = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(&text) {
        let value = serde_yaml_ng::Value::deserialize(document).with_context(|| path.display().to_string())?;
        if value.get("kind").and_then(|kind| kind.as_str()) == Some("NodeHealthCheck") {
            found.push(value);
        }
    }
    let (Some(policy), true) = (found.pop(), found.is_empty()) else {
        bail!("{} has to hold exactly one object of kind NodeHealthCheck", path.display());
    };
    policy_of(policy).with_context(|| path.display().to_string())
}

fn policy_of(value: serde_yaml_ng::Value) -> anyhow::Result<NodeHealthCheck> {
    let policy: NodeHealthCheck = serde_yaml_ng::from_value(value)?;
    let ladder = !policy.spec.escalating_remediations.is_empty();
    ensure!(
        policy.spec.remediation_template.is_some() || ladder,
        "spec.remediationTemplate or spec.escalatingRemediations has to name a template"
    );
    Ok(policy)
}

impl Group {
    fn nodes(&self, begin: Timestamp) -> anyhow::Result<Vec<NodeView>> {
        let count = self.count.unwrap_or(1);
        ensure!((1..=MOST_NODES).contains(&count), "given.nodes: count {count} is not between 1 and {MOST_NODES}");
        let names = (1..=count).map(|number| match self.count {
            Some(_) => format!("{}{number}", self.name),
            None => self.name.clone(),
        });
        Ok(names.map(|name| self.node(name, begin)).collect())
    }

    fn node(&self, name: String, begin: Timestamp) -> NodeView {
        let ready = NodeCondition {
            type_: "Ready".to_owned(),
            status: "True".to_owned(),
            since: Some(begin - SignedDuration::from_hours(24)),
        };
        NodeView {
            uid: format!("uid-of-{name}"),
            name,
            labels: self.labels.clone().into(),
            annotations: self.annotations.clone().into(),
            unschedulable: self.unschedulable,
            conditions: vec![ready].into(),
            ..NodeView::default()
        }
    }
}

impl When {
    fn change(&self, known: &[String]) -> anyhow::Result<Change> {
        let mut nodes = Vec::new();
        for pattern in &self.nodes {
            let before = nodes.len();
            nodes.extend(known.iter().filter(|name| matches(pattern, name)).cloned());
            ensure!(nodes.len() > before, "{pattern:?} matches no node of given.nodes");
        }
        Ok(Change {
            nodes,
            conditions: self.conditions.clone(),
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            unschedulable: self.unschedulable,
            deleted: self.deleted,
        })
    }
}

impl Expect {
    fn compare(&self, standing: &Standing) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(wanted) = &self.remediated {
            let mut wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
            wanted.sort_unstable();
            let found: Vec<&str> = standing.remediated.keys().map(String::as_str).collect();
            if wanted != found {
                wrong.push(format!("remediated are [{}], expected [{}]", found.join(", "), wanted.join(", ")));
            }
        }
        for (node, wanted) in &self.by {
            let found = standing.remediated.get(node).map_or("nothing", String::as_str);
            if wanted != found {
                wrong.push(format!("{node} is remediated by {found}, expected {wanted}"));
            }
        }
        for (node, wanted) in &self.blocked {
            let found = standing.blocked.get(node).map_or("nothing", String::as_str);
            if wanted != found {
                wrong.push(format!("{node} is held back by {found}, expected {wanted}"));
            }
        }
        if let Some(wanted) = self.phase.as_ref().filter(|wanted| **wanted != standing.phase) {
            wrong.push(format!("the phase is {}, expected {wanted}", standing.phase));
        }
        if let Some(wanted) = self.healthy.filter(|wanted| *wanted != standing.healthy) {
            wrong.push(format!("{} nodes are healthy, expected {wanted}", standing.healthy));
        }
        wrong
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |begin| name.starts_with(begin))
}
