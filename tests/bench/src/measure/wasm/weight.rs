//! What a loaded component keeps resident, weighed in a process that does nothing else: this program starts itself anew
//! for each component.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use palisade_runtime::{CallInput, EngineSettings, Granted, Host};
use serde::{Deserialize, Serialize};

use super::super::kernel::Account;
use super::Component;

/// Copies of the component: what the first one needs besides itself (parser, linker, buffers) is not its own.
const COPIES: u32 = 5;

/// Figures of one process, in KiB.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Weight {
    /// What the process had more after the first component was loaded.
    pub first: u64,
    /// What each further copy of it added, with the memory that one call of it leaves behind.
    pub each: u64,
}

/// Weighs a component in this process and prints the figures.
pub(super) fn weigh(component: &Component, cache: &Path) -> anyhow::Result<()> {
    let resident = || anyhow::Ok(Account::of(std::process::id())?.resident);
    let bytes = component.read()?;
    let settings =
        EngineSettings { cache_dir: Some(cache.to_owned()), concurrent_calls: 2, ..EngineSettings::default() };
    let host = Host::new(&settings)?;
    let (input, limits, granted) = (CallInput::default(), component.limits(), Granted::all());
    let mut modules = Vec::new();
    let mut load = || {
        let module = host.load(&bytes)?;
        let _ = module.call(&input, &limits, &granted);
        modules.push(module);
        resident()
    };
    let before = resident()?;
    let one = load()?;
    let mut all = one;
    for _ in 0..COPIES {
        all = load()?;
    }
    let weight = Weight { first: one.saturating_sub(before), each: all.saturating_sub(one) / u64::from(COPIES) };
    println!("{}", serde_json::to_string(&weight)?);
    Ok(())
}

/// The same in a process of its own.
pub(super) fn weigh_apart(component: &Component, cache: &Path) -> anyhow::Result<Weight> {
    let mut command = Command::new(std::env::current_exe().context("path of this program")?);
    // The control plane is not looked at.
    command.args(["wasm", "--controlplane", "none"]).arg("--cache").arg(cache).arg("--weigh").arg(&component.file);
    if component.brings_an_engine {
        command.arg("--engine");
    }
    let output =
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("starting this program anew")?;
    ensure!(output.status.success(), "weighing {} ended with {}", component.name, output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("the weight of {}", component.name))
}
