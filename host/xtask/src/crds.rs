//! `crds/` is generated from the API types.

use std::process::Command;

use crate::workspace::Workspace;
use crate::{build, shell};

/// Writes the manifests, or fails when they differ from the types.
pub fn run(workspace: &Workspace, check: bool) -> anyhow::Result<()> {
    let mode = if check { "check" } else { "write" };
    build::programs(workspace)?;
    let mut command = Command::new(workspace.program("palisade-crds"));
    command.args([mode, "crds"]).current_dir(&workspace.root);
    shell::step(if check { "comparing crds/ with the API types" } else { "writing crds/" }, &mut command)
}
