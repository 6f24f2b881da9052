//! Whether a node may be fenced for an exercise. Pure: a scene in, reasons out. When in doubt, no.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use palisade_api::keys::{cluster, palisade, remediation};
use palisade_api::reasons::{condition, phase};
use palisade_core::health::{Selector, Standing, needed_healthy, veto_standing};

use super::scene::Scene;
use crate::explain::ready;

/// A leader renews every few seconds, and so does an agent that lives.
const SILENT: i64 = 60;

/// What the user allowed expressly.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowed {
    /// A node of the control plane.
    pub control_plane: bool,
    /// Pods that a disruption budget protects.
    pub despite_budgets: bool,
}

/// What the guards say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why not.
    pub refused: Vec<String>,
    /// What will happen beside the exercise.
    pub notes: Vec<String>,
}

/// All guards.
pub fn judge(scene: &Scene, allowed: Allowed) -> Verdict {
    let mut verdict = Verdict::default();
    let Some(node) = scene.target() else {
        verdict.refused.push(format!("there is no node {}", scene.node));
        return verdict;
    };
    verdict.refused.extend(healthy(scene, node));
    verdict.refused.extend(agent(scene, node));
    verdict.refused.extend(nobody_else(scene));
    verdict.refused.extend(policies(scene));
    verdict.refused.extend(control_plane(scene, node, allowed.control_plane));
    verdict.refused.extend(template(scene));
    let protected = budgets(scene);
    if allowed.despite_budgets { &mut verdict.notes } else { &mut verdict.refused }.extend(protected);
    let bare: Vec<String> = scene.pods.iter().filter(|pod| is_bare(pod)).map(title).collect();
    if !bare.is_empty() {
        verdict.notes.push(format!("nobody makes these pods again: {}", bare.join(", ")));
    }
    verdict
}

fn is_ready(node: &Node) -> bool {
    ready(node).is_some_and(|(status, ..)| status == "True")
}

/// `namespace/name` of a pod.
pub fn title(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

/// A pod that belongs to its node: of a DaemonSet, or static.
pub fn stays(pod: &Pod) -> bool {
    pod.owner_references().iter().any(|owner| matches!(owner.kind.as_str(), "DaemonSet" | "Node"))
}

fn is_bare(pod: &Pod) -> bool {
    pod.owner_references().is_empty() && !is_over(pod)
}

/// A pod that has ended.
pub fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn healthy(scene: &Scene, node: &Node) -> Vec<String> {
    let mut why = Vec::new();
    if !is_ready(node) {
        why.push("the node is not Ready: a drill begins on a node that is well".to_owned());
    }
    if node.metadata.deletion_timestamp.is_some() {
        why.push("the node is being deleted".to_owned());
    }
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let marks = [palisade::RELEASE_TAINT, palisade_api::keys::self_node::TAINT, cluster::OUT_OF_SERVICE_TAINT];
    why.extend(taints.iter().filter(|taint| marks.contains(&taint.key.as_str())).map(|taint| {
        format!(
            "the node carries the taint {}: somebody works on it, or it was left behind (palisade doctor)",
            taint.key
        )
    }));
    if node.labels().get(remediation::EXCLUDE).map(String::as_str) == Some("true") {
        why.push(format!("the node is excluded by the label {}", remediation::EXCLUDE));
    }
    if let Some(veto) = veto(scene, node) {
        why.push(format!("the node has a veto: {veto}"));
    }
    let others = scene.seen.nodes.iter().filter(|other| {
        let cordoned = other.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
        other.name_any() != scene.node && is_ready(other) && !cordoned
    });
    if others.count() == 0 {
        why.push("no other node is Ready: nothing could move anywhere".to_owned());
    }
    why
}

/// A veto that is in force, or cannot be understood.
fn veto<'a>(scene: &Scene, object: &'a impl ResourceExt) -> Option<&'a str> {
    let text = object.annotations().get(palisade::VETO)?;
    (!matches!(veto_standing(text, scene.seen.now), Standing::Expired(_))).then_some(text.as_str())
}

fn agent(scene: &Scene, node: &Node) -> Vec<String> {
    let now = scene.seen.now.as_second();
    let mut why = Vec::new();
    match scene.seen.leader {
        Some(at) if now - at.as_second() <= SILENT => {}
        Some(_) => why.push("no controller leads: nobody would carry it out".to_owned()),
        // One without election is alone, and cannot be seen; that nothing happens would be seen.
        None => {}
    }
    let Some(agent) = scene.agent() else {
        why.push("no agent reports from the node".to_owned());
        return why;
    };
    let view = match &agent.view {
        Ok(view) => view,
        Err(error) => {
            why.push(format!("the lease of its agent cannot be understood: {error}"));
            return why;
        }
    };
    if view.intent.is_some() {
        why.push("there is a fence intent for it already".to_owned());
    }
    let Some(record) = &view.record else {
        why.push("no agent reports from the node".to_owned());
        return why;
    };
    if !record.terms.claims.self_fences || record.disarmed {
        why.push("its agent cannot end it: neither watchdog nor a reboot by software (palisade doctor)".to_owned());
    }
    let bound = i64::try_from(record.terms.life_bound().as_secs()).unwrap_or(i64::MAX);
    if agent.renewed.is_none_or(|at| now - at.as_second() > bound) {
        why.push("its agent has not renewed its lease: it does not run, or is cut off".to_owned());
    }
    let boot = node.status.as_ref().and_then(|status| status.node_info.as_ref()).map(|info| info.boot_id.as_str());
    if boot.is_some_and(|boot| !boot.is_empty() && boot != record.boot_id.as_str()) {
        why.push("its agent and its kubelet report different boots".to_owned());
    }
    why
}

