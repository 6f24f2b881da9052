//! `cargo xtask install`: what `deploy/` ships, installed, used and removed on a real control plane.

use crate::demo::Parts;
use crate::workspace::Workspace;
use crate::{shell, tools};

/// Builds everything and plays the installation.
pub fn run(workspace: &Workspace, options: &[String]) -> anyhow::Result<()> {
    tools::kubectl(workspace)?;
    let helm = tools::helm(workspace)?;
    let parts = Parts::build(workspace, true)?;
    let mut command = parts.program(workspace, "palisade-install");
    command.arg("--helm").arg(helm).args(options);
    shell::step("installing, remediating with the installed rights, uninstalling", &mut command)
}
