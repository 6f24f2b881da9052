//! What components cost: to compile, to load compiled before, to call, and to keep. The stock ones, one without host
//! calls, and the same small remediator in each language of the SDK.

mod weight;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use palisade_runtime::{CallInput, EngineSettings, Granted, Host, Limits, Module, RemediationView};

use super::Report;

/// Languages of the SDK, and whether a component of it brings an engine along and gets the larger limits.
const LANGUAGES: [(&str, bool); 3] = [("rust", false), ("c", false), ("javascript", true)];
/// The component of the tests that answers without asking the host anything, if it is told so.
const SILENT: (&str, &str) = ("hostile", "behave");

/// Which components, how often.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// More components than the stock ones: files, for instance those that `palisade remediator build` made.
    #[arg(long, value_name = "FILE")]
    pub component: Vec<PathBuf>,
    /// Where `cargo xtask languages` builds the same remediator in each language; what is not there is left out.
    #[arg(long, value_name = "FOLDER")]
    pub languages: Option<PathBuf>,
    /// Loads of each component.
    #[arg(long, default_value_t = 10)]
    pub runs: usize,
    /// Calls of each component; each starts in a fresh instance.
    #[arg(long, default_value_t = 2_000)]
    pub calls: usize,
    /// Figures as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// Only weighs this component; this program starts itself so.
    #[arg(long, value_name = "FILE", hide = true)]
    weigh: Option<PathBuf>,
    #[arg(long, value_name = "FOLDER", hide = true, requires = "weigh")]
    cache: Option<PathBuf>,
    #[arg(long, hide = true, requires = "weigh")]
    engine: bool,
    /// The stock components are taken from here; the rest is not used.
    #[command(flatten)]
    pub parts: crate::plane::Parts,
}

/// A component file.
struct Component {
    name: String,
    file: PathBuf,
    brings_an_engine: bool,
}

impl Component {
    fn of(file: PathBuf) -> Self {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, file, brings_an_engine: false }
    }

    fn read(&self) -> anyhow::Result<Vec<u8>> {
        std::fs::read(&self.file).with_context(|| self.file.display().to_string())
    }

    fn limits(&self) -> Limits {
        if self.brings_an_engine { Limits::most() } else { Limits::default() }
    }
}

/// Measures and prints.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if let (Some(file), Some(cache)) = (&options.weigh, &options.cache) {
        return weight::weigh(&Component { brings_an_engine: options.engine, ..Component::of(file.clone()) }, cache);
    }
    let mut report = Report::begin();
    let components = components(options, &mut report)?;
    let folder = std::env::temp_dir().join(format!("palisade-bench-wasm-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let cache = folder.join("cache");
    let measured = components.iter().try_for_each(|component| one(component, &cache, options, &mut report));
    let _ = std::fs::remove_dir_all(&folder);
    measured?;
    report.print(options.json)
}

/// Stock components and those of the tests, the languages that were built, and what was named.
fn components(options: &Options, report: &mut Report) -> anyhow::Result<Vec<Component>> {
    let folder = options.parts.remediators();
    let mut files = options.component.clone();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    files.sort();
    ensure!(!files.is_empty(), "{}: no components", folder.display());
    let mut components: Vec<Component> = files.into_iter().map(Component::of).collect();
    for (language, brings_an_engine) in LANGUAGES {
        let built = options.languages.as_deref().map(|folder| twin(folder, language)).filter(|file| file.exists());
        match built {
            Some(file) => components.push(Component { name: format!("SDK, {language}"), file, brings_an_engine }),
            None => report.note(format!("SDK, {language}: not built; `cargo xtask languages {language}` does")),
        }
    }
    Ok(components)
}

/// Where `cargo xtask languages` leaves a component.
fn twin(folder: &Path, language: &str) -> PathBuf {
    folder.join(language).join(format!("{language}-twin")).join("build/remediator.wasm")
}

fn one(component: &Component, cache: &Path, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let (name, bytes) = (&component.name, component.read()?);
    let settings =
        |cache_dir: Option<PathBuf>| EngineSettings { cache_dir, concurrent_calls: 2, ..EngineSettings::default() };
    let millis = |begun: Instant| begun.elapsed().as_secs_f64() * 1e3;
    let mut compiled = Vec::new();
    for _ in 0..options.runs.div_ceil(if component.brings_an_engine { 10 } else { 3 }) {
        let host = Host::new(&settings(None))?;
        let begun = Instant::now();
        host.load(&bytes)?;
        compiled.push(millis(begun));
    }
    // The first one fills the cache; every load is of a host of its own, as after a restart.
    Host::new(&settings(Some(cache.to_owned())))?.load(&bytes)?;
    let mut loaded = Vec::new();
    for _ in 0..options.runs {
        let host = Host::new(&settings(Some(cache.to_owned())))?;
        let begun = Instant::now();
        host.load(&bytes)?;
        loaded.push(millis(begun));
    }
    let (mut first, mut each) = (Vec::new(), Vec::new());
    for _ in 0..options.runs.div_ceil(3) {
        let weight = weight::weigh_apart(component, cache)?;
        first.push(weight.first as f64 / 1024.0);
        each.push(weight.each as f64 / 1024.0);
    }
    report.add_of(name, "size", "KiB", vec![bytes.len() as f64 / 1024.0])?;
    report.add_of(name, "check, compile, link", "ms", compiled)?;
    report.add_of(name, "check, load compiled, link (bar 5)", "ms", loaded)?;
    report.add_of(name, "resident, each copy (bar 3)", "MiB", each)?;
    report.add_of(name, "resident, the first with all around it", "MiB", first)?;
    let module = Host::new(&settings(Some(cache.to_owned())))?.load(&bytes)?;
    let mut input = CallInput::default();
    let count = if component.brings_an_engine { options.calls.div_ceil(10) } else { options.calls };
    calls(name, "instantiate and call", &module, (&input, &component.limits(), count), report)?;
    if *name == SILENT.0 {
        input.remediation = RemediationView { strategy: SILENT.1.to_owned(), ..RemediationView::default() };
        let what = "instantiate and call, no host calls (bar 50)";
        let call = module.call(&input, &component.limits(), &Granted::all());
        ensure!(call.outcome.is_ok() && call.journal.record.calls.is_empty(), "{name} asked the host something");
        calls(name, what, &module, (&input, &component.limits(), count), report)?;
    }
    Ok(())
}

fn calls(
    name: &str,
    what: &str,
    module: &Module,
    (input, limits, count): (&CallInput, &Limits, usize),
    report: &mut Report,
) -> anyhow::Result<()> {
    let granted = Granted::all();
    let mut took = Vec::new();
    let mut failure = None;
    for _ in 0..count.max(1) {
        let call = module.call(input, limits, &granted);
        took.push(call.took.as_secs_f64() * 1e6);
        failure = call.outcome.err().or(failure);
    }
    if let Some(failure) = failure {
        report.note(format!("{name}: its calls fail, the figures are of that: {failure}"));
    }
    took.sort_by(f64::total_cmp);
    let late = took[(took.len() * 99 / 100).min(took.len() - 1)];
    report.add_of(name, what, "µs", took)?;
    report.add_of(name, &format!("{what}: 99 of 100 within"), "µs", vec![late])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_of_languages_are_where_they_are_built() {
        let file = twin(Path::new("/target/languages"), "c");
        assert_eq!(file, Path::new("/target/languages/c/c-twin/build/remediator.wasm"));
        assert_eq!(Component::of("a/self-node.wasm".into()).name, "self-node");
    }
}
