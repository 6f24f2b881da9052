//! `palisade remediator inspect`.

use anyhow::Context;
use clap::Args;
use palisade_runtime::Host;
use serde_json::json;

use super::component::Which;
use super::output::{Output, lines};

/// What to read.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    component: Which,
    /// How the result is shown.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Shows the descriptor.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let component = arguments.component.read()?;
    let manifest = palisade_runtime::inspect(&component.bytes).with_context(|| component.path.display().to_string())?;
    let digest = Host::digest(&component.bytes);
    let size = component.bytes.len();
    let value = json!({
        "name": manifest.name, "version": manifest.version, "contract": manifest.contract,
        "capabilities": manifest.capabilities, "parameters": manifest.parameters, "bytes": size, "digest": digest,
    });
    arguments.output.show(&value, || {
        let capabilities: Vec<&str> = manifest.capabilities.iter().map(|capability| capability.name()).collect();
        lines(&[
            ("name", manifest.name.clone()),
            ("version", manifest.version.clone()),
            ("contract", manifest.contract.clone()),
            ("capabilities", capabilities.join(", ")),
            ("parameters", manifest.parameters.to_string()),
            ("size", format!("{size} bytes")),
            ("digest", digest.clone()),
        ])
    });
    Ok(true)
}
