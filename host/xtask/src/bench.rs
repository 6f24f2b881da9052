//! `cargo xtask bench`: the fleet of fake kubelets on the real control plane and its assertions.

use std::process::Command;

use crate::workspace::Workspace;
use crate::{build, controlplane, guests, shell};

/// Runs a command of the bench to its end.
pub fn run(workspace: &Workspace, options: &[String]) -> anyhow::Result<()> {
    let mut command = program(workspace)?;
    let Some((subcommand, rest)) = options.split_first() else { return shell::run(command.arg("--help")) };
    command.arg(subcommand);
    // Help needs none of the parts.
    if !subcommand.starts_with('-') && !rest.iter().any(|word| word == "--help") {
        parts(workspace, &mut command)?;
    }
    shell::run(command.args(rest))
}

/// The assertions in the size that continuous integration can afford.
pub fn assertions(workspace: &Workspace) -> anyhow::Result<()> {
    run(workspace, &["assertions".to_owned()])
}

/// A cluster of fake nodes that stays until it is interrupted.
pub fn up(workspace: &Workspace, options: &[String]) -> anyhow::Result<()> {
    let mut command = program(workspace)?;
    command.arg("up");
    parts(workspace, &mut command)?;
    if !options.iter().any(|option| option.starts_with("--dir")) {
        command.arg("--dir").arg(workspace.target.join("controlplane-fleet"));
    }
    command.args(options);
    Err(shell::exec(&mut command))
}

fn program(workspace: &Workspace) -> anyhow::Result<Command> {
    build::programs(workspace)?;
    let mut command = Command::new(workspace.program("palisade-bench"));
    command.current_dir(&workspace.root);
    Ok(command)
}

fn parts(workspace: &Workspace, command: &mut Command) -> anyhow::Result<()> {
    command.arg("--palisade").arg(workspace.program("palisade"));
    command.arg("--controlplane").arg(controlplane::build(workspace)?);
    command.arg("--remediators").arg(guests::build(workspace)?);
    command.arg("--crds").arg(workspace.root.join("crds"));
    Ok(())
}
