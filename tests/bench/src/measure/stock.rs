//! The stock components, loaded by the controller as Remediators do it.

use std::time::Duration;

use anyhow::{Context, ensure};
use kube::api::{Api, Patch, PatchParams};
use palisade_api::Remediator;
use palisade_api::reasons::condition;
use serde_json::json;

use crate::assertions::Stand;
use crate::wait;

/// Compiling the first one takes a while on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);

/// The components that come with Palisade.
const NAMES: [&str; 7] =
    ["self-node", "out-of-service-taint", "machine-deletion", "fence-agents", "metal3", "meatware", "script"];

/// Makes a Remediator of each, and waits until all of them are loaded.
pub(super) async fn load(stand: &Stand) -> anyhow::Result<()> {
    let api: Api<Remediator> = Api::all(stand.admin.clone());
    for name in NAMES {
        let file = stand.parts.remediators().join(format!("{name}.wasm"));
        let bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
        let manifest = palisade_runtime::inspect(&bytes).with_context(|| file.display().to_string())?;
        let capabilities: Vec<&str> = manifest.capabilities.iter().map(|asked| asked.name()).collect();
        let remediator = json!({
            "apiVersion": "palisade.dev/v1alpha1", "kind": "Remediator", "metadata": { "name": name },
            "spec": { "source": { "builtin": name }, "capabilities": capabilities },
        });
        let apply = PatchParams::apply("palisade-bench").force();
        api.patch(name, &apply, &Patch::Apply(&remediator)).await.with_context(|| format!("Remediator {name}"))?;
    }
    wait::until(LIMIT, "the stock components are loaded", async || {
        let all = api.list(&kube::api::ListParams::default()).await?.items;
        let of = |remediator: &Remediator| {
            let status = remediator.status.clone().unwrap_or_default();
            let ready = status.conditions.iter().find(|known| known.type_ == condition::READY).cloned();
            (status.module.is_some(), ready.map(|ready| ready.message))
        };
        let missing: Vec<_> = all.iter().filter(|one| !of(one).0).map(|one| format!("{:?}", of(one))).collect();
        ensure!(all.len() >= NAMES.len(), "{} Remediators", all.len());
        Ok(if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) })
    })
    .await
}
