//! The embedded sandbox: how soon it can be used, and how long its demonstration takes.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use super::Report;
use super::kernel::Account;
use crate::plane::Parts;

/// Longest start, and longest demonstration.
const PATIENCE: Duration = Duration::from_mins(5);
/// What `palisade sandbox serve` says when everything is there.
const UP: &str = "the cluster is up";

/// How often, with how many nodes.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Sizes of the cluster, separated by commas.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [4_u8])]
    pub nodes: Vec<u8>,
    /// Starts, and demonstrations.
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
    /// The agent; the one beside the `palisade` program if not given.
    #[arg(long, value_name = "FILE")]
    pub agent: Option<PathBuf>,
    /// Figures as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// The programs.
    #[command(flatten)]
    pub parts: Parts,
}

/// Measures and prints.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let mut report = Report::begin();
    for &nodes in &options.nodes {
        let [mut api, mut up, mut resident, mut demo] = [const { Vec::new() }; 4];
        for _ in 0..options.runs {
            let start = start(options, nodes).await?;
            api.push(start.api);
            up.push(start.up);
            resident.push(start.resident);
        }
        for _ in 0..options.runs {
            demo.push(play(options, nodes).await?);
        }
        let nodes = usize::from(nodes);
        report.add(nodes, "until its API serves Palisade's kinds", "s", api)?;
        report.add(nodes, "until nodes, agents, controller and workload are up", "s", up)?;
        report.add(nodes, "resident memory then, without agents and controller", "MiB", resident)?;
        report.add(nodes, "the demonstration, from start to end", "s", demo)?;
    }
    report.print(options.json)
}

fn command(options: &Options, subcommand: &str, nodes: u8) -> Command {
    let palisade = options.parts.palisade();
    let agent = options.agent.clone().unwrap_or_else(|| palisade.with_file_name("palisade-agent"));
    let mut command = Command::new(palisade);
    command.args(["sandbox", subcommand, "--nodes", &nodes.to_string()]).arg("--agent").arg(agent);
    command.arg("--remediators").arg(options.parts.remediators()).arg("--crds").arg(&options.parts.crds);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

struct Start {
    api: f64,
    up: f64,
    resident: f64,
}

/// Starts one, waits until it can be used, and ends it.
async fn start(options: &Options, nodes: u8) -> anyhow::Result<Start> {
    let begun = Instant::now();
    let mut child = command(options, "serve", nodes).spawn().context("palisade sandbox serve")?;
    let mut lines = BufReader::new(child.stdout.take().context("it has no stdout")?).lines();
    let mut api = None;
    let up = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains("CRDs, accounts and configuration are applied") {
                api = Some(begun.elapsed().as_secs_f64());
            }
            if line.contains(UP) {
                return anyhow::Ok(begun.elapsed().as_secs_f64());
            }
        }
        anyhow::bail!("it ended before it was up")
    };
    let up = tokio::time::timeout(PATIENCE, up).await.context("the sandbox was not up in time")??;
    let pid = child.id().context("it ended as soon as it was up")?;
    let resident = Account::of(pid)?.resident as f64 / 1024.0;
    // It goes on talking while it ends.
    let rest = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    child.stdin.take().context("it has no stdin")?.write_all(b"quit\n").await?;
    tokio::time::timeout(PATIENCE, child.wait()).await.context("the sandbox does not end")??;
    rest.abort();
    Ok(Start { api: api.context("it never said that its API is ready")?, up, resident })
}

/// Plays the demonstration; its seconds.
async fn play(options: &Options, nodes: u8) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let output = command(options, "demo", nodes).arg("--json").output();
    let output = tokio::time::timeout(PATIENCE, output).await.context("the demonstration does not end")??;
    let took = begun.elapsed().as_secs_f64();
    passed(&String::from_utf8_lossy(&output.stdout))?;
    Ok(took)
}

/// Whether the last line says that it went well.
fn passed(stdout: &str) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Last {
        result: Told,
    }
    #[derive(Deserialize)]
    struct Told {
        passed: bool,
        failures: Vec<String>,
    }
    let last = stdout.lines().rev().find(|line| !line.is_empty()).context("it told nothing")?;
    let Last { result } = serde_json::from_str(last).with_context(|| format!("its last line is {last:?}"))?;
    ensure!(result.passed, "the demonstration failed: {}", result.failures.join("; "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demonstration_that_failed_is_no_figure() {
        assert!(passed("{\"at\":1}\n{\"result\":{\"passed\":true,\"failures\":[]}}\n").is_ok());
        let why = passed("{\"result\":{\"passed\":false,\"failures\":[\"ran twice\"]}}").unwrap_err();
        assert!(why.to_string().contains("ran twice"), "{why}");
        assert!(passed("").is_err() && passed("{}").is_err());
    }
}
