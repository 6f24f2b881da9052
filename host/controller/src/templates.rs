//! Templates of self node remediation say that several of them may be used side by side: the remediations made from them
//! name their node by annotation. One that says otherwise keeps its word.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use palisade_api::SelfNodeRemediationTemplate;
use palisade_api::keys::remediation::MULTIPLE_TEMPLATES;
use serde_json::json;

use crate::context::Context;
use crate::error::within;

/// No write takes longer.
const LIMIT: Duration = Duration::from_secs(10);

/// Annotates templates until the future is dropped.
pub async fn run(context: Arc<Context>) {
    let all: Api<SelfNodeRemediationTemplate> = Api::all(context.client.clone());
    let mut templates = std::pin::pin!(watcher(all, watcher::Config::default()).default_backoff().applied_objects());
    while let Some(template) = templates.next().await {
        let Ok(template) = template else { continue };
        if template.annotations().contains_key(MULTIPLE_TEMPLATES) || template.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let api: Api<SelfNodeRemediationTemplate> =
            Api::namespaced(context.client.clone(), &template.namespace().unwrap_or_default());
        let patch = json!({ "metadata": {
            "resourceVersion": template.resource_version(), "annotations": { MULTIPLE_TEMPLATES: "true" },
        } });
        let write = async {
            api.patch(&template.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
            Ok(())
        };
        // A template that changed meanwhile comes again.
        if let Err(error) = within(LIMIT, "annotating a template", write).await {
            tracing::debug!(template = template.name_any(), %error, "template not annotated");
        }
    }
}
