//! What components cost, in this process: to compile, to load compiled before, to call, and to keep.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use palisade_runtime::{CallInput, EngineSettings, Granted, Host, Limits};

use super::Report;
use super::usage::Usage;

/// Which components, how often.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// More components than the stock ones: files, for instance those that `palisade remediator build` made.
    #[arg(long, value_name = "FILE")]
    pub component: Vec<PathBuf>,
    /// Loads of each component.
    #[arg(long, default_value_t = 10)]
    pub runs: usize,
    /// Calls of each component; each starts in a fresh instance.
    #[arg(long, default_value_t = 2_000)]
    pub calls: usize,
    /// Figures as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// The stock components are taken from here; the rest is not used.
    #[command(flatten)]
    pub parts: crate::plane::Parts,
}

/// Measures and prints.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut files = options.component.clone();
    let folder = options.parts.remediators();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    files.sort();
    ensure!(!files.is_empty(), "{}: no components", folder.display());
    let mut report = Report::begin();
    let cache = tempdir()?;
    let measured = files.iter().try_for_each(|file| one(file, &cache, options, &mut report));
    let _ = std::fs::remove_dir_all(&cache);
    measured?;
    report.print(options.json)
}

fn tempdir() -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("palisade-bench-wasm-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder.join("cache"))
}

fn one(file: &Path, cache: &Path, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let settings =
        |cache_dir: Option<PathBuf>| EngineSettings { cache_dir, concurrent_calls: 2, ..EngineSettings::default() };
    let millis = |begun: Instant| begun.elapsed().as_secs_f64() * 1e3;
    let mut compiled = Vec::new();
    for _ in 0..options.runs.div_ceil(3) {
        let host = Host::new(&settings(None))?;
        let begun = Instant::now();
        host.load(&bytes)?;
        compiled.push(millis(begun));
    }
    // The first one fills the cache; every load is of a host of its own, as after a restart.
    Host::new(&settings(Some(cache.to_owned())))?.load(&bytes)?;
    let (mut loaded, mut kept, mut modules) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.runs {
        let host = Host::new(&settings(Some(cache.to_owned())))?;
        let (before, begun) = (Usage::of(std::process::id())?, Instant::now());
        let module = host.load(&bytes)?;
        loaded.push(millis(begun));
        kept.push(Usage::of(std::process::id())?.resident.saturating_sub(before.resident) as f64 / 1024.0);
        modules.push((host, module));
    }
    let (_, module) = modules.last().context("no module")?;
    let (input, limits, granted) = (CallInput::default(), Limits::default(), Granted::all());
    let mut called = Vec::new();
    for _ in 0..options.calls {
        let call = module.call(&input, &limits, &granted);
        called.push(call.took.as_secs_f64() * 1e6);
    }
    called.sort_by(f64::total_cmp);
    let late = called[(called.len() * 99 / 100).min(called.len() - 1)];
    report.add_of(&name, "size", "KiB", vec![bytes.len() as f64 / 1024.0])?;
    report.add_of(&name, "check, compile, link", "ms", compiled)?;
    report.add_of(&name, "check, load compiled, link", "ms", loaded)?;
    report.add_of(&name, "resident memory that it adds", "MiB", kept)?;
    report.add_of(&name, "instantiate and call", "µs", called)?;
    report.add_of(&name, "99 of 100 calls within", "µs", vec![late])
}
