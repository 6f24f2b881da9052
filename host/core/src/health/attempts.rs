//! How often a node was remediated lately, and when that is enough.
//!
//! An attempt is a remediation made from the first template of the policy: one failure of the node, with every step of
//! its escalation. What happened is remembered in the status of the policy, which is written anyway after a remediation
//! was made (no further request), is guarded by its resource version (two controllers cannot both count), and outlives
//! the remediation, the Node object and the controller. An annotation on the Node would outlive the policy too, but not
//! the Node, and repeat offenders are those that register again. A remediation that exists is counted by its creation
//! time, so a controller that stopped between making and recording it counts it when it is back.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use palisade_api::node_health_check::{AttemptLimit, NodeAttempts};

/// Nodes that are remembered: with 20 attempts each that stays below 600 KiB, of the 1.5 MiB that etcd takes.
pub const REMEMBERED: usize = 1_000;

/// What is known of a node besides what the policy remembers.
#[derive(Debug, Clone, Default)]
pub struct Sighting<'a> {
    /// Name.
    pub node: &'a str,
    /// Creation times of its remediations from the first template.
    pub made: Vec<Timestamp>,
    /// It is unhealthy and would be remediated again.
    pub asks: bool,
    /// The policy selects it.
    pub selected: bool,
    /// Attempts up to this time do not count.
    pub forgiven: Option<Timestamp>,
}

/// What to remember of a node from now on; nothing if there is nothing.
pub fn next(
    limit: &AttemptLimit,
    before: Option<&NodeAttempts>,
    sighting: &Sighting<'_>,
    now: Timestamp,
) -> Option<NodeAttempts> {
    let mut quarantined = before.and_then(|before| before.quarantined.as_ref()).map(|time| time.0);
    let mut forgiven = sighting.forgiven;
    if let (Some(since), Some(length)) = (quarantined, limit.quarantine_for)
        && after(since, length.to_std()) <= now
    {
        // What led to it is served, or the node would be back at once.
        forgiven = forgiven.max(Some(since));
    }
    let window =
        after(now, std::time::Duration::ZERO).saturating_sub(signed(limit.window.to_std())).unwrap_or(Timestamp::MIN);
    let known = before.into_iter().flat_map(|before| &before.started).map(|time| time.0);
    let mut started: Vec<Timestamp> = known.chain(sighting.made.iter().copied()).collect();
    started.retain(|at| *at > window && forgiven.is_none_or(|forgiven| *at > forgiven));
    started.sort_unstable();
    // The status has whole seconds, and no two remediations of a node and template are made in one.
    started.dedup_by_key(|at| at.as_second());
    if quarantined.is_some_and(|since| forgiven.is_some_and(|forgiven| since <= forgiven)) {
        quarantined = None;
    }
    if quarantined.is_none() && sighting.asks && started.len() >= max(limit) {
        quarantined = Some(now);
    }
    // A node that is gone for good is forgotten in the end.
    if !sighting.selected && quarantined.is_some_and(|since| since <= window) {
        quarantined = None;
    }
    // The latest ones decide.
    let surplus = started.len().saturating_sub(max(limit).max(20));
    started.drain(..surplus);
    (!started.is_empty() || quarantined.is_some()).then(|| NodeAttempts {
        node: sighting.node.to_owned(),
        started: started.into_iter().map(Time).collect(),
        quarantined: quarantined.map(Time),
    })
}

/// Why a node that asks for another attempt does not get it, and when it may; `None`: it gets it.
pub fn refusal(limit: &AttemptLimit, known: &NodeAttempts) -> Option<(String, String, Option<Timestamp>)> {
    let since = known.quarantined.as_ref()?.0;
    let why = format!(
        "quarantined since {}: remediated {} times, and {} attempts within {} are the limit",
        second(since),
        known.started.len(),
        max(limit),
        limit.window
    );
    let until = limit.quarantine_for.map(|length| after(since, length.to_std()));
    let forgive = format!(
        "to allow more, repair it and annotate the Node with {}={} or later",
        palisade_api::keys::palisade::ATTEMPTS_FORGIVEN,
        second(since)
    );
    let unblock = match until {
        Some(until) => format!("it ends at {}; {forgive}", second(until)),
        None => forgive,
    };
    Some((why, unblock, until))
}

/// Until when attempts of a node are forgiven, as its annotation says. A time to come forgives nothing: it would
/// switch the limit off.
pub fn forgiven(annotation: &str, now: Timestamp) -> Result<Timestamp, String> {
    let key = palisade_api::keys::palisade::ATTEMPTS_FORGIVEN;
    let until: Timestamp = annotation.trim().parse().map_err(|_| {
        format!("annotation {key} is {annotation:?} and forgives nothing; write a time such as {}", second(now))
    })?;
    // Clocks of people's machines may be a little ahead.
    if until > after(now, std::time::Duration::from_mins(1)) {
        return Err(format!("annotation {key} is {annotation}, which is yet to come, and forgives nothing until then"));
    }
    Ok(until)
}

/// Keeps the quarantined nodes and those with the latest attempts.
pub fn bounded(mut all: Vec<NodeAttempts>) -> Vec<NodeAttempts> {
    if all.len() > REMEMBERED {
        let latest = |known: &NodeAttempts| known.started.last().map(|time| time.0);
        all.sort_by_key(|known| std::cmp::Reverse((known.quarantined.is_some(), latest(known))));
        all.truncate(REMEMBERED);
    }
    all.sort_by(|a, b| a.node.cmp(&b.node));
    all
}

fn max(limit: &AttemptLimit) -> usize {
    usize::try_from(limit.max).unwrap_or_default().max(1)
}

fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn signed(length: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX)
}

fn after(at: Timestamp, length: std::time::Duration) -> Timestamp {
    at.saturating_add(signed(length)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
