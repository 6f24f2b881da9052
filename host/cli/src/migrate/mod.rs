//! `palisade migrate --check`: what stands in the way, and what would change, when Palisade takes over from the medik8s
//! operators. Reads only; judged is what was read, by pure functions.

mod config;
mod look;
mod objects;
mod operators;
mod running;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::connect::{Connection, wait};
use crate::explain::{Output, State, Style, ended, foreign, show};
use look::Seen;

/// `palisade migrate --check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing stands in the way, 4 something does (or could not be looked at), 1 no answer, 2 wrong \
                  usage. deploy/migration.md is the whole procedure."
)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Look, and say what would change; nothing is written. The steps themselves are in deploy/migration.md.
    #[arg(long, required = true)]
    check: bool,
    /// Namespace that Palisade is, or will be, installed in.
    #[arg(long, short, default_value = palisade_api::keys::palisade::NAMESPACE)]
    namespace: String,
    /// Namespace of the node leases that operators share.
    #[arg(long, default_value = palisade_api::keys::node_health_check::LEASE_NAMESPACE, env = "LEASE_NAMESPACE")]
    lease_namespace: String,
    /// For people, or for programs.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How much something matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Section {
    /// Palisade must not act before this is done.
    Blocks,
    /// It will be otherwise than it was.
    Changes,
    /// Good to know.
    Know,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    #[serde(skip)]
    section: Section,
    /// Name of the check, stable for scripts.
    check: &'static str,
    /// What it is about: `NodeHealthCheck workers`.
    about: String,
    /// What is the case, and what it means.
    what: String,
    /// What to do; empty if nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
}

impl Item {
    fn new(section: Section, check: &'static str, about: impl Into<String>, what: impl Into<String>) -> Self {
        Self { section, check, about: about.into(), what: what.into(), remedy: String::new() }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    state: State,
    blocks: Vec<Item>,
    changes: Vec<Item>,
    know: Vec<Item>,
}

/// Looks and tells.
pub fn run(arguments: &Arguments) -> ExitCode {
    ended(wait(examine(arguments)))
}

async fn examine(arguments: &Arguments) -> anyhow::Result<State> {
    let client = arguments.connection.client().await?;
    let seen = Seen::read(&client, &arguments.namespace, &arguments.lease_namespace).await?;
    let report = judge(&seen);
    match arguments.output {
        Output::Json => show(&(serde_json::to_string_pretty(&report)? + "\n"))?,
        Output::Text => show(&text(&report, Style::of_stdout()))?,
    }
    Ok(report.state)
}

fn judge(seen: &Seen) -> Report {
    let mut all = operators::find(seen);
    all.extend(running::find(seen));
    all.extend(objects::find(seen));
    all.extend(config::find(seen));
    // What was not seen might stand in the way.
    all.extend(seen.gaps.iter().map(|gap| {
        Item::new(Section::Blocks, "not-seen", "this check", gap.clone())
            .remedy("ask somebody who may read it, for instance a cluster administrator")
    }));
    all.sort();
    all.dedup();
    let of = |section| all.iter().filter(|item| item.section == section).cloned().collect::<Vec<_>>();
    let (blocks, changes, know) = (of(Section::Blocks), of(Section::Changes), of(Section::Know));
    Report { state: if blocks.is_empty() { State::Well } else { State::Held }, blocks, changes, know }
}

fn text(report: &Report, style: Style) -> String {
    let mut lines = Vec::new();
    let sections = [
        ("Stands in the way", &report.blocks, true),
        ("Will change", &report.changes, false),
        ("To know", &report.know, false),
    ];
    for (title, items, bad) in sections {
        if items.is_empty() {
            continue;
        }
        lines.push(if bad { style.bad(title) } else { style.bold(title) });
        for item in items {
            lines.push(format!("  {}: {} [{}]", style.bold(&foreign(&item.about)), foreign(&item.what), item.check));
            lines.extend(item.remedy.lines().map(|line| format!("      {}", foreign(line))));
        }
        lines.push(String::new());
    }
    lines.push(match report.blocks.len() {
        0 => style.good("nothing stands in the way"),
        1 => style.bad("1 thing stands in the way"),
        many => style.bad(&format!("{many} things stand in the way")),
    });
    lines.push(String::new());
    lines.join("\n")
}
