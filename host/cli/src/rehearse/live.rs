//! A rehearsal on the nodes of a real cluster: what a policy would do from now on, or would have done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::List;
use k8s_openapi::api::core::v1::{Event, Node};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use palisade_api::{GoDuration, NodeHealthCheck};
use palisade_controller::health::view_of;
use palisade_core::health::NodeView;

use super::fleet::Fleet;
use super::play::{Change, Effect, Play, later};
use super::report::Report;
use super::script::policy_of_file;
use crate::connect::{Connection, answer, list};

/// What is played, and on what.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A file with a NodeHealthCheck, or the name of one in the cluster.
    policy: String,
    /// Nodes from this file instead of the cluster: `kubectl get nodes -o yaml`.
    #[arg(long, value_name = "FILE")]
    nodes: Option<PathBuf>,
    /// What happens to a node: `worker-1:Ready=Unknown`, or `worker-1:Ready=False@10m` after ten minutes. May be repeated.
    #[arg(long = "set", value_name = "NODE:TYPE=STATUS[@TIME]")]
    set: Vec<String>,
    /// Play the last hours again, as the cluster's events tell of them (they are usually kept for one hour): `1h`.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["set", "nodes"])]
    recorded: Option<GoDuration>,
    /// How long is played.
    #[arg(long = "for", value_name = "TIME", default_value = "1h", conflicts_with = "recorded")]
    length: GoDuration,
    /// A remediated node is healthy so long after its remediation began. Without it no remediation helps.
    #[arg(long, value_name = "TIME")]
    heals_after: Option<GoDuration>,
    #[command(flatten)]
    pub connection: Connection,
}

/// Plays it.
///
/// # Errors
/// When policy or nodes cannot be read, or the arguments name what does not exist.
pub async fn simulate(arguments: &Arguments) -> anyhow::Result<Report> {
    let file = Path::new(&arguments.policy);
    let offline = arguments.nodes.is_some() && file.exists();
    let client = if offline { None } else { Some(arguments.connection.client().await?) };
    let policy = match &client {
        _ if file.exists() => policy_of_file(file)?,
        Some(client) => of_cluster(client, &arguments.policy).await?,
        None => bail!("{} is not there", file.display()),
    };
    let now = Timestamp::now();
    let nodes: Vec<NodeView> = match (&arguments.nodes, &client) {
        (Some(file), _) => of_file(file)?.iter().map(view_of).collect(),
        (None, Some(client)) => list(Api::<Node>::all(client.clone())).await?.iter().map(view_of).collect(),
        (None, None) => bail!("--nodes is missing"),
    };
    ensure!(!nodes.is_empty(), "there are no nodes");
    let effect = Effect { heals_after: arguments.heals_after.map(GoDuration::to_std), fails_after: None };
    let (begin, changes, nodes) = match (arguments.recorded, &client) {
        (Some(length), Some(client)) => {
            let begin = before(now, length)?;
            let changes = recorded(client, begin).await?;
            (begin, changes.clone(), as_they_were(nodes, &changes, begin))
        }
        _ => (now, asked(&arguments.set, &nodes, now)?, nodes),
    };
    let fleet = Fleet::new(&policy, nodes)?;
    let mut play = Play::new(fleet, effect);
    let known = changes.len();
    for (at, node, type_, status) in changes {
        let conditions = BTreeMap::from([(type_, status)]);
        play.schedule(at, Change { nodes: vec![node], conditions, ..Change::default() });
    }
    let end = if arguments.recorded.is_some() { now } else { later(begin, arguments.length)? };
    let standing = play.until(end)?;
    Ok(Report {
        policy: policy.name_any(),
        begin,
        end,
        recorded: arguments.recorded.map(|_| known),
        happenings: play.journal,
        standing,
    })
}

async fn of_cluster(client: &Client, name: &str) -> anyhow::Result<NodeHealthCheck> {
    let api: Api<NodeHealthCheck> = Api::all(client.clone());
    answer(api.get_opt(name))
        .await?
        .with_context(|| format!("there is no file {name}, and no NodeHealthCheck of that name in the cluster"))
}

