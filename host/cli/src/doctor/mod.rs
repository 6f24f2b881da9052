//! `palisade doctor`: what was left behind, what cannot fence, what nobody looks after; and, if wanted, puts in order what
//! is provably nobody's.

mod agents;
mod fix;
mod leftovers;
pub mod look;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::connect::{Connection, wait};
use crate::explain::{Output, State, Style, ended, foreign, print};
use fix::Fix;
use look::Seen;

/// `palisade doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing found, 4 something found that somebody has to look at, 1 no answer, 2 wrong usage."
)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Namespace of the installation.
    #[arg(long, short, default_value = palisade_api::keys::palisade::NAMESPACE)]
    namespace: String,
    /// For people, or for programs.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Put in order what is provably nobody's: taints and fence intents without a remediation. Asks before each.
    #[arg(long)]
    fix: bool,
    /// With --fix: do not ask.
    #[arg(long, requires = "fix")]
    yes: bool,
}

/// One thing that somebody should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Name of the check, stable for scripts.
    pub check: &'static str,
    /// How much it matters.
    pub weight: Weight,
    /// What it is about: `node worker-1`.
    pub about: String,
    /// What is the case.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// What `--fix` would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Weight {
    /// Good to know.
    Note,
    /// A node cannot be fenced, is not looked after, or something is stuck.
    Trouble,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    state: State,
    findings: Vec<Finding>,
    /// What could not be looked at; checks that need it were left out.
    not_seen: Vec<String>,
}

/// Looks, tells, and mends if asked to.
pub fn run(arguments: &Arguments) -> ExitCode {
    ended(wait(examine(arguments)))
}

/// What it finds, for programs.
pub async fn report(client: &kube::Client, namespace: &str) -> anyhow::Result<serde_json::Value> {
    Ok(serde_json::to_value(diagnose(&Seen::read(client, namespace).await?))?)
}

async fn examine(arguments: &Arguments) -> anyhow::Result<State> {
    let client = arguments.connection.client().await?;
    let seen = Seen::read(&client, &arguments.namespace).await?;
    let report = diagnose(&seen);
    match arguments.output {
        Output::Json => print(&(serde_json::to_string_pretty(&report)? + "\n"))?,
        Output::Text => print(&text(&report, Style::of_stdout()))?,
    }
    if !arguments.fix {
        return Ok(report.state);
    }
    let mut left = Vec::new();
    for finding in report.findings {
        let Some(fix) = &finding.fix else {
            left.push(finding);
            continue;
        };
        if arguments.yes || asked(&finding, fix)? {
            // Somebody may have thought for a while: only what is still so is mended.
            let again = diagnose(&Seen::read(&client, &arguments.namespace).await?);
            if again.findings.contains(&finding) {
                fix.apply(&client, &arguments.namespace).await.with_context(|| format!("{}: {fix}", finding.about))?;
                eprintln!("done: {}: {fix}", foreign(&finding.about));
            } else {
                eprintln!("left alone, it changed meanwhile: {}", foreign(&finding.about));
            }
        } else {
            left.push(finding);
        }
    }
    Ok(state(&left))
}

fn asked(finding: &Finding, fix: &Fix) -> anyhow::Result<bool> {
    eprint!("{}: {fix}? [y/N] ", foreign(&finding.about));
    std::io::stderr().flush()?;
    let mut answer = String::new();
    // The end of the input is a no.
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn diagnose(seen: &Seen) -> Report {
    let mut findings = leftovers::find(seen);
    findings.extend(agents::find(seen));
    findings
        .sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.check.cmp(b.check)).then_with(|| a.about.cmp(&b.about)));
    Report { state: state(&findings), findings, not_seen: seen.gaps.clone() }
}

fn state(findings: &[Finding]) -> State {
    if findings.iter().any(|finding| finding.weight == Weight::Trouble) { State::Held } else { State::Well }
}

fn text(report: &Report, style: Style) -> String {
    let mut lines = Vec::new();
    for finding in &report.findings {
        let about = foreign(&finding.about);
        let about = if finding.weight == Weight::Trouble { style.bad(&about) } else { style.bold(&about) };
        lines.push(format!("{about}: {} [{}]", foreign(&finding.what), finding.check));
        lines.push(format!("    {}", foreign(&finding.remedy)));
        lines.extend(finding.fix.as_ref().map(|fix| format!("    --fix would {}", foreign(&fix.to_string()))));
    }
    lines.extend(report.not_seen.iter().map(|gap| format!("{}: {}", style.busy("not looked at"), foreign(gap))));
    let trouble = report.findings.iter().filter(|finding| finding.weight == Weight::Trouble).count();
    lines.push(match (trouble, report.findings.len() - trouble) {
        (0, 0) => "nothing found".to_owned(),
        (trouble, notes) => format!("{trouble} to look at, {notes} to know"),
    });
    lines.push(String::new());
    lines.join("\n")
}
