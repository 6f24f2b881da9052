//! A played cluster under one policy. What is decided is decided by the controller's core; only what the controller
//! would then do to the cluster is played here. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use palisade_api::NodeHealthCheck;
use palisade_api::keys::palisade::VETO;
use palisade_api::node_health_check::{NodeAttempts, NodeHealthCheckSpec, UnhealthyNode};
use palisade_core::health::{
    Action, Memory, NodeCondition, NodeView, ObjectKey, Outlook, Plan, Policy, RemediationView, Selector,
    SelectorError, Step, Storm, Surroundings, classify, judge, plan, recovered, steps,
};

/// One look at the cluster may start what lets the next look start more, as the controller's own changes wake it. It
/// always comes to rest; a rule that does not would be a defect, and must not hang this program.
const ROUNDS: usize = 16;

/// The cluster.
#[derive(Debug)]
pub struct Fleet {
    name: String,
    spec: NodeHealthCheckSpec,
    veto: Option<String>,
    selector: Selector,
    steps: Vec<Step>,
    nodes: BTreeMap<String, NodeView>,
    remediations: Vec<RemediationView>,
    remembered: Vec<UnhealthyNode>,
    attempts: Vec<NodeAttempts>,
    last_started: Option<Timestamp>,
    storm: Storm,
    made: u64,
}

/// What one look came to.
#[derive(Debug)]
pub struct Look {
    /// What the policy says at the end of it.
    pub plan: Plan,
    /// What was done, in order.
    pub done: Vec<Done>,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// A remediation was made.
    Made {
        /// UID of the remediation.
        uid: String,
        /// Its node.
        node: String,
        /// Its kind.
        kind: String,
        /// Its template.
        template: String,
    },
    /// A remediation was given up.
    GivenUp {
        /// Its node.
        node: String,
        /// Its kind.
        kind: String,
        /// It failed by its own account, or else ran out of time.
        failed: bool,
    },
    /// A remediation was deleted, because its node is healthy or not the policy's any more.
    Ended {
        /// Its node.
        node: String,
        /// Its kind.
        kind: String,
    },
    /// A healthy node has to stay so for a while.
    Delayed {
        /// Its node.
        node: String,
    },
}

impl Fleet {
    /// A cluster without remediations.
    ///
    /// # Errors
    /// A selector that cannot be understood.
    pub fn new(policy: &NodeHealthCheck, nodes: Vec<NodeView>) -> Result<Self, SelectorError> {
        Ok(Self {
            name: policy.metadata.name.clone().unwrap_or_else(|| "the policy".to_owned()),
            spec: policy.spec.clone(),
            veto: policy.metadata.annotations.as_ref().and_then(|all| all.get(VETO)).cloned(),
            selector: Selector::new(policy.spec.selector.as_ref())?,
            steps: steps(&policy.spec),
            nodes: nodes.into_iter().map(|node| (node.name.clone(), node)).collect(),
            remediations: Vec::new(),
            remembered: Vec::new(),
            attempts: Vec::new(),
            last_started: None,
            storm: Storm::default(),
            made: 0,
        })
    }