fn of_file(path: &Path) -> anyhow::Result<Vec<Node>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut value: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).with_context(|| path.display().to_string())?;
    // kubectl calls its list of nodes a List.
    if let Some(kind) = value.get_mut("kind").filter(|kind| kind.as_str() == Some("List")) {
        *kind = "NodeList".into();
    }
    let nodes: List<Node> = serde_yaml_ng::from_value(value)
        .with_context(|| format!("{} is no list of nodes, as of kubectl get nodes -o yaml", path.display()))?;
    Ok(nodes.items)
}

/// When, which node, which condition, which status.
type Told = (Timestamp, String, String, String);

fn asked(set: &[String], nodes: &[NodeView], now: Timestamp) -> anyhow::Result<Vec<Told>> {
    set.iter().map(|text| one(text, nodes, now).with_context(|| format!("--set {text}"))).collect()
}

fn one(text: &str, nodes: &[NodeView], now: Timestamp) -> anyhow::Result<Told> {
    let (what, at) = match text.rsplit_once('@') {
        Some((what, at)) => (what, later(now, at.parse()?)?),
        None => (text, now),
    };
    let parts = what.split_once(':').and_then(|(node, rest)| Some((node, rest.split_once('=')?)));
    let (node, (type_, status)) = parts.context("write NODE:TYPE=STATUS, for example worker-1:Ready=Unknown")?;
    ensure!(nodes.iter().any(|known| known.name == node), "there is no node {node:?}");
    let statuses = ["True", "False", "Unknown"];
    ensure!(statuses.contains(&status), "status {status:?} is none of {}", statuses.join(", "));
    Ok((at, node.to_owned(), type_.to_owned(), status.to_owned()))
}

/// Changes of readiness, oldest first.
async fn recorded(client: &Client, begin: Timestamp) -> anyhow::Result<Vec<Told>> {
    let of_nodes = ListParams::default().fields("involvedObject.kind=Node");
    let api: Api<Event> = Api::all(client.clone());
    let events = answer(api.list(&of_nodes)).await?;
    let mut told: Vec<Told> = events.items.iter().flat_map(|event| readiness(event, begin)).collect();
    told.sort();
    Ok(told)
}

/// What an event says about the readiness of its node. One that happened several times keeps its first and last time.
fn readiness(event: &Event, begin: Timestamp) -> Vec<Told> {
    let by_kubelet =
        [event.source.as_ref().and_then(|source| source.component.as_deref()), event.reporting_component.as_deref()]
            .contains(&Some("kubelet"));
    let status = match event.reason.as_deref() {
        Some("NodeReady") => "True",
        // The node says it itself, or the controller manager has not heard of it.
        Some("NodeNotReady") if by_kubelet => "False",
        Some("NodeNotReady") => "Unknown",
        _ => return Vec::new(),
    };
    let Some(node) = event.involved_object.name.clone() else { return Vec::new() };
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let mut times: Vec<Timestamp> = [
        event.first_timestamp.as_ref().map(|time| time.0),
        event.last_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        series,
    ]
    .into_iter()
    .flatten()
    .filter(|at| *at >= begin)
    .collect();
    times.sort();
    times.dedup();
    times.into_iter().map(|at| (at, node.clone(), "Ready".to_owned(), status.to_owned())).collect()
}

/// Before its first recorded change a node was what that change ended; without one it is as it was.
fn as_they_were(nodes: Vec<NodeView>, changes: &[Told], begin: Timestamp) -> Vec<NodeView> {
    let was = |mut node: NodeView| {
        if let Some((.., status)) = changes.iter().find(|(_, name, ..)| *name == node.name)
            && let Some(ready) = node.conditions.iter_mut().find(|condition| condition.type_ == "Ready")
        {
            let before = if status == "True" { "Unknown" } else { "True" };
            (ready.status, ready.since) = (before.to_owned(), Some(begin));
        }
        node
    };
    nodes.into_iter().map(was).collect()
}

fn before(now: Timestamp, length: GoDuration) -> anyhow::Result<Timestamp> {
    ensure!(length > GoDuration::ZERO, "--recorded {length} has to be longer than nothing, for example 1h");
    now.checked_sub(SignedDuration::try_from(length.to_std())?).with_context(|| format!("{length} is too long"))
}

#[cfg(test)]
mod tests;
