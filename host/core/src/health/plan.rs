//! From verdicts and running remediations to what is done next, with a reason for everything that is not done.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use palisade_api::node_health_check::UnhealthyNode;
use palisade_api::reasons::{phase, reason};

use super::condition::{Judgement, Verdict};
use super::ladder::{Step, steps};
use super::threshold::{ThresholdError, needed_healthy};
use super::view::{NodeView, ObjectKey, Policy, RemediationView};

mod record;
mod skip;

pub use skip::{Skip, SkipReason};

/// Everything a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Outlook<'a> {
    /// The policy.
    pub policy: Policy<'a>,
    /// The nodes it selects.
    pub nodes: &'a [NodeView],
    /// Their verdicts.
    pub judgement: &'a Judgement,
    /// Remediations of the kinds that its templates make, by whomever.
    pub remediations: &'a [RemediationView],
    /// Why nothing new may start, if so.
    pub hold: Option<&'a Hold>,
    /// Now.
    pub now: Timestamp,
}

/// Why a policy starts nothing new although its thresholds would allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Reason of the condition `Disabled`.
    pub reason: &'static str,
    /// Names object, field and remedy.
    pub message: String,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make a remediation of a node.
    Create {
        /// The node.
        node: String,
        /// Index into [`steps`].
        step: usize,
    },
    /// Give up on a remediation whose time ran out or that failed; the next step takes over.
    GiveUp {
        /// The remediation.
        remediation: ObjectKey,
        /// Its node.
        node: String,
        /// Whether it has to be told; not if it says that it succeeded.
        tell: bool,
        /// It failed by its own account, or else ran out of time.
        failed: bool,
    },
    /// Note on the remediation that its node looks healthy from now on.
    StartHealthyDelay {
        /// The remediation.
        remediation: ObjectKey,
    },
    /// Take that note back: the node is sick again.
    ClearHealthyDelay {
        /// The remediation.
        remediation: ObjectKey,
    },
    /// Delete a remediation.
    Delete {
        /// The remediation.
        remediation: ObjectKey,
        /// Its node.
        node: String,
        /// The node is not selected any more, or else is healthy.
        orphaned: bool,
    },
    /// Remove the user's confirmation from a node: it has served.
    ForgetConfirmation {
        /// The node.
        node: String,
    },
}

/// What to do and what to report.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Selected nodes.
    pub observed: usize,
    /// Nodes that are healthy and have no remediation left.
    pub healthy: usize,
    /// Healthy nodes needed.
    pub needed: usize,
    /// In the order in which they are to be applied.
    pub actions: Vec<Action>,
    /// What is not done, and why.
    pub skips: Vec<Skip>,
    /// Nodes seen unhealthy for the first time.
    pub detected: Vec<String>,
    /// Nodes whose exclude label has no value.
    pub invalid_labels: Vec<String>,
    /// For the status.
    pub unhealthy: Vec<UnhealthyNode>,
    /// Why the policy is not acted on, if so.
    pub disabled: Option<Hold>,
    /// For the status.
    pub phase: &'static str,
    /// For the status.
    pub reason: String,
    /// When to plan again if nothing happens.
    pub again_in: Option<Duration>,
}

/// Decides. Never looks at anything but its argument.
pub fn plan(outlook: &Outlook<'_>) -> Plan {
    let spec = outlook.policy.spec;
    let mut planner = Planner {
        outlook,
        steps: steps(spec),
        plan: Plan {
            observed: outlook.nodes.len(),
            healthy: outlook.nodes.iter().filter(|node| is_healthy(outlook, node)).count(),
            disabled: outlook.hold.cloned(),
            again_in: outlook.judgement.again_in,
            ..Plan::default()
        },
        control_plane: outlook.remediations.iter().filter(|r| r.control_plane).map(|r| r.node.clone()).collect(),
    };
    match needed_healthy(spec.min_healthy.as_ref(), spec.max_unhealthy.as_ref(), outlook.nodes.len()) {
        Ok(needed) => planner.plan.needed = needed,
        Err(error) => planner.distrust(&error),
    }

    let mut nodes: Vec<&NodeView> = outlook.nodes.iter().collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    for node in &nodes {
        match outlook.judgement.verdicts.get(&node.name) {
            Some(Verdict::Matching { .. }) => planner.remediate(node),
            Some(Verdict::SoonMatching { .. }) => planner.remember(&node.name),
            Some(Verdict::NotMatching) | None => planner.release(node),
        }
    }
    planner.release_orphans();
    planner.plan.unhealthy.sort_by(|a, b| a.name.cmp(&b.name));
    planner.describe();
    planner.plan
}

fn is_healthy(outlook: &Outlook<'_>, node: &NodeView) -> bool {
    outlook.judgement.verdicts.get(&node.name).is_some_and(|verdict| *verdict == Verdict::NotMatching)
        && own(outlook, &node.name).next().is_none()
}

fn own<'a>(outlook: &Outlook<'a>, node: &str) -> impl Iterator<Item = &'a RemediationView> {
    outlook.remediations.iter().filter(move |remediation| remediation.owned && remediation.node == node)
}

struct Planner<'a> {
    outlook: &'a Outlook<'a>,
    steps: Vec<Step>,
    plan: Plan,
    /// Control-plane nodes under remediation.
    control_plane: BTreeSet<String>,
}

