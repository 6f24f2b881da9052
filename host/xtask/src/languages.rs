//! The templates of all languages: each is made, built, and shown the same behaviour in the runtime.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::workspace::Workspace;
use crate::{build, shell, tools};

/// Languages, and the Debian packages of the programs they need.
const LANGUAGES: &[(&str, &[(&str, &str)])] =
    &[("rust", &[]), ("c", &[("clang", "clang"), ("wasm-ld", "lld")]), ("javascript", &[])];

/// Tries all languages, or those whose name is given.
pub fn run(workspace: &Workspace, only: &[String]) -> anyhow::Result<()> {
    tools::wasm_target(workspace)?;
    build::programs(workspace)?;
    for (language, packages) in LANGUAGES {
        if !only.is_empty() && !only.iter().any(|name| name == language) {
            continue;
        }
        for (program, package) in *packages {
            tools::debian_package(workspace, program, package)?;
        }
        let folder = workspace.target.join("languages").join(language);
        let name = format!("{language}-twin");
        fresh(&folder).with_context(|| folder.display().to_string())?;
        let palisade = |arguments: &[&str]| {
            let mut command = Command::new(workspace.program("palisade"));
            command
                .arg("remediator")
                .args(arguments)
                .env("CARGO_TARGET_DIR", workspace.target.join("languages/target"))
                .env("PALISADE_CHECKOUT", &workspace.root)
                .current_dir(&folder);
            command
        };
        shell::run(&mut palisade(&["new", &name, "--language", language]))?;
        let project = folder.join(&name);
        restore(&folder, &project).with_context(|| project.display().to_string())?;
        let at = project.display().to_string();
        shell::step(
            &format!("{language}: the same behaviour as its twins"),
            &mut palisade(&["test", "--project", &at, "--journal", "journal"]),
        )?;
        shell::run(&mut palisade(&["replay", "journal", "--project", &at]))?;
        shell::run(&mut palisade(&["inspect", "--project", &at]))?;
    }
    Ok(())
}

/// An empty folder, except for packages that are large and come from elsewhere.
fn fresh(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let packages = path.join("node_modules");
        if packages.is_dir() {
            std::fs::rename(&packages, folder.join("node_modules"))?;
        }
        if path.is_dir() && !path.ends_with("node_modules") {
            std::fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

fn restore(folder: &Path, project: &Path) -> std::io::Result<()> {
    let kept = folder.join("node_modules");
    if kept.is_dir() { std::fs::rename(kept, project.join("node_modules")) } else { Ok(()) }
}
