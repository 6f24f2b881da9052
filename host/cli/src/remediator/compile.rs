//! `palisade remediator compile`: fills the cache of a controller.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use palisade_runtime::{Compiler, EngineSettings, Host};
use serde_json::json;

use super::output::{Output, lines};

/// What to compile.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder of the cache: `--module-cache` of a controller of this version, on a machine like this one.
    #[arg(value_name = "FOLDER")]
    cache: PathBuf,
    /// Component files; one component from standard input if none is named.
    #[arg(value_name = "COMPONENT")]
    files: Vec<PathBuf>,
    /// How the result is shown.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// How a controller has its components compiled by this program.
pub fn compiler() -> Option<Compiler> {
    let program = std::env::current_exe().ok()?;
    Some(Compiler { program, arguments: ["remediator", "compile"].map(str::to_owned).to_vec() })
}

/// Compiles each as the controller would.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let settings = EngineSettings { cache_dir: Some(arguments.cache.clone()), ..EngineSettings::default() };
    let host = Host::new(&settings)?;
    let mut compiled = Vec::new();
    if arguments.files.is_empty() {
        let mut bytes = Vec::new();
        // One byte more than the limit is enough to be refused.
        let most = u64::try_from(settings.component_bytes).unwrap_or(u64::MAX).saturating_add(1);
        std::io::stdin().lock().take(most).read_to_end(&mut bytes).context("standard input")?;
        compiled.push(("standard input".to_owned(), host.load(&bytes)?));
    }
    for file in &arguments.files {
        let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
        let module = host.load(&bytes).with_context(|| file.display().to_string())?;
        compiled.push((file.display().to_string(), module));
    }
    let value: Vec<_> =
        compiled.iter().map(|(name, module)| json!({ "component": name, "digest": module.digest() })).collect();
    arguments.output.show(&json!({ "compiled": value }), || {
        lines(&compiled.iter().map(|(name, module)| (name.as_str(), module.digest().to_owned())).collect::<Vec<_>>())
    });
    Ok(true)
}
