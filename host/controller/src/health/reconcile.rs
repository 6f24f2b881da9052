//! One pass over one policy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use palisade_api::NodeHealthCheck;
use palisade_api::node_health_check::NodeHealthCheckStatus;
use palisade_api::reasons::reason;
use palisade_core::health::{Action, Hold, Judgement, Plan, Selector, steps};
use tokio::time::Instant;

use super::apply::{Change, Failure, Pass};
use super::nodes::{AHEAD, number};
use super::scene::{Scene, creates};
use super::template::look_up;
use super::{Guarded, World, facts, status};

/// A missing template is looked for again, though its creation is also watched: the API server may serve a kind a while
/// after its definition appeared.
const MISSING_TEMPLATE: Duration = Duration::from_secs(15);
/// So many remediations are made in one pass; then the status is written, and the cluster looked at anew.
const AT_ONCE: usize = 256;
/// So many nodes are worked on side by side: enough to hide the latency of the API, too few to be felt by it.
const SIDE_BY_SIDE: usize = 16;

/// Looks at the policy of this name; returns when to look again if nothing happens.
pub(super) async fn reconcile(world: &World, name: &str) -> anyhow::Result<Option<Duration>> {
    let Some(guarded) = world.policies.get(&ObjectRef::new(name)) else {
        world.reporter.forget(name);
        world.written.forget(name);
        world.observers.iter().for_each(|observer| observer.forgotten(name));
        return Ok(None);
    };
    match &guarded.0 {
        // Its remediations belong to it and are being collected; nothing new may start.
        Ok(policy) if policy.metadata.deletion_timestamp.is_some() => Ok(None),
        Ok(policy) => match &world.watch {
            Some(report) => pass(world, &guarded, &report.watched(policy)).await,
            None => pass(world, &guarded, &world.written.latest(policy)).await,
        },
        Err(invalid) => {
            let message =
                format!("NodeHealthCheck {name} cannot be read and is not acted on: {}; correct it", invalid.error);
            world.reporter.failing(&guarded, &message);
            match &world.watch {
                Some(report) => report.put(name, status::undecodable(&message)),
                None => status::write_undecodable(&world.client, name, &message).await?,
            }
            Ok(None)
        }
    }
}

