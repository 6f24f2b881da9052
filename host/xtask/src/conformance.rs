//! `cargo xtask conformance`: builds what the black-box suite needs and hands over to it.

use std::process::Command;

use crate::demo::Parts;
use crate::workspace::Workspace;
use crate::{shell, tools};

/// The suite with all its parts; the real control plane is built unless only the sandbox is asked for.
pub fn command(workspace: &Workspace, options: &[String]) -> anyhow::Result<Command> {
    let sandbox_only = options.windows(2).any(|pair| pair == ["--backend", "sandbox"])
        || options.iter().any(|option| option == "--backend=sandbox");
    // One case steps the wall clock of a controller.
    tools::debian_package(workspace, "faketime", "faketime")?;
    let parts = Parts::build(workspace, !sandbox_only)?;
    let mut command = parts.program(workspace, "palisade-conformance");
    command.args(options);
    Ok(command)
}

/// Builds and becomes the suite.
pub fn run(workspace: &Workspace, options: &[String]) -> anyhow::Result<()> {
    Err(shell::exec(&mut command(workspace, options)?))
}
