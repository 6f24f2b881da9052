//! `palisade remediator run`: a failing node in the embedded sandbox, handled by the component.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use palisade_runtime::Capability;
use palisade_sandbox::demo::{self, BackendKind, Demo, Parts, Scenario};
use palisade_sandbox::lab::fault::Fault;
use serde_json::json;

use super::component::Which;
use super::output::Output;
use super::toolchain;

/// What to run.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    component: Which,
    /// What happens to the node: kubelet, agent, api, isolate, power or hang.
    #[arg(long, default_value_t = Fault::Isolate)]
    fault: Fault,
    /// Number of nodes.
    #[arg(long, default_value_t = 4)]
    nodes: u8,
    /// Grant only these capabilities, not all that it asks for.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    grant: Option<Vec<String>>,
    /// Kubernetes objects as the real control plane has them, instead of the embedded ones; needs --controlplane.
    #[arg(long, value_name = "FILE", env = "PALISADE_CONTROLPLANE")]
    controlplane: Option<PathBuf>,
    /// The agent program; beside this program if not given.
    #[arg(long, value_name = "FILE", env = "PALISADE_AGENT")]
    agent: Option<PathBuf>,
    /// Folder of the built-in remediators; `../guests` from this program if not given.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_REMEDIATORS")]
    remediators: Option<PathBuf>,
    /// Checkout of Palisade, for its CRDs.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_CHECKOUT")]
    checkout: Option<PathBuf>,
    /// How the result is shown: text, or one JSON object per event and one with the result.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Runs it; false if the node was not healed as it should be.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let component = arguments.component.read()?;
    // Refused here with the reason, instead of after a minute by a controller in a log.
    let module = component.load()?;
    let manifest = module.manifest();
    let capabilities: Vec<String> = match &arguments.grant {
        Some(named) => {
            let parsed: Result<Vec<Capability>, _> = named.iter().map(|name| name.trim().parse()).collect();
            parsed.context("--grant")?.iter().map(ToString::to_string).collect()
        }
        None => manifest.capabilities.iter().map(ToString::to_string).collect(),
    };
    let mut spec = json!({
        "source": { "file": component.path }, "digest": module.digest(), "capabilities": capabilities,
        "serves": [{ "kind": "SelfNodeRemediation" }],
    });
    if let Some(limits) = component.wanted.spec() {
        spec["limits"] = limits;
    }
    let mut scenario = Scenario::new(arguments.fault, "ResourceDeletion");
    scenario.nodes = arguments.nodes;
    scenario.remediator = Some((manifest.name.clone(), spec));
    let here = std::env::current_exe().context("path of this program")?;
    let beside = here.parent().map(PathBuf::from).unwrap_or_default();
    let demo = Demo {
        backend: if arguments.controlplane.is_some() { BackendKind::Real } else { BackendKind::Sandbox },
        scenario,
        parts: Parts {
            palisade: here.clone(),
            agent: arguments.agent.clone().unwrap_or_else(|| beside.join("palisade-agent")),
            remediators: arguments.remediators.clone().unwrap_or_else(|| beside.join("../guests")),
            crds: toolchain::checkout(arguments.checkout.as_deref())?.join("crds"),
            controlplane: arguments.controlplane.clone(),
        },
        json: arguments.output == Output::Json,
        keep: false,
    };
    drop(module);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("async runtime")?;
    let result = runtime.block_on(demo::demo(demo));
    // Blocked system calls of detached tasks must not hold up the end.
    runtime.shutdown_background();
    result
}
