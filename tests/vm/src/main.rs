//! `palisade-vm`: real kernels, real watchdog devices, real resets.
//!
//! Each guest boots a Debian kernel with a minimal initramfs and runs the real agent. The test kills it, stops it,
//! fences it, isolates it, and measures until the machine is reset and another boot id shows. Nothing is simulated but
//! the hardware, and the API server is the sandbox's.

mod cluster;
mod cpio;
mod device;
mod image;
mod machine;
mod report;
mod rest;
mod scenario;
mod series;
mod special;
mod timing;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::device::Device;
use crate::image::Parts;
use crate::machine::Accelerator;
use crate::scenario::Scenario;
use crate::series::Series;
use crate::timing::Timing;

/// Kill, stop, fence and isolate agents on real kernels with real watchdog devices.
#[derive(Debug, Parser)]
#[command(name = "palisade-vm", version)]
pub struct Options {
    /// Runs of each scenario with each device.
    #[arg(long, default_value_t = 2)]
    runs: usize,
    /// Only these scenarios.
    #[arg(long, value_enum, value_delimiter = ',')]
    scenario: Vec<Scenario>,
    /// Only these devices.
    #[arg(long, value_enum, value_delimiter = ',')]
    device: Vec<Device>,
    /// Guests side by side. Between boots they only wait.
    #[arg(long, default_value_t = 6)]
    parallel: usize,
    /// Translate the guests even where /dev/kvm works.
    #[arg(long)]
    emulate: bool,
    /// No guests: one agent on this machine at rest for so many seconds; its memory, processor time and requests.
    #[arg(long, value_name = "SECONDS")]
    rest: Option<u64>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Keep the folder with consoles and images.
    #[arg(long)]
    keep: bool,
    /// The agent under test; static, or with its libraries on this machine.
    #[arg(long, value_name = "FILE")]
    agent: PathBuf,
    /// A static busybox.
    #[arg(long, value_name = "FILE", default_value = "/bin/busybox")]
    busybox: PathBuf,
    /// An unpacked Debian kernel package.
    #[arg(long, value_name = "FOLDER", required_unless_present = "rest")]
    kernel: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("palisade-vm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let mut folder = tempfile::Builder::new().prefix("palisade-vm-").tempdir()?;
    folder.disable_cleanup(options.keep);
    if options.keep {
        eprintln!("consoles and images stay in {}", folder.path().display());
    }
    if let Some(seconds) = options.rest {
        return rest::measure(folder.path(), &options.agent, std::time::Duration::from_secs(seconds), options.json)
            .await;
    }
    let parts = Parts {
        agent: options.agent,
        busybox: options.busybox,
        kernel: options.kernel.unwrap_or_default(),
        folder: folder.path().to_owned(),
    };
    let accelerator = if options.emulate { Accelerator::Software } else { series::accelerator(&parts).await? };
    let timing = Timing::for_machine(accelerator);
    eprintln!(
        "guests run by {}; T = {:?}, Wd = {:?}",
        accelerator.name(),
        timing.tuning.time_to_live(),
        timing.device()
    );
    let cluster = Cluster::start(folder.path(), &parts.agent, &timing).await.context("the world around the guests")?;
    let chosen = |scenario| options.scenario.is_empty() || options.scenario.contains(&scenario);
    let with = |device| options.device.is_empty() || options.device.contains(&device);
    let mut plan = Vec::new();
    for device in [Device::I6300esb, Device::Softdog].into_iter().filter(|device| with(*device)) {
        for scenario in Scenario::all().iter().copied().filter(|scenario| chosen(*scenario) && scenario.is_for(device))
        {
            plan.push((device, scenario));
        }
    }
    let stage = series::World::new(cluster, parts, timing, accelerator, folder.path().to_owned(), options.parallel);
    let mut running = JoinSet::new();
    for (device, scenario) in plan {
        let stage = std::sync::Arc::clone(&stage);
        running.spawn(async move { Series::play(&stage, device, scenario, options.runs).await });
    }
    let mut all: Vec<Series> = Vec::new();
    while let Some(series) = running.join_next().await {
        let series = series?;
        eprintln!("{}", report::line(&series));
        all.push(series);
    }
    all.sort_by_key(|series| (series.device as u8, series.scenario as u8));
    if options.json {
        println!("{}", report::json(&all, accelerator, begun.elapsed()));
    } else {
        println!("{}", report::table(&all, accelerator, begun.elapsed()));
    }
    Ok(all.iter().all(Series::passed))
}
