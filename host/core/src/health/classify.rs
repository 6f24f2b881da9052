//! What failed: one node, a zone, the control plane, or whoever looks at them.
//!
//! Nodes that fail together are not repaired one by one. This looks at all nodes of the cluster, not only at those of
//! one policy, and at nothing but their conditions and labels, so that it needs no memory:
//!
//! | what is seen | what it is taken for | who is left alone |
//! | --- | --- | --- |
//! | most nodes are silent (`Ready` is Unknown) | the observer: what lies between the nodes and the API is broken | everybody |
//! | most control-plane nodes, at least two, are not ready | the control plane: what it says of others is doubtful | everybody |
//! | `thresholdPercent` and `minNodes` of the nodes of a zone are not ready | the zone | its nodes, for `holdFor` |
//! | anything else | nodes by themselves | nobody |
//!
//! After a common failure the last nodes to come back must not be taken for dead: those of a zone get [`SETTLE`] from
//! the moment on which most of the zone was back, as [`calm_since`] gives it to the nodes of a policy. The two never
//! contradict: `outage` delays the verdict of one node, this holds back the action on many.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use palisade_api::node_health_check::CorrelatedFailures;

use super::outage::{SETTLE, calm_since};
use super::view::NodeView;

/// What failed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// What lies between the nodes and the API.
    Observer,
    /// The control plane.
    ControlPlane,
    /// Nodes with the same value of a label.
    Group,
}

/// A common failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub class: Class,
    /// What was counted.
    pub why: String,
    /// What ends the hold.
    pub unblock: String,
    /// When the hold ends by itself; `None`: not before the failure does.
    pub until: Option<Timestamp>,
}

/// The common failures of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failures {
    /// One that concerns everybody.
    pub cluster: Option<Failure>,
    /// The label that groups nodes.
    pub key: String,
    /// Groups that failed, by the value of the label.
    pub groups: BTreeMap<String, Failure>,
    /// Groups that are coming back; only nodes that have been down since before that time wait.
    pub settling: BTreeMap<String, (Timestamp, Failure)>,
}

impl Failures {
    /// The failure that explains the state of a node, if one does.
    pub fn of(&self, node: &NodeView) -> Option<&Failure> {
        if self.cluster.is_some() {
            return self.cluster.as_ref();
        }
        let group = node.labels.get(&self.key)?;
        if let Some(failure) = self.groups.get(group) {
            return Some(failure);
        }
        let (calm, failure) = self.settling.get(group)?;
        down_since(node).is_some_and(|since| since <= *calm).then_some(failure)
    }

    /// The first failure, for a condition of the policy.
    pub fn first(&self) -> Option<&Failure> {
        self.cluster.as_ref().or_else(|| self.groups.values().next())
    }
}

/// Since when a node is not ready, if it is not.
fn down_since(node: &NodeView) -> Option<Timestamp> {
    match node.ready() {
        Some(ready) if ready.status == "True" => None,
        Some(ready) => Some(ready.since.unwrap_or(Timestamp::UNIX_EPOCH)),
        // A node that never reported is being set up.
        None => None,
    }
}

fn is_silent(node: &NodeView) -> bool {
    node.ready().is_some_and(|ready| ready.status == "Unknown")
}

/// Looks at all nodes of the cluster.
pub fn classify(nodes: &[NodeView], spec: &CorrelatedFailures, now: Timestamp) -> Failures {
    let mut failures = Failures { key: spec.topology_key.clone(), ..Failures::default() };
    failures.cluster = observer(nodes, spec).or_else(|| control_plane(nodes));
    let mut groups: BTreeMap<&str, Vec<NodeView>> = BTreeMap::new();
    for node in nodes {
        if let Some(group) = node.labels.get(&spec.topology_key) {
            groups.entry(group).or_default().push(node.clone());
        }
    }
    for (name, members) in groups {
        if let Some(failure) = group(name, &members, spec, now) {
            failures.groups.insert(name.to_owned(), failure);
        } else if let Some(settling) = settling(name, &members, spec, now) {
            failures.settling.insert(name.to_owned(), settling);
        }
    }
    failures
}

