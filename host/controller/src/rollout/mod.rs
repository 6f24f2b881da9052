//! The agents on the nodes: a DaemonSet that follows the configuration.
//!
//! Level-triggered: whatever happened to configuration or DaemonSet, one look brings the DaemonSet to what the
//! configuration says. What an agent promises is never read from here: proofs use the `T` and `Wd` that the very agent
//! published, so a rollout may be under way, or stuck, during any remediation.

mod access;
mod apply;
mod check;
mod daemon_set;
mod mirror;
mod report;
mod roles;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use palisade_api::reasons::event;
use palisade_api::self_node_remediation_config::SelfNodeRemediationConfigSpec;
use tokio::sync::Notify;

pub use self::daemon_set::tuning;
use crate::context::Context;
use crate::error::{Error, within};
use crate::events::Kind;

/// No look takes longer.
const LIMIT: Duration = Duration::from_secs(30);
/// Pause after a look that failed.
const RETRY: Duration = Duration::from_secs(5);
/// A look without a cause, should a watch have missed one; and how often the state of the agents is reported.
const LOOK: Duration = Duration::from_secs(10);

/// What a rollout needs to know beside the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Image of the agents.
    pub image: String,
}

/// Of a configuration that is not rolled out yet: what keeps it from that, and what in it may be meant otherwise. Each names
/// field and value.
pub fn judge(spec: &SelfNodeRemediationConfigSpec) -> (Vec<String>, Vec<String>) {
    (check::problems(spec), check::warnings(spec).into_iter().map(|warning| warning.text).collect())
}

/// How long a node may live on after its last confirmed renewal, with this configuration.
pub fn right_to_live(spec: &SelfNodeRemediationConfigSpec) -> Duration {
    daemon_set::tuning(spec).time_to_live()
}

/// Keeps the agents as the configuration says, until the future is dropped.
pub async fn run(context: Arc<Context>, options: Options) {
    let changed = context.configs_changed.clone();
    tokio::join!(
        watch(&context, &changed),
        follow(&context, &options, &changed),
        mirror::run(&context),
        roles::run(&context)
    );
}

/// Wakes whenever somebody changed or deleted the DaemonSet.
async fn watch(context: &Context, changed: &Notify) {
    let api: Api<DaemonSet> = Api::namespaced(context.client.clone(), &context.options.namespace);
    let only = watcher::Config::default().fields(&format!("metadata.name={}", daemon_set::NAME));
    let mut events = std::pin::pin!(watcher::watcher(api, only).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(_) => changed.notify_one(),
            Err(error) => tracing::debug!(%error, "watch of the agents' DaemonSet interrupted"),
        }
    }
}

async fn follow(context: &Context, options: &Options, changed: &Notify) {
    let mut stock = false;
    loop {
        let pause = match within(LIMIT, "the rollout of the agents", look(context, options, &mut stock)).await {
            Ok(()) => LOOK,
            // Somebody else was first; the next look sees what is true.
            Err(Error::Conflict) => Duration::from_millis(200),
            Err(error) => {
                tracing::warn!(%error, "the agents are not rolled out as the configuration says, it is tried again");
                RETRY
            }
        };
        // Whichever it is, the next look sees everything.
        let _ = tokio::time::timeout(pause, changed.notified()).await;
    }
}

/// `stock` is whether the key pair of the stock product's agents is there. That is looked at once: whoever deletes it
/// later wants no answers to be given any more.
async fn look(context: &Context, options: &Options, stock: &mut bool) -> Result<(), Error> {
    // Without a configuration the DaemonSet goes with it, as its owner reference says.
    let Some(config) = context.config() else { return Ok(()) };
    let about = kube::Resource::object_ref(&*config, &());
    let problems = check::problems(&config.spec);
    for warning in check::warnings(&config.spec) {
        context.events.post(&context.client, about.clone(), Kind::Warning, warning.reason, &warning.text).await;
    }
    if !problems.is_empty() {
        let text = format!("{}; the agents stay as they are", problems.join("; "));
        context.events.post(&context.client, about, Kind::Warning, event::INVALID_CONFIG, &text).await;
        return report::report(context, &config, &problems, None).await;
    }
    if !*stock {
        crate::certificates::ensure_stock(&context.client, &context.options.namespace).await?;
        *stock = true;
    }
    access::ensure(context).await?;
    let pace = daemon_set::Pace::of(&config.spec, &context.leases.state());
    let wanted =
        daemon_set::Wanted { config: &config, image: &options.image, namespace: &context.options.namespace, pace };
    let live = apply::apply(context, &wanted).await?;
    report::report(context, &config, &[], Some(&live)).await
}

#[cfg(test)]
mod tests;
