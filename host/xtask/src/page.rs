//! `cargo xtask page`: the operator's page in a real Chromium, on a real control plane.

use anyhow::Context;

use crate::demo::Parts;
use crate::workspace::Workspace;
use crate::{shell, tools};

/// Installs what drives the browser, builds everything, and looks at the page. Screenshots stay in the target folder.
pub fn run(workspace: &Workspace, options: &[String]) -> anyhow::Result<()> {
    tools::kubectl(workspace)?;
    for (program, package) in [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")] {
        tools::debian_package(workspace, program, package)?;
    }
    playwright(workspace)?;
    let parts = Parts::build(workspace, true)?;
    let screenshots = workspace.target.join("page");
    let mut command = parts.program(workspace, "palisade-page-test");
    command.arg("--screenshots").arg(&screenshots).args(options);
    shell::step("the page of a controller with 5,000 nodes, in Chromium", &mut command)?;
    eprintln!("    screenshots: {}", screenshots.display());
    Ok(())
}

/// The pinned packages, installed again when the lock file is another one.
fn playwright(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.root.join("tests/page");
    let wanted = std::fs::read_to_string(folder.join("package-lock.json")).context("tests/page/package-lock.json")?;
    let stamp = folder.join("node_modules/.installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    shell::step(
        "installing playwright-core and axe-core (npm ci)",
        &mut shell::command(&folder, "npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"]),
    )?;
    std::fs::write(&stamp, wanted).with_context(|| stamp.display().to_string())
}
