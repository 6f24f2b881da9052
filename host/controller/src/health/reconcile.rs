//! One pass over one policy.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use palisade_api::NodeHealthCheck;
use palisade_api::node_health_check::NodeHealthCheckStatus;
use palisade_api::reasons::reason;
use palisade_core::health::{
    Action, Hold, Judgement, NodeView, Outlook, Plan, Policy, RemediationView, Selector, judge, plan, steps,
};

use super::apply::{Change, Pass};
use super::template::{Templates, look_up};
use super::{Guarded, World, status, views};

/// A missing template is looked for again, though its creation is also watched: its kind may not exist yet.
const MISSING_TEMPLATE: Duration = Duration::from_secs(15);

/// Looks at the policy of this name; returns when to look again if nothing happens.
pub(super) async fn reconcile(world: &World, name: &str) -> anyhow::Result<Option<Duration>> {
    let Some(guarded) = world.policies.get(&ObjectRef::new(name)) else {
        world.reporter.forget(name);
        return Ok(None);
    };
    match &guarded.0 {
        // Its remediations belong to it and are being collected; nothing new may start.
        Ok(policy) if policy.metadata.deletion_timestamp.is_some() => Ok(None),
        Ok(policy) => pass(world, &guarded, policy).await,
        Err(invalid) => {
            let message =
                format!("NodeHealthCheck {name} cannot be read and is not acted on: {}; correct it", invalid.error);
            world.reporter.failing(&guarded, &message).await;
            status::write_undecodable(&world.client, name, &message).await?;
            Ok(None)
        }
    }
}

async fn pass(world: &World, guarded: &Guarded, policy: &NodeHealthCheck) -> anyhow::Result<Option<Duration>> {
    let selector = match Selector::new(policy.spec.selector.as_ref()) {
        Ok(selector) => selector,
        Err(error) => return unusable(world, guarded, policy, error.to_string()).await,
    };
    let steps = steps(&policy.spec);
    if steps.is_empty() {
        let message = "one of spec.remediationTemplate and spec.escalatingRemediations must be specified".to_owned();
        return unusable(world, guarded, policy, message).await;
    }
    let templates = match look_up(&world.kinds, &steps).await {
        Ok(templates) => templates,
        Err(error) => {
            world.reporter.failing(guarded, &format!("nothing is remediated: {error}")).await;
            return Err(error.into());
        }
    };
    let mut nodes = world.nodes.selected(&selector);
    let draft = Scene::new(policy, &nodes, remediations(&templates, policy), templates.hold.as_ref()).plan();
    if draft.actions.iter().any(|action| matches!(action, Action::Create { .. })) {
        // A remediation is decided on the nodes as they are, not as a watch remembers them.
        world.nodes.refresh(&world.client).await?;
        nodes = world.nodes.selected(&selector);
    }
    let mut scene = Scene::new(policy, &nodes, remediations(&templates, policy), templates.hold.as_ref());
    let first = scene.plan();
    world.reporter.planned(guarded, &first, &scene.judgement).await;
    let pass =
        Pass { world, guarded, policy, selector: &selector, nodes: &nodes, steps: &steps, templates: &templates };
    let mut failures = Vec::new();
    let mut not_stopped = BTreeSet::new();
    for action in &first.actions {
        // Before the next step starts, the one before it was told to stop.
        if matches!(action, Action::Create { node, .. } if not_stopped.contains(node)) {
            continue;
        }
        match pass.apply(action).await {
            Ok(change) => scene.take(change),
            // One node that fails never keeps the others waiting.
            Err(failure) => {
                if let Action::GiveUp { node, .. } = action {
                    not_stopped.insert(node.clone());
                }
                failures.push(failure.to_string());
            }
        }
    }
    // Planned again over what the actions made of the remediations, so that the status shows them at once.
    let report = scene.plan();
    status::write(&world.client, policy, &status::wanted(policy, &report, Timestamp::now())).await?;
    if !failures.is_empty() {
        let message = failures.join("; ");
        world.reporter.failing(guarded, &message).await;
        return Err(anyhow!(message));
    }
    world.reporter.succeeded(&policy.name_any());
    Ok(again_in(&report, templates.hold.as_ref()))
}

/// What a plan is made from, and what becomes of it while actions are applied.
struct Scene<'a> {
    policy: &'a NodeHealthCheck,
    nodes: &'a [NodeView],
    judgement: Judgement,
    remediations: Vec<RemediationView>,
    hold: Option<&'a Hold>,
}

impl<'a> Scene<'a> {
    fn new(
        policy: &'a NodeHealthCheck,
        nodes: &'a [NodeView],
        remediations: Vec<RemediationView>,
        hold: Option<&'a Hold>,
    ) -> Self {
        let judgement = judge(nodes, &policy.spec.unhealthy_conditions, Timestamp::now());
        Self { policy, nodes, judgement, remediations, hold }
    }

    fn plan(&self) -> Plan {
        plan(&Outlook {
            policy: Policy {
                name: self.policy.metadata.name.as_deref().unwrap_or_default(),
                storm: palisade_core::health::Storm::default(),
                spec: &self.policy.spec,
                remembered: self.policy.status.as_ref().map_or(&[], |status| status.unhealthy_nodes.as_slice()),
            },
            nodes: self.nodes,
            judgement: &self.judgement,
            remediations: &self.remediations,
            surroundings: &palisade_core::health::Surroundings::default(),
            hold: self.hold,
            now: Timestamp::now(),
        })
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Made(view) => {
                self.remediations.retain(|known| known.key.uid != view.key.uid);
                self.remediations.push(*view);
            }
            Change::Ending(key) => self.update(&key.uid, |view| view.terminating = true),
            Change::TimedOut(key) => self.update(&key.uid, |view| view.timed_out = true),
            Change::None => {}
        }
    }

    fn update(&mut self, uid: &str, change: impl FnOnce(&mut RemediationView)) {
        if let Some(view) = self.remediations.iter_mut().find(|view| view.key.uid == uid) {
            change(view);
        }
    }
}

fn remediations(templates: &Templates, policy: &NodeHealthCheck) -> Vec<RemediationView> {
    let name = policy.name_any();
    templates.kinds.iter().flat_map(|kind| kind.all()).map(|object| views::remediation(&object, &name)).collect()
}

fn again_in(plan: &Plan, hold: Option<&Hold>) -> Option<Duration> {
    let missing = hold.filter(|hold| hold.reason == reason::TEMPLATE_NOT_FOUND).map(|_| MISSING_TEMPLATE);
    [plan.again_in, missing].into_iter().flatten().min()
}

async fn unusable(
    world: &World,
    guarded: &Guarded,
    policy: &NodeHealthCheck,
    message: String,
) -> anyhow::Result<Option<Duration>> {
    let hold = Hold { reason: reason::SPEC_INVALID, message };
    let plan = Plan { disabled: Some(hold.clone()), ..Plan::default() };
    world.reporter.planned(guarded, &plan, &Judgement::default()).await;
    let wanted: NodeHealthCheckStatus = status::unusable(policy, &hold, Timestamp::now());
    status::write(&world.client, policy, &wanted).await?;
    Ok(None)
}
