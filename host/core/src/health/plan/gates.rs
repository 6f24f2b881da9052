//! What has to be true before anything is started for a node: an ordered list of gates, each a pure function.
//!
//! The first gate that says no decides; its reason is shown in status, events and `explain`. Running remediations are
//! not asked again: a gate only ever holds back what has not begun.

use super::extensions;
use super::index::Index;
use super::skip::{Held, Scope, SkipReason};
use super::{Hold, Outlook};
use crate::health::budget::Tally;
use crate::health::condition::Verdict;
use crate::health::lease::{Claim, claim};
use crate::health::view::NodeView;
use crate::health::{Step, maintenance};

/// What every gate sees: the outlook, and what this plan has come to so far.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// Everything the plan depends on.
    pub outlook: &'a Outlook<'a>,
    /// Finds remediations and memories of a node.
    pub index: &'a Index<'a>,
    /// The policy's templates in the order in which they are tried.
    pub steps: &'a [Step],
    /// Selected nodes.
    pub observed: usize,
    /// Healthy ones among them.
    pub healthy: usize,
    /// Healthy nodes needed.
    pub needed: usize,
    /// Why the policy is not acted on, if so.
    pub disabled: Option<&'a Hold>,
    /// What is being upgraded, if the cluster or the pool of the nodes is.
    pub upgrade: Option<&'a str>,
    /// State of the storm.
    pub storm: crate::health::Storm,
    /// Nodes for which this plan starts something already, in the order in which they passed.
    pub started: &'a [&'a NodeView],
    /// Places of the budget that are taken.
    pub budget: &'a Tally<'a>,
}

/// A node for which something would start.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The node.
    pub node: &'a NodeView,
    /// Index of the step that would start.
    pub step: usize,
    /// Its verdict.
    pub verdict: &'a Verdict,
    /// Whether nothing of the policy was tried for this failure of the node: a new remediation, not the next step of one.
    pub first: bool,
}

/// Says why not, or nothing.
pub type Gate = fn(&Snapshot<'_>, &Candidate<'_>) -> Option<SkipReason>;

/// The gates, in the order in which they are asked: what concerns the policy, then the cluster, then the node; what
/// would take something (a lease) comes last.
pub const GATES: &[Gate] = &[
    disabled,
    upgrade,
    paused,
    threshold,
    storm,
    extensions::correlated,
    excluded,
    extensions::vetoed,
    maintenance,
    extensions::quarantined,
    machine,
    control_plane,
    control_plane_guard,
    extensions::budget,
    lease,
];

/// Asks the gates in order.
pub(super) fn ask(snapshot: &Snapshot<'_>, candidate: &Candidate<'_>) -> Option<SkipReason> {
    GATES.iter().find_map(|gate| gate(snapshot, candidate))
}

fn disabled(snapshot: &Snapshot<'_>, _: &Candidate<'_>) -> Option<SkipReason> {
    snapshot.disabled.map(|hold| SkipReason::Disabled(hold.message.clone()))
}

fn paused(snapshot: &Snapshot<'_>, _: &Candidate<'_>) -> Option<SkipReason> {
    let requests = &snapshot.outlook.policy.spec.pause_requests;
    (!requests.is_empty()).then(|| SkipReason::Paused(requests.clone()))
}

fn threshold(snapshot: &Snapshot<'_>, _: &Candidate<'_>) -> Option<SkipReason> {
    let (healthy, needed, observed) = (snapshot.healthy, snapshot.needed, snapshot.observed);
    (healthy < needed).then_some(SkipReason::BelowThreshold { healthy, needed, observed })
}

fn storm(snapshot: &Snapshot<'_>, _: &Candidate<'_>) -> Option<SkipReason> {
    let length = snapshot.outlook.policy.spec.storm_cooldown_duration?.to_std();
    snapshot.storm.active.then(|| SkipReason::Storm { left: snapshot.storm.left(length, snapshot.outlook.now) })
}

fn excluded(_: &Snapshot<'_>, candidate: &Candidate<'_>) -> Option<SkipReason> {
    candidate.node.is_excluded().then_some(SkipReason::Excluded)
}

