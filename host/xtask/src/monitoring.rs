//! `cargo xtask monitoring`: what `deploy/monitoring` ships, by promtool and by a real Prometheus that scrapes the controller.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::demo::Parts;
use crate::workspace::Workspace;
use crate::{shell, tools};

const RULES: &str = "deploy/monitoring/rules.yaml";
const RULE_TESTS: &str = "tests/monitoring/rules.yaml";

/// Checks and tests the rules, then lets Prometheus watch a controller on a bad day.
pub fn run(workspace: &Workspace, options: &[String]) -> anyhow::Result<()> {
    tools::kubectl(workspace)?;
    let folder = prometheus(workspace)?;
    rules(workspace, &folder)?;
    let parts = Parts::build(workspace, true)?;
    let mut command = parts.program(workspace, "palisade-monitoring-test");
    command.arg("--prometheus").arg(folder.join("prometheus")).args(options);
    shell::step("a controller on a bad day, watched by Prometheus", &mut command)
}

/// The shipped file itself, and the alerts in situations that tests make.
fn rules(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    let mut check = Command::new(folder.join("promtool"));
    check.args(["check", "rules", "--lint=all", "--lint-fatal", RULES]).current_dir(&workspace.root);
    shell::step("promtool: the rules", &mut check)?;
    let mut test = Command::new(folder.join("promtool"));
    test.args(["test", "rules", RULE_TESTS]).current_dir(&workspace.root);
    shell::step("promtool: each alert in its situation, and a healthy fleet", &mut test)
}

/// Folder of Debian's `prometheus` and `promtool`. Unpacked, not installed: the package would make an account and start a
/// service.
fn prometheus(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let folder = workspace.cache.join("prometheus-debian");
    if folder.exists() {
        return Ok(folder);
    }
    let unfinished = folder.with_extension("unfinished");
    std::fs::remove_dir_all(&unfinished).ok();
    std::fs::create_dir_all(&unfinished)?;
    eprintln!("==> fetching Debian's prometheus (20 MB, once per machine)");
    let download = || shell::run(&mut shell::command(&unfinished, "apt-get", &["download", "-q", "prometheus"]));
    // The list may name a version that the archive has replaced, or there is none yet.
    download().or_else(|_| tools::refresh_packages(workspace).and_then(|()| download()))?;
    let file = std::fs::read_dir(&unfinished)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no package")?;
    let unpacked = unfinished.join("unpacked");
    shell::run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&unpacked))?;
    for program in ["prometheus", "promtool"] {
        std::fs::rename(unpacked.join("usr/bin").join(program), unfinished.join(program))
            .with_context(|| format!("the package has no /usr/bin/{program}"))?;
    }
    std::fs::remove_file(&file)?;
    std::fs::remove_dir_all(&unpacked)?;
    std::fs::rename(&unfinished, &folder).with_context(|| format!("renaming to {}", folder.display()))?;
    Ok(folder)
}
