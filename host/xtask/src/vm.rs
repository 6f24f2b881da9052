//! `cargo xtask vm`: guests with real kernels, real watchdog devices and the real agent.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::workspace::{Workspace, cargo};
use crate::{build, shell, tools};

/// Debian's package that always depends on the newest kernel image. The one for clouds lacks the i6300esb driver.
const KERNEL: &str = "linux-image-amd64";
/// The static target of the agent as it is shipped.
const STATIC: &str = "x86_64-unknown-linux-musl";

/// Prepares kernel, qemu, busybox and agent, and hands over.
///
/// The agent is the workspace's own build with its libraries; `--release` takes the static one as it is shipped, which
/// is built apart (several minutes) and is what its memory should be judged by.
pub fn run(workspace: &Workspace, options: &[String]) -> anyhow::Result<()> {
    let mut options = options.to_vec();
    let release = options.iter().position(|option| option == "--release").map(|at| options.remove(at)).is_some();
    build::programs(workspace)?;
    let agent = if release { static_agent(workspace)? } else { workspace.program("palisade-agent") };
    Err(shell::exec(command(workspace, &agent)?.args(options)))
}

/// A few runs of everything, within the time that the whole suite can spare.
pub fn step(workspace: &Workspace) -> anyhow::Result<()> {
    build::programs(workspace)?;
    let mut short = command(workspace, &workspace.program("palisade-agent"))?;
    short.args(["--runs", "1"]);
    shell::step("killing, stopping, fencing and isolating agents on real kernels", &mut short)
}

fn command(workspace: &Workspace, agent: &std::path::Path) -> anyhow::Result<Command> {
    tools::debian_package(workspace, "qemu-system-x86_64", "qemu-system-x86")?;
    tools::debian_package(workspace, "busybox", "busybox-static")?;
    let busybox = shell::output(&mut shell::command(&workspace.root, "which", &["busybox"]))?;
    // With the priority of everybody: a guest that goes first starves the clusters of other suites beside it, whose
    // watchdogs then fire rightly.
    let mut command = Command::new(workspace.program("palisade-vm"));
    command.arg("--agent").arg(agent).arg("--busybox").arg(busybox.trim());
    command.arg("--kernel").arg(kernel(workspace)?).current_dir(&workspace.root);
    Ok(command)
}

/// The newest kernel package, unpacked once.
fn kernel(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let newest = || -> anyhow::Result<String> {
        let depends = shell::output(&mut shell::command(&workspace.root, "apt-cache", &["depends", KERNEL]))?;
        let package = depends
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with("linux-image-") && *name != KERNEL);
        Ok(package.with_context(|| format!("Debian's package {KERNEL} depends on no kernel"))?.to_owned())
    };
    let package = if let Ok(package) = newest() {
        package
    } else {
        tools::refresh_packages(workspace)?;
        newest()?
    };
    let folder = workspace.cache.join(format!("vm-{package}"));
    if folder.exists() {
        return Ok(folder);
    }
    let unfinished = folder.with_extension("unfinished");
    std::fs::remove_dir_all(&unfinished).ok();
    std::fs::create_dir_all(&unfinished)?;
    let download = || shell::run(&mut shell::command(&unfinished, "apt-get", &["download", "-q", &package]));
    eprintln!("==> fetching Debian's kernel {package} (70 MB, once per machine)");
    // The list may name a version that the archive has replaced.
    download().or_else(|_| tools::refresh_packages(workspace).and_then(|()| download()))?;
    let file = std::fs::read_dir(&unfinished)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no package")?;
    shell::run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&unfinished))?;
    std::fs::remove_file(&file)?;
    std::fs::rename(&unfinished, &folder).with_context(|| format!("renaming to {}", folder.display()))?;
    Ok(folder)
}

/// The agent as it is shipped: static, small.
pub fn static_agent(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    shipped(workspace, "palisade-agent", "agent", 8)
}

/// The controller as it is shipped.
pub fn static_controller(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    shipped(workspace, "palisade", "controller", 25)
}

/// A program in the profile of its image.
fn shipped(workspace: &Workspace, package: &str, profile: &str, minutes: u32) -> anyhow::Result<PathBuf> {
    tools::debian_package(workspace, "musl-gcc", "musl-tools")?;
    tools::rust_target(workspace, STATIC)?;
    let mut build = Command::new(cargo());
    build
        .args(["build", "--package", package, "--bin", package, "--profile", profile, "--target", STATIC])
        .current_dir(&workspace.root);
    let what = format!("building {package} as it is shipped (about {minutes} minutes when nothing is cached)");
    shell::step(&what, &mut build)?;
    Ok(workspace.target.join(STATIC).join(profile).join(package))
}
