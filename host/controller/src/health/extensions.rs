//! What the optional rules read from a policy and write to its status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;
use palisade_api::NodeHealthCheck;
use palisade_api::keys::palisade::VETO;
use palisade_api::node_health_check::NodeHealthCheckStatus;
use palisade_api::reasons::extension;
use palisade_core::health::{Extras, Failures, Flag, Memory, classify};

use super::nodes::Nodes;

/// What a policy remembers.
pub(super) fn memory(policy: &NodeHealthCheck) -> Memory<'_> {
    let status = policy.status.as_ref();
    Memory {
        veto: policy.annotations().get(VETO).map(String::as_str),
        attempts: status.map_or(&[], |status| status.attempts.as_slice()),
        last_started: status
            .and_then(|status| status.budget.as_ref())
            .and_then(|budget| budget.last_started.as_ref())
            .map(|time| time.0),
    }
}

/// What failed as a whole, judged on every node of the cluster; nothing if the policy does not ask.
pub(super) fn failures(policy: &NodeHealthCheck, nodes: &Nodes, now: Timestamp) -> Failures {
    match &policy.spec.correlated_failures {
        Some(spec) => classify(&nodes.all(), spec, now),
        None => Failures::default(),
    }
}

/// Writes what the rules say into the status that a plan asks for.
pub(super) fn report(after: &mut NodeHealthCheckStatus, extras: &Extras, generation: Option<i64>, now: Timestamp) {
    after.budget.clone_from(&extras.budget);
    after.attempts.clone_from(&extras.attempts);
    after.would_do.clone_from(&extras.would_do);
    let stale = |condition: &Condition| {
        extension::ALL.contains(&condition.type_.as_str())
            && !extras.flags.iter().any(|flag| flag.type_ == condition.type_)
    };
    after.conditions.retain(|condition| !stale(condition));
    for flag in &extras.flags {
        let wanted = condition(flag, after, generation, now);
        match after.conditions.iter_mut().find(|known| known.type_ == flag.type_) {
            Some(known) => *known = wanted,
            None => after.conditions.push(wanted),
        }
    }
}

fn condition(flag: &Flag, before: &NodeHealthCheckStatus, generation: Option<i64>, now: Timestamp) -> Condition {
    let status = if flag.active { "True" } else { "False" };
    let known = before.conditions.iter().find(|known| known.type_ == flag.type_ && known.status == status);
    Condition {
        type_: flag.type_.to_owned(),
        status: status.to_owned(),
        reason: flag.reason.to_owned(),
        message: flag.message.clone(),
        observed_generation: generation,
        last_transition_time: known.map_or(Time(now), |known| known.last_transition_time.clone()),
    }
}
