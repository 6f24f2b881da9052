//! `cargo xtask bench`: the fleet of fake kubelets on the real control plane and its assertions.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::{Workspace, cargo};
use crate::{build, controlplane, guests, page, shell, tools, vm};

/// Runs a command of the bench to its end; without one, lists them. `--release` takes optimised programs, which take minutes
/// to build: for figures of speed; `--measure` those that are nearly as fast and quicker to build again. `--static` takes the
/// controller, or for `agent` the agent, as it is shipped: for figures of size. `page --browser` goes on with the page in
/// a real browser.
pub fn run(workspace: &Workspace, options: &[String]) -> anyhow::Result<()> {
    let mut options = options.to_vec();
    let mut given = |flag: &str| {
        let at = options.iter().position(|option| option == flag);
        at.map(|at| options.remove(at)).is_some()
    };
    let (release, measure, shipped, browser) =
        (given("--release"), given("--measure"), given("--static"), given("--browser"));
    let programs = match (release, measure) {
        (true, _) => optimised(workspace, "release")?,
        (false, true) => optimised(workspace, "measure")?,
        (false, false) => built(workspace)?,
    };
    let mut command = program(workspace, &programs);
    let Some((subcommand, rest)) = options.split_first() else { return shell::run(command.arg("--help")) };
    command.arg(subcommand);
    // Help needs none of the parts.
    if !subcommand.starts_with('-') && !rest.iter().any(|word| word == "--help") {
        let palisade = if shipped && subcommand != "agent" {
            vm::static_controller(workspace)?
        } else {
            programs.join("palisade")
        };
        parts(workspace, &palisade, &mut command)?;
        match subcommand.as_str() {
            "agent" if shipped => drop(command.arg("--agent").arg(vm::static_agent(workspace)?)),
            "failover" if shipped => drop(command.arg("--agent").arg(programs.join("palisade-agent"))),
            "wasm" => drop(command.arg("--languages").arg(workspace.target.join("languages"))),
            "instructions" => tools::debian_package(workspace, "valgrind", "valgrind")?,
            _ => {}
        }
    }
    shell::run(command.args(rest))?;
    if subcommand == "page" && browser { page::run(workspace, &[]) } else { Ok(()) }
}

/// The assertions in the size that continuous integration can afford.
pub fn assertions(workspace: &Workspace) -> anyhow::Result<()> {
    run(workspace, &["assertions".to_owned()])
}

/// A cluster of fake nodes that stays until it is interrupted.
pub fn up(workspace: &Workspace, options: &[String]) -> anyhow::Result<()> {
    let programs = built(workspace)?;
    let mut command = program(workspace, &programs);
    command.arg("up");
    parts(workspace, &programs.join("palisade"), &mut command)?;
    if !options.iter().any(|option| option.starts_with("--dir")) {
        command.arg("--dir").arg(workspace.target.join("controlplane-fleet"));
    }
    command.args(options);
    Err(shell::exec(&mut command))
}

/// Folder of the programs as every other command has them.
fn built(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    build::programs(workspace)?;
    Ok(workspace.target.join("debug"))
}

/// Folder of the programs in an optimised profile.
fn optimised(workspace: &Workspace, profile: &str) -> anyhow::Result<PathBuf> {
    let mut build = Command::new(cargo());
    build.args([
        "build",
        "--profile",
        profile,
        "-p",
        "palisade",
        "-p",
        "palisade-agent",
        "-p",
        "palisade-bench",
        "--bins",
    ]);
    build.current_dir(&workspace.root);
    shell::step("building the optimised programs (10 minutes when nothing is cached)", &mut build)?;
    Ok(workspace.target.join(profile))
}

fn program(workspace: &Workspace, programs: &Path) -> Command {
    let mut command = Command::new(programs.join("palisade-bench"));
    command.current_dir(&workspace.root);
    command
}

fn parts(workspace: &Workspace, palisade: &Path, command: &mut Command) -> anyhow::Result<()> {
    command.arg("--palisade").arg(palisade);
    command.arg("--controlplane").arg(controlplane::build(workspace)?);
    command.arg("--remediators").arg(guests::build(workspace)?);
    command.arg("--crds").arg(workspace.root.join("crds"));
    Ok(())
}
