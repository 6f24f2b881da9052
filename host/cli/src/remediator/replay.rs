//! `palisade remediator replay`: recorded calls again.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use palisade_runtime::Journal;
use serde_json::json;

use super::component::Which;
use super::output::Output;

/// What to replay.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Journals: one JSON object a line, as `palisade remediator test --journal` writes them.
    #[arg(value_name = "JOURNAL")]
    journal: PathBuf,
    #[command(flatten)]
    component: Which,
    /// How the result is shown.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Replays every call; false if one came out differently.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let path = &arguments.journal;
    let text = std::fs::read_to_string(path).with_context(|| format!("journal {}", path.display()))?;
    let mut journals = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let journal: Journal =
            serde_json::from_str(line).with_context(|| format!("journal {}, line {}", path.display(), index + 1))?;
        journals.push(journal);
    }
    anyhow::ensure!(!journals.is_empty(), "journal {} is empty", path.display());
    let module = arguments.component.read()?.load()?;
    let differing: Vec<(usize, String)> = journals
        .iter()
        .enumerate()
        .filter_map(|(index, journal)| Some((index + 1, module.replay(journal).err()?.to_string())))
        .collect();
    let value = json!({
        "calls": journals.len(), "digest": module.digest(),
        "differing": differing.iter().map(|(call, why)| json!({ "call": call, "why": why })).collect::<Vec<_>>(),
    });
    arguments.output.show(&value, || {
        let told: Vec<String> = differing.iter().map(|(call, why)| format!("call {call}: {why}\n")).collect();
        let told = told.concat();
        format!("{told}{} of {} calls replay exactly", journals.len() - differing.len(), journals.len())
    });
    Ok(differing.is_empty())
}
