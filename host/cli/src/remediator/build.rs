//! `palisade remediator build`.

mod c;
mod javascript;
mod rust;

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use palisade_runtime::{Host, LoadError, Manifest};
use serde_json::json;

use super::output::Output;
use super::project::{Language, Project};

/// What to build.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder of the project.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    project: PathBuf,
    /// How the result is shown.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// What was built.
#[derive(Debug)]
pub struct Built {
    /// The component.
    pub path: PathBuf,
    /// What it says about itself.
    pub manifest: Manifest,
    digest: String,
    size: usize,
}

/// Builds and shows what came out.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let built = build(&Project::open(&arguments.project)?, arguments.output)?;
    let Built { path, manifest, digest, size } = &built;
    let value = json!({
        "path": path, "name": manifest.name, "version": manifest.version, "digest": digest, "bytes": size,
    });
    arguments
        .output
        .show(&value, || format!("{} {}: {size} bytes, {digest}\n{}", manifest.name, manifest.version, path.display()));
    Ok(true)
}

/// Compiles, adds the manifest if the language could not, and checks the outside of what came out.
pub fn build(project: &Project, output: Output) -> anyhow::Result<Built> {
    let work = project.work();
    std::fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    output.say(&format!("compiling ({})", project.language.name()));
    let compiled = match project.language {
        Language::Rust => rust::compile(project, output)?,
        Language::C => c::compile(project, output)?,
        Language::Javascript => javascript::compile(project, output)?,
    };
    let bytes = match project.manifest() {
        Some(manifest) => palisade_runtime::attach(compiled, &manifest)
            .with_context(|| format!("{}, field manifest", project.folder.join(super::project::FILE).display()))?,
        None => compiled,
    };
    let manifest = palisade_runtime::inspect(&bytes).map_err(|error| match (&error, project.language) {
        (LoadError::NoManifest, Language::Rust) => {
            anyhow::Error::new(error).context("src/lib.rs uses no palisade_remediator::remediator! {…}")
        }
        _ => anyhow::Error::new(error),
    })?;
    let path = project.component();
    std::fs::write(&path, &bytes).with_context(|| path.display().to_string())?;
    Ok(Built { path, manifest, digest: Host::digest(&bytes), size: bytes.len() })
}
