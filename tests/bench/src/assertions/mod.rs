//! Promises that only a real API server can confirm: each is a story that ends in a question to the audit log.

mod contract;
mod handover;
mod quiet;
mod stand;

use std::time::{Duration, Instant};

use serde::Serialize;

pub use stand::Stand;

use crate::plane::Parts;

/// How large, how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Nodes of the healthy cluster.
    #[arg(long, default_value_t = 1_000)]
    pub nodes: usize,
    /// How long it is watched, in seconds.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Forced hand-overs between two controllers.
    #[arg(long, default_value_t = 200)]
    pub handovers: usize,
    /// Only assertions whose name contains this text.
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Results as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// The programs.
    #[command(flatten)]
    pub parts: Parts,
}

/// How one assertion ended.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// What was claimed.
    pub claim: String,
    /// Whether it holds.
    pub passed: bool,
    /// Numbers if it does, what was seen instead if not.
    pub shown: String,
    /// How long it took.
    pub seconds: f64,
}

/// Collects outcomes and says each as it comes.
#[derive(Debug, Default)]
pub struct Report {
    filter: Option<String>,
    outcomes: Vec<Outcome>,
}

impl Report {
    /// Whether anything with such a name is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()))
    }

    /// Plays an assertion.
    pub async fn play(&mut self, claim: &str, story: impl Future<Output = anyhow::Result<String>>) {
        let started = Instant::now();
        let result = Box::pin(story).await;
        let seconds = started.elapsed().as_secs_f64();
        let passed = result.is_ok();
        let shown = result.unwrap_or_else(|error| format!("{error:#}"));
        eprintln!("{} {seconds:>6.1} s  {claim}", if passed { "ok    " } else { "FAILED" });
        for line in shown.lines() {
            eprintln!("                 {line}");
        }
        self.outcomes.push(Outcome { claim: claim.to_owned(), passed, shown, seconds });
    }
}

/// Plays all of them; whether all hold.
pub async fn run(options: &Options) -> anyhow::Result<bool> {
    let mut report = Report { filter: options.filter.clone(), outcomes: Vec::new() };
    let started = Instant::now();
    if report.wants("quiet") {
        quiet::play(&mut report, options).await?;
    }
    if report.wants("handover") || report.wants("contract") {
        // Small fleets, so one control plane does for both.
        let stand = Stand::start(&options.parts, Some(Duration::from_secs(8))).await?;
        if report.wants("handover") {
            Box::pin(handover::play(&mut report, &stand, options)).await;
        }
        if report.wants("contract") {
            Box::pin(contract::play(&mut report, &stand, options)).await;
        }
        stand.finish(report.outcomes.iter().all(|outcome| outcome.passed)).await;
    }
    anyhow::ensure!(!report.outcomes.is_empty(), "--filter matches none of quiet, handover, contract");
    let failed = report.outcomes.iter().filter(|outcome| !outcome.passed).count();
    let passed = report.outcomes.len() - failed;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report.outcomes)?);
    } else {
        println!("\n{:<8} {:>8}  claim", "result", "seconds");
        for outcome in &report.outcomes {
            let word = if outcome.passed { "passed" } else { "FAILED" };
            println!("{word:<8} {:>8.1}  {}", outcome.seconds, outcome.claim);
        }
        println!("{passed} passed, {failed} failed, {:.0} s", started.elapsed().as_secs_f64());
    }
    Ok(failed == 0)
}
