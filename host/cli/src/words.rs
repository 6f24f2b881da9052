//! Completion and manual pages, from the commands as they are.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;

/// `palisade completion SHELL`.
#[derive(Debug, Args)]
#[command(after_help = "For bash: source <(palisade completion bash)")]
pub struct Completion {
    /// The shell.
    shell: Shell,
}

/// `palisade man FOLDER`.
#[derive(Debug, Args)]
pub struct Man {
    /// Where the pages go; made if it does not exist.
    folder: PathBuf,
}

/// Prints it.
pub fn completion(arguments: &Completion, mut commands: Command) -> anyhow::Result<()> {
    let name = commands.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut commands, name, &mut script);
    crate::explain::print(&String::from_utf8(script)?).context("standard output")
}

/// Writes them.
pub fn man(arguments: &Man, commands: Command) -> anyhow::Result<()> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    clap_mangen::generate_to(commands, folder).with_context(|| format!("writing to {}", folder.display()))
}
