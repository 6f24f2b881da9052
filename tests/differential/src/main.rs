//! `palisade-differential`: the same remediations in the native harness of the SDK, in the Wasm runtime, and on a real
//! control plane; `cargo xtask differential` builds what it needs and starts it.
//!
//! A [`scenario`] says what is given and what must come of it, once. Each runner makes that happen in its own way: the
//! first two share a [`world`] that plays the host, the third has real objects, a real controller process and whatever
//! the world outside of it would do. An [`ending::Ending`] is what is compared. A remediator that behaves in a test as it
//! never would in a cluster is a defect of one of the three.

mod cluster;
mod compare;
mod ending;
mod native;
mod scenario;
mod table;
mod wasm;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Parser;
use palisade_conformance::parts::PartArguments;
use palisade_sandbox::program;

use compare::Compared;
use scenario::Scenario;

/// Runs every scenario three times, and compares.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only scenarios whose name, or whose remediator's name, contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Everything that was seen, as JSON.
    #[arg(long)]
    json: bool,
    /// Only harness and runtime: seconds, and no control plane.
    #[arg(long)]
    without_cluster: bool,
    /// How many scenarios run side by side in the cluster.
    #[arg(long, default_value_t = 4)]
    lanes: usize,
    /// Leave logs where they are, even if all is equal.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    parts: PartArguments,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::OFF).init();
    program::run_local("palisade-differential", run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let wanted = |scenario: &Scenario| {
        let text = arguments.filter.as_deref().unwrap_or_default();
        scenario.name.contains(text) || scenario.remediator.contains(text)
    };
    let scenarios: Vec<Scenario> = table::all().into_iter().filter(wanted).collect();
    ensure!(!scenarios.is_empty(), "--filter {}: no such scenario", arguments.filter.unwrap_or_default());
    let dir = std::env::temp_dir().join(format!("palisade-differential-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let parts = arguments.parts.parts(&dir)?;
    let begun = Instant::now();
    let runtime = wasm::Runtime::new(&parts.remediators, &dir.join("module-cache"))?;
    let mut compared: Vec<Compared> = scenarios
        .iter()
        .map(|scenario| {
            let mut compared = Compared::new(scenario);
            compared.ran("harness", native::play(scenario));
            compared.ran("runtime", runtime.play(scenario));
            compared
        })
        .collect();
    if !arguments.without_cluster {
        for (compared, ending) in compared.iter_mut().zip(cluster::play(&parts, &scenarios, arguments.lanes).await?) {
            compared.ran("cluster", ending);
        }
    }
    let equal = compared.iter().all(Compared::is_equal);
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&compared)?);
    } else {
        for compared in &compared {
            println!("{compared}");
        }
        let runners = if arguments.without_cluster { "two" } else { "three" };
        let verdict = if equal { "all equal" } else { "NOT EQUAL" };
        let seconds = begun.elapsed().as_secs_f64();
        println!("{} scenarios, {runners} runners, {verdict}, {seconds:.0} s", compared.len());
    }
    if equal && !arguments.keep {
        let _ = std::fs::remove_dir_all(&dir);
    } else {
        eprintln!("logs are kept in {}", dir.display());
    }
    Ok(equal)
}