/// At least two, whatever was written: one node that is down is never a common failure.
fn min_nodes(spec: &CorrelatedFailures) -> usize {
    usize::try_from(spec.min_nodes).unwrap_or_default().max(2)
}

fn observer(nodes: &[NodeView], spec: &CorrelatedFailures) -> Option<Failure> {
    let (silent, all) = (nodes.iter().filter(|node| is_silent(node)).count(), nodes.len());
    (silent * 2 > all && silent >= min_nodes(spec)).then(|| Failure {
        class: Class::Observer,
        why: format!("{silent} of all {all} nodes are silent at once, so what lies between them and the API server is taken for broken"),
        unblock: format!("nothing new starts until at least {} nodes report again", all.div_ceil(2)),
        until: None,
    })
}

fn control_plane(nodes: &[NodeView]) -> Option<Failure> {
    let members: Vec<&NodeView> = nodes.iter().filter(|node| node.is_control_plane()).collect();
    let mut down: Vec<&str> =
        members.iter().filter(|node| down_since(node).is_some()).map(|node| node.name.as_str()).collect();
    down.sort_unstable();
    (down.len() >= 2 && down.len() * 2 > members.len()).then(|| Failure {
        class: Class::ControlPlane,
        why: format!(
            "{} of {} control-plane nodes are not ready ({}), so what the cluster says of its nodes is doubtful",
            down.len(),
            members.len(),
            down.join(", ")
        ),
        unblock: format!(
            "nothing new starts until at least {} control-plane nodes are ready",
            members.len().div_ceil(2)
        ),
        until: None,
    })
}

fn group(name: &str, members: &[NodeView], spec: &CorrelatedFailures, now: Timestamp) -> Option<Failure> {
    let mut down: Vec<Timestamp> = members.iter().filter_map(down_since).collect();
    let threshold = usize::try_from(spec.threshold_percent.clamp(1, 100)).unwrap_or(100);
    let needed = (threshold * members.len()).div_ceil(100).max(min_nodes(spec));
    if down.len() < needed {
        return None;
    }
    // The failure of the group began with the node that made it one.
    down.sort_unstable();
    let began = down[needed - 1];
    let until = spec.hold_for.and_then(|length| {
        let length = SignedDuration::try_from(length.to_std()).unwrap_or(SignedDuration::MAX);
        began.saturating_add(length).ok()
    });
    if until.is_some_and(|until| until <= now) {
        return None;
    }
    let key = &spec.topology_key;
    let ends = until.map(|until| format!(", or it is {until}")).unwrap_or_default();
    Some(Failure {
        class: Class::Group,
        why: format!(
            "{} of {} nodes with {key}={name} are not ready, and {needed} are enough to take {name} for failed as a whole",
            down.len(),
            members.len()
        ),
        unblock: format!("nothing new starts there until fewer than {needed} of them are not ready{ends}"),
        until,
    })
}

/// Whether most of a group came back a moment ago.
fn settling(
    name: &str,
    members: &[NodeView],
    spec: &CorrelatedFailures,
    now: Timestamp,
) -> Option<(Timestamp, Failure)> {
    if members.len() < min_nodes(spec) {
        return None;
    }
    let calm = calm_since(members)?;
    let until = calm.saturating_add(SignedDuration::try_from(SETTLE).ok()?).ok()?;
    (now < until).then(|| {
        let key = &spec.topology_key;
        let failure = Failure {
            class: Class::Group,
            why: format!(
                "most nodes with {key}={name} came back at {calm}, and the last ones may still be on their way"
            ),
            unblock: format!("they have until {until}"),
            until: Some(until),
        };
        (calm, failure)
    })
}

/// What is left of a hold.
pub fn left(failure: &Failure, now: Timestamp) -> Option<Duration> {
    failure.until.map(|until| Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests;
