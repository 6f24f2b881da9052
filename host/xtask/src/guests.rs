//! Builds every Wasm component: the stock remediators and the hostile ones of the tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Context;

use crate::workspace::{Workspace, cargo};
use crate::{shell, tools};

/// Folders whose crates are components.
const COMPONENT_FOLDERS: [&str; 2] = ["remediators", "tests/components"];

/// Bytes of a stock component's own stack; it uses a few KiB, and traps when it uses more. With it, data and heap of a small
/// component lie in one page of 64 KiB, which the runtime's pool clears instead of mapping it anew: a third of a call.
const STACK: u32 = 48 << 10;

/// Builds all components into `<target>/guests` and returns that folder.
pub fn build(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    tools::wasm_target(workspace)?;
    let guests = workspace.guests();
    std::fs::create_dir_all(&guests).with_context(|| format!("creating {}", guests.display()))?;
    let started = Instant::now();
    let packages = packages(&workspace.root)?;
    eprintln!("==> building {} Wasm components (a minute when nothing is cached)", packages.len());
    for package in &packages {
        let mut build = Command::new(cargo());
        build
            .args(["rustc", "--quiet", "--package", package, "--lib", "--profile", "guest"])
            .args(["--target", "wasm32-unknown-unknown", "--crate-type", "cdylib"])
            .current_dir(&workspace.root);
        if shipped(workspace, package) {
            build.args(["--", &format!("-Clink-arg=-zstack-size={STACK}")]);
        }
        shell::run(&mut build).with_context(|| format!("building the component {package}"))?;
        let linked =
            workspace.target.join("wasm32-unknown-unknown/guest").join(format!("{}.wasm", package.replace('-', "_")));
        let finished = guests.join(format!("{}.wasm", name(package)));
        std::fs::copy(&linked, &finished)
            .with_context(|| format!("copying {} to {}", linked.display(), finished.display()))?;
    }
    eprintln!("    {} components in {}: {:.1} s", packages.len(), guests.display(), started.elapsed().as_secs_f64());
    Ok(guests)
}

/// Names of the components that an installation brings: those of `remediators/`, not those of the tests.
pub fn stock(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let packages = packages(&workspace.root)?;
    Ok(packages.iter().filter(|package| shipped(workspace, package)).map(|package| name(package).to_owned()).collect())
}

fn shipped(workspace: &Workspace, package: &str) -> bool {
    workspace.root.join("remediators").join(name(package)).join("Cargo.toml").exists()
}

/// How a component is called.
fn name(package: &str) -> &str {
    package.strip_prefix("remediator-").unwrap_or(package)
}

fn packages(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut command = Command::new(cargo());
    command.args(["metadata", "--format-version=1", "--no-deps"]).current_dir(root);
    let metadata: serde_json::Value = serde_json::from_str(&shell::output(&mut command)?)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let mut names: Vec<String> = packages
        .iter()
        .filter(|package| {
            let manifest = package["manifest_path"].as_str().unwrap_or_default();
            COMPONENT_FOLDERS.iter().any(|folder| Path::new(manifest).starts_with(root.join(folder)))
        })
        .filter_map(|package| package["name"].as_str().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