async fn pass(world: &World, guarded: &Guarded, policy: &NodeHealthCheck) -> anyhow::Result<Option<Duration>> {
    let unusable = |reason, message| Hold { reason, message };
    let selector = match Selector::new(policy.spec.selector.as_ref()) {
        Ok(selector) => selector,
        Err(error) => {
            return give_up(world, guarded, policy, unusable(reason::SPEC_INVALID, error.to_string())).await;
        }
    };
    let steps = steps(&policy.spec);
    if steps.is_empty() {
        let message = "one of spec.remediationTemplate and spec.escalatingRemediations must be specified".to_owned();
        return give_up(world, guarded, policy, unusable(reason::SPEC_INVALID, message)).await;
    }
    let looked = async {
        let facts = facts::look(world).await?;
        let templates = look_up(&world.kinds, &steps, facts.openshift).await?;
        Ok::<_, super::kinds::KindError>((facts, templates))
    };
    let (facts, templates) = match looked.await {
        Ok(found) => found,
        // Without what runs, or what the cluster is, nothing can be decided, not even what may end.
        Err(error) => {
            let hold = unusable(reason::TEMPLATE_UNREADABLE, error.to_string());
            give_up(world, guarded, policy, hold).await?;
            return Err(error.into());
        }
    };
    let hold = facts.hold.clone().or_else(|| templates.hold.clone());
    let nodes = world.nodes.selected(&selector);
    let mut looked = Instant::now();
    let mut scene = Scene::new(world, policy, &nodes, &templates, &facts, hold.as_ref()).await;
    let mut first = scene.plan();
    let due: Vec<String> = creates(&first).map(str::to_owned).collect();
    let renewed;
    let mut ahead_in = None;
    if due.is_empty() {
        ahead_in = look_ahead(world, &scene);
    } else {
        // A remediation is decided on the nodes as they are, not as a watch remembers them.
        world.nodes.renew(&world.client, &due).await?;
        renewed = world.nodes.selected(&selector);
        looked = Instant::now();
        scene = Scene::new(world, policy, &renewed, &templates, &facts, hold.as_ref()).await;
        scene.ask_guards(world).await;
        first = scene.plan();
    }
    let left_over = limit(&mut first);
    // What is said about it must not keep a remediation waiting.
    let silence = world.reporter.silence();
    world.reporter.planned(guarded, &first, &scene.judgement);
    let pass = Pass {
        world,
        guarded,
        policy,
        selector: &selector,
        nodes: scene.nodes,
        steps: &steps,
        templates: &templates,
        openshift: facts.openshift,
        spare_terminating: facts.spare_terminating,
    };
    // A dry run has no actions; whoever only watches does not rely on that.
    let actions = if world.watch.is_some() { &[] } else { first.actions.as_slice() };
    let (changes, failures) = apply(&pass, actions).await;
    drop(silence);
    for change in changes {
        scene.take(change);
    }
    scene.surroundings.leases = world.leases.all();
    // Planned again over what the actions made of the remediations, so that the status shows them at once.
    let report = scene.plan();
    let wanted = status::wanted(policy, &report, &scene.judgement, scene.at);
    if world.watch.is_none()
        && let Some(written) = status::write(&world.client, policy, &wanted).await?
    {
        world.written.put(written);
        world.reporter.weather(guarded, &report);
    }
    for observer in &world.observers {
        observer.passed(policy, &wanted, &report, &scene.judgement);
        observer.nodes(&|name| world.nodes.get(name).is_some());
    }
    if !failures.is_empty() {
        let message = failures.join("; ");
        world.reporter.failing(guarded, &message);
        return Err(anyhow!(message));
    }
    world.reporter.succeeded(&policy.name_any());
    let at_once = left_over.then_some(Duration::ZERO);
    let next = [again_in(&report, hold.as_ref()), facts.again_in, scene.again_in, ahead_in, at_once];
    // Waits count from when the nodes were looked at; what the pass took since is part of them.
    Ok(next.into_iter().flatten().min().map(|wait| wait.saturating_sub(looked.elapsed())))
}

/// Has the nodes read shortly before the next one is due, so that nothing large has to be read when it is. Returns when it
/// is time for that.
fn look_ahead(world: &World, scene: &Scene<'_>) -> Option<Duration> {
    let left = scene.next_due()?;
    if let Some(early) = left.checked_sub(AHEAD).filter(|early| !early.is_zero()) {
        return Some(early);
    }
    world.nodes.look_ahead(&world.client, left);
    None
}

/// Keeps no more than [`AT_ONCE`] remediations in the plan; true if it had more.
fn limit(plan: &mut Plan) -> bool {
    let mut kept = 0;
    let before = plan.actions.len();
    plan.actions.retain(|action| {
        let is_new = matches!(action, Action::Create { .. });
        kept += usize::from(is_new);
        !is_new || kept <= AT_ONCE
    });
    plan.actions.len() < before
}

