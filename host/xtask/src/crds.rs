//! `crds/` is generated from the API types.

use std::process::Command;

use crate::shell;
use crate::workspace::{Workspace, cargo};

/// Writes the manifests, or fails when they differ from the types.
pub fn run(workspace: &Workspace, check: bool) -> anyhow::Result<()> {
    let mode = if check { "check" } else { "write" };
    let mut command = Command::new(cargo());
    command
        .args(["run", "--quiet", "--package", "palisade-api", "--bin", "palisade-crds", "--", mode, "crds"])
        .current_dir(&workspace.root);
    shell::step(if check { "comparing crds/ with the API types" } else { "writing crds/" }, &mut command)
}
