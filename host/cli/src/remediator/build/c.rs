//! C: bindings from the contract, clang, and the component around what clang makes. No C library is needed: what the
//! bindings use of one is in the project.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;
use wit_component::ComponentEncoder;

use super::super::output::Output;
use super::super::project::Project;
use super::super::toolchain;

/// The bytes of the component, without a manifest.
pub fn compile(project: &Project, output: Output) -> anyhow::Result<Vec<u8>> {
    let work = project.work();
    let contract = toolchain::checkout(None)?.join("guest-sdk/wit");
    let bindings = bindings(&contract, &work)?;
    let module = work.join("module.wasm");
    let mut sources = sources(&project.folder.join("src"))?;
    sources.extend(bindings);
    let mut clang = Command::new("clang");
    clang
        .args(["--target=wasm32-unknown-unknown", "-std=c11", "-Os", "-flto", "-ffreestanding", "-nostdlib"])
        .args(["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wl,--no-entry", "-Wl,--strip-debug"])
        // A stack that overflows must trap, not eat the heap.
        .args(["-Wl,--stack-first", "-z", "stack-size=32768"])
        .arg("-I")
        .arg(project.folder.join("include"))
        .arg("-I")
        .arg(&work)
        .arg("-o")
        .arg(&module)
        .args(sources)
        .current_dir(&project.folder);
    toolchain::must(&mut clang, "compiling", output)?;
    let module = std::fs::read(&module).with_context(|| module.display().to_string())?;
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(ComponentEncoder::encode)
        .context("making a component of the module that clang made")
}

/// Writes the bindings and returns what is to be compiled of them.
fn bindings(contract: &Path, work: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(contract).with_context(|| contract.display().to_string())?;
    let world = resolve.select_world(&[package], Some("remediator"))?;
    let mut files = Files::default();
    let mut generator = wit_bindgen_c::Opts::default().build();
    generator.generate(&mut resolve, world, &mut files)?;
    let mut compiled = Vec::new();
    for (name, bytes) in files.iter() {
        let path = work.join(name);
        std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        if path.extension().is_some_and(|extension| extension == "c" || extension == "o") {
            compiled.push(path);
        }
    }
    Ok(compiled)
}

fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            found.push(path);
        }
    }
    found.sort();
    anyhow::ensure!(!found.is_empty(), "{}: no .c file", folder.display());
    Ok(found)
}
