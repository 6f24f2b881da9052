//! `cargo xtask kill-matrix`: builds what the matrix needs and hands over to it.

use std::process::Command;

use crate::demo::Parts;
use crate::shell;
use crate::workspace::Workspace;

/// The matrix with all its parts; the real control plane is built unless the sandbox is asked for.
fn command(workspace: &Workspace, options: &[String]) -> anyhow::Result<Command> {
    let sandbox = options.windows(2).any(|pair| pair == ["--backend", "sandbox"])
        || options.iter().any(|option| option == "--backend=sandbox");
    let parts = Parts::build(workspace, !sandbox)?;
    let mut command = parts.program(workspace, "palisade-kill-matrix");
    command.args(options);
    Ok(command)
}

/// Builds and becomes the matrix.
pub fn run(workspace: &Workspace, options: &[String]) -> anyhow::Result<()> {
    Err(shell::exec(&mut command(workspace, options)?))
}

/// The sample of the suite, on the real control plane.
pub fn step(workspace: &Workspace) -> anyhow::Result<()> {
    shell::step("the controller dies at its writes, on the real control plane", &mut command(workspace, &[])?)
}
