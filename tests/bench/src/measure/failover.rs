//! From a fault to the last pod of the failed node gone, with real agents on a real control plane: where each second
//! goes, by fault, strategy, configuration and size, and what it costs in requests. One story of the demonstration is one
//! value, and one whose expectations are not met ends the bench.

mod crowd;
mod requests;
mod story;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use palisade_api::Stage;
use palisade_sandbox::demo::{Outcome, Parts as Programs};

use self::requests::Requests;
use super::Report;
use crate::plane::Parts;

/// What the detection and the release themselves may take, beside the bound of the protocol.
const MARGIN: Duration = Duration::from_secs(3);
/// Bar for a node that was silent for so long that there is nothing to wait for.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Which stories.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Faults, separated by commas; `silence` is a node that was isolated long before anybody looks.
    #[arg(
        long,
        value_name = "FAULT",
        value_delimiter = ',',
        default_values = ["kubelet", "api", "isolate", "power", "hang", "silence"]
    )]
    pub fault: Vec<String>,
    /// Strategies, separated by commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values = ["ResourceDeletion"])]
    pub strategy: Vec<String>,
    /// Sizes of the cluster, separated by commas.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [4_usize])]
    pub nodes: Vec<usize>,
    /// So many nodes at most have a machine double and a real agent, of which a jury takes 15; the others are kubelets
    /// that beat.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u8).range(3..=60))]
    pub agents: u8,
    /// Pods on the node that fails.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub pods: u16,
    /// `tuned`: the short times of the demonstration. `default`: what Kubernetes and both APIs come with, and a device
    /// of 10 s; a story then lasts 8 minutes.
    #[arg(long, value_enum, default_value_t = Configuration::Tuned)]
    pub config: Configuration,
    /// Stories of each kind.
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
    /// Show which requests were made.
    #[arg(long)]
    pub requests: bool,
    /// Figures as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// The agent; beside the `palisade` program if not given.
    #[arg(long, value_name = "FILE")]
    pub agent: Option<PathBuf>,
    /// The programs.
    #[command(flatten)]
    pub parts: Parts,
}

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Configuration {
    /// Nobody changed anything.
    Default,
    /// Short.
    Tuned,
}

impl Options {
    fn programs(&self) -> Programs {
        let palisade = self.parts.palisade();
        Programs {
            agent: self.agent.clone().unwrap_or_else(|| palisade.with_file_name("palisade-agent")),
            palisade,
            remediators: self.parts.remediators(),
            crds: self.parts.crds.clone(),
            controlplane: Some(self.parts.controlplane.clone()),
        }
    }
}

/// What a story came to.
struct Told {
    outcome: Outcome,
    requests: Requests,
}

/// Measures and prints.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let mut report = Report::begin();
    for &nodes in &options.nodes {
        for fault in &options.fault {
            for strategy in &options.strategy {
                let mut told = Vec::new();
                for _ in 0..options.runs {
                    told.push(story::play(options, fault, strategy, nodes).await?);
                }
                figures(&mut report, nodes, &format!("{fault} {strategy}"), fault, &told)?;
            }
        }
    }
    report.print(options.json)
}

/// What a story is divided by; the release ends when the last pod that the fault found on the node is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Fault,
    Detected,
    Intended,
    Proven,
    Gone,
}

fn figures(report: &mut Report, nodes: usize, title: &str, fault: &str, told: &[Told]) -> anyhow::Result<()> {
    let parts = [
        ("detect", At::Fault, At::Detected),
        ("fence", At::Detected, At::Intended),
        ("prove", At::Intended, At::Proven),
        ("release", At::Proven, At::Gone),
    ];
    for (name, from, to) in parts {
        let values: Vec<f64> = told.iter().flat_map(|told| between(&told.outcome, from, to)).collect();
        report.add(nodes, &format!("{title}: {name}"), "s", values)?;
    }
    let bar = told.first().and_then(|told| bar(&told.outcome, fault)).context("a story without a certificate")?;
    let values = told.iter().flat_map(|told| between(&told.outcome, At::Detected, At::Gone)).collect();
    report.add(nodes, &format!("{title}: detected until gone (bar {:.1} s)", bar.as_secs_f64()), "s", values)?;
    let controller = told.iter().map(|told| told.requests.controller.count() as f64).collect();
    report.add(nodes, &format!("{title}: the controller asks until gone"), "", controller)?;
    let agents = told.iter().map(|told| told.requests.agents.count() as f64).collect();
    report.add(nodes, &format!("{title}: agents ask about the node"), "", agents)
}

/// Seconds between two points, of every node that has both.
fn between(outcome: &Outcome, from: At, to: At) -> impl Iterator<Item = f64> + '_ {
    outcome.milestones.values().filter_map(move |milestones| {
        let at = |point| match point {
            At::Fault => Some(0.0),
            At::Detected => milestones.detected,
            At::Intended => milestones.stages.get(&Stage::Intended).copied(),
            At::Proven => milestones.stages.get(&Stage::Proven).copied(),
            At::Gone => milestones.gone,
        };
        Some((at(to)? - at(from)?).max(0.0))
    })
}

/// How long it may take from the detection to the last pod.
fn bar(outcome: &Outcome, fault: &str) -> Option<Duration> {
    let certificate = outcome.certificates.values().next()?;
    let life = certificate.time_to_live.as_ref()?.to_std();
    let watchdog = certificate.watchdog_timeout.as_ref().map_or(Duration::ZERO, |time| time.to_std());
    Some(match fault {
        // It hears of the intent, from the API server or from a peer.
        "kubelet" | "api" => 2 * watchdog + MARGIN,
        "silence" => AT_ONCE,
        _ => life + 2 * watchdog + MARGIN,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_divided_where_somebody_else_takes_over() {
        // given
        let mut outcome = Outcome::failed("", String::new(), 0.0);
        let milestones = outcome.milestones.entry("node-1".to_owned()).or_default();
        milestones.detected = Some(7.0);
        milestones.stages = [(Stage::Intended, 8.0), (Stage::Proven, 12.5)].into();
        milestones.gone = Some(13.0);
        outcome.milestones.entry("node-2".to_owned()).or_default();
        let certificate = serde_json::json!({
            "proof": "LeaseExpired", "grade": "Certain", "node": "node-1", "bootId": "b", "observer": "o",
            "provenAt": "2026-01-01T00:00:00Z", "timeToLive": "7.5s", "watchdogTimeout": "2s",
        });
        outcome.certificates.insert("node-1".to_owned(), serde_json::from_value(certificate).unwrap());
        // then
        let seconds = |from, to| between(&outcome, from, to).collect::<Vec<_>>();
        assert_eq!(seconds(At::Fault, At::Detected), [7.0]);
        assert_eq!(seconds(At::Detected, At::Gone), [6.0]);
        let bar = |fault| bar(&outcome, fault).unwrap().as_secs_f64();
        assert_eq!((bar("kubelet"), bar("isolate"), bar("silence")), (7.0, 14.5, 2.0));
    }
}