/// Applies the actions: those of one node in their order, different nodes side by side. One node that fails never keeps
/// the others waiting.
async fn apply(pass: &Pass<'_>, actions: &[Action]) -> (Vec<Change>, Vec<String>) {
    let mut by_node: BTreeMap<&str, Vec<&Action>> = BTreeMap::new();
    let mut groups: Vec<Vec<&Action>> = Vec::new();
    for action in actions {
        match action.node() {
            Some(node) => by_node.entry(node).or_default().push(action),
            None => groups.push(vec![action]),
        }
    }
    groups.extend(by_node.into_values());
    // Boxed, or else the compiler cannot see that the futures may move between threads.
    let work: Vec<BoxFuture<'_, _>> = groups.into_iter().map(|group| apply_in_order(pass, group).boxed()).collect();
    let results: Vec<Vec<_>> = futures::stream::iter(work).buffered(SIDE_BY_SIDE).collect().await;
    let (mut changes, mut failures) = (Vec::new(), Vec::new());
    for result in results.into_iter().flatten() {
        match result {
            Ok(change) => changes.push(change),
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    // An event has 1024 bytes, and the first few tell what is wrong.
    let more = failures.len().saturating_sub(5);
    failures.truncate(5);
    if more > 0 {
        failures.push(format!("and {more} more"));
    }
    (changes, failures)
}

async fn apply_in_order(pass: &Pass<'_>, actions: Vec<&Action>) -> Vec<Result<Change, Failure>> {
    let mut results = Vec::new();
    let mut not_stopped = false;
    for action in actions {
        // Before the next step starts, the one before it was told to stop.
        if not_stopped && matches!(action, Action::Create { .. }) {
            continue;
        }
        let result = pass.apply(action).await;
        not_stopped |= matches!((&result, action), (Err(_) | Ok(Change::None), Action::GiveUp { .. }));
        results.push(result);
    }
    results
}

fn again_in(plan: &Plan, hold: Option<&Hold>) -> Option<Duration> {
    let looked_for = [reason::TEMPLATE_NOT_FOUND, reason::TEMPLATE_UNREADABLE];
    let missing = hold.filter(|hold| looked_for.contains(&hold.reason)).map(|_| MISSING_TEMPLATE);
    [plan.again_in, missing].into_iter().flatten().min()
}

/// Nothing can be planned; the status keeps what it remembers.
async fn give_up(
    world: &World,
    guarded: &Guarded,
    policy: &NodeHealthCheck,
    hold: Hold,
) -> anyhow::Result<Option<Duration>> {
    let plan = Plan { disabled: Some(hold.clone()), ..Plan::default() };
    world.reporter.planned(guarded, &plan, &Judgement::default());
    let wanted: NodeHealthCheckStatus = status::unusable(policy, &hold, crate::clock::timestamp());
    if let Some(report) = &world.watch {
        report.put(&policy.name_any(), wanted);
    } else if let Some(written) = status::write(&world.client, policy, &wanted).await? {
        world.written.put(written);
    }
    Ok(None)
}

/// Policies as they were last written here, until the watch shows them: decisions on a status that is older than one's
/// own last write would be made twice.
#[derive(Debug, Default)]
pub(super) struct Written(std::sync::Mutex<BTreeMap<String, Arc<NodeHealthCheck>>>);

impl Written {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<NodeHealthCheck>>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn put(&self, written: NodeHealthCheck) {
        self.lock().insert(written.name_any(), Arc::new(written));
    }

    /// The newer one of what was seen and what was written: a watch may be several writes behind.
    fn latest(&self, seen: &NodeHealthCheck) -> Arc<NodeHealthCheck> {
        let version = |policy: &NodeHealthCheck| number(policy.metadata.resource_version.as_deref());
        let mut all = self.lock();
        match all.get(&seen.name_any()) {
            Some(written) if written.metadata.uid == seen.metadata.uid && version(written) > version(seen) => {
                Arc::clone(written)
            }
            _ => {
                all.remove(&seen.name_any());
                Arc::new(seen.clone())
            }
        }
    }

    fn forget(&self, name: &str) {
        self.lock().remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(uid: &str, version: &str) -> NodeHealthCheck {
        let mut policy = NodeHealthCheck::new("nhc", palisade_api::node_health_check::NodeHealthCheckSpec::default());
        policy.metadata.uid = Some(uid.to_owned());
        policy.metadata.resource_version = Some(version.to_owned());
        policy
    }

    #[test]
    fn a_watch_that_is_two_writes_behind_does_not_hide_what_was_written() {
        // Given a policy whose status was written twice since the watch showed it
        let written = Written::default();
        written.put(policy("one", "8"));
        written.put(policy("one", "9"));
        // When the watch still shows what was there before, or the first write, then the second one counts
        let counts = |seen: NodeHealthCheck| written.latest(&seen).metadata.resource_version.clone();
        assert_eq!(counts(policy("one", "7")).as_deref(), Some("9"));
        assert_eq!(counts(policy("one", "8")).as_deref(), Some("9"));
        // Until the watch shows it, or somebody wrote it since,
        assert_eq!(counts(policy("one", "12")).as_deref(), Some("12"));
        assert_eq!(counts(policy("one", "10")).as_deref(), Some("10"), "nothing is kept for longer than it is needed");
        // or it is another policy of the same name.
        written.put(policy("one", "15"));
        assert_eq!(counts(policy("two", "14")).as_deref(), Some("14"));
    }
}
