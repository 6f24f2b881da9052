//! The order in which a plan is made.

use std::time::Duration;

use palisade_api::reasons::reason;

use super::extensions::{self, Ledger};
use super::gates::{Candidate, Snapshot, ask};
use super::index::Index;
use super::skip::{Skip, SkipReason};
use super::{Action, Hold, Outlook, Plan};
use crate::health::condition::Verdict;
use crate::health::ladder::{Step, steps};
use crate::health::maintenance;
use crate::health::storm::Weather;
use crate::health::threshold::needed_healthy;
use crate::health::view::NodeView;

/// Decides. Never looks at anything but its argument.
pub fn plan(outlook: &Outlook<'_>) -> Plan {
    let index = Index::new(outlook);
    let mut planner = Planner {
        outlook,
        index: &index,
        steps: steps(outlook.policy.spec),
        wishes: Vec::new(),
        plan: Plan {
            observed: outlook.nodes.len(),
            healthy: outlook.nodes.iter().filter(|node| is_healthy(outlook, &index, node)).count(),
            disabled: outlook.hold.cloned(),
            again_in: outlook.judgement.again_in,
            ..Plan::default()
        },
    };
    planner.count();
    planner.look_at_storm();
    // By name, so that every pass looks at nodes in the same order.
    let mut nodes: Vec<&NodeView> = outlook.nodes.iter().collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    for node in nodes {
        match outlook.judgement.verdicts.get(&node.name) {
            Some(Verdict::Matching { .. }) => planner.remediate(node),
            Some(Verdict::SoonMatching { .. }) => planner.remember(&node.name),
            Some(Verdict::NotMatching) | None => planner.release(node),
        }
    }
    let ledger = planner.start_what_may();
    planner.release_orphans();
    planner.release_leases();
    planner.look_for_old_ones();
    planner.plan.unhealthy.sort_by(|a, b| a.name.cmp(&b.name));
    planner.describe();
    extensions::conclude(&mut planner, &ledger);
    planner.plan
}

fn is_healthy(outlook: &Outlook<'_>, index: &Index<'_>, node: &NodeView) -> bool {
    outlook.judgement.verdicts.get(&node.name).is_some_and(|verdict| *verdict == Verdict::NotMatching)
        && index.own(&node.name).next().is_none()
}

pub(super) struct Planner<'a> {
    pub outlook: &'a Outlook<'a>,
    pub index: &'a Index<'a>,
    pub steps: Vec<Step>,
    /// Nodes for which something would start, and the step.
    pub wishes: Vec<(&'a NodeView, usize)>,
    pub plan: Plan,
}

impl<'a> Planner<'a> {
    fn count(&mut self) {
        let spec = self.outlook.policy.spec;
        match needed_healthy(spec.min_healthy.as_ref(), spec.max_unhealthy.as_ref(), self.plan.observed) {
            Ok(needed) => self.plan.needed = needed,
            Err(error) => {
                let hold = Hold { reason: reason::SPEC_INVALID, message: error.to_string() };
                self.plan.disabled.get_or_insert(hold);
            }
        }
    }

    fn look_at_storm(&mut self) {
        let outlook = self.outlook;
        let length = outlook.policy.spec.storm_cooldown_duration.as_ref().map(|length| length.to_std());
        let weather = Weather {
            below: self.plan.healthy < self.plan.needed,
            unhealthy: outlook.judgement.verdicts.values().any(|verdict| matches!(verdict, Verdict::Matching { .. })),
        };
        (self.plan.storm, self.plan.storm_change) = outlook.policy.storm.next(length, weather, outlook.now);
        if let Some(left) = length.and_then(|length| self.plan.storm.left(length, outlook.now)) {
            self.again_in(left);
        }
    }

    /// Puts those that ask to start something in order, and lets through what every gate lets through.
    fn start_what_may(&mut self) -> Ledger<'a> {
        let mut wishes = std::mem::take(&mut self.wishes);
        let mut ledger = Ledger::open(self, &mut wishes);
        let pool = maintenance::node_pool_upgrade(self.outlook);
        let upgrade = self.outlook.surroundings.upgrade.as_deref().or(pool.as_deref());
        let mut started = Vec::new();
        for (node, step) in wishes {
            let Some(verdict) = self.outlook.judgement.verdicts.get(&node.name) else { continue };
            let first = self.index.own(&node.name).next().is_none()
                && self.index.entry(&node.name).is_none_or(|entry| entry.remediations.is_empty());
            let snapshot = Snapshot {
                outlook: self.outlook,
                index: self.index,
                steps: &self.steps,
                observed: self.plan.observed,
                healthy: self.plan.healthy,
                needed: self.plan.needed,
                disabled: self.plan.disabled.as_ref(),
                upgrade,
                storm: self.plan.storm,
                started: &started,
                budget: &ledger.tally,
            };
            if let Some(reason) = ask(&snapshot, &Candidate { node, step, verdict, first }) {
                self.skip(node, reason);
            } else {
                started.push(node);
                ledger.started(self.outlook, node);
                self.plan.actions.push(Action::Create { node: node.name.clone(), step });
            }
        }
        ledger
    }

    pub(super) fn skip(&mut self, node: &NodeView, reason: SkipReason) {
        if let Some(again_in) = reason.again_in() {
            self.again_at_the_latest(again_in);
        }
        self.plan.skips.push(Skip { node: node.name.clone(), reason });
    }

    /// Plans again just after `left`: a time is over only when it is exceeded.
    pub(super) fn again_in(&mut self, left: Duration) {
        self.again_at_the_latest(left + Duration::from_millis(1));
    }

    pub(super) fn again_at_the_latest(&mut self, after: Duration) {
        self.plan.again_in = Some(self.plan.again_in.map_or(after, |sooner| sooner.min(after)));
    }
}
