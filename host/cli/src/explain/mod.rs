//! `palisade explain`, `status`, `history`: what the controller wrote down, read back for people and for scripts.
//!
//! Nothing is judged here a second time. Verdicts, rules and reasons are those that the controller's core left in the
//! status of policies and remediations; the one thing asked of the core is whether a selector selects a node.

mod read;

pub use read::read as snapshot;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use palisade_explain::{Snapshot, answer, overview, text};

use crate::connect::{Connection, wait};

pub use palisade_explain::{Remediation, State, Style, foreign, length, print, ready, show, table};

/// How to reach the cluster, and how to answer.
#[derive(Debug, Args)]
pub struct Common {
    #[command(flatten)]
    connection: Connection,
    /// For people, or for programs.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Tell what a controller that only watches (--run watch) thinks of policies, instead of what their status says.
    #[arg(long)]
    watched: bool,
    /// With --watched: namespace of that controller.
    #[arg(long, default_value = palisade_api::keys::palisade::NAMESPACE)]
    watcher_namespace: String,
}

/// `palisade explain NODE`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Explain {
    /// Name of the node.
    node: String,
    #[command(flatten)]
    common: Common,
}

/// `palisade status`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Status {
    #[command(flatten)]
    common: Common,
}

/// `palisade history NAME`.
#[derive(Debug, Args)]
pub struct History {
    /// Name of a node, or of a remediation.
    name: String,
    #[command(flatten)]
    connection: Connection,
    /// For people, or for programs.
    #[arg(long, short, value_enum, default_value_t = Form::Text)]
    output: Form,
}

/// What a history is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people; with colours on a terminal only.
    Text,
    /// One JSON object.
    Json,
    /// The same as YAML.
    Yaml,
    /// A page of its own, for a report.
    Html,
}

/// For whom an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people; with colours on a terminal only.
    Text,
    /// One JSON object.
    Json,
}

const EXIT_CODES: &str = "Exit codes: 0 all is well, 3 something is unhealthy and taken care of, 4 a rule holds back what is \
    due or somebody has to look, 1 no answer, 2 wrong usage.";

fn code(state: State) -> ExitCode {
    ExitCode::from(match state {
        State::Well => 0,
        State::Busy => 3,
        State::Held => 4,
    })
}

/// Why a node is, or is not, being remediated.
pub fn explain(arguments: &Explain) -> ExitCode {
    told(&arguments.common, |all, style| {
        let answer = answer::of(all, &arguments.node)?;
        Ok((answer.state, json(&answer)?, answer.text(style)))
    })
}

/// What `status` tells programs.
pub async fn overview(connection: &Connection) -> anyhow::Result<serde_json::Value> {
    Ok(serde_json::to_value(overview::of(&read::read(connection, None).await?))?)
}

/// Everything on one screen.
pub fn status(arguments: &Status) -> ExitCode {
    told(&arguments.common, |all, style| {
        let overview = overview::of(all);
        Ok((overview.state, json(&overview)?, overview.text(style)))
    })
}

/// What happened to a node, from the remediations that still exist, and from events.
pub fn history(arguments: &History) -> ExitCode {
    ended(wait(read::history(&arguments.connection, &arguments.name)).and_then(|history| {
        text::show(&match arguments.output {
            Form::Text => history.text(Style::of_stdout()),
            Form::Json => json(&history)?,
            Form::Yaml => serde_yaml_ng::to_string(&history)?,
            Form::Html => history.html(),
        })?;
        Ok(State::Well)
    }))
}

fn json<T: Serialize>(answer: &T) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(answer)? + "\n")
}

fn told(common: &Common, answer: impl FnOnce(&Snapshot, Style) -> anyhow::Result<(State, String, String)>) -> ExitCode {
    ended(tell(common, answer))
}

/// The exit code of a command that has an answer, or none.
pub fn ended(answer: anyhow::Result<State>) -> ExitCode {
    match answer {
        Ok(state) => code(state),
        Err(error) => {
            eprintln!("palisade: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tell(
    common: &Common,
    answer: impl FnOnce(&Snapshot, Style) -> anyhow::Result<(State, String, String)>,
) -> anyhow::Result<State> {
    let watcher = common.watched.then_some(common.watcher_namespace.as_str());
    let snapshot = wait(read::read(&common.connection, watcher))?;
    let (state, json, text) = answer(&snapshot, Style::of_stdout())?;
    text::show(if common.output == Output::Json { &json } else { &text })?;
    Ok(state)
}
