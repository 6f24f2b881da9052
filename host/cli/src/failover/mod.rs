//! `palisade failover-time`: from a fault to the released workload, second by second, for this cluster as it is configured;
//! and which setting buys most.

mod knobs;
mod model;
mod read;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use palisade_api::GoDuration;
use serde::Serialize;

use crate::connect::{Connection, wait};
use crate::explain::{Output, State, Style, ended, foreign, show, table};
use knobs::Knob;
use model::{Fault, Setting, Split, say};

/// `palisade failover-time`.
#[derive(Debug, Args)]
#[command(
    after_help = "All times are at the latest, with an API server that answers; what is assumed is listed. Exit codes: 0 \
                        every fault ends in a release, 4 one does not end in one by itself, 1 no answer, 2 wrong usage."
)]
pub struct Arguments {
    /// Only this NodeHealthCheck.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// For this node, as its own agent publishes; otherwise for the slowest one of each policy.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// The controller manager's --node-monitor-grace-period, if it cannot be seen.
    #[arg(long, value_name = "DURATION")]
    node_monitor_grace: Option<GoDuration>,
    /// Timeout of the watchdogs, where no agent tells; 60 s is what softdog and many devices have by themselves.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    watchdog_timeout: GoDuration,
    /// Namespace of the installation.
    #[arg(long, short, default_value = palisade_api::keys::palisade::NAMESPACE)]
    namespace: String,
    #[command(flatten)]
    connection: Connection,
    /// For people, or for programs.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// The answer for one policy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    policy: String,
    /// Whose terms these are; none if no agent of the policy's nodes has published any.
    node: Option<String>,
    /// What the numbers rest on.
    from: Vec<String>,
    faults: Vec<Split>,
    knobs: Vec<Knob>,
    /// Totals with all of them turned.
    with_all: Vec<(Fault, Option<f64>)>,
}

#[derive(Debug, Serialize)]
struct Report {
    policies: Vec<Answer>,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> ExitCode {
    ended(answer(arguments))
}

fn answer(arguments: &Arguments) -> anyhow::Result<State> {
    let found = wait(read::read(arguments))?;
    let stuck = found.iter().any(|one| {
        one.setting.outside.is_none()
            && Fault::ALL.iter().any(|fault| model::split(&one.setting, *fault).total.is_none())
    });
    let report = Report { policies: found.into_iter().map(of).collect() };
    match arguments.output {
        Output::Json => show(&(serde_json::to_string_pretty(&report).context("JSON")? + "\n"))?,
        Output::Text => show(&text(&report, Style::of_stdout()))?,
    }
    Ok(if stuck { State::Held } else { State::Well })
}

fn of(found: read::Found) -> Answer {
    let read::Found { policy, node, from, setting } = found;
    let configured = as_configured(&setting);
    let best = knobs::all(&configured);
    Answer {
        policy,
        node,
        from,
        faults: Fault::ALL.iter().map(|fault| model::split(&setting, *fault)).collect(),
        knobs: knobs::knobs(&configured),
        with_all: Fault::ALL
            .iter()
            .map(|fault| (*fault, model::split(&best, *fault).total.map(|total| total.as_secs_f64())))
            .collect(),
    }
}

/// Settings are turned where they are configured, also while agents still run with others.
fn as_configured(setting: &Setting) -> Setting {
    let mut configured = setting.clone();
    let life = configured.tuning.time_to_live();
    configured.terms.time_to_live_millis = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    configured
}

fn text(report: &Report, style: Style) -> String {
    let mut text = String::new();
    for one in &report.policies {
        let whose = one.node.as_ref().map(|node| format!(", node {node}")).unwrap_or_default();
        text.push_str(&style.bold(&foreign(&format!("NodeHealthCheck {}{whose}", one.policy))));
        text.push('\n');
        for line in &one.from {
            text.extend(["  ", &foreign(line), "\n"]);
        }
        text.push('\n');
        let head = ["FAULT", "DETECT", "FENCE", "PROVE", "FLOOR", "RELEASE", "TOTAL", "PROVEN BY"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        let cell = |length: Option<Duration>| length.map_or_else(|| "-".to_owned(), say);
        rows.extend(one.faults.iter().map(|it| {
            let total = it.total.map_or_else(|| "never".to_owned(), say);
            let parts = [it.detect, it.fence, it.prove, it.floor, it.release].map(cell);
            let mut row = vec![it.fault.words().to_owned()];
            row.extend(parts);
            row.extend([total, foreign(&it.because)]);
            row
        }));
        text.push_str(&table(&rows));
        knobs_text(&mut text, one, style);
        text.push('\n');
    }
    text
}

fn knobs_text(text: &mut String, one: &Answer, style: Style) {
    if one.knobs.is_empty() {
        return text.push_str("\nNo setting buys anything.\n");
    }
    text.extend(["\n", &style.bold("Which setting buys most"), "\n"]);
    let mut rows = vec![["SETTING", "NOW", "SMALLEST SENSIBLE", "BUYS", "WITH", "BECAUSE"].map(str::to_owned).to_vec()];
    rows.extend(one.knobs.iter().map(|knob| {
        let most = knob.by_fault.iter().filter(|(_, buys)| knob.buys - buys < 0.05).map(|(fault, _)| fault.words());
        vec![
            knob.field.to_owned(),
            knob.now.clone(),
            knob.smallest.clone(),
            format!("{:.1} s", knob.buys),
            most.collect::<Vec<_>>().join(", "),
            knob.because.to_owned(),
        ]
    }));
    text.push_str(&table(&rows));
    let all: Vec<String> = one
        .with_all
        .iter()
        .filter_map(|(fault, total)| Some(format!("{} {:.1} s", fault.words(), (*total)?)))
        .collect();
    text.extend(["All of them together: ", &all.join(", "), ".\n"]);
}
