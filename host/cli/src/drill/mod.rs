//! `palisade drill`: one node is really fenced, on purpose and under guard, and a report says how long each stage took, what
//! proved the end of its boot, and which pods moved where.

mod guard;
mod play;
mod report;
mod scene;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use palisade_api::GoDuration;

use crate::connect::{Connection, user, wait};
use crate::explain::{Output, Style, show};
use scene::Scene;

/// `palisade drill --node X`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 passed (or, with --dry-run, it would be begun), 3 refused by a guard and nothing was done, 4 it did not \
                  pass or was interrupted, 1 no answer, 2 wrong usage. Whatever happens, its remediation is deleted again."
)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// The node.
    #[arg(long)]
    node: String,
    /// What is exercised.
    #[arg(long, value_enum, default_value_t = Fault::Fence)]
    fault: Fault,
    /// Template of the remediation, as KIND/NAMESPACE/NAME; that of the policy which selects the node if not given.
    #[arg(long, value_name = "KIND/NAMESPACE/NAME")]
    template: Option<String>,
    /// Why; it stands in the remediation.
    #[arg(long, value_name = "REASON", default_value = "drill")]
    why: String,
    /// The node's name once more: without a question.
    #[arg(long, value_name = "NODE", conflicts_with = "dry_run")]
    confirm: Option<String>,
    /// Show what would be done, and whether a guard refuses it.
    #[arg(long)]
    dry_run: bool,
    /// Also a control-plane node, if a majority of the others is Ready.
    #[arg(long)]
    control_plane: bool,
    /// Also if a disruption budget allows no disruption of a pod on the node.
    #[arg(long)]
    despite_budgets: bool,
    /// No longer than this until the node is back; then it is ended, and has not passed.
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    limit: GoDuration,
    /// Write the report, as JSON, into this file too.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Namespace of the installation.
    #[arg(long, short, default_value = palisade_api::keys::palisade::NAMESPACE)]
    namespace: String,
    /// For people, or for programs.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What can be played through the API alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Fault {
    /// A remediation made by hand: the node is well, and is really fenced; its workloads really move.
    Fence,
}

/// No look and no confirmation is older than this when the remediation is made.
const FRESH: Duration = Duration::from_secs(30);
const REFUSED: u8 = 3;
const NOT_PASSED: u8 = 4;

/// Guards, asks, plays, tells.
pub fn run(arguments: &Arguments) -> ExitCode {
    match wait(drill(arguments)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("palisade: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn drill(arguments: &Arguments) -> anyhow::Result<u8> {
    let client = arguments.connection.client().await?;
    let look = || Scene::read(&client, &arguments.namespace, &arguments.node, arguments.template.as_deref());
    let allowed = guard::Allowed { control_plane: arguments.control_plane, despite_budgets: arguments.despite_budgets };
    let mut scene = look().await?;
    let mut verdict = guard::judge(&scene, allowed);
    let plan = report::Plan::new(&scene, &verdict);
    if arguments.dry_run || !verdict.refused.is_empty() {
        match arguments.output {
            Output::Json => show(&(serde_json::to_string_pretty(&plan)? + "\n"))?,
            Output::Text => show(&plan.text(Style::of_stdout()))?,
        }
        return Ok(if verdict.refused.is_empty() { 0 } else { REFUSED });
    }
    eprint!("{}", plan.text(Style::of_stdout()));
    confirmed(arguments)?;
    if scene.seen.now.duration_until(jiff::Timestamp::now()).unsigned_abs() > FRESH {
        scene = look().await?;
        verdict = guard::judge(&scene, allowed);
        if let Some(why) = verdict.refused.first() {
            bail!("it changed while you thought about it: {why}");
        }
    }
    let by = user(&client).await?;
    let limit = arguments.limit.to_std();
    let outcome = play::play(&client, &arguments.namespace, &scene, &by, &arguments.why, limit).await?;
    let report = report::Report::new(&scene, &by, &outcome);
    let json = serde_json::to_string_pretty(&report)? + "\n";
    if let Some(path) = &arguments.report {
        std::fs::write(path, &json).with_context(|| path.display().to_string())?;
    }
    match arguments.output {
        Output::Json => show(&json)?,
        Output::Text => show(&report.text(Style::of_stdout()))?,
    }
    Ok(if report.passed() { 0 } else { NOT_PASSED })
}

/// The name of the node has to be typed: a wrong one is the worst that can happen here.
fn confirmed(arguments: &Arguments) -> anyhow::Result<()> {
    let typed = if let Some(typed) = &arguments.confirm {
        typed.clone()
    } else {
        eprint!("This fences node {} now. Type its name to go on: ", arguments.node);
        std::io::stderr().flush()?;
        let mut typed = String::new();
        std::io::stdin().read_line(&mut typed)?;
        typed
    };
    if typed.trim() != arguments.node {
        bail!("{:?} is not the name of the node ({}); nothing was done", typed.trim(), arguments.node);
    }
    Ok(())
}