/// The whole cluster, or the pool of the nodes, is being upgraded.
fn upgrade(snapshot: &Snapshot<'_>, _: &Candidate<'_>) -> Option<SkipReason> {
    snapshot.upgrade.map(|why| {
        SkipReason::Held(Held {
            rule: "upgrade",
            why: format!("the cluster is being upgraded: {why}"),
            unblock: "remediation goes on when the upgrade is over".to_owned(),
            scope: Scope::Policy,
            warn: false,
            again_in: Some(maintenance::AGAIN),
        })
    })
}

/// Somebody works on the node on purpose.
fn maintenance(snapshot: &Snapshot<'_>, candidate: &Candidate<'_>) -> Option<SkipReason> {
    let (why, unblock, again_in) = maintenance::of(snapshot.outlook, candidate.node)?;
    let rule = "maintenance";
    Some(SkipReason::Held(Held { rule, why, unblock, scope: Scope::Node, warn: false, again_in: Some(again_in) }))
}

/// Metal3 finds its host by the machine that owns the remediation, so one without would never do anything.
fn machine(snapshot: &Snapshot<'_>, candidate: &Candidate<'_>) -> Option<SkipReason> {
    let step = snapshot.steps.get(candidate.step)?;
    if step.template_kind != crate::health::METAL3_TEMPLATE || snapshot.outlook.surroundings.openshift {
        return None;
    }
    let problem = match candidate.node.cluster_api_machine() {
        None => format!("node {} has no annotation {}", candidate.node.name, palisade_api::keys::cluster::CAPI_MACHINE),
        Some((namespace, machine)) if namespace != step.namespace => format!(
            "Machine {namespace}/{machine} of the node is not in namespace {} of template {}",
            step.namespace, step.template
        ),
        Some(_) => return None,
    };
    Some(SkipReason::Held(Held {
        rule: "machine",
        why: format!("Metal3 finds the host through the Machine that owns a remediation, but {problem}"),
        unblock: "use a Metal3RemediationTemplate in the namespace of the node's Cluster API Machine".to_owned(),
        scope: Scope::Node,
        warn: true,
        again_in: None,
    }))
}

fn control_plane(snapshot: &Snapshot<'_>, candidate: &Candidate<'_>) -> Option<SkipReason> {
    // A node with a member of etcd counts too: two at once may cost the quorum although each alone would not.
    if !candidate.node.may_run_etcd() {
        return None;
    }
    let planned = snapshot.started.iter().find(|other| other.may_run_etcd() && other.name != candidate.node.name);
    let planned = planned.map(|other| other.name.clone());
    let running = || {
        let (node, remediation) = snapshot.index.other_control_plane(&candidate.node.name)?;
        Some(format!("{node} ({remediation})"))
    };
    planned.or_else(running).map(SkipReason::ControlPlaneBusy)
}

/// Whoever knows the quorum was asked about the node, and the answer is part of the outlook. A node that was not asked
/// about passes here: the controller asks for every control-plane node that a draft of the plan would start, and then
/// plans again.
fn control_plane_guard(snapshot: &Snapshot<'_>, candidate: &Candidate<'_>) -> Option<SkipReason> {
    let answer = snapshot.outlook.surroundings.guards.get(&candidate.node.name)?;
    let refused = answer.refused.as_ref()?;
    Some(SkipReason::Held(Held {
        rule: "controlPlaneGuard",
        why: refused.why.clone(),
        unblock: refused.unblock.clone(),
        scope: Scope::Node,
        warn: true,
        again_in: Some(maintenance::AGAIN),
    }))
}

fn lease(snapshot: &Snapshot<'_>, candidate: &Candidate<'_>) -> Option<SkipReason> {
    let outlook = snapshot.outlook;
    let wanted = snapshot.steps.get(candidate.step).map(Step::lease_duration)?;
    match claim(outlook.surroundings.lease(&candidate.node.name), outlook.policy.name, wanted, outlook.now) {
        Claim::Held { holder, left } => Some(SkipReason::LeaseHeld { holder, left }),
        _ => None,
    }
}