fn nobody_else(scene: &Scene) -> Vec<String> {
    let mut why: Vec<String> = scene
        .seen
        .remediations
        .iter()
        .flatten()
        .map(|one| format!("{} {} of node {} is there: one at a time", one.said.kind, one.said.path(), one.said.node))
        .collect();
    if let Some(spec) = scene.node_lease.as_ref().and_then(|lease| lease.spec.as_ref()) {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let length = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(0).into());
        let end = spec.renew_time.as_ref().and_then(|renewed| renewed.0.checked_add(length).ok());
        if !holder.is_empty() && end.is_some_and(|end| end > scene.seen.now) {
            why.push(format!("{holder} holds the lease of the node: it works on it"));
        }
    }
    why
}

fn policies(scene: &Scene) -> Vec<String> {
    let mut why = Vec::new();
    // Every policy: an unhealthy node anywhere is no time for an exercise.
    for policy in scene.seen.policies.iter().flatten() {
        let status = policy.status.clone().unwrap_or_default();
        for node in &status.unhealthy_nodes {
            why.push(format!(
                "policy {} has node {} on its list: no exercise while something is wrong",
                policy.name_any(),
                node.name
            ));
        }
        if status.conditions.iter().any(|one| one.type_ == condition::STORM_ACTIVE && one.status == "True") {
            why.push(format!("policy {} sees a storm", policy.name_any()));
        }
    }
    let mine = scene.policies();
    if mine.is_empty() {
        why.push("no policy selects the node: nothing says how many may be down".to_owned());
    }
    for policy in mine {
        let (name, spec) = (policy.name_any(), &policy.spec);
        let status = policy.status.clone().unwrap_or_default();
        if let Some(veto) = veto(scene, policy) {
            why.push(format!("policy {name} has a veto: {veto}"));
        }
        if !spec.pause_requests.is_empty() {
            why.push(format!("policy {name} is paused: {}", spec.pause_requests.join(", ")));
        }
        if status.phase.as_deref() == Some(phase::DISABLED) {
            why.push(format!("policy {name} is disabled: {}", status.reason.unwrap_or_default()));
        }
        let Ok(selector) = Selector::new(spec.selector.as_ref()) else { continue };
        let selected: Vec<&Node> = scene.seen.nodes.iter().filter(|node| selector.matches(node.labels())).collect();
        let well = selected.iter().filter(|node| is_ready(node)).count();
        match needed_healthy(spec.min_healthy.as_ref(), spec.max_unhealthy.as_ref(), selected.len()) {
            // As for a real failure: the node that is down does not count as healthy.
            Ok(needed) if well.saturating_sub(1) < needed => why.push(format!(
                "policy {name} needs {needed} healthy nodes of {}, and there would be {}",
                selected.len(),
                well.saturating_sub(1)
            )),
            Ok(_) => {}
            Err(error) => why.push(format!("policy {name}: {error}")),
        }
    }
    why
}

fn is_control_plane(node: &Node) -> bool {
    [cluster::CONTROL_PLANE_ROLE, cluster::MASTER_ROLE, cluster::ETCD_ROLE]
        .iter()
        .any(|role| node.labels().contains_key(*role))
}

/// Without this one, a majority of the members has to be there, and one more may not be down already.
fn control_plane(scene: &Scene, node: &Node, allowed: bool) -> Vec<String> {
    if !is_control_plane(node) {
        return Vec::new();
    }
    if !allowed {
        return vec!["it is a node of the control plane; say --control-plane if that is meant".to_owned()];
    }
    let all: Vec<&Node> = scene.seen.nodes.iter().filter(|node| is_control_plane(node)).collect();
    let others = all.iter().filter(|other| other.name_any() != scene.node && is_ready(other)).count();
    if others < all.len() / 2 + 1 {
        return vec![format!(
            "etcd would lose its majority: of {} nodes of the control plane {others} others are Ready",
            all.len()
        )];
    }
    Vec::new()
}

fn template(scene: &Scene) -> Vec<String> {
    let template = &scene.template;
    if template.makes.is_none() {
        return vec![format!("nothing of Palisade serves {}; choose another with --template", template.title())];
    }
    if template.spec.is_none() {
        return vec![format!("{} does not exist", template.title())];
    }
    Vec::new()
}

fn budgets(scene: &Scene) -> Vec<String> {
    let mut why = Vec::new();
    for budget in &scene.budgets {
        let left = budget.status.as_ref().and_then(|status| status.disruptions_allowed);
        let exhausted = left.unwrap_or(0) < 1;
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let Some(Ok(selector)) = selector.map(|selector| Selector::new(Some(selector))) else { continue };
        let pods =
            scene.pods.iter().filter(|pod| pod.namespace() == budget.namespace() && !stays(pod) && !is_over(pod));
        let names: Vec<String> = pods.filter(|pod| selector.matches(pod.labels())).map(title).collect();
        if exhausted && !names.is_empty() {
            why.push(format!(
                "PodDisruptionBudget {}/{} allows no disruption now, and {} would be disrupted (--despite-budgets)",
                budget.namespace().unwrap_or_default(),
                budget.name_any(),
                names.join(", ")
            ));
        }
    }
    why
}
