//! What a plan is made from, and what becomes of it while actions are applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use palisade_api::NodeHealthCheck;
use palisade_core::health::{
    Action, Elsewhere, GuardAnswer, Hold, Judgement, NodeView, ObjectKey, Outlook, Plan, Policy, RemediationView,
    Surroundings, Verdict, judge, plan, steps,
};
use tokio::time::{Instant, timeout};

use super::apply::Change;
use super::facts::Facts;
use super::guard::{OpenShiftGuard, refusal};
use super::kinds::KindError;
use super::template::Templates;
use super::{World, extensions, status, views};

/// A guard that was asked about a node and refused is not asked again for this long, however often the policy is woken.
const REFUSED: Duration = Duration::from_secs(5);
/// A guard that takes longer knows nothing.
const ASKED: Duration = Duration::from_secs(15);

/// One policy and everything around it.
pub(super) struct Scene<'a> {
    policy: &'a NodeHealthCheck,
    name: String,
    pub nodes: &'a [NodeView],
    /// When it was looked at: durations in the judgement count from here.
    pub at: Timestamp,
    pub judgement: Judgement,
    remediations: Vec<RemediationView>,
    /// Where each of them is, by UID.
    positions: BTreeMap<String, usize>,
    pub surroundings: Surroundings,
    hold: Option<&'a Hold>,
    /// When something that no watch has shown yet stops to count.
    pub again_in: Option<Duration>,
}

impl<'a> Scene<'a> {
    pub async fn new(
        world: &World,
        policy: &'a NodeHealthCheck,
        nodes: &'a [NodeView],
        templates: &Templates,
        facts: &Facts,
        hold: Option<&'a Hold>,
    ) -> Self {
        let now = crate::clock::timestamp();
        let mut judgement = judge(nodes, &policy.spec.unhealthy_conditions, now);
        if facts.spare_terminating {
            judgement.spare_terminating(nodes);
        }
        let name = policy.name_any();
        // Before the remediations: what a watch shows from now on is among them.
        let unseen = world.recent.unseen();
        let objects = templates.kinds.iter().flat_map(|kind| kind.all());
        let mut remediations: Vec<_> = objects.map(|object| views::remediation(&object, &name)).collect();
        // By name: the order of a cache decides nothing.
        remediations.sort_by(|a, b| a.key.cmp(&b.key));
        for remediation in &mut remediations {
            remediation.control_plane |= is_control_plane(nodes, &remediation.node);
        }
        let signals = policy.spec.maintenance_signals.as_ref();
        let skew = signals.and_then(|signals| signals.cordon_and_version_skew) == Some(true);
        let mut surroundings = Surroundings {
            leases: world.leases.all(),
            upgrade: facts.upgrade.clone(),
            openshift: facts.openshift,
            spare_terminating: facts.spare_terminating,
            kubelet_versions: if skew { world.nodes.kubelet_versions() } else { BTreeSet::default() },
            failures: extensions::failures(policy, &world.nodes, now),
            ..Surroundings::default()
        };
        let unhealthy = |node: &&NodeView| {
            node.may_run_etcd() && matches!(judgement.verdicts.get(&node.name), Some(Verdict::Matching { .. }))
        };
        let mut again_in = None;
        if nodes.iter().any(|node| unhealthy(&node)) {
            for node in nodes.iter().filter(unhealthy) {
                if let Some(answer) = world.refusals.get(policy, &node.name) {
                    surroundings.guards.insert(node.name.clone(), answer);
                }
            }
            match elsewhere(world, &name).await {
                Ok(mut found) => {
                    let is_seen = |made: &Elsewhere| {
                        let is_it = |key: &ObjectKey| key.uid == made.key.uid;
                        found.iter().any(|known| is_it(&known.key))
                            || remediations.iter().any(|known| is_it(&known.key))
                    };
                    let unseen: Vec<_> = unseen.into_iter().filter(|made| !is_seen(made)).collect();
                    again_in = world.recent.again_in();
                    found.extend(unseen);
                    surroundings.control_plane = found;
                }
                // Two control-plane nodes at once may cost the quorum: what cannot be seen counts as being there.
                Err(error) => {
                    for node in nodes.iter().filter(unhealthy) {
                        let why =
                            format!("whether another control-plane node is being remediated is not known: {error}");
                        let unblock = "make the remediations of every policy readable".to_owned();
                        surroundings.guards.insert(node.name.clone(), refusal(why, unblock));
                    }
                }
            }
        }
        let positions = remediations.iter().enumerate().map(|(at, known)| (known.key.uid.clone(), at)).collect();
        Self { policy, name, nodes, at: now, judgement, remediations, positions, surroundings, hold, again_in }
    }

    pub fn plan(&self) -> Plan {
        self.plan_with(&self.judgement, crate::clock::timestamp())
    }

    /// In how long the next node will be remediated, if everything stays as it is.
    pub fn next_due(&self) -> Option<Duration> {
        let left = |verdict: &Verdict| match verdict {
            Verdict::SoonMatching { again_in, .. } => Some(*again_in),
            _ => None,
        };
        let left = self.judgement.verdicts.values().filter_map(left).min()?;
        let then = self.at.checked_add(left).ok()?;
        let mut judgement = judge(self.nodes, &self.policy.spec.unhealthy_conditions, then);
        if self.surroundings.spare_terminating {
            judgement.spare_terminating(self.nodes);
        }
        creates(&self.plan_with(&judgement, then)).next().map(|_| left)
    }

