//! What a scenario showed, and how it is reported.

use std::collections::BTreeMap;
use std::fmt::Write;

use palisade_api::{FencingCertificate, Stage};
use serde::Serialize;

use super::timeline::Style;
use super::world::Milestones;
use crate::lab::oracle::Verdict;

/// The outcome of a scenario.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// What was shown.
    pub title: String,
    /// Whether every expectation was met.
    pub passed: bool,
    /// Expectations that were not met.
    pub failures: Vec<String>,
    /// Seconds from start to end.
    pub seconds: f64,
    /// The oracle's verdict.
    pub oracle: Verdict,
    /// First sights, by node that was hit.
    pub milestones: BTreeMap<String, Milestones>,
    /// Proofs, by node.
    pub certificates: BTreeMap<String, FencingCertificate>,
    /// How often boots ended, by node.
    pub boots_ended: BTreeMap<String, u32>,
}

impl Outcome {
    /// A scenario that did not even begin.
    pub fn failed(title: &str, failure: String, seconds: f64) -> Self {
        Self {
            title: title.to_owned(),
            passed: false,
            failures: vec![failure],
            seconds,
            oracle: Verdict::default(),
            milestones: BTreeMap::new(),
            certificates: BTreeMap::new(),
            boots_ended: BTreeMap::new(),
        }
    }

    /// Seconds between the intent and the proof, the longest if there are several nodes.
    pub fn wait(&self) -> Option<f64> {
        let waits = self.milestones.values().filter_map(|milestones| {
            Some(milestones.stages.get(&Stage::Proven)? - milestones.stages.get(&Stage::Intended)?)
        });
        waits.reduce(f64::max)
    }

    /// Certificates and where each second went, as text.
    pub fn report(&self, style: Style) -> String {
        let mut text = String::new();
        for (node, certificate) in &self.certificates {
            let _ = writeln!(text, "\n{}", style.bold(&format!("Fencing certificate of {node}")));
            for (name, value) in rows(certificate) {
                let _ = writeln!(text, "  {name:<18} {value}");
            }
        }
        for (node, milestones) in self.milestones.iter().filter(|(_, milestones)| milestones.detected.is_some()) {
            let _ = writeln!(text, "\n{}", style.bold(&format!("Where each second went ({node})")));
            for (name, seconds, what) in budget(milestones) {
                let _ = writeln!(text, "  {name:<10} {seconds:>6.1} s  {what}");
            }
            if let Some(total) = milestones.recovered {
                let _ = writeln!(text, "  {:<10} {total:>6.1} s", "total");
            }
        }
        let oracle = &self.oracle;
        let _ = writeln!(text, "\n{}", style.bold("At-most-one oracle"));
        let _ = writeln!(
            text,
            "  {} stamps of {} workload(s) on up to {} boots, {}",
            oracle.stamps,
            oracle.workloads,
            oracle.boots,
            if oracle.violations.is_empty() { "never two at once" } else { "VIOLATED" }
        );
        for violation in &oracle.violations {
            let _ = writeln!(text, "  {violation}");
        }
        text
    }
}

fn rows(certificate: &FencingCertificate) -> Vec<(&'static str, String)> {
    let duration = |value: &Option<palisade_api::GoDuration>| value.as_ref().map(ToString::to_string);
    let jurors: Vec<String> = certificate
        .jurors
        .iter()
        .map(|juror| match &juror.no_api_age {
            Some(age) => format!("{} (said NoApi {age} before)", juror.node),
            None => juror.node.clone(),
        })
        .collect();
    let quorum = certificate.jury_quorum.map(|quorum| format!(", {quorum} needed")).unwrap_or_default();
    let all = [
        ("proof", Some(format!("{} ({})", certificate.proof, certificate.grade))),
        ("boot that ended", Some(certificate.boot_id.clone())),
        ("boot that followed", certificate.new_boot_id.clone()),
        ("intent", certificate.intent_uid.clone()),
        ("agent lease", certificate.lease_uid.clone()),
        ("time to live T", duration(&certificate.time_to_live)),
        ("watchdog Wd", duration(&certificate.watchdog_timeout)),
        ("margin", duration(&certificate.margin)),
        ("waited", duration(&certificate.waited)),
        ("jurors", (!jurors.is_empty()).then(|| format!("{}{quorum}", jurors.join(", ")))),
        ("observer", Some(certificate.observer.clone())),
        ("proven at", Some(certificate.proven_at.0.to_string())),
        ("because", certificate.explanation.clone()),
    ];
    all.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
}

fn budget(milestones: &Milestones) -> Vec<(&'static str, f64, &'static str)> {
    let stage = |stage| milestones.stages.get(&stage).copied();
    let steps = [
        ("detect", milestones.detected, "until the NodeHealthCheck made a remediation"),
        ("mark", stage(Stage::Marked), "taint set, pods marked"),
        ("intend", stage(Stage::Intended), "fence intent in the lease"),
        ("promise", stage(Stage::Promised), "majority of the jury promised"),
        ("wait", stage(Stage::Proven), "until the end of the boot was proven"),
        ("release", milestones.moved, "until the workload ran elsewhere"),
        ("recover", milestones.recovered, "until the node was back and everything as before"),
    ];
    let mut last = 0.0;
    let mut lines = Vec::new();
    for (name, at, what) in steps {
        if let Some(at) = at {
            lines.push((name, (at - last).max(0.0), what));
            last = at.max(last);
        }
    }
    lines
}