impl Planner<'_> {
    fn distrust(&mut self, error: &ThresholdError) {
        self.plan.disabled.get_or_insert(Hold { reason: reason::SPEC_INVALID, message: error.to_string() });
    }

    /// A node that is unhealthy.
    fn remediate(&mut self, node: &NodeView) {
        let remembered = self.outlook.policy.remembered.iter().any(|entry| entry.name == node.name);
        if !remembered {
            self.plan.detected.push(node.name.clone());
        }
        for remediation in own(self.outlook, &node.name) {
            if remediation.healthy_since.is_some() && !remediation.terminating {
                let remediation = remediation.key.clone();
                self.plan.actions.push(Action::ClearHealthyDelay { remediation });
            }
        }
        if node.has_empty_exclude_label() {
            self.plan.invalid_labels.push(node.name.clone());
        }
        if let Err(reason) = self.climb(node) {
            self.plan.skips.push(Skip { node: node.name.clone(), reason });
        }
        self.remember(&node.name);
    }

    /// Finds the step of the ladder that is on, or starts the next one.
    fn climb(&mut self, node: &NodeView) -> Result<(), SkipReason> {
        if node.is_excluded() {
            return Err(SkipReason::Excluded);
        }
        let outlook = self.outlook;
        for index in 0..self.steps.len() {
            let step = self.steps[index].clone();
            let mut made =
                outlook.remediations.iter().filter(|r| r.node == node.name && step.made(r)).collect::<Vec<_>>();
            made.sort_by_key(|remediation| (!remediation.owned, remediation.terminating));
            let Some(running) = made.first() else {
                if self.gave_up_before(&node.name, &step) {
                    continue;
                }
                return self.start(node, index);
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
            let Some(timeout) = step.timeout else { return Ok(()) };
            let left = remaining(running.created, timeout, outlook.now);
            let failed = running.succeeded == Some(false);
            if let Some(left) = left.filter(|_| !failed) {
                self.again_in(left);
                return Ok(());
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

    fn start(&mut self, node: &NodeView, step: usize) -> Result<(), SkipReason> {
        if let Some(hold) = &self.plan.disabled {
            return Err(SkipReason::Disabled(hold.message.clone()));
        }
        let pause_requests = &self.outlook.policy.spec.pause_requests;
        if !pause_requests.is_empty() {
            return Err(SkipReason::Paused(pause_requests.clone()));
        }
        let (healthy, needed, observed) = (self.plan.healthy, self.plan.needed, self.plan.observed);
        if healthy < needed {
            return Err(SkipReason::BelowThreshold { healthy, needed, observed });
        }
        if node.is_control_plane() {
            if let Some(other) = self.control_plane.iter().find(|other| **other != node.name) {
                return Err(SkipReason::ControlPlaneBusy(other.clone()));
            }
            self.control_plane.insert(node.name.clone());
        }
        self.plan.actions.push(Action::Create { node: node.name.clone(), step });
        Ok(())
    }

    /// A node whose conditions are healthy: its remediations end.
    fn release(&mut self, node: &NodeView) {
        let remediations: Vec<_> = own(self.outlook, &node.name).collect();
        if remediations.is_empty() {
            if node.confirmed_healthy {
                self.plan.actions.push(Action::ForgetConfirmation { node: node.name.clone() });
            }
            return;
        }
        let mut delayed = false;
        for remediation in remediations.into_iter().filter(|remediation| !remediation.terminating) {
            delayed |= self.release_one(node, remediation);
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

    /// Remediations whose node is not selected any more.
    fn release_orphans(&mut self) {
        let selected: BTreeSet<&str> = self.outlook.nodes.iter().map(|node| node.name.as_str()).collect();
        let orphans = self.outlook.remediations.iter().filter(|r| r.owned && !selected.contains(r.node.as_str()));
        let mut nodes = BTreeSet::new();
        for orphan in orphans {
            let still_needed = orphan.node_vanishes && orphan.succeeded != Some(true);
            if !orphan.terminating && !still_needed {
                let (remediation, node) = (orphan.key.clone(), orphan.node.clone());
                self.plan.actions.push(Action::Delete { remediation, node, orphaned: true });
            }
            nodes.insert(orphan.node.clone());
        }
        for node in nodes {
            self.remember(&node);
        }
    }

    /// Plans again a second later than `left`, because stamps have no finer grain.
    fn again_in(&mut self, left: Duration) {
        let left = left + Duration::from_secs(1);
        self.plan.again_in = Some(self.plan.again_in.map_or(left, |sooner| sooner.min(left)));
    }

    fn describe(&mut self) {
        let (phase, reason) = if let Some(hold) = &self.plan.disabled {
            (phase::DISABLED, format!("{}: {}", hold.reason, hold.message))
        } else if !self.outlook.policy.spec.pause_requests.is_empty() {
            let requests = self.outlook.policy.spec.pause_requests.join(",");
            (phase::PAUSED, format!("paused by pauseRequests: {requests}"))
        } else {
            let under_remediation = self.plan.unhealthy.iter().filter(|node| !node.remediations.is_empty()).count();
            if under_remediation > 0 {
                (phase::REMEDIATING, format!("{under_remediation} of {} nodes under remediation", self.plan.observed))
            } else if let Some(skip) = self.plan.skips.first() {
                (phase::ENABLED, format!("node {} is not remediated: {}", skip.node, skip.reason))
            } else {
                (phase::ENABLED, "no node needs remediation".to_owned())
            }
        };
        self.plan.phase = phase;
        self.plan.reason = reason;
    }
}

/// What is left of `length` since `start`; `None` when it is over.
fn remaining(start: Timestamp, length: Duration, now: Timestamp) -> Option<Duration> {
    let end =
        start.saturating_add(SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX);
    (now <= end).then(|| Duration::try_from(end.duration_since(now)).unwrap_or_default())
}
