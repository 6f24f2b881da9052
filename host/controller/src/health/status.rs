//! What a policy reports about itself.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use palisade_api::NodeHealthCheck;
use palisade_api::node_health_check::NodeHealthCheckStatus;
use palisade_api::reasons::{condition, phase, reason};
use palisade_core::health::{Hold, Judgement, Plan, Storm};
use serde_json::{Map, Value, json};

use super::{answer, extensions};

/// The status that a plan asks for. `lastUpdateTime` moves only if something else did.
pub(super) fn wanted(
    policy: &NodeHealthCheck,
    plan: &Plan,
    judgement: &Judgement,
    now: Timestamp,
) -> NodeHealthCheckStatus {
    let before = policy.status.clone().unwrap_or_default();
    let mut after = NodeHealthCheckStatus {
        observed_nodes: Some(count(plan.observed)),
        healthy_nodes: Some(count(plan.healthy)),
        in_flight_remediations: std::collections::BTreeMap::new(),
        unhealthy_nodes: plan.unhealthy.clone(),
        phase: Some(plan.phase.to_owned()),
        reason: Some(plan.reason.clone()),
        ..before.clone()
    };
    answer::complete(&mut after.unhealthy_nodes, &before.unhealthy_nodes, &policy.spec, plan, judgement, now);
    let generation = policy.metadata.generation;
    set_disabled(&mut after.conditions, plan.disabled.as_ref(), generation, now);
    set_storm(&mut after.conditions, &plan.storm, policy.spec.storm_cooldown_duration.is_some(), generation, now);
    extensions::report(&mut after, &plan.extras, generation, now);
    stamp(&before, after, now)
}

/// The storm that the conditions of a status tell of.
pub(super) fn storm(status: Option<&NodeHealthCheckStatus>) -> Storm {
    let is_true = |type_: &str| {
        let conditions = status.map_or(&[][..], |status| status.conditions.as_slice());
        conditions.iter().find(|known| known.type_ == type_ && known.status == "True")
    };
    let active = is_true(condition::STORM_ACTIVE).is_some();
    let cooldown = is_true(condition::STORM_COOLDOWN).map(|known| known.last_transition_time.0);
    Storm { active, cooldown: cooldown.filter(|_| active) }
}

fn set_storm(conditions: &mut Vec<Condition>, storm: &Storm, wanted: bool, generation: Option<i64>, now: Timestamp) {
    // A policy that never had a storm says nothing about storms.
    if !storm.active && !conditions.iter().any(|known| known.type_ == condition::STORM_ACTIVE) {
        return;
    }
    let (active, cooldown) = match (storm.active, storm.cooldown, wanted) {
        (true, None, _) => ("too few nodes are healthy: no new remediation starts", "too few nodes are healthy"),
        (true, Some(_), _) => (
            "enough nodes are healthy again; no new remediation starts until stormCooldownDuration is over",
            "enough nodes are healthy again",
        ),
        (false, _, true) => ("enough nodes are healthy", "the cooldown is over"),
        (false, _, false) => ("stormCooldownDuration is not set", "stormCooldownDuration is not set"),
    };
    set(conditions, condition::STORM_ACTIVE, storm.active, reason::THRESHOLD_CHANGE, active, generation, now);
    let cools = storm.cooldown.is_some();
    // The condition is where the beginning of the cooldown is remembered.
    let since = storm.cooldown.unwrap_or(now);
    set(conditions, condition::STORM_COOLDOWN, cools, reason::THRESHOLD_CHANGE, cooldown, generation, since);
}

/// The status of a policy that cannot be acted on at all. What it remembers of nodes stays as it is.
pub(super) fn unusable(policy: &NodeHealthCheck, hold: &Hold, now: Timestamp) -> NodeHealthCheckStatus {
    let before = policy.status.clone().unwrap_or_default();
    let mut after = NodeHealthCheckStatus {
        phase: Some(phase::DISABLED.to_owned()),
        reason: Some(format!("{}: {}", hold.reason, hold.message)),
        ..before.clone()
    };
    set_disabled(&mut after.conditions, Some(hold), policy.metadata.generation, now);
    stamp(&before, after, now)
}

fn stamp(before: &NodeHealthCheckStatus, after: NodeHealthCheckStatus, now: Timestamp) -> NodeHealthCheckStatus {
    if encoded(before) == encoded(&after) {
        return after;
    }
    NodeHealthCheckStatus { last_update_time: Some(Time(now)), ..after }
}

/// Whether the policy was acted on before, as far as its status says; `None` if it says nothing yet.
pub(super) fn disabled_reason(status: Option<&NodeHealthCheckStatus>) -> Option<&str> {
    let condition = status?.conditions.iter().find(|known| known.type_ == condition::DISABLED)?;
    Some(condition.reason.as_str())
}

fn set_disabled(conditions: &mut Vec<Condition>, hold: Option<&Hold>, generation: Option<i64>, now: Timestamp) {
    if let Some(hold) = hold {
        set(conditions, condition::DISABLED, true, hold.reason, &hold.message, generation, now);
    } else {
        let message = "the policy is acted on";
        set(conditions, condition::DISABLED, false, reason::ENABLED, message, generation, now);
    }
}

