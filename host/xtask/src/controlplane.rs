//! The real control plane: one Go program that links kube-apiserver, etcd, controller manager and scheduler.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::workspace::Workspace;
use crate::{bench, shell};

/// Builds the program unless this very source was built before on this machine, and returns its path.
pub fn build(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let source = workspace.root.join("tests/controlplane");
    let program = workspace.cache.join(format!("controlplane-{}", fingerprint(&source)?));
    if program.exists() {
        return Ok(program);
    }
    // Built beside and renamed, so that an interrupted build never looks like a finished one.
    let unfinished = program.with_extension("unfinished");
    let mut build = Command::new("go");
    build
        .args(["build", "-trimpath", "-ldflags", "-s -w", "-o"])
        .arg(&unfinished)
        .arg(".")
        .envs([("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local")])
        .current_dir(&source);
    shell::step("building the real control plane from Go modules (about 10 minutes, once per machine)", &mut build)?;
    std::fs::rename(&unfinished, &program).with_context(|| format!("renaming to {}", program.display()))?;
    Ok(program)
}

/// Starts it in the foreground, with a fleet if nodes are asked for.
pub fn run(workspace: &Workspace, options: &[String]) -> anyhow::Result<()> {
    if options.iter().any(|option| option == "--nodes" || option.starts_with("--nodes=")) {
        return bench::up(workspace, options);
    }
    let program = build(workspace)?;
    let mut command = Command::new(program);
    // Without a fleet the folder is kept and used again anyway.
    command.args(options.iter().filter(|option| *option != "--keep"));
    if !options.iter().any(|option| option.starts_with("--dir")) {
        let folder = workspace.target.join("controlplane");
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        command.arg("--dir").arg(folder);
    }
    Err(shell::exec(&mut command))
}

fn fingerprint(source: &Path) -> anyhow::Result<String> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![source.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if is_source(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut digest = Sha256::new();
    digest.update(shell::output(&mut shell::command(source, "go", &["env", "GOVERSION"]))?);
    for file in files {
        digest.update(file.strip_prefix(source)?.to_string_lossy().as_bytes());
        digest.update(std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?);
    }
    let short: [u8; 8] = std::array::from_fn({
        let whole = digest.finalize();
        move |index| whole[index]
    });
    Ok(format!("{:016x}", u64::from_be_bytes(short)))
}

/// What decides how the program behaves; its tests and texts do not.
fn is_source(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("go") => !name.ends_with("_test.go"),
        extension => matches!(extension, Some("mod" | "sum" | "yaml")),
    }
}
