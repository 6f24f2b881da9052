//! What was asked of the API server for one remediation, by its own log.

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use palisade_sandbox::demo::Outcome;

use crate::audit::{AuditLog, Query};
use crate::controller;

/// User of the agents.
const AGENTS: &str = "system:serviceaccount:palisade-system:palisade-agent";

/// From the creation of the first remediation to the last pod gone, without watches.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    /// Everything that the controller asked for, whatever it was about.
    pub controller: Query,
    /// What all agents asked about the leases of nodes that the fault hit.
    pub agents: Query,
}

impl Requests {
    /// Of a story that stands `since_fault` seconds after its fault at this moment.
    pub fn of(audit: &AuditLog, outcome: &Outcome, now: Timestamp, since_fault: f64) -> anyhow::Result<Self> {
        let after = |at: Timestamp, seconds: f64| at.checked_add(SignedDuration::from_secs_f64(seconds));
        let fault = after(now, -since_fault)?;
        let all = audit.all()?.except_verb("watch").from(fault);
        let controller = all.by_user(controller::USER);
        let made = controller.verb("create").resource("self-node-remediation.medik8s.io", "selfnoderemediations");
        let made = made.succeeded().entries().first().map(|entry| entry.received);
        let milestones = outcome.milestones.values().filter_map(|node| Some((node.detected?, node.gone?)));
        let lasted = milestones.map(|(detected, gone)| gone - detected).reduce(f64::max);
        let (Some(made), Some(lasted)) = (made, lasted) else { return Ok(Self::default()) };
        let until = after(made, lasted).context("a story without end")?;
        let during = |query: &Query| query.from(made).filter(|entry| entry.received <= until);
        let agents = all.by_user(AGENTS).filter(|entry| outcome.milestones.contains_key(&entry.object_ref.name));
        Ok(Self { controller: during(&controller), agents: during(&agents) })
    }
}
