//! How many nodes may be remediated at a time: in all, per group of nodes, per cause, and how fast one after another.
//!
//! A node holds a place from its first remediation to the end of its last one. It is counted anew in every plan from the
//! remediations that exist, so nothing has to be given back and nothing latches: a controller that stopped, or a
//! remediation that somebody deleted, frees the place by itself. Every limit lets at least one node through. The order is
//! that of the length of the sickness, so everybody is first some day; a node whose group is full does not keep those
//! of other groups waiting.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use palisade_api::IntOrString;
use palisade_api::node_health_check::{Budget, BudgetStatus};

use super::view::NodeView;

/// Names shown in one text.
const SHOWN: usize = 5;
/// Names of those that wait, in the status.
const NEXT: usize = 10;

/// A node that holds a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Place<'a> {
    /// Name of the node.
    pub name: &'a str,
    /// The node; `None` if the policy does not select it any more.
    pub node: Option<&'a NodeView>,
    /// Type and status of the condition that makes it unhealthy; `None` if it is healthy again.
    pub cause: Option<(&'a str, &'a str)>,
}

/// What the places are counted from.
#[derive(Debug, Clone, Default)]
pub struct Tally<'a> {
    /// Nodes that hold a place, each once.
    pub places: Vec<Place<'a>>,
    /// Selected nodes.
    pub selected: usize,
    /// Selected nodes by label and value of the budget's topology keys; the value is empty for nodes without the label.
    pub groups: BTreeMap<(&'a str, &'a str), usize>,
    /// When a remediation was last started.
    pub last_started: Option<Timestamp>,
}

/// Why a node does not get a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// Which limit, the numbers, and who holds the places.
    pub why: String,
    /// What would free one.
    pub unblock: String,
    /// When to look again; `None`: when a remediation ends, which is watched.
    pub again_in: Option<Duration>,
}

impl<'a> Tally<'a> {
    /// Counts the groups of the selected nodes that the budget knows.
    pub fn new(budget: &'a Budget, nodes: &'a [NodeView], places: Vec<Place<'a>>, last: Option<Timestamp>) -> Self {
        let mut groups = BTreeMap::new();
        for limit in &budget.per_topology {
            for node in nodes {
                *groups.entry((limit.key.as_str(), value(node, &limit.key))).or_default() += 1;
            }
        }
        Self { places, selected: nodes.len(), groups, last_started: last }
    }

    /// A node starts now.
    pub fn take(&mut self, place: Place<'a>, now: Timestamp) {
        if !self.holds(place.name) {
            self.places.push(place);
        }
        self.last_started = self.last_started.max(Some(now));
    }

    /// Whether a node holds a place.
    pub fn holds(&self, node: &str) -> bool {
        self.places.iter().any(|place| place.name == node)
    }

    /// Why this node does not get a place; `None`: it gets one.
    pub fn refusal(&self, budget: &Budget, candidate: &Place<'_>, now: Timestamp) -> Option<Full> {
        if self.holds(candidate.name) {
            return None;
        }
        self.total(budget)
            .or_else(|| self.topology(budget, candidate))
            .or_else(|| self.cause(budget, candidate))
            .or_else(|| self.pace(budget, now))
    }

    fn total(&self, budget: &Budget) -> Option<Full> {
        let amount = budget.max_concurrent.as_ref()?;
        let limit = places(amount, self.selected);
        let holders: Vec<&str> = self.places.iter().map(|place| place.name).collect();
        let what = format!("maxConcurrent is {amount} of {} selected nodes", self.selected);
        full(limit, &holders, &what)
    }

    fn topology(&self, budget: &Budget, candidate: &Place<'_>) -> Option<Full> {
        let node = candidate.node?;
        budget.per_topology.iter().find_map(|limit| {
            let group = value(node, &limit.key);
            let size = self.groups.get(&(limit.key.as_str(), group)).copied().unwrap_or_default();
            let inside = |place: &&Place<'_>| place.node.is_some_and(|other| value(other, &limit.key) == group);
            let holders: Vec<&str> = self.places.iter().filter(inside).map(|place| place.name).collect();
            let group = if group.is_empty() {
                format!("without label {}", limit.key)
            } else {
                format!("with {}={group}", limit.key)
            };
            let what = format!("perTopology is {} of {size} selected nodes {group}", limit.max_concurrent);
            full(places(&limit.max_concurrent, size), &holders, &what)
        })
    }

    fn cause(&self, budget: &Budget, candidate: &Place<'_>) -> Option<Full> {
        let (type_, status) = candidate.cause?;
        let limit = budget.per_cause.iter().find(|limit| limit.type_ == type_ && limit.status == status)?;
        let same = |place: &&Place<'_>| place.cause == Some((type_, status));
        let holders: Vec<&str> = self.places.iter().filter(same).map(|place| place.name).collect();
        let amount = &limit.max_concurrent;
        let what = format!("perCause is {amount} of {} selected nodes for {type_}={status}", self.selected);
        full(places(amount, self.selected), &holders, &what)
    }

    fn pace(&self, budget: &Budget, now: Timestamp) -> Option<Full> {
        let interval = budget.min_interval?;
        let last = self.last_started?;
        let next = last.saturating_add(SignedDuration::try_from(interval.to_std()).ok()?).ok()?;
        (now < next).then(|| Full {
            why: format!("minInterval is {interval}, and a remediation was last started at {}", second(last)),
            unblock: format!("the next one may start at {}", second(next)),
            again_in: Some(Duration::try_from(next.duration_since(now)).unwrap_or_default() + Duration::from_secs(1)),
        })
    }

    /// For the status; `waiting` in the order in which they get a place.
    pub fn status(&self, budget: &Budget, waiting: &[&str]) -> BudgetStatus {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        BudgetStatus {
            used: count(self.places.len()),
            limit: budget.max_concurrent.as_ref().map(|amount| count(places(amount, self.selected))),
            waiting: count(waiting.len()),
            next: waiting.iter().take(NEXT).map(|node| (*node).to_owned()).collect(),
            last_started: self.last_started.map(|at| Time(second(at))),
        }
    }
}

fn full(limit: usize, holders: &[&str], what: &str) -> Option<Full> {
    (holders.len() >= limit).then(|| Full {
        why: format!("{} of {limit} places are taken by {} ({what})", holders.len(), listed(holders)),
        unblock: "the node that has been unhealthy for longest is next when a remediation of one of them is gone"
            .to_owned(),
        again_in: None,
    })
}

fn listed(names: &[&str]) -> String {
    let mut names = names.to_vec();
    names.sort_unstable();
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// Places for an amount; at least one. Something that is neither a number nor a percentage gives one.
pub fn places(amount: &IntOrString, nodes: usize) -> usize {
    let number = match amount {
        IntOrString::Int(number) => usize::try_from(*number).unwrap_or_default(),
        IntOrString::Text(text) => match text.strip_suffix('%') {
            Some(percent) => percent.parse::<usize>().unwrap_or_default().min(100) * nodes / 100,
            None => text.parse().unwrap_or_default(),
        },
    };
    number.max(1)
}

fn value<'a>(node: &'a NodeView, key: &str) -> &'a str {
    node.labels.get(key).map_or("", String::as_str)
}

fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests;
