//! What a remediation came to, in words that mean the same in every runner.

use std::collections::BTreeMap;

use palisade_remediator::testing::Effect;
use serde::Serialize;

/// How it ended, and what it left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ending {
    /// `Succeeded` or `Failed`.
    pub verdict: String,
    /// Why, as the conditions say: a reason of the remediator's own, `timed-out`, `failed`, or `succeeded`.
    pub reason: String,
    /// Effects in the order in which they were first asked for, without conditions.
    pub effects: Vec<String>,
    /// Conditions that the remediator reported, as they were last: `type=status reason`.
    pub told: Vec<String>,
    /// How the workloads were released, empty if they were not.
    pub released: String,
    /// What was there at the verdict: pods, and marks of ours on the node.
    pub left: Vec<String>,
    /// The same after the node was well again and the remediation deleted.
    pub afterwards: Vec<String>,
}

/// An effect in a word or two; `None` for conditions, which are compared by their last state.
pub fn word(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Condition(..) => return None,
        Effect::RequestFence(method) => format!("fence {}", bare(method)),
        Effect::Release(_, how) => format!("release {}", bare(how)),
        Effect::Restore(what) => format!("restore {}", bare(what)),
        Effect::Cordon => "cordon".to_owned(),
        Effect::Uncordon => "uncordon".to_owned(),
        Effect::SetTaint(taint) => format!("taint {}", taint.key),
        Effect::RemoveTaint(taint) => format!("untaint {}", taint.key),
        Effect::DeleteMachine(_) => "delete machine".to_owned(),
        Effect::PowerOff => "power off".to_owned(),
        Effect::PowerOn => "power on".to_owned(),
        Effect::Ask(question, ..) => format!("ask {}", bare(question)),
        Effect::RunJob(_) => "run job".to_owned(),
        Effect::Event(_, reason, _) => format!("event {reason}"),
    })
}

/// A word of the contract without the name of its type.
pub fn bare(word: &impl std::fmt::Debug) -> String {
    let whole = format!("{word:?}");
    whole.rsplit("::").next().unwrap_or_default().to_owned()
}

/// The reason that a step stands for.
pub fn reason_of_step(step: &str) -> String {
    let own = ["cannot-", "rejected-", "expired-"].iter().any(|start| step.starts_with(start));
    if own || step == "timed-out" { step.to_owned() } else { "failed".to_owned() }
}

/// The same for the reason of a condition: `RemediationCannotStartNoJob` is `cannot-start-no-job`.
pub fn reason_of_condition(reason: &str) -> String {
    if ["RemediationTimeoutByNHC", "RemediationStoppedByNHC", "RemediationInterruptedByNHC"].contains(&reason) {
        return "timed-out".to_owned();
    }
    let mut step = String::new();
    for letter in reason.strip_prefix("Remediation").unwrap_or(reason).chars() {
        if letter.is_ascii_uppercase() && !step.is_empty() {
            step.push('-');
        }
        step.push(letter.to_ascii_lowercase());
    }
    reason_of_step(&step)
}

/// What is gathered while a remediation runs.
#[derive(Debug, Default)]
pub struct Notes {
    keys: Vec<String>,
    /// Effects so far.
    pub effects: Vec<String>,
    told: BTreeMap<String, String>,
}

impl Notes {
    /// An effect was asked for under a key.
    pub fn asked(&mut self, key: &str, effect: &Effect) {
        if let Effect::Condition(kind, status, reason, _) = effect {
            self.told.insert(kind.clone(), format!("{kind}={} {reason}", bare(status)));
        } else if let Some(word) = word(effect).filter(|_| !self.keys.iter().any(|known| known == key)) {
            self.keys.push(key.to_owned());
            self.effects.push(word);
        }
    }

    /// Conditions as they are.
    pub fn told(&self) -> Vec<String> {
        self.told.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_and_the_condition_that_comes_of_it_give_one_reason() {
        let step = "cannot-start-no-controller-owner";
        assert_eq!(reason_of_condition("RemediationCannotStartNoControllerOwner"), reason_of_step(step));
        assert_eq!(reason_of_condition("RemediationFailed"), reason_of_step("job-failed"));
        assert_eq!(reason_of_condition("RemediationStoppedByNHC"), reason_of_step("timed-out"));
    }
}