    /// Names of all nodes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// A node reports a condition with this status.
    pub fn report(&mut self, node: &str, type_: &str, status: &str, now: Timestamp) {
        self.change(node, now, |view| match view.conditions.iter_mut().find(|one| one.type_ == type_) {
            Some(known) if known.status == status => {}
            Some(known) => (known.status, known.since) = (status.to_owned(), Some(now)),
            None => view.conditions.push(NodeCondition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                since: Some(now),
            }),
        });
    }

    /// Something about a node changes.
    pub fn change(&mut self, node: &str, now: Timestamp, change: impl FnOnce(&mut NodeView)) {
        if let Some(view) = self.nodes.get_mut(node) {
            let before = view.clone();
            change(view);
            view.recovered = recovered(Some(&before), view, now);
        }
    }

    /// A node is deleted.
    pub fn remove(&mut self, node: &str) {
        self.nodes.remove(node);
    }

    /// A node stops matching every unhealthy condition of the policy.
    pub fn heal(&mut self, node: &str, now: Timestamp) {
        for unhealthy in self.spec.unhealthy_conditions.clone() {
            let matches = self.nodes.get(node).and_then(|view| view.condition(&unhealthy.type_));
            if matches.is_some_and(|found| found.status == unhealthy.status) {
                let well = if unhealthy.status == "True" { "False" } else { "True" };
                self.report(node, &unhealthy.type_, well, now);
            }
        }
    }

    /// A remediation says that it failed.
    pub fn fail(&mut self, uid: &str) {
        if let Some(view) = self.remediations.iter_mut().find(|view| view.key.uid == uid) {
            view.succeeded = Some(false);
        }
    }

    /// Whether a remediation still exists.
    pub fn exists(&self, uid: &str) -> bool {
        self.remediations.iter().any(|view| view.key.uid == uid)
    }

    /// Nodes under remediation, and the kind of the newest remediation of each.
    pub fn remediated(&self) -> BTreeMap<String, String> {
        self.remediations.iter().map(|view| (view.node.clone(), view.key.kind.clone())).collect()
    }

    /// Looks at the cluster until there is nothing more to do at this instant.
    pub fn look(&mut self, now: Timestamp) -> Look {
        let mut done = Vec::new();
        let mut plan = self.plan(now);
        for _ in 0..ROUNDS {
            self.remember(&plan);
            let before = done.len();
            for action in &plan.actions {
                done.extend(self.apply(action, now));
            }
            if done.len() == before {
                break;
            }
            plan = self.plan(now);
        }
        Look { plan, done }
    }

    fn plan(&self, now: Timestamp) -> Plan {
        let is_selected = |node: &&NodeView| self.selector.matches(&node.labels);
        let selected: Vec<NodeView> = self.nodes.values().filter(is_selected).cloned().collect();
        let judgement = judge(&selected, &self.spec.unhealthy_conditions, now);
        // Judged on every node of the cluster.
        let failures = |spec| classify(&self.nodes.values().cloned().collect::<Vec<_>>(), spec, now);
        let surroundings = Surroundings {
            failures: self.spec.correlated_failures.as_ref().map(failures).unwrap_or_default(),
            ..Surroundings::default()
        };
        plan(&Outlook {
            policy: Policy {
                name: &self.name,
                spec: &self.spec,
                remembered: &self.remembered,
                storm: self.storm,
                memory: Memory {
                    veto: self.veto.as_deref(),
                    attempts: &self.attempts,
                    last_started: self.last_started,
                },
            },
            nodes: &selected,
            judgement: &judgement,
            remediations: &self.remediations,
            surroundings: &surroundings,
            hold: None,
            now,
        })
    }

    /// As the controller keeps it in the status.
    fn remember(&mut self, plan: &Plan) {
        self.remembered.clone_from(&plan.unhealthy);
        self.storm = plan.storm;
        self.attempts.clone_from(&plan.extras.attempts);
        let budget = plan.extras.budget.as_ref();
        self.last_started = budget.and_then(|budget| budget.last_started.as_ref()).map(|time| time.0);
    }

    fn apply(&mut self, action: &Action, now: Timestamp) -> Option<Done> {
        match action {
            Action::Create { node, step } => self.create(node, *step, now),
            Action::GiveUp { remediation, node, failed, .. } => {
                let view = self.view(remediation)?;
                // Given up once: what the plan repeats until the status shows it changes nothing more.
                let news = !std::mem::replace(&mut view.timed_out, true);
                news.then(|| Done::GivenUp { node: node.clone(), kind: remediation.kind.clone(), failed: *failed })
            }
            Action::StartHealthyDelay { remediation } => {
                let view = self.view(remediation)?;
                view.healthy_since = Some(now);
                Some(Done::Delayed { node: view.node.clone() })
            }
            Action::ClearHealthyDelay { remediation } => {
                self.view(remediation)?.healthy_since = None;
                None
            }
            Action::FlagOld { remediation, .. } => {
                self.view(remediation)?.flagged_old = true;
                None
            }
            Action::Delete { remediation, node, .. } => {
                let before = self.remediations.len();
                self.remediations.retain(|view| view.key.uid != remediation.uid);
                (self.remediations.len() < before)
                    .then(|| Done::Ended { node: node.clone(), kind: remediation.kind.clone() })
            }
            Action::ForgetConfirmation { node } => {
                self.change(node, now, |view| view.confirmed_healthy = false);
                None
            }
            // Nobody else is played, so a lease is always there to be had.
            Action::RenewLease { .. } | Action::ReleaseLease { .. } => None,
        }
    }

    fn view(&mut self, key: &ObjectKey) -> Option<&mut RemediationView> {
        self.remediations.iter_mut().find(|view| view.key.uid == key.uid)
    }

    fn create(&mut self, node: &str, step: usize, now: Timestamp) -> Option<Done> {
        let (view, step) = (self.nodes.get(node)?, self.steps.get(step)?);
        self.made += 1;
        let uid = format!("remediation-{}", self.made);
        self.remediations.push(RemediationView {
            key: ObjectKey {
                api_version: step.api_version.clone(),
                kind: step.kind.clone(),
                namespace: step.namespace.clone(),
                name: format!("{node}-{}", self.made),
                uid: uid.clone(),
            },
            node: node.to_owned(),
            node_uid: Some(view.uid.clone()),
            template: Some(step.template.clone()),
            owned: true,
            control_plane: view.is_control_plane(),
            created: now,
            terminating: false,
            succeeded: None,
            node_vanishes: false,
            timed_out: false,
            healthy_since: None,
            flagged_old: false,
        });
        Some(Done::Made { uid, node: node.to_owned(), kind: step.kind.clone(), template: step.template.clone() })
    }
}
