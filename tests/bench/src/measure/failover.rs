//! From a fault to the released workload, with real agents on a real control plane: where each second goes, by fault and
//! strategy. One story of `palisade sandbox demo` is one value, and one whose expectations are not met ends the bench.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use palisade_api::FencingCertificate;
use serde::Deserialize;
use tokio::process::Command;

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
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [4_u8])]
    pub nodes: Vec<u8>,
    /// Stories of each kind.
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
    /// Figures as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// The programs.
    #[command(flatten)]
    pub parts: Parts,
}

/// The part of a story's result that is looked at; times are seconds since the fault.
#[derive(Debug, Deserialize)]
struct Told {
    passed: bool,
    failures: Vec<String>,
    milestones: BTreeMap<String, Milestones>,
    certificates: BTreeMap<String, FencingCertificate>,
}

#[derive(Debug, Deserialize)]
struct Milestones {
    detected: Option<f64>,
    stages: BTreeMap<String, f64>,
}

/// Measures and prints.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let mut report = Report::begin();
    for &nodes in &options.nodes {
        for fault in &options.fault {
            for strategy in &options.strategy {
                let mut told = Vec::new();
                for _ in 0..options.runs {
                    told.push(story(options, fault, strategy, nodes).await?);
                }
                figures(&mut report, usize::from(nodes), &format!("{fault} {strategy}"), fault, &told)?;
            }
        }
    }
    report.print(options.json)
}

fn figures(report: &mut Report, nodes: usize, title: &str, fault: &str, told: &[Told]) -> anyhow::Result<()> {
    let parts = [
        ("detect", None, "detected"),
        ("fence", Some("detected"), "intended"),
        ("prove", Some("intended"), "proven"),
        ("release", Some("proven"), "released"),
    ];
    for (name, from, to) in parts {
        let values: Vec<f64> = told.iter().flat_map(|told| told.between(from, to)).collect();
        report.add(nodes, &format!("{title}: {name}"), "s", values)?;
    }
    let bar = told.first().and_then(|told| told.bar(fault)).context("a story without a certificate")?;
    let values = told.iter().flat_map(|told| told.between(Some("detected"), "released")).collect();
    report.add(nodes, &format!("{title}: detected until released (bar {:.1} s)", bar.as_secs_f64()), "s", values)
}

impl Told {
    /// Seconds between two milestones, of every node that has both.
    fn between<'a>(&'a self, from: Option<&'a str>, to: &'a str) -> impl Iterator<Item = f64> + 'a {
        self.milestones.values().filter_map(move |milestones| {
            let from = from.map_or(Some(0.0), |from| milestones.at(from))?;
            Some((milestones.at(to)? - from).max(0.0))
        })
    }

    /// How long it may take from the detection to the release.
    fn bar(&self, fault: &str) -> Option<Duration> {
        let certificate = self.certificates.values().next()?;
        let life = certificate.time_to_live.as_ref()?.to_std();
        let watchdog = certificate.watchdog_timeout.as_ref().map_or(Duration::ZERO, |time| time.to_std());
        Some(match fault {
            // It hears of the intent, from the API server or from a peer.
            "kubelet" | "api" => 2 * watchdog + MARGIN,
            "silence" => AT_ONCE,
            _ => life + 2 * watchdog + MARGIN,
        })
    }
}

impl Milestones {
    fn at(&self, name: &str) -> Option<f64> {
        if name == "detected" { self.detected } else { self.stages.get(name).copied() }
    }
}

async fn story(options: &Options, fault: &str, strategy: &str, nodes: u8) -> anyhow::Result<Told> {
    let mut command = Command::new(options.parts.palisade());
    command.args(["sandbox", "demo", "--json", "--backend", "real", "--strategy", strategy]);
    command.args(["--nodes", &nodes.to_string()]);
    if fault == "silence" {
        command.args(["--fault", "isolate", "--long-silence"]);
    } else {
        command.args(["--fault", fault]);
    }
    command.arg("--controlplane").arg(&options.parts.controlplane);
    command.arg("--remediators").arg(options.parts.remediators());
    command.arg("--crds").arg(&options.parts.crds);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("{}", options.parts.palisade().display()))?;
    let told = parse(&String::from_utf8_lossy(&output.stdout));
    let complaint = || format!("{fault} {strategy}: {}", String::from_utf8_lossy(&output.stderr));
    let told = told.with_context(complaint)?;
    anyhow::ensure!(told.passed, "{fault} {strategy}: {}", told.failures.join("; "));
    Ok(told)
}

/// The last line of a story is its result.
fn parse(stdout: &str) -> anyhow::Result<Told> {
    #[derive(Deserialize)]
    struct Last {
        result: Told,
    }
    let last = stdout.lines().rev().find(|line| !line.is_empty()).context("it told nothing")?;
    Ok(serde_json::from_str::<Last>(last).with_context(|| format!("its last line is {last:?}"))?.result)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: &str = r#"{"result":{"passed":true,"failures":[],"milestones":{"node-1":{"detected":7.0,
        "stages":{"intended":8.0,"proven":12.5,"released":13.0}},"node-2":{"detected":null,"stages":{}}},
        "certificates":{"node-1":{"proof":"LeaseExpired","grade":"Certain","node":"node-1","bootId":"b","observer":"o",
        "provenAt":"2026-01-01T00:00:00Z","timeToLive":"7.5s","watchdogTimeout":"2s"}}}}"#;

    #[test]
    fn the_last_line_tells_where_the_seconds_went() {
        let told = parse(&format!("{{\"event\":1}}\n{}\n", LAST.replace('\n', ""))).unwrap();
        assert_eq!(told.between(None, "detected").collect::<Vec<_>>(), [7.0]);
        assert_eq!(told.between(Some("detected"), "released").collect::<Vec<_>>(), [6.0]);
        let bar = |fault| told.bar(fault).unwrap().as_secs_f64();
        assert_eq!((bar("kubelet"), bar("isolate"), bar("silence")), (7.0, 14.5, 2.0));
        assert!(parse("").is_err() && parse("{}").is_err());
    }
}
