//! `palisade remediator bench`: what a component costs.

use std::time::Instant;

use clap::Args;
use palisade_runtime::{EngineSettings, Granted, Host};
use serde_json::json;

use super::component::Which;
use super::output::{Output, lines};
use super::suite;

/// What to measure.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    component: Which,
    /// Calls to make; each starts in a fresh instance.
    #[arg(long, default_value_t = 1000)]
    calls: u32,
    /// How the result is shown.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Loads without a cache, then calls with the input of a silent node.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    anyhow::ensure!(arguments.calls > 0, "--calls 0: at least one call is needed to measure");
    let component = arguments.component.read()?;
    let host = Host::new(&EngineSettings { concurrent_calls: 2, ..EngineSettings::default() })?;
    let started = Instant::now();
    let module = host.load(&component.bytes)?;
    let load = started.elapsed();
    let (input, limits, granted) = (suite::input(), component.limits(), Granted::all());
    let mut took = Vec::new();
    let mut fuel = 0;
    for _ in 0..arguments.calls {
        let report = module.call(&input, &limits, &granted);
        if let Err(failure) = &report.outcome {
            anyhow::bail!("{}", failure.message);
        }
        took.push(report.took);
        fuel = report.fuel;
    }
    took.sort();
    let at = |share: f64| {
        let index = ((took.len() as f64 * share) as usize).min(took.len() - 1);
        took[index].as_secs_f64() * 1e6
    };
    let (p50, p99, most) = (at(0.5), at(0.99), at(1.0));
    let value = json!({
        "calls": arguments.calls, "bytes": component.bytes.len(), "loadMillis": load.as_secs_f64() * 1e3,
        "p50Micros": p50, "p99Micros": p99, "maxMicros": most, "fuel": fuel, "fuelLimit": limits.fuel,
    });
    arguments.output.show(&value, || {
        lines(&[
            ("size", format!("{} bytes", component.bytes.len())),
            ("check, compile, link", format!("{:.1} ms", load.as_secs_f64() * 1e3)),
            ("instantiate and call, median", format!("{p50:.0} µs")),
            ("99 of 100 within", format!("{p99:.0} µs")),
            ("slowest", format!("{most:.0} µs")),
            ("fuel of a call", format!("{fuel} of {}", limits.fuel)),
        ])
    });
    Ok(true)
}
