//! `cargo xtask model`: builds the model checker and hands over to it.

use std::process::Command;

use crate::shell;
use crate::workspace::{Workspace, cargo};

/// Without options: every configuration with all rules. `--all`: the mutants too.
pub fn run(workspace: &Workspace, options: &[String]) -> anyhow::Result<()> {
    let mut build = Command::new(cargo());
    shell::run(build.current_dir(&workspace.root).args(["build", "--quiet", "--package", "palisade-model"]))?;
    shell::run(Command::new(workspace.program("palisade-model")).args(options))
}
