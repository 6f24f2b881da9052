//! What an unhealthy node gets: the step of the ladder that is on goes on, or the next one is asked for.

use std::time::Duration;

use super::planner::Planner;
use super::skip::SkipReason;
use super::{Action, OLD, remaining};
use crate::health::lease::{Claim, claim};
use crate::health::view::{NodeView, RemediationView};

impl<'a> Planner<'a> {
    /// A node that is unhealthy.
    pub(super) fn remediate(&mut self, node: &'a NodeView) {
        if self.index.entry(&node.name).is_none() {
            self.plan.detected.push(node.name.clone());
        }
        for remediation in self.index.own(&node.name) {
            if remediation.healthy_since.is_some() && !remediation.terminating {
                let remediation = remediation.key.clone();
                self.plan.actions.push(Action::ClearHealthyDelay { remediation });
            }
        }
        if node.has_empty_exclude_label() {
            self.plan.invalid_labels.push(node.name.clone());
        }
        match self.climb(node) {
            Ok(Some(step)) => self.wishes.push((node, step)),
            Ok(None) => {}
            Err(reason) => self.skip(node, reason),
        }
        self.remember(&node.name);
    }

    /// Finds the step of the ladder that is on, or the next one, which is to start.
    fn climb(&mut self, node: &'a NodeView) -> Result<Option<usize>, SkipReason> {
        // The remediation of a former node of this name has to be gone first: it is about another machine.
        if let Some(orphan) = self.index.own(&node.name).find(|remediation| self.index.is_orphan(remediation)) {
            return Err(SkipReason::Terminating(orphan.key.to_string()));
        }
        for position in 0..self.steps.len() {
            let step = self.steps[position].clone();
            let mut made: Vec<&RemediationView> =
                self.index.remediations(&node.name).filter(|remediation| step.made(remediation)).collect();
            made.sort_by_key(|remediation| (!remediation.owned, remediation.terminating));
            let Some(running) = made.first() else {
                if self.gave_up_before(&node.name, &step) {
                    continue;
                }
                return Ok(Some(position));
            };
            if !running.owned {
                return Err(SkipReason::Foreign(running.key.to_string()));
            }
            if running.timed_out || self.is_remembered_as_timed_out(&node.name, &running.key) {
                continue;
            }
            if running.terminating {
                return Err(SkipReason::Terminating(running.key.to_string()));
            }
            let Some(timeout) = step.timeout else {
                self.keep_lease(node, step.lease_duration());
                return Ok(None);
            };
            let failed = running.succeeded == Some(false);
            let left = remaining(running.created, timeout, self.outlook.now);
            if let Some(left) = left.filter(|_| !failed) {
                self.again_in(left);
                self.keep_lease(node, step.lease_duration());
                return Ok(None);
            }
            self.plan.actions.push(Action::GiveUp {
                remediation: running.key.clone(),
                node: node.name.clone(),
                tell: running.succeeded != Some(true),
                failed,
            });
        }
        Err(SkipReason::NoTemplateLeft)
    }

    /// Renews the lease of a node under remediation in good time. One that is not ours any more is left alone: the
    /// remediation goes on without it.
    fn keep_lease(&mut self, node: &NodeView, duration: Duration) {
        let lease = self.outlook.surroundings.lease(&node.name);
        let Some(lease) = lease.filter(|lease| lease.is_of(self.outlook.policy.name)) else { return };
        let half = duration / 2;
        match claim(Some(lease), self.outlook.policy.name, half, self.outlook.now) {
            Claim::Renew => self.plan.actions.push(Action::RenewLease { node: node.name.clone(), duration }),
            _ => {
                if let Some(left) = lease.left(self.outlook.now) {
                    self.again_in(left.saturating_sub(half));
                }
            }
        }
    }

    /// Remediations that run for so long that somebody should look.
    pub(super) fn look_for_old_ones(&mut self) {
        for remediation in self.outlook.remediations.iter().filter(|r| r.owned && !r.terminating && !r.flagged_old) {
            match remaining(remediation.created, OLD, self.outlook.now) {
                Some(left) => self.again_in(left),
                None => self
                    .plan
                    .actions
                    .push(Action::FlagOld { remediation: remediation.key.clone(), node: remediation.node.clone() }),
            }
        }
    }
}