/// Sets a condition; its time moves only with its status.
fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    holds: bool,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let status = if holds { "True" } else { "False" };
    let known = conditions.iter().find(|known| known.type_ == type_);
    let since = known.filter(|known| known.status == status).map(|known| known.last_transition_time.clone());
    let wanted = Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: since.unwrap_or(Time(now)),
    };
    match conditions.iter_mut().find(|known| known.type_ == type_) {
        Some(known) => *known = wanted,
        None => conditions.push(wanted),
    }
}

fn count(nodes: usize) -> i64 {
    i64::try_from(nodes).unwrap_or(i64::MAX)
}

/// Writes the status if it differs, and returns the policy as it is then. The resource version guards it: of two controllers, the one that looked at an older
/// policy fails and looks again.
pub(super) async fn write(
    client: &Client,
    policy: &NodeHealthCheck,
    wanted: &NodeHealthCheckStatus,
) -> Result<Option<NodeHealthCheck>, kube::Error> {
    let before = encoded(&policy.status.clone().unwrap_or_default());
    let after = encoded(wanted);
    if before == after {
        return Ok(None);
    }
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    let body = json!({
        "metadata": { "resourceVersion": policy.metadata.resource_version },
        "status": merge_patch(&before, after),
    });
    Api::<NodeHealthCheck>::all(client.clone())
        .patch_status(name, &PatchParams::default(), &Patch::Merge(body))
        .await
        .map(Some)
}

/// As the API server stores it: with whole seconds.
fn encoded(status: &NodeHealthCheckStatus) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        // A struct with string keys has no failing case.
        _ => Map::new(),
    }
}

fn merge_patch(before: &Map<String, Value>, after: Map<String, Value>) -> Value {
    let mut patch = Map::new();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch.extend(after.into_iter().filter(|(key, value)| before.get(key) != Some(value)));
    Value::Object(patch)
}

/// The status of a policy that cannot be decoded.
pub(super) fn undecodable(message: &str) -> NodeHealthCheckStatus {
    NodeHealthCheckStatus {
        phase: Some(phase::DISABLED.to_owned()),
        reason: Some(format!("{}: {message}", reason::SPEC_INVALID)),
        ..NodeHealthCheckStatus::default()
    }
}

/// Status of a policy that cannot be decoded: written without knowing what it says otherwise.
pub(super) async fn write_undecodable(client: &Client, name: &str, message: &str) -> Result<(), kube::Error> {
    let hold = Hold { reason: reason::SPEC_INVALID, message: message.to_owned() };
    let mut conditions = Vec::new();
    set_disabled(&mut conditions, Some(&hold), None, Timestamp::now());
    let body = json!({ "status": {
        "phase": phase::DISABLED,
        "reason": format!("{}: {message}", hold.reason),
        "conditions": conditions,
    }});
    let policies: Api<kube::api::DynamicObject> =
        Api::all_with(client.clone(), &<NodeHealthCheck as kube::CustomResourceExt>::api_resource());
    policies.patch_status(name, &PatchParams::default(), &Patch::Merge(body)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn policy(status: Option<NodeHealthCheckStatus>) -> NodeHealthCheck {
        let mut policy = NodeHealthCheck::new("a", palisade_api::node_health_check::NodeHealthCheckSpec::default());
        policy.metadata.generation = Some(3);
        policy.status = status;
        policy
    }

    #[test]
    fn a_plan_that_changes_nothing_changes_no_time() {
        let plan = Plan { observed: 3, healthy: 3, phase: phase::ENABLED, ..Plan::default() };
        let first = wanted(&policy(None), &plan, &Judgement::default(), at(100));
        assert_eq!(first.last_update_time, Some(Time(at(100))));
        let second = wanted(&policy(Some(first.clone())), &plan, &Judgement::default(), at(200));
        assert_eq!(first, second);
    }

    #[test]
    fn the_condition_keeps_its_time_but_not_its_message() {
        let hold = |message: &str| Hold { reason: reason::TEMPLATE_NOT_FOUND, message: message.to_owned() };
        let disabled = |message| Plan { disabled: Some(hold(message)), phase: phase::DISABLED, ..Plan::default() };
        let first = wanted(&policy(None), &disabled("one"), &Judgement::default(), at(100));
        let second = wanted(&policy(Some(first)), &disabled("two"), &Judgement::default(), at(200));
        let condition = &second.conditions[0];
        assert_eq!((condition.status.as_str(), condition.message.as_str()), ("True", "two"));
        assert_eq!(condition.last_transition_time, Time(at(100)));
        assert_eq!(condition.observed_generation, Some(3));
        let third = wanted(&policy(Some(second)), &Plan::default(), &Judgement::default(), at(300));
        assert_eq!(third.conditions[0].last_transition_time, Time(at(300)));
        assert_eq!(third.conditions[0].reason, "NodeHealthCheckEnabled");
    }

    #[test]
    fn what_is_gone_is_removed_by_the_patch() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let patch = merge_patch(
            &map(json!({ "phase": "Remediating", "unhealthyNodes": [1], "observedNodes": 3 })),
            map(json!({ "phase": "Enabled", "observedNodes": 3 })),
        );
        assert_eq!(patch, json!({ "phase": "Enabled", "unhealthyNodes": null }));
    }
}
