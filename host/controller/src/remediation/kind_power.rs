//! The stock kinds that act by a fence agent and by a job.

use palisade_api::customized_user_remediation::CustomizedUserRemediationStatus;
use palisade_api::fence_agents_remediation::FenceAgentsRemediationStatus;
use palisade_api::reasons::{condition, phase};
use palisade_api::{CustomizedUserRemediation, FenceAgentsRemediation, keys};
use serde_json::json;

use super::kind::{Choice, Remediation, Status};
use crate::clock;
use crate::power::agent::wanted_action;
use crate::power::parameters::Action;

/// Longest name of a job.
const LONGEST: usize = 253;

/// The kinds have no phase: that one is done is what its condition says.
fn done(conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]) -> Option<String> {
    let done = conditions.iter().any(|known| known.type_ == condition::SUCCEEDED && known.status == "True");
    done.then(|| phase::FENCING_COMPLETED.to_owned())
}

/// They have no place for an error either: people read it in the condition.
fn with_error(mut status: Status) -> Status {
    if let Some(error) = status.last_error.take() {
        for known in status.conditions.iter_mut().filter(|known| known.type_ == condition::PROCESSING) {
            known.message = error.chars().take(1_024).collect();
        }
    }
    status
}

impl Remediation for FenceAgentsRemediation {
    const KIND: &'static str = "FenceAgentsRemediation";
    const FINALIZER: &'static str = keys::fence_agents::FINALIZER;
    const NEEDS_CONFIG: bool = false;
    const TIMED_OUT: &'static str = "RemediationInterruptedByNHC";
    const NODE_NOT_FOUND: &'static str = "RemediationFinishedNodeNotFound";

    fn status(&self) -> Status {
        let status = self.status.clone().unwrap_or_default();
        let phase = done(&status.conditions);
        Status { conditions: status.conditions, phase, palisade: status.palisade, ..Status::default() }
    }

    fn set_status(&mut self, status: Status) {
        let status = with_error(status);
        self.status = Some(FenceAgentsRemediationStatus {
            conditions: status.conditions,
            last_update_time: Some(clock::wall_at(clock::now())),
            palisade: status.palisade,
        });
    }

    fn choice(&self) -> Choice {
        let action = match wanted_action(&self.spec) {
            Action::Off => "off",
            Action::Reboot => "reboot",
        };
        let strategy = self.spec.remediation_strategy.as_str();
        Choice::Builtin("fence-agents", json!({ "action": action, "strategy": strategy }))
    }
}

impl Remediation for CustomizedUserRemediation {
    const KIND: &'static str = "CustomizedUserRemediation";
    const FINALIZER: &'static str = keys::palisade::FINALIZER;
    const NEEDS_CONFIG: bool = false;

    fn status(&self) -> Status {
        let status = self.status.clone().unwrap_or_default();
        let phase = done(&status.conditions);
        Status { conditions: status.conditions, phase, palisade: status.palisade, ..Status::default() }
    }

    fn set_status(&mut self, status: Status) {
        let status = with_error(status);
        self.status =
            Some(CustomizedUserRemediationStatus { conditions: status.conditions, palisade: status.palisade });
    }

    /// The script is the name of a job on the administrator's list. Its text is never run, and never leaves the object.
    fn choice(&self) -> Choice {
        let script = self.spec.script.as_deref().unwrap_or_default().trim();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        let job = if script.len() <= LONGEST && script.bytes().all(plain) { script } else { "" };
        Choice::Builtin("script", json!({ "job": job }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b3_1_only_the_name_of_a_job_leaves_the_object() {
        let choice = |script: &str| {
            let mut object = CustomizedUserRemediation::new(
                "n1",
                palisade_api::customized_user_remediation::CustomizedUserRemediationSpec::default(),
            );
            object.spec.script = Some(script.to_owned());
            object.choice()
        };
        assert_eq!(choice(" power-cut\n"), Choice::Builtin("script", json!({ "job": "power-cut" })));
        for text in ["#!/bin/bash\nreboot", "reboot -f", "Power", "a\"b", "$(x)"] {
            assert_eq!(choice(text), Choice::Builtin("script", json!({ "job": "" })), "{text}");
        }
    }
}
