//! `cargo xtask netns`: agents and controller in network namespaces against the real control plane.

use crate::demo::Parts;
use crate::workspace::Workspace;
use crate::{shell, tools};

/// Builds everything and plays the cases.
pub fn run(workspace: &Workspace, options: &[String]) -> anyhow::Result<()> {
    tools::iproute(workspace)?;
    let parts = Parts::build(workspace, true)?;
    let mut command = parts.program(workspace, "palisade-netns");
    shell::step("faults of the network, in network namespaces (needs root)", command.args(options))
}
