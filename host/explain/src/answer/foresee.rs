//! What is to come of a node that the status of a policy does not list: it does so when something is to be done.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use palisade_api::node_health_check::NodeHealthCheck;
use palisade_core::health::{NodeCondition, Verdict, evaluate};

use super::PolicyAnswer;

/// What the conditions of a node that no status lists tell, by the function that the controller judges with.
pub(super) fn add(answer: &mut PolicyAnswer, policy: &NodeHealthCheck, node: &Node, now: Timestamp) {
    let conditions = node.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let conditions: Vec<NodeCondition> = conditions
        .map(|one| NodeCondition {
            type_: one.type_.clone(),
            status: one.status.clone(),
            since: one.last_transition_time.as_ref().map(|since| since.0),
        })
        .collect();
    let since = |type_: &str| conditions.iter().find(|one| one.type_ == type_).and_then(|one| one.since);
    match evaluate(&conditions, &policy.spec.unhealthy_conditions, now) {
        Verdict::SoonMatching { type_, status, again_in } => {
            answer.verdict = format!("Suspect: {type_}={status}");
            answer.since = since(&type_);
            answer.next = Some("it counts as unhealthy, unless it recovers".to_owned());
            answer.next_at = SignedDuration::try_from(again_in).ok().and_then(|wait| now.checked_add(wait).ok());
        }
        Verdict::Matching { type_, status, .. } => {
            answer.verdict = format!("Unhealthy: {type_}={status}");
            answer.since = since(&type_);
            answer.next = Some("the controller has not said anything about it yet".to_owned());
        }
        Verdict::NotMatching => {}
    }
}
