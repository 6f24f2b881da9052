//! Planned work looks like a failure, and remediation would get in its way.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use palisade_api::keys::cluster;

use super::condition::Verdict;
use super::plan::{Outlook, remaining};
use super::view::NodeView;

/// Planned work is looked at again after this time, though its end is usually seen at once.
pub const AGAIN: Duration = Duration::from_mins(1);

/// The lifecycle conditions of Kubernetes 1.37 (KEP-5683) that say that somebody works on the node, written by
/// administrators or their tools. `MaintenancePlanned` is not among them: until then a failure is a failure.
pub const LIFECYCLE: [&str; 3] = ["MaintenanceInProgress", "DrainInProgress", "Drained"];

/// Set by the kubelet itself when its machine is told to shut down. Nobody takes it back if the machine never returns,
/// so it counts for [`SHUTDOWN`] only.
pub const SHUTTING_DOWN: &str = "GracefulNodeShutdownInProgress";

/// How long a shutdown may take: systemd gives inhibitors minutes, firmware takes a few more to boot.
pub const SHUTDOWN: Duration = Duration::from_mins(15);

/// Why a node is left to whoever works on it: what holds, what ends it, when to look again.
pub(super) fn of(outlook: &Outlook<'_>, node: &NodeView) -> Option<(String, String, Duration)> {
    let signals = outlook.policy.spec.maintenance_signals.clone().unwrap_or_default();
    let extra = signals.node_conditions.iter().map(String::as_str);
    for type_ in LIFECYCLE.into_iter().chain(extra) {
        if node.condition(type_).is_some_and(|condition| condition.status == "True") {
            let why = format!("condition {type_} of the node says that somebody works on it");
            return Some((why, format!("it is remediated when {type_} is no longer True"), AGAIN));
        }
    }
    if let Some(condition) = node.condition(SHUTTING_DOWN).filter(|condition| condition.status == "True")
        && let Some(left) = condition.since.and_then(|since| remaining(since, SHUTDOWN, outlook.now))
    {
        let why = format!("the machine is being shut down on purpose ({SHUTTING_DOWN})");
        // An instant, not what is left of it: the status shows this text, and is written when it changes.
        let until =
            outlook.now.saturating_add(SignedDuration::try_from(left).unwrap_or_default()).unwrap_or(outlook.now);
        let until = Timestamp::from_second(until.as_second()).unwrap_or(until);
        let unblock = format!("it is remediated if it is not back by {until}");
        return Some((why, unblock, (left + Duration::from_secs(1)).min(AGAIN)));
    }
    let versions = &outlook.surroundings.kubelet_versions;
    if signals.cordon_and_version_skew == Some(true) && node.unschedulable && versions.len() > 1 {
        let versions = versions.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let why = format!(
            "the node is cordoned with kubelet {} while the cluster has the versions {versions}: it is being upgraded",
            node.kubelet_version
        );
        return Some((why, "it is remediated when it is uncordoned, or all versions are equal".to_owned(), AGAIN));
    }
    None
}

/// OpenShift writes on every node which configuration it has and which it should have; in hosted clusters a difference
/// on an unhealthy node means that its pool is being upgraded.
pub(super) fn node_pool_upgrade(outlook: &Outlook<'_>) -> Option<String> {
    if !outlook.surroundings.openshift {
        return None;
    }
    let unhealthy = outlook
        .nodes
        .iter()
        .filter(|node| matches!(outlook.judgement.verdicts.get(&node.name), Some(Verdict::Matching { .. })));
    for node in unhealthy {
        let annotation = |key: &str| node.annotations.get(key).map_or("", String::as_str);
        let (has, wants) = (annotation(cluster::CURRENT_CONFIG), annotation(cluster::DESIRED_CONFIG));
        if !wants.is_empty() && has != wants {
            return Some(format!("node {} has configuration {has:?} and is to get {wants:?}", node.name));
        }
    }
    None
}
