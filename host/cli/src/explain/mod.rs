//! `palisade explain`, `status`, `history`: what the controller wrote down, read back for people and for scripts.
//!
//! Nothing is judged here a second time. Verdicts, rules and reasons are those that the controller's core left in the
//! status of policies and remediations; the one thing asked of the core is whether a selector selects a node.

mod answer;
mod cluster;
mod history;
mod overview;
mod text;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use cluster::Snapshot;

use crate::connect::{Connection, wait};

pub use cluster::{Remediation, ready};
pub use text::{Style, foreign, length, print, show, table};

/// How to reach the cluster, and how to answer.
#[derive(Debug, Args)]
pub struct Common {
    #[command(flatten)]
    connection: Connection,
    /// For people, or for programs.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
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
    common: Common,
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

/// What a script is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Nothing to do.
    Well,
    /// Unhealthy or suspect, and taken care of.
    Busy,
    /// A rule holds back what is due, or somebody has to look.
    Held,
}

impl State {
    fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Well => 0,
            Self::Busy => 3,
            Self::Held => 4,
        })
    }
}

/// Why a node is, or is not, being remediated.
pub fn explain(arguments: &Explain) -> ExitCode {
    told(&arguments.common, |all, style| {
        let answer = answer::of(all, &arguments.node)?;
        Ok((answer.state, json(&answer)?, answer.text(style)))
    })
}

/// Everything on one screen.
pub fn status(arguments: &Status) -> ExitCode {
    told(&arguments.common, |all, style| {
        let overview = overview::of(all);
        Ok((overview.state, json(&overview)?, overview.text(style)))
    })
}

/// What happened to a node, from the remediations that still exist.
pub fn history(arguments: &History) -> ExitCode {
    told(&arguments.common, |all, style| {
        let history = history::of(all, &arguments.name)?;
        Ok((State::Well, json(&history)?, history.text(style)))
    })
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
        Ok(state) => state.code(),
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
    let snapshot = wait(cluster::read(&common.connection))?;
    let (state, json, text) = answer(&snapshot, Style::of_stdout())?;
    text::show(if common.output == Output::Json { &json } else { &text })?;
    Ok(state)
}
