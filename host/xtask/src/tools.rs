//! What a fresh machine lacks, installed from the package registries.

use std::path::PathBuf;
use std::process::Command;

use crate::shell;
use crate::workspace::{Workspace, cargo};

const WASM_TARGET: &str = "wasm32-unknown-unknown";
const CARGO_DENY: &str = "0.20.2";
const HELM: &str = "3.22.0";

/// Adds the Wasm target to the toolchain in use, also where rustup may not install by itself.
pub fn wasm_target(workspace: &Workspace) -> anyhow::Result<()> {
    rust_target(workspace, WASM_TARGET)
}

/// Adds a target to the toolchain in use.
pub fn rust_target(workspace: &Workspace, target: &str) -> anyhow::Result<()> {
    let installed = shell::output(&mut shell::command(&workspace.root, "rustup", &["target", "list", "--installed"]))?;
    if installed.lines().any(|known| known == target) {
        return Ok(());
    }
    shell::step(
        &format!("adding the Rust target {target} (about 20 MB, once per toolchain)"),
        &mut shell::command(&workspace.root, "rustup", &["target", "add", target]),
    )
}

/// cargo-deny of the pinned version, built once per machine.
pub fn cargo_deny(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let folder = workspace.cache.join(format!("cargo-deny-{CARGO_DENY}"));
    let program = folder.join("bin/cargo-deny");
    if !program.exists() {
        let mut install = Command::new(cargo());
        // A debug build checks a few hundred crates as fast as anyone notices, and compiles in a third of the time.
        install
            .args(["install", "cargo-deny", "--debug", "--locked", "--version", CARGO_DENY, "--root"])
            .arg(&folder)
            .env("CARGO_TARGET_DIR", folder.join("target"))
            .current_dir(&workspace.cache);
        shell::step("building cargo-deny (about 5 minutes, once per machine)", &mut install)?;
        // Only the program is needed; its build folder is as large as ours.
        std::fs::remove_dir_all(folder.join("target")).ok();
    }
    Ok(program)
}

/// Helm of the pinned version, built once per machine from the Go module proxy.
pub fn helm(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let folder = workspace.cache.join(format!("helm-{HELM}"));
    let program = folder.join("helm");
    if !program.exists() {
        // Built beside and renamed, so that an interrupted build never looks like a finished one.
        let unfinished = folder.join("unfinished");
        let mut install = Command::new("go");
        install
            .args(["install", "-trimpath", "-ldflags", "-s -w", &format!("helm.sh/helm/v3/cmd/helm@v{HELM}")])
            .envs([("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local")])
            .env("GOBIN", &unfinished)
            .current_dir(&workspace.cache);
        shell::step("building Helm from Go modules (about 5 minutes, once per machine)", &mut install)?;
        std::fs::rename(unfinished.join("helm"), &program)?;
    }
    Ok(program)
}

/// kubectl, which the tests drive as a user would.
pub fn kubectl(workspace: &Workspace) -> anyhow::Result<()> {
    debian_package(workspace, "kubectl", "kubernetes-client")
}

/// `ip`, which makes network namespaces.
pub fn iproute(workspace: &Workspace) -> anyhow::Result<()> {
    debian_package(workspace, "ip", "iproute2")
}

/// A program of a Debian package, installed if it is not there.
pub fn debian_package(workspace: &Workspace, program: &str, package: &str) -> anyhow::Result<()> {
    let found = std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|folder| folder.join(program).exists()));
    if found {
        return Ok(());
    }
    refresh_packages(workspace)?;
    shell::step(
        &format!("installing {package} for {program}"),
        &mut shell::command(&workspace.root, "apt-get", &["install", "-qy", "--no-install-recommends", package]),
    )
}

/// Asks the archive which packages there are now.
pub fn refresh_packages(workspace: &Workspace) -> anyhow::Result<()> {
    shell::step("refreshing Debian's package list", &mut shell::command(&workspace.root, "apt-get", &["update", "-q"]))
}
