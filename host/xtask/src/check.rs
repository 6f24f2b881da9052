//! What a reviewer should never have to say: formatting, lints, dependency policy, drift.

use std::process::Command;

use crate::workspace::{Workspace, cargo};
use crate::{crds, shell, tools};

/// Runs every check; the first failure ends it.
pub fn run(workspace: &Workspace) -> anyhow::Result<()> {
    format(workspace)?;
    lint(workspace)?;
    dependencies(workspace)?;
    crds::run(workspace, true)
}

/// rustfmt and gofmt.
pub fn format(workspace: &Workspace) -> anyhow::Result<()> {
    shell::step(
        "formatting (cargo fmt)",
        &mut shell::command(&workspace.root, &cargo(), &["fmt", "--all", "--check"]),
    )?;
    let unformatted = shell::output(&mut shell::command(&workspace.root, "gofmt", &["-l", "tests/controlplane"]))?;
    anyhow::ensure!(unformatted.trim().is_empty(), "run gofmt -w on:\n{unformatted}");
    Ok(())
}

/// clippy with warnings as errors, on host and guests.
pub fn lint(workspace: &Workspace) -> anyhow::Result<()> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    shell::step("lints (cargo clippy)", &mut shell::command(&workspace.root, &cargo(), &arguments))
}

/// Bans, licences and sources. Advisories need a database that is fetched from a forge: they are checked where one can
/// be reached (`PALISADE_ADVISORIES=1`), and their absence is said.
pub fn dependencies(workspace: &Workspace) -> anyhow::Result<()> {
    let deny = tools::cargo_deny(workspace)?;
    let mut command = Command::new(deny);
    command.arg("check").current_dir(&workspace.root);
    if std::env::var_os("PALISADE_ADVISORIES").is_none() {
        command.args(["bans", "licenses", "sources"]);
        eprintln!(
            "    advisories are not checked (set PALISADE_ADVISORIES=1 where the advisory database is reachable)"
        );
    }
    shell::step("dependency policy (cargo deny)", &mut command)
}
