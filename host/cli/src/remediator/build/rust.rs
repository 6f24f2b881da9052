//! Rust: cargo and the linker that comes with it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::Value;

use super::super::output::Output;
use super::super::project::Project;
use super::super::toolchain;

const TARGET: &str = "wasm32-unknown-unknown";

/// The bytes of the component; its manifest is in it already.
pub fn compile(project: &Project, output: Output) -> anyhow::Result<Vec<u8>> {
    let mut command = cargo(project);
    command.stdout(Stdio::piped());
    let done = command.stderr(Stdio::piped()).output().context("cargo cannot be started; install Rust with rustup")?;
    let said = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() && said.contains("target may not be installed") {
        output.say(&format!("adding the Rust target {TARGET} (about 20 MB, once per toolchain)"));
        let mut add = Command::new("rustup");
        add.args(["target", "add", TARGET]).current_dir(&project.folder);
        toolchain::must(&mut add, "adding the target", output)?;
        let printed = toolchain::printed(&mut cargo(project))?;
        return read(&printed);
    }
    eprint!("{said}");
    anyhow::ensure!(done.status.success(), "it does not compile");
    read(&String::from_utf8_lossy(&done.stdout))
}

fn cargo(project: &Project) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(["rustc", "--quiet", "--lib", "--release", "--target", TARGET, "--crate-type", "cdylib"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(&project.folder);
    command
}

/// Cargo says where it put the component: the target folder may be anywhere.
fn read(messages: &str) -> anyhow::Result<Vec<u8>> {
    let path = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter_map(|message| {
            let files = message["filenames"].as_array()?;
            files
                .iter()
                .filter_map(Value::as_str)
                .find(|file| Path::new(file).extension().is_some_and(|end| end == "wasm"))
                .map(str::to_owned)
        })
        .next_back()
        .context("cargo made no component; is src/lib.rs there?")?;
    std::fs::read(&path).with_context(|| path.clone())
}