    fn plan_with(&self, judgement: &Judgement, now: Timestamp) -> Plan {
        let status = self.policy.status.as_ref();
        plan(&Outlook {
            policy: Policy {
                name: &self.name,
                spec: &self.policy.spec,
                remembered: status.map_or(&[], |status| status.unhealthy_nodes.as_slice()),
                storm: status::storm(status),
                memory: extensions::memory(self.policy),
            },
            nodes: self.nodes,
            judgement,
            remediations: &self.remediations,
            surroundings: &self.surroundings,
            hold: self.hold,
            now,
        })
    }

    /// Asks the guards about every control-plane node that would be remediated now. A refusal may let another node come
    /// forward, so it is asked until nobody new does.
    pub async fn ask_guards(&mut self, world: &World) {
        for _ in 0..self.nodes.len() {
            let plan = self.plan();
            let candidates = creates(&plan).filter_map(|name| self.nodes.iter().find(|node| node.name == name));
            let unasked = candidates
                .filter(|node| node.may_run_etcd() && !self.surroundings.guards.contains_key(&node.name))
                .collect::<Vec<_>>();
            if unasked.is_empty() {
                return;
            }
            for node in unasked {
                let answer = ask(world, self.policy, node, self.surroundings.openshift).await;
                world.refusals.note(self.policy, &node.name, &answer);
                self.surroundings.guards.insert(node.name.clone(), answer);
            }
        }
    }

    /// Takes over what an action changed.
    pub fn take(&mut self, change: Change) {
        match change {
            Change::Made(view) => {
                if let Some(at) = self.positions.get(&view.key.uid) {
                    self.remediations[*at] = *view;
                } else {
                    self.positions.insert(view.key.uid.clone(), self.remediations.len());
                    self.remediations.push(*view);
                }
            }
            Change::Ending(key) => self.update(&key.uid, |view| view.terminating = true),
            Change::TimedOut(key) => self.update(&key.uid, |view| view.timed_out = true),
            Change::Wait(left) => self.again_in = Some(self.again_in.map_or(left, |sooner| sooner.min(left))),
            Change::Done | Change::None => {}
        }
    }

    fn update(&mut self, uid: &str, change: impl FnOnce(&mut RemediationView)) {
        if let Some(view) = self.positions.get(uid).and_then(|at| self.remediations.get_mut(*at)) {
            change(view);
        }
    }
}

/// Nodes for which a plan makes remediations.
pub(super) fn creates(plan: &Plan) -> impl Iterator<Item = &str> {
    plan.actions.iter().filter_map(|action| match action {
        Action::Create { node, .. } => Some(node.as_str()),
        _ => None,
    })
}

fn is_control_plane(nodes: &[NodeView], name: &str) -> bool {
    // Nodes are sorted by name.
    let position = nodes.binary_search_by(|node| node.name.as_str().cmp(name));
    position.is_ok_and(|position| nodes[position].may_run_etcd())
}

/// Every remediation of a control-plane node that other policies' templates make.
async fn elsewhere(world: &World, name: &str) -> Result<Vec<Elsewhere>, KindError> {
    let mut found = BTreeMap::new();
    for policy in world.policies.state() {
        let Ok(policy) = &policy.0 else { continue };
        if policy.name_any() == name {
            continue;
        }
        for step in steps(&policy.spec) {
            let kind = match world.kinds.get(&step.api_version, &step.kind).await {
                Ok(kind) => kind,
                // None of a kind that does not exist.
                Err(KindError::Unknown { .. }) => continue,
                Err(error) => return Err(error),
            };
            for object in kind.all() {
                let view = views::remediation(&object, name);
                let node = world.nodes.get(&view.node);
                if view.control_plane || node.is_some_and(|node| node.may_run_etcd()) {
                    found.insert(view.key.uid.clone(), Elsewhere { node: view.node, key: view.key });
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

async fn ask(world: &World, policy: &NodeHealthCheck, node: &NodeView, openshift: bool) -> GuardAnswer {
    let mut counted = Vec::new();
    if openshift {
        let guard = OpenShiftGuard { client: world.client.clone() };
        let answer = timeout(ASKED, guard.ask(node)).await.unwrap_or_else(|_| silent("the disruption budget"));
        if answer.refused.is_some() {
            return answer;
        }
        counted.push(answer.counted);
    }
    for guard in &world.guards {
        match timeout(ASKED, guard.ask(node, policy)).await {
            Ok(None) => {}
            Ok(Some(answer)) if answer.refused.is_none() => counted.push(answer.counted),
            Ok(Some(answer)) => return answer,
            Err(_) => return silent(&format!("{guard:?}")),
        }
    }
    GuardAnswer { refused: None, counted: counted.join("; ") }
}

fn silent(who: &str) -> GuardAnswer {
    refusal(
        format!("whether the control plane can lose this node is not known: {who} did not answer within {ASKED:?}"),
        "it is asked again in a minute".to_owned(),
    )
}

/// Refusals of guards, for a while.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<Asked, (Instant, GuardAnswer)>>);

/// Policy, its generation, node: an answer to other words is no answer.
type Asked = (String, Option<i64>, String);

impl Refusals {
    fn get(&self, policy: &NodeHealthCheck, node: &str) -> Option<GuardAnswer> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (since, _)| since.elapsed() < REFUSED);
        all.get(&(policy.name_any(), policy.metadata.generation, node.to_owned())).map(|(_, answer)| answer.clone())
    }

    fn note(&self, policy: &NodeHealthCheck, node: &str, answer: &GuardAnswer) {
        if answer.refused.is_some() {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(
                (policy.name_any(), policy.metadata.generation, node.to_owned()),
                (Instant::now(), answer.clone()),
            );
        }
    }
}
