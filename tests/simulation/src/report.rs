//! What a run came to.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use serde_json::Value;

use crate::control_plane::text;
use crate::world::World;

/// What a run came to.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Hash over every request and happening.
    pub hash: String,
    /// How many they were.
    pub events: u64,
    /// Virtual seconds.
    pub virtual_seconds: f64,
    /// What must not be; empty is good.
    pub fouls: Vec<String>,
    /// Boots that ended.
    pub boots_ended: usize,
    /// Remediations that reached a proof.
    pub proofs: usize,
    /// Seconds from intent to proof by proof kind `LeaseExpired`.
    pub waits: Vec<f64>,
    /// `T`, `Wd` and margin of those proofs, as their certificates name them.
    pub bounds: Vec<[String; 3]>,
    /// Kinds of the faults that were played.
    pub faults: BTreeSet<&'static str>,
    /// Pods and nodes that a controller took away by force, after a proof.
    pub released: usize,
    /// How often the self diagnostics of a control-plane node passed while it had lost the API (R4).
    pub diagnosed: usize,
    /// Control-plane nodes that may exempt themselves.
    pub control_plane: usize,
    /// Intents whose proof was contradicted by a sign of life.
    pub contradicted: usize,
    /// Proofs by kind.
    pub kinds: Vec<String>,
    /// The trace, as far as it was kept.
    #[serde(skip)]
    pub lines: Vec<String>,
}

impl Report {
    /// Of a run that did not come to its end.
    pub fn broken(seed: u64, foul: String) -> Self {
        Self {
            seed,
            hash: String::new(),
            events: 0,
            virtual_seconds: 0.0,
            fouls: vec![foul],
            boots_ended: 0,
            proofs: 0,
            waits: Vec::new(),
            bounds: Vec::new(),
            faults: BTreeSet::new(),
            released: 0,
            diagnosed: 0,
            control_plane: 0,
            contradicted: 0,
            kinds: Vec::new(),
            lines: Vec::new(),
        }
    }
}

impl World {
    pub(crate) fn report(&self) -> Report {
        let (trace, oracle) = (&self.around.trace, &self.around.oracle);
        let (hash, events) = trace.hash();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let certificates = seen.certificates.values();
        let by_time: Vec<&Value> =
            certificates.clone().filter(|certificate| certificate["proof"] == "LeaseExpired").collect();
        let bound = |certificate: &&Value| {
            ["timeToLive", "watchdogTimeout", "margin"].map(|field| text(certificate, &format!("/{field}")).to_owned())
        };
        Report {
            seed: self.scenario.seed,
            hash: format!("{hash:016x}"),
            events,
            virtual_seconds: trace.now().as_secs_f64(),
            fouls: oracle.fouls(),
            boots_ended: oracle.boots_ended().len(),
            proofs: seen.certificates.len(),
            waits: by_time.iter().copied().filter_map(wait).collect(),
            bounds: by_time.iter().map(bound).collect(),
            faults: self.scenario.faults.iter().map(|planned| planned.fault.name()).collect(),
            released: oracle.released(),
            diagnosed: oracle.diagnoses(),
            control_plane: self.scenario.nodes.iter().filter(|node| node.role.diagnoses()).count(),
            contradicted: seen.contradicted.len(),
            kinds: certificates.map(|certificate| text(certificate, "/proof").to_owned()).collect(),
            lines: trace.lines(),
        }
    }
}

/// From intent to proof, in seconds.
fn wait(certificate: &Value) -> Option<f64> {
    let waited: palisade_api::GoDuration = certificate["waited"].as_str()?.parse().ok()?;
    Some(waited.to_std().as_secs_f64())
}
