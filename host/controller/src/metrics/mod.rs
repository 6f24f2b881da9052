//! What operators alert on, in Prometheus' text format.
//!
//! Names and labels of the metrics that a replaced operator had are kept exactly, node names included; their series go
//! with the node. All others count by policy, reason, kind or proof, so their number does not grow with the cluster.

mod families;
mod observe;
mod policy;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{Registry, TextEncoder};

use families::Families;
use policy::Tracked;

/// All metrics of one controller process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    policies: Mutex<BTreeMap<String, Tracked>>,
}

impl Metrics {
    /// All of them, at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let families = Families::register(&registry)?;
        Ok(Self { registry, families, policies: Mutex::default() })
    }

    /// What `/metrics` serves.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Whether this process acts.
    pub fn leads(&self, leads: bool) {
        self.families.leader.set(i64::from(leads));
    }

    /// A fencing came to its proof, so long after it was asked for.
    pub fn fenced(&self, proof: &str, after: Duration) {
        self.families.fence.with_label_values(&[proof]).observe(after.as_secs_f64());
    }

    fn policies(&self) -> MutexGuard<'_, BTreeMap<String, Tracked>> {
        // Plain values; one that is half written only miscounts.
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
