//! Bringing the live DaemonSet to what is wanted.

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};

use super::daemon_set::{self, FORCE_DELETION, NAME, REVISION, Wanted};
use crate::context::Context;
use crate::error::Error;

/// Creates, changes, makes anew, or leaves alone; gives the object as it is afterwards.
pub async fn apply(context: &Context, wanted: &Wanted<'_>) -> Result<DaemonSet, Error> {
    let api: Api<DaemonSet> = Api::namespaced(context.client.clone(), wanted.namespace);
    let generation = wanted.config.metadata.generation.unwrap_or_default();
    let create = async || {
        let set = api.create(&PostParams::default(), &daemon_set::render(wanted, generation)).await?;
        tracing::info!(generation, "the agents' DaemonSet is created");
        Ok(set)
    };
    let Some(live) = api.get_opt(NAME).await? else { return create().await };
    if live.metadata.deletion_timestamp.is_some() {
        return Err(Error::Busy(format!("DaemonSet {}/{NAME} is being deleted", wanted.namespace)));
    }
    if live.annotations().get(FORCE_DELETION).is_none_or(|revision| revision != REVISION) {
        let only_this = Preconditions { uid: live.uid(), resource_version: live.resource_version() };
        api.delete(NAME, &DeleteParams { preconditions: Some(only_this), ..DeleteParams::background() }).await?;
        tracing::info!("the agents' DaemonSet is of another revision and is made anew");
        return create().await;
    }
    // What does not concern the agents (the floor of the wait) must not replace them: first with the generation they
    // have.
    if let Some(known) = daemon_set::generation(&live)
        && is_so(&api, &live, over(&live, daemon_set::render(wanted, known))).await?
    {
        return Ok(live);
    }
    let changed = over(&live, daemon_set::render(wanted, generation));
    let set = api.replace(NAME, &PostParams::default(), &changed).await?;
    tracing::info!(generation, "the agents' DaemonSet is brought to what the configuration says");
    Ok(set)
}

/// The live object with what is ours replaced. What others added to its metadata stays.
fn over(live: &DaemonSet, wanted: DaemonSet) -> DaemonSet {
    let mut changed = live.clone();
    changed.labels_mut().extend(wanted.metadata.labels.unwrap_or_default());
    changed.annotations_mut().extend(wanted.metadata.annotations.unwrap_or_default());
    changed.metadata.owner_references = wanted.metadata.owner_references;
    changed.metadata.managed_fields = None;
    changed.spec = wanted.spec;
    changed.status = None;
    changed
}

/// Whether the live object is already what this one would become. The API server fills in what nobody wrote, so it is
/// asked: a dry run stores nothing.
async fn is_so(api: &Api<DaemonSet>, live: &DaemonSet, changed: DaemonSet) -> Result<bool, Error> {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let filled = api.replace(NAME, &dry, &changed).await?;
    Ok(filled.spec == live.spec
        && filled.metadata.labels == live.metadata.labels
        && filled.metadata.annotations == live.metadata.annotations
        && filled.metadata.owner_references == live.metadata.owner_references)
}
