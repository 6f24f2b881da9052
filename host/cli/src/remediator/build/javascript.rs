//! JavaScript: an engine with the program in it, by `componentize-js`.

use std::process::Command;

use anyhow::Context;

use super::super::output::Output;
use super::super::project::Project;
use super::super::toolchain;

/// The bytes of the component, without a manifest.
pub fn compile(project: &Project, output: Output) -> anyhow::Result<Vec<u8>> {
    if !project.folder.join("node_modules/@bytecodealliance/componentize-js").is_dir() {
        let mut install = Command::new("npm");
        install.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&project.folder);
        toolchain::must(&mut install, "installing what package.json names (about 400 MB, once)", output)?;
    }
    let contract = toolchain::checkout(None)?.join("guest-sdk/wit");
    let component = project.work().join("component.wasm");
    let mut build = Command::new("node");
    build.arg("build.mjs").arg(&contract).arg(&component).current_dir(&project.folder);
    toolchain::must(&mut build, "compiling", output)?;
    std::fs::read(&component).with_context(|| component.display().to_string())
}
