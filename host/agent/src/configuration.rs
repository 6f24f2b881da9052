//! Following the configuration while the agent runs.
//!
//! The DaemonSet brings every change to every agent by replacing it, a tenth at a time: that is how a change reaches
//! agents that start without the API. Following it is faster and restarts no juror. What a change does to promises that
//! were made is the core's business: what lengthens a life counts once the lease that publishes it is confirmed, what
//! shortens it before it is sent.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt as _};
use palisade_api::SelfNodeRemediationConfig;
use palisade_core::fencing::agent::Settings;
use palisade_core::fencing::agent::spread::{early, within};

use crate::diagnose::SelfDiagnosis;
use crate::options::Options;

/// A watch is renewed after so many seconds even if nothing is wrong with it.
const WATCH_SECONDS: u32 = 285;
/// Pause before a watch that ended is begun again. Nothing waits for it: a rollout brings the same.
const AGAIN: Duration = Duration::from_secs(15);

/// Tells the node every change of the configuration, and the diagnosis its endpoint. Ends only where none is followed.
pub async fn follow(
    client: Client,
    options: Options,
    tell: impl Fn(Settings) + Send + Sync,
    diagnosis: Arc<SelfDiagnosis>,
) {
    endpoint(&diagnosis, &options).await;
    let Some(name) = &options.follow_config else { return };
    let configurations: Api<SelfNodeRemediationConfig> = Api::namespaced(client, &options.namespace);
    let mut told = options.clone();
    for attempt in 0_u64.. {
        if let Err(error) = watch(&configurations, name, &options, &mut told, &tell, &diagnosis).await {
            tracing::debug!(error, "the watch of the configuration ended");
        }
        tokio::time::sleep(early(&options.node_name, attempt, AGAIN)).await;
    }
}

async fn watch(
    configurations: &Api<SelfNodeRemediationConfig>,
    name: &str,
    options: &Options,
    told: &mut Options,
    tell: &(impl Fn(Settings) + Sync),
    diagnosis: &SelfDiagnosis,
) -> Result<(), String> {
    // The rights are for this one object, and hold for lists and watches that name it.
    let only_this = format!("metadata.name={name}");
    let found = configurations.list(&ListParams::default().fields(&only_this)).await.map_err(|e| e.to_string())?;
    let version = found.metadata.resource_version.clone().unwrap_or_default();
    for config in &found.items {
        adopt(config, options, told, tell, diagnosis).await;
    }
    let params = WatchParams::default().fields(&only_this).timeout(WATCH_SECONDS);
    let mut events = configurations.watch(&params, &version).await.map_err(|e| e.to_string())?.boxed();
    while let Some(event) = events.next().await {
        match event.map_err(|error| error.to_string())? {
            WatchEvent::Added(config) | WatchEvent::Modified(config) => {
                adopt(&config, options, told, tell, diagnosis).await;
            }
            // Without a configuration the agents go too; until then nothing changes.
            WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => return Err(status.message.clone()),
        }
    }
    Ok(())
}

async fn adopt(
    config: &SelfNodeRemediationConfig,
    options: &Options,
    told: &mut Options,
    tell: &(impl Fn(Settings) + Sync),
    diagnosis: &SelfDiagnosis,
) {
    let generation = config.metadata.generation.unwrap_or_default();
    match options.following(&config.spec, generation) {
        Ok(wanted) if wanted.settings() == told.settings() && wanted.endpoint == told.endpoint => {}
        Ok(wanted) => {
            // All agents see the change at the same instant, and each has something to publish for it.
            let attempt = u64::try_from(generation).unwrap_or_default();
            tokio::time::sleep(within(&options.node_name, attempt, told.api_check_interval)).await;
            tracing::info!(generation, time_to_live = ?wanted.settings().tuning.time_to_live(), "the configuration changed");
            tell(wanted.settings());
            endpoint(diagnosis, &wanted).await;
            *told = wanted;
        }
        Err(why) => tracing::error!(
            configuration = config.name_any(),
            generation,
            "the configuration cannot be used and this agent stays as it is: {why}"
        ),
    }
}

async fn endpoint(diagnosis: &SelfDiagnosis, options: &Options) {
    if let Err(why) = diagnosis.watch_endpoint(&options.endpoint, options.peer_dial_timeout).await {
        tracing::error!("{why}; until then the kubelet alone is diagnosed");
    }
}
