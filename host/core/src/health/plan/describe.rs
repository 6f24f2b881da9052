//! What a plan says about the policy as a whole.

use palisade_api::reasons::phase;

use super::planner::Planner;

impl Planner<'_> {
    pub(super) fn describe(&mut self) {
        let (phase, reason) = if let Some(hold) = &self.plan.disabled {
            (phase::DISABLED, format!("{}: {}", hold.reason, hold.message))
        } else if !self.outlook.policy.spec.pause_requests.is_empty() {
            let requests = self.outlook.policy.spec.pause_requests.join(",");
            (phase::PAUSED, format!("paused by pauseRequests: {requests}"))
        } else {
            let under_remediation = self.plan.unhealthy.iter().filter(|node| !node.remediations.is_empty()).count();
            if under_remediation > 0 {
                (phase::REMEDIATING, format!("{under_remediation} of {} nodes under remediation", self.plan.observed))
            } else if let Some(skip) = self.plan.skips.first() {
                (phase::ENABLED, format!("node {} is not remediated: {}", skip.node, skip.reason.lasting()))
            } else {
                (phase::ENABLED, "no node needs remediation".to_owned())
            }
        };
        self.plan.phase = phase;
        self.plan.reason = reason;
    }
}
