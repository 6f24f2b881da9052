//! What is wrong, or odd, about a configuration. The API server checks the same when a configuration is written; this
//! is for one that was stored before it did, or by a server that was told not to. Pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, Toleration};
use palisade_api::GoDuration;
use palisade_api::reasons::event;
use palisade_api::self_node_remediation_config::SelfNodeRemediationConfigSpec;
use palisade_core::fencing::timing;

use super::daemon_set::tuning;

/// Odd, and allowed.
#[derive(Debug, PartialEq, Eq)]
pub struct Warning {
    /// In one word.
    pub reason: &'static str,
    /// For people.
    pub text: String,
}

/// Everything that keeps this configuration from being rolled out; each names the field, the value and what would be
/// right.
pub fn problems(spec: &SelfNodeRemediationConfigSpec) -> Vec<String> {
    let mut problems = Vec::new();
    let millis = Duration::from_millis;
    for (field, value, least) in [
        ("apiCheckInterval", &spec.api_check_interval, millis(1_000)),
        ("apiServerTimeout", &spec.api_server_timeout, millis(10)),
        ("peerApiServerTimeout", &spec.peer_api_server_timeout, millis(10)),
        ("peerUpdateInterval", &spec.peer_update_interval, millis(10_000)),
        ("peerDialTimeout", &spec.peer_dial_timeout, millis(10)),
        ("peerRequestTimeout", &spec.peer_request_timeout, millis(10)),
    ] {
        if value.as_nanos() < GoDuration::from(least).as_nanos() {
            problems.push(format!("{field} is {value} and cannot be less than {}", GoDuration::from(least)));
        }
    }
    let mut number = |field: &str, value: i64, least: i64, most: i64| {
        if value < least || value > most {
            problems.push(format!("{field} is {value} and must be from {least} to {most}"));
        }
    };
    number("maxApiErrorThreshold", spec.max_api_error_threshold, 1, i64::from(u32::MAX));
    number("hostPort", spec.host_port, 1, i64::from(u16::MAX));
    number("minPeersForRemediation", spec.min_peers_for_remediation, 0, i64::from(u32::MAX));
    problems.extend(spec.custom_ds_tolerations.iter().enumerate().filter_map(|(index, toleration)| {
        toleration_problem(toleration).map(|what| format!("customDsTolerations[{index}]: {what}"))
    }));
    problems.extend(spec.custom_ds_node_selector_requirements.iter().enumerate().filter_map(|(index, requirement)| {
        selector_problem(requirement).map(|what| format!("customDsNodeSelectorRequirements[{index}]: {what}"))
    }));
    problems
}

fn toleration_problem(toleration: &Toleration) -> Option<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (operator, value, effect) = (text(&toleration.operator), text(&toleration.value), text(&toleration.effect));
    if !["", "Equal", "Exists"].contains(&operator.as_str()) {
        return Some(format!("operator is {operator:?} and must be Equal or Exists"));
    }
    if operator == "Exists" && !value.is_empty() {
        return Some(format!("value is {value:?} and must be empty with the operator Exists"));
    }
    (!["", "NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect.as_str()))
        .then(|| format!("effect is {effect:?} and must be NoSchedule, PreferNoSchedule, NoExecute, or empty for all"))
}

fn selector_problem(requirement: &NodeSelectorRequirement) -> Option<String> {
    let values = requirement.values.as_deref().unwrap_or_default();
    if requirement.key.is_empty() {
        return Some("key is empty; name a node label".to_owned());
    }
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            Some(format!("values is empty and must name at least one value with the operator {}", requirement.operator))
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            Some(format!("values is {values:?} and must be empty with the operator {}", requirement.operator))
        }
        "Gt" | "Lt" if values.len() != 1 || values[0].parse::<i64>().is_err() => {
            Some(format!("values is {values:?} and must be one integer with the operator {}", requirement.operator))
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => None,
        other => Some(format!("operator is {other:?} and must be In, NotIn, Exists, DoesNotExist, Gt or Lt")),
    }
}

/// Things that are allowed and not what the user may think.
pub fn warnings(spec: &SelfNodeRemediationConfigSpec) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let tuning = tuning(spec);
    if tuning.peer_request_timeout < tuning.effective_peer_request_timeout() {
        warnings.push(Warning {
            reason: event::PEER_TIMEOUT_ADJUSTED,
            text: format!(
                "peerRequestTimeout {} is less than apiServerTimeout {} + 2s, so {} is used",
                spec.peer_request_timeout,
                spec.api_server_timeout,
                GoDuration::from(tuning.effective_peer_request_timeout())
            ),
        });
    }
    if let Some(floor) = spec.safe_time_to_assume_node_rebooted_seconds {
        let least = tuning.time_to_live() + timing::margin(tuning.time_to_live());
        if floor < i64::try_from(least.as_secs()).unwrap_or(i64::MAX) {
            warnings.push(Warning {
                reason: event::SAFE_TIME_TOO_SHORT,
                text: format!(
                    "safeTimeToAssumeNodeRebootedSeconds {floor} is less than the right to live of {}s, to which twice \
                     the watchdog's timeout is added; it shortens nothing and has no effect",
                    least.as_secs()
                ),
            });
        }
    }
    warnings
}
