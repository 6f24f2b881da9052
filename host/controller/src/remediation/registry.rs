//! The status of Remediator objects: whether the component can be used, and what it is.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use palisade_api::Remediator;
use palisade_api::reasons::condition;
use palisade_api::remediator::{Capability, LoadedModule};
use serde_json::json;

use super::modules::{self, Served, Unserved};
use super::status;
use crate::context::Context;
use crate::events::Kind;

/// Files and config maps are looked at again this often.
const LOOK: Duration = Duration::from_secs(10);

/// Keeps the status of all Remediators true, until the future is dropped.
pub async fn run(context: Arc<Context>) {
    loop {
        for remediator in context.remediators.state() {
            let loaded = modules::load(&context, &remediator).await;
            if let Err(error) = report(&context, &remediator, loaded).await {
                tracing::debug!(remediator = remediator.name_any(), %error, "status not written, it is tried again");
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn report(
    context: &Context,
    remediator: &Remediator,
    loaded: Result<Served, Unserved>,
) -> Result<(), kube::Error> {
    let before = remediator.status.clone().unwrap_or_default();
    let mut after = before.clone();
    after.observed_generation = remediator.metadata.generation;
    match &loaded {
        Ok(served) => {
            let manifest = served.module.manifest();
            status::set(&mut after.conditions, condition::READY, "True", "Loaded", "");
            after.last_error = None;
            after.module = Some(LoadedModule {
                name: manifest.name.clone(),
                version: manifest.version.clone(),
                digest: served.module.digest().to_owned(),
                contract: Some(manifest.contract.clone()),
                capabilities: manifest
                    .capabilities
                    .iter()
                    .filter_map(|asked| granted(remediator, asked.name()))
                    .collect(),
            });
        }
        Err(why) => {
            status::set(&mut after.conditions, condition::READY, "False", "NotLoaded", &why.to_string());
            after.last_error = Some(why.to_string());
        }
    }
    if after == before {
        return Ok(());
    }
    if let Err(why) = &loaded {
        let about = kube::Resource::object_ref(remediator, &());
        context.events.post(&context.client, about, Kind::Warning, "NotLoaded", &why.to_string()).await;
    }
    let patch = json!({
        "metadata": { "resourceVersion": remediator.resource_version() },
        // Absent fields have to go: a merge keeps what is not named.
        "status": { "lastError": after.last_error, "conditions": after.conditions, "module": after.module,
            "observedGeneration": after.observed_generation },
    });
    let api: Api<Remediator> = Api::all(context.client.clone());
    api.patch_status(&remediator.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await.map(|_| ())
}

fn granted(remediator: &Remediator, name: &str) -> Option<Capability> {
    remediator.spec.capabilities.iter().copied().find(|capability| capability.as_str() == name)
}
