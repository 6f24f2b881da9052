//! What remediators that switch a machine off have in common: off, proven, released, on again.
//!
//! The device is looked at before anything is touched: parameters that cannot work end the remediation while the node
//! is still as it was.

use std::time::Duration;

use crate::fencing::{self, Method, Stage};
use crate::power::{self, Action, PowerState, PowerStatus, Progress};
use crate::report::{self, ConditionStatus};
use crate::workloads::{self, ReleaseMethod};
use crate::{Failure, Outcome, Refusal, Remediation, flow};

/// A device that is not there yet is looked for this often.
const LOOK: Duration = Duration::from_secs(3);

/// What the condition says when the machine need not be switched off any more.
const ENDED: &str = "the boot has ended";

/// How a cycle goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cycle {
    /// How workloads are released.
    pub release: ReleaseMethod,
    /// Whether the machine is switched on again after that.
    pub on_again: bool,
    /// Condition that tells how the switching off went.
    pub condition: &'static str,
}

impl Cycle {
    /// The answer of a call.
    pub fn run(self, remediation: &Remediation) -> Result<Outcome, Failure> {
        let remains = workloads::remaining();
        if remediation.deleting {
            return flow::restore(&remains);
        }
        if remains.released.is_some() && remains.gone() {
            return self.released();
        }
        if remediation.timed_out && remains.released.is_none() {
            let reason = "its owner gave up waiting before the workloads were released";
            return Ok(Outcome::failed("timed-out", reason));
        }
        let fence = fencing::progress();
        if fence.stage == Stage::Contradicted {
            return Ok(Outcome::failed("contradicted", fence.waiting_for));
        }
        if let Some(proof) = fencing::proof() {
            // Whatever proved it: the boot has ended.
            self.tell(ConditionStatus::True, "FenceAgentSucceeded", ENDED)?;
            flow::release(&proof, self.release)?;
            return Ok(Outcome::working("releasing"));
        }
        if remains.released.is_some() {
            return Ok(Outcome::working("releasing"));
        }
        let status = match power::status() {
            Ok(status) => status,
            Err(Refusal::Unavailable(why)) => {
                self.tell(ConditionStatus::Unknown, "WaitingForDevice", &why)?;
                return Ok(Outcome::working("waiting-for-device").within(LOOK));
            }
            Err(refusal) => {
                self.tell(ConditionStatus::False, "InvalidParameters", refusal.why())?;
                return Ok(Outcome::failed("cannot-start-invalid-parameters", refusal.why()));
            }
        };
        self.off(fence.stage, &status)
    }

    fn off(self, stage: Stage, status: &PowerStatus) -> Result<Outcome, Failure> {
        let asked = status.action == Some(Action::Off);
        let failed = |reason: &'static str, step: &'static str| {
            self.tell(ConditionStatus::False, reason, &status.detail)?;
            Ok(Outcome::failed(step, status.detail.clone()))
        };
        match status.progress {
            Progress::Failed if asked => return failed("FenceAgentFailed", "failed"),
            Progress::TimedOut if asked => return failed("FenceAgentTimedOut", "timed-out-device"),
            _ => {}
        }
        fencing::request("fence", Method::External)?;
        if matches!(stage, Stage::Idle | Stage::Requested | Stage::Marked) {
            // Pods that a rebooted node must not start again are marked before its power is cut.
            self.tell(ConditionStatus::Unknown, "RemediationStarted", "")?;
            return Ok(Outcome::working("marking").within(LOOK));
        }
        power::off("off")?;
        let message = match status.detail.as_str() {
            "" => format!("{} attempts so far", status.attempts),
            detail => format!("{} attempts so far; {detail}", status.attempts),
        };
        self.tell(ConditionStatus::Unknown, "SwitchingOff", &message)?;
        Ok(Outcome::working(if status.state == PowerState::Off { "waiting-for-proof" } else { "switching-off" })
            .within(LOOK))
    }

    /// Fencing is over; what is left is a machine that is off.
    fn released(self) -> Result<Outcome, Failure> {
        // A host that starts anew may release before it calls again: then nobody told this yet.
        self.tell(ConditionStatus::True, "FenceAgentSucceeded", ENDED)?;
        if !self.on_again {
            return Ok(Outcome::succeeded("released"));
        }
        let status = match power::status() {
            Ok(status) => status,
            Err(refusal) => return stays_off(refusal.why()),
        };
        match (status.action, status.progress) {
            // It was proven otherwise, and never switched off.
            (None, _) | (Some(Action::On), Progress::Done) => Ok(Outcome::succeeded("released")),
            (Some(Action::On), Progress::Failed | Progress::TimedOut) => stays_off(&status.detail),
            _ => {
                power::on("on")?;
                Ok(Outcome::working("switching-on").within(LOOK))
            }
        }
    }

    fn tell(self, status: ConditionStatus, reason: &str, message: &str) -> Result<(), Refusal> {
        report::condition(self.condition, status, reason, message)
    }
}

/// The node was fenced and its workloads run elsewhere: that is a success, and somebody should know the rest.
fn stays_off(why: &str) -> Result<Outcome, Failure> {
    report::event("stays-off", true, "PowerOnFailed", &format!("the machine could not be switched on again: {why}"))?;
    Ok(Outcome::succeeded("released"))
}
