//! The programs of the workspace.

use std::process::Command;

use crate::shell;
use crate::workspace::{Workspace, cargo};

/// Builds all programs in the one profile.
///
/// The whole workspace, as the tests do: another selection of packages means other features of shared crates, and a
/// second build of the Wasm compiler.
pub fn programs(workspace: &Workspace) -> anyhow::Result<()> {
    let mut build = Command::new(cargo());
    build.args(["build", "--workspace", "--bins"]).current_dir(&workspace.root);
    shell::step("building the programs of the workspace (5 to 10 minutes when nothing is cached)", &mut build)
}
