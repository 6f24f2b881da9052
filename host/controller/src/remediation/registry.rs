//! The status of Remediator objects: whether the component can be used, what it is, and how it fares.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use palisade_api::Remediator;
use palisade_api::reasons::condition;
use palisade_api::remediator::{Capability, LoadedModule, RemediatorStatus};
use serde_json::json;

use super::modules::{self, Current, Look, Unserved, reason};
use super::status;
use crate::context::Context;
use crate::events::Kind;

/// Files, config maps and registries are looked at again this often; registries by tag less often, see
/// [`Options::registry_refresh`](crate::Options::registry_refresh).
const LOOK: Duration = Duration::from_secs(10);

/// Keeps the status of all Remediators true, until the future is dropped.
pub async fn run(context: Arc<Context>) {
    loop {
        let remediators = context.remediators.state();
        // Side by side: a registry that does not answer holds up nobody else.
        let all = remediators.iter().map(|remediator| look_at(&context, remediator));
        futures::future::join_all(all).await;
        let remediations = {
            let known = context.triggers.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.keys().cloned().collect::<HashSet<_>>()
        };
        let remediators = remediators.iter().filter_map(|remediator| remediator.uid()).collect();
        context.modules.tidy(&remediations, &remediators);
        let pause = LOOK.min(context.options.registry_refresh).max(Duration::from_millis(100));
        tokio::time::sleep(pause).await;
    }
}

async fn look_at(context: &Context, remediator: &Remediator) {
    let loaded = modules::current(context, remediator, Look::IfStale).await;
    if let Err(error) = report(context, remediator, loaded).await {
        tracing::debug!(remediator = remediator.name_any(), %error, "status not written, it is tried again");
    }
}

async fn report(
    context: &Context,
    remediator: &Remediator,
    loaded: Result<Current, Unserved>,
) -> Result<(), kube::Error> {
    let before = remediator.status.clone().unwrap_or_default();
    let mut after = before.clone();
    after.observed_generation = remediator.metadata.generation;
    let refused = match &loaded {
        Ok(current) => {
            describe(context, remediator, current, &mut after);
            current.refused.as_ref()
        }
        Err(why) => {
            status::set(&mut after.conditions, condition::READY, "False", why.reason, &why.message);
            after.module = None;
            Some(why)
        }
    };
    after.last_error = refused.map(ToString::to_string);
    if after == before {
        return Ok(());
    }
    if let Some(why) = refused.filter(|_| after.last_error != before.last_error) {
        let about = kube::Resource::object_ref(remediator, &());
        context.events.post(&context.client, about, Kind::Warning, "NotLoaded", &why.to_string()).await;
    }
    let patch = json!({
        "metadata": { "resourceVersion": remediator.resource_version() },
        // Absent fields have to go: a merge keeps what is not named.
        "status": { "lastError": after.last_error, "conditions": after.conditions, "module": after.module,
            "observedGeneration": after.observed_generation, "calls": after.calls, "failures": after.failures,
            "p99Micros": after.p99_micros },
    });
    let api: Api<Remediator> = Api::all(context.client.clone());
    api.patch_status(&remediator.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await.map(|_| ())
}

fn describe(context: &Context, remediator: &Remediator, current: &Current, after: &mut RemediatorStatus) {
    let module = &current.served.module;
    let manifest = module.manifest();
    let (value, why, message) = match (&current.refused, context.modules.broken(module.digest())) {
        (_, Some(broken)) => ("False", reason::BREAKER_OPEN, broken),
        (Some(refused), None) => ("True", reason::KEEPS_EARLIER, refused.message.clone()),
        (None, None) => ("True", reason::LOADED, String::new()),
    };
    status::set(&mut after.conditions, condition::READY, value, why, &message);
    after.module = Some(LoadedModule {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        digest: module.digest().to_owned(),
        manifest_digest: current.served.artifact.as_ref().map(|artifact| artifact.manifest_digest.clone()),
        contract: Some(manifest.contract.clone()),
        capabilities: manifest.capabilities.iter().filter_map(|asked| granted(remediator, asked.name())).collect(),
    });
    let figures = context.modules.figures(module.digest());
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    after.calls = figures.map(|figures| number(figures.calls));
    after.failures = figures.map(|figures| number(figures.failures));
    after.p99_micros = figures.map(|figures| i64::try_from(figures.p99.as_micros()).unwrap_or(i64::MAX));
}

fn granted(remediator: &Remediator, name: &str) -> Option<Capability> {
    remediator.spec.capabilities.iter().copied().find(|capability| capability.as_str() == name)
}
