//! Names, labels and buckets.

use palisade_core::fencing::proof::ProofKind;
use prometheus::{HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, exponential_buckets};

use super::catalogue::Maker;
use crate::remediation::kind::{Remediation, every_kind};

const PROOFS: [ProofKind; 6] = [
    ProofKind::BootChanged,
    ProofKind::AgentAcknowledged,
    ProofKind::LeaseExpired,
    ProofKind::PoweredOff,
    ProofKind::MachineGone,
    ProofKind::HumanConfirmed,
];

/// Labels of the metrics about one remediation of one node.
const NODE: [&str; 3] = ["name", "namespace", "remediation"];
/// Buckets that dashboards of the replaced operator know, in seconds.
const UNHEALTHY: [f64; 10] = [30.0, 60.0, 120.0, 180.0, 240.0, 300.0, 600.0, 1_200.0, 2_400.0, 3_600.0];

/// Every metric.
#[derive(Debug)]
pub(super) struct Families {
    /// Remediations that became older than 48 hours.
    pub old: IntCounterVec,
    /// 1 while a node has a remediation.
    pub ongoing: IntGaugeVec,
    /// How long nodes had remediations.
    pub unhealthy: HistogramVec,
    /// Remediations that exist now.
    pub in_progress: IntGaugeVec,
    /// Nodes for which nothing is started.
    pub blocked: IntGaugeVec,
    /// Selected nodes.
    pub observed: IntGaugeVec,
    /// Healthy ones.
    pub healthy: IntGaugeVec,
    /// Remediations that count against the budget.
    pub budget_used: IntGaugeVec,
    /// How many the budget allows.
    pub budget_limit: IntGaugeVec,
    /// Nodes that got well by themselves.
    pub healed: IntCounterVec,
    /// Remediations that were created.
    pub created: IntCounterVec,
    /// From the change of the condition to the remediation.
    pub detect: HistogramVec,
    /// From the request to fence to the proof.
    pub fence: HistogramVec,
    /// From the remediation to healthy conditions.
    pub recover: HistogramVec,
    /// Whether this process acts.
    pub leader: IntGauge,
    /// Passes over policies and remediations.
    pub passes: IntCounterVec,
    /// Boots that were seen alive after their end.
    pub contradictions: IntCounterVec,
    /// Calls of components.
    pub calls: IntCounterVec,
    /// How long they took.
    pub call_seconds: HistogramVec,
}

impl Families {
    pub fn register(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str, labels: &[&str]| make.gauge(name, help, labels);
        let counter = |name: &str, help: &str, labels: &[&str]| make.counter(name, help, labels);
        let histogram =
            |name: &str, help: &str, labels: &[&str], buckets: Vec<f64>| make.histogram(name, help, labels, buckets);
        // A quarter of a second to an hour and a half.
        let spans = exponential_buckets(0.25, 2.0, 15)?;
        let families = Self {
            old: counter(
                "nodehealthcheck_old_remediation_cr",
                "Remediations that were still there after 48 hours",
                &["name", "namespace"],
            )?,
            ongoing: gauge("nodehealthcheck_ongoing_remediation", "1 while the node has a remediation", &NODE)?,
            unhealthy: histogram(
                "nodehealthcheck_unhealthy_node_duration_seconds",
                "How long a node had a remediation",
                &NODE,
                UNHEALTHY.to_vec(),
            )?,
            in_progress: gauge(
                "palisade_remediations_in_progress",
                "Remediations that exist, by policy and kind",
                &["policy", "remediation"],
            )?,
            blocked: gauge(
                "palisade_nodes_blocked",
                "Unhealthy nodes for which nothing is started, by policy and rule that holds",
                &["policy", "reason"],
            )?,
            observed: gauge("palisade_nodes_observed", "Nodes that the policy selects", &["policy"])?,
            healthy: gauge("palisade_nodes_healthy", "Healthy nodes without remediations", &["policy"])?,
            budget_used: gauge(
                "palisade_budget_used",
                "Nodes under remediation, which is what a budget counts",
                &["policy"],
            )?,
            budget_limit: gauge(
                "palisade_budget_limit",
                "Nodes that may be under remediation; absent without a budget",
                &["policy"],
            )?,
            healed: counter(
                "palisade_healed_before_action_total",
                "Nodes that were unhealthy and recovered before anything was done",
                &["policy"],
            )?,
            created: counter(
                "palisade_remediations_created_total",
                "Remediations that were created",
                &["policy", "remediation"],
            )?,
            detect: histogram(
                "palisade_time_to_detect_seconds",
                "From the change of the node's condition to the creation of its first remediation",
                &["policy"],
                spans.clone(),
            )?,
            fence: histogram(
                "palisade_time_to_fence_seconds",
                "From the request to fence a node to the proof of its end, by kind of proof",
                &["proof"],
                spans.clone(),
            )?,
            recover: histogram(
                "palisade_time_to_recover_seconds",
                "From the first remediation of a node to healthy conditions",
                &["policy"],
                spans,
            )?,
            passes: counter(
                "palisade_passes_total",
                "Passes over a policy or a remediation, by how they ended; one that failed is tried again",
                &["loop", "result"],
            )?,
            contradictions: counter(
                "palisade_contradictions_total",
                "Boots that gave a sign of life after their end was proven",
                &["kind"],
            )?,
            calls: counter(
                "palisade_module_calls_total",
                "Calls of remediators' components, by whether they gave an answer",
                &["remediator", "result"],
            )?,
            // 50 microseconds to 1.6 s.
            call_seconds: histogram(
                "palisade_module_call_duration_seconds",
                "How long calls of remediators' components took",
                &["remediator"],
                exponential_buckets(0.000_05, 2.0, 16)?,
            )?,
            leader: make.plain_gauge("palisade_leader", "1 while this process acts")?,
        };
        families.begin();
        Ok(families)
    }

    /// Counters of which something is known before: Prometheus sees no increase in a series that begins at 1.
    fn begin(&self) {
        for proof in PROOFS {
            self.fence.with_label_values(&[proof.to_string()]);
        }
        every_kind!(K => drop(self.contradictions.with_label_values(&[<K as Remediation>::KIND])));
        for of in ["policy", "remediation"] {
            for result in ["succeeded", "failed"] {
                self.passes.with_label_values(&[of, result]);
            }
        }
    }
}
