//! How remediations end: the node is healthy, or the policy has nothing to do with it any more.

use super::planner::Planner;
use super::{Action, remaining};
use crate::health::condition::Verdict;
use crate::health::lease::lease_name;
use crate::health::view::{NodeView, RemediationView};

impl Planner<'_> {
    /// A node whose conditions are healthy: its remediations end.
    pub(super) fn release(&mut self, node: &NodeView) {
        let remediations: Vec<_> = self.index.own(&node.name).collect();
        if remediations.is_empty() {
            if node.confirmed_healthy {
                self.plan.actions.push(Action::ForgetConfirmation { node: node.name.clone() });
            }
            return;
        }
        let mut delayed = false;
        for remediation in remediations {
            // That of a former node of this name is an orphan, and ends as such.
            if !remediation.terminating && !self.index.is_orphan(remediation) {
                delayed |= self.release_one(node, remediation);
            }
        }
        self.remember_healthy(&node.name, delayed);
    }

    /// True if the remediation is kept because of the healthy delay.
    fn release_one(&mut self, node: &NodeView, remediation: &RemediationView) -> bool {
        let key = remediation.key.clone();
        let delay = self.outlook.policy.spec.healthy_delay.unwrap_or_default();
        if !node.confirmed_healthy && delay.is_negative() {
            return true;
        }
        if !node.confirmed_healthy && delay.as_nanos() > 0 {
            let left = if let Some(since) = remediation.healthy_since {
                remaining(since, delay.to_std(), self.outlook.now)
            } else {
                self.plan.actions.push(Action::StartHealthyDelay { remediation: key.clone() });
                Some(delay.to_std())
            };
            if let Some(left) = left {
                self.again_in(left);
                return true;
            }
        }
        self.plan.actions.push(Action::Delete { remediation: key, node: node.name.clone(), orphaned: false });
        false
    }

    /// Remediations whose node is not selected any more, or is another one of the same name.
    pub(super) fn release_orphans(&mut self) {
        for node in self.index.orphaned() {
            for orphan in self.index.own(node).filter(|remediation| self.index.is_orphan(remediation)) {
                let still_needed = orphan.node_vanishes && orphan.succeeded != Some(true);
                if !orphan.terminating && !still_needed {
                    let (remediation, node) = (orphan.key.clone(), orphan.node.clone());
                    self.plan.actions.push(Action::Delete { remediation, node, orphaned: true });
                }
            }
            if self.index.node(node).is_none() {
                self.remember(node);
            }
        }
    }

    /// Leases of the policy on nodes that have no remediation left. That of a node that is still unhealthy stays until
    /// it expires: the remediation just made may not be seen yet, and the next one needs it.
    pub(super) fn release_leases(&mut self) {
        let outlook = self.outlook;
        let is_held =
            |name: &str| outlook.surroundings.leases.get(name).is_some_and(|lease| lease.is_of(outlook.policy.name));
        let mut needed = std::collections::BTreeSet::new();
        for remediation in outlook.remediations.iter().filter(|remediation| remediation.owned) {
            needed.insert(lease_name(&remediation.node));
        }
        for node in outlook.nodes {
            let healthy = matches!(outlook.judgement.verdicts.get(&node.name), None | Some(Verdict::NotMatching));
            if !healthy {
                needed.insert(lease_name(&node.name));
            }
        }
        let free = outlook.surroundings.leases.keys().filter(|name| is_held(name) && !needed.contains(*name));
        self.plan.actions.extend(free.map(|lease| Action::ReleaseLease { lease: lease.clone() }));
    }
}
