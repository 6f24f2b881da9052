//! `cargo xtask differential`: builds what the differential suite needs and hands over to it.

use std::process::Command;

use crate::demo::Parts;
use crate::shell;
use crate::workspace::Workspace;

fn command(workspace: &Workspace, options: &[String]) -> anyhow::Result<Command> {
    let alone = options.iter().any(|option| option == "--without-cluster");
    let parts = Parts::build(workspace, !alone)?;
    let mut command = parts.program(workspace, "palisade-differential");
    command.args(options);
    Ok(command)
}

/// Builds and becomes the suite.
pub fn run(workspace: &Workspace, options: &[String]) -> anyhow::Result<()> {
    Err(shell::exec(&mut command(workspace, options)?))
}

/// All scenarios, for the test suite.
pub fn step(workspace: &Workspace) -> anyhow::Result<()> {
    let purpose = "the same remediations in harness, runtime and on the real control plane";
    shell::step(purpose, &mut command(workspace, &[])?)
}
