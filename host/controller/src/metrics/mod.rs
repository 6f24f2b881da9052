//! What operators alert on, in Prometheus' text format.
//!
//! Names and labels of the metrics that a replaced operator had are kept exactly, node names included; their series go
//! with the node. All others count by policy, reason, kind or proof, so their number does not grow with the cluster.

mod catalogue;
mod families;
mod observe;
mod policy;
mod requests;
mod seen;
#[cfg(test)]
mod seen_tests;
#[cfg(test)]
mod shipped;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::reflector::Store;
use kube::runtime::watcher::Event;
use palisade_api::Remediator;
use prometheus::{Registry, TextEncoder};

pub use catalogue::Described;
pub use requests::Requests;

use crate::Role;
use crate::clock;
use crate::remediation::kind::Remediation;
use catalogue::Maker;
use families::Families;
use policy::Tracked;
use seen::Seen;

/// Silence of the API server after which a process is not ready: some requests that failed are no outage.
const OUT_OF_REACH: Duration = Duration::from_secs(30);

/// All metrics of one controller process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    policies: Mutex<BTreeMap<String, Tracked>>,
    requests: Requests,
    seen: Seen,
    described: Vec<Described>,
    /// One answer at a time: gauges are made for it.
    answering: Mutex<()>,
}

impl Metrics {
    /// All of them, at zero: those of a client's requests, and those of the agents whose leases are in this store.
    pub fn new(requests: Requests, agents: Option<Store<Lease>>) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let make = Maker::new(&registry);
        let families = Families::register(&make)?;
        requests.register(&make)?;
        let seen = Seen::register(&make, agents)?;
        let build = make.gauge("palisade_build_info", "1, labelled with the version of this program", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let described = make.finish();
        Ok(Self {
            registry,
            families,
            policies: Mutex::default(),
            requests,
            seen,
            described,
            answering: Mutex::default(),
        })
    }

    /// Everything that may be exported, by name.
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// What `/metrics` serves.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let _one = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        self.seen.refresh(clock::wall().0);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Why this process is not ready to act, as far as it can tell.
    pub fn unready(&self, role: Role) -> Option<String> {
        let missing = self.seen.missing(role);
        if !missing.is_empty() {
            return Some(format!("waiting for the first list of {}", missing.join(", ")));
        }
        let silent = self.requests.failing_for();
        (silent > OUT_OF_REACH).then(|| format!("the API server has answered no request for {} s", silent.as_secs()))
    }

    /// Whether this process acts. What only its passes know is not shown by one that does not act any more.
    pub fn leads(&self, leads: bool) {
        self.families.leader.set(i64::from(leads));
        if !leads {
            self.step_down();
        }
    }

    /// The watch of the nodes said something.
    pub fn node(&self, event: &Event<Node>) {
        if matches!(event, Event::InitDone) {
            self.seen.nodes_listed();
        }
    }

    /// The watch of the remediators said something.
    pub fn remediator(&self, event: &Event<Remediator>) {
        self.seen.remediator(event);
    }

    /// The watch of a kind of remediations said something.
    pub fn remediation<K: Remediation>(&self, event: &Event<K>) {
        self.seen.remediation(event);
    }

    /// A pass over a remediation came to its end.
    pub fn reconciled(&self, failed: bool) {
        self.pass("remediation", failed);
    }

    /// A component was called.
    pub fn called(&self, remediator: &str, took: Duration, answered: bool) {
        let result = if answered { "answered" } else { "failed" };
        self.families.calls.with_label_values(&[remediator, result]).inc();
        self.families.call_seconds.with_label_values(&[remediator]).observe(took.as_secs_f64());
    }

    /// A boot gave a sign of life after its end was proven.
    pub fn contradicted(&self, kind: &str) {
        self.families.contradictions.with_label_values(&[kind]).inc();
    }

    fn pass(&self, which: &str, failed: bool) {
        let result = if failed { "failed" } else { "succeeded" };
        self.families.passes.with_label_values(&[which, result]).inc();
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
