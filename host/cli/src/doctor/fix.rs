//! What `--fix` does. Each patch names the version it was decided on: what changed meanwhile is left alone.

use std::fmt;

use anyhow::{Context, bail};
use json_patch::{Patch as JsonPatch, PatchOperation};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use palisade_core::fencing::record::{INTENT, LeaseView};
use serde::Serialize;
use serde_json::json;

/// A repair that releases nothing and takes nothing from anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fix {
    /// Take a taint off a node.
    Taint {
        /// The node.
        node: String,
        /// The taint's key.
        key: String,
        /// The taint's effect.
        effect: String,
    },
    /// Clear a fence intent.
    Intent {
        /// The node, which is the lease's name.
        node: String,
        /// The intent.
        uid: String,
    },
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taint { key, effect, .. } => write!(f, "take off the taint {key}:{effect}"),
            Self::Intent { uid, .. } => write!(f, "clear the fence intent {uid}"),
        }
    }
}

impl Fix {
    /// Does it, if it is still as it was.
    pub async fn apply(&self, client: &Client, namespace: &str) -> anyhow::Result<()> {
        match self {
            Self::Taint { node, key, effect } => {
                let api: Api<Node> = Api::all(client.clone());
                let found = api.get(node).await?;
                let taints = found.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
                let at = taints.iter().position(|taint| taint.key == *key && taint.effect == *effect);
                let Some(at) = at else { return Ok(()) };
                let patch = json!([
                    { "op": "test", "path": "/metadata/resourceVersion", "value": found.resource_version() },
                    { "op": "remove", "path": format!("/spec/taints/{at}") },
                ]);
                patched(api.patch(node, &PatchParams::default(), &Patch::Json::<()>(operations(patch)?)).await)
            }
            Self::Intent { node, uid } => {
                let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
                let lease = api.get(node).await?;
                let view = LeaseView::from_annotations(lease.annotations())?;
                if view.intent.is_none_or(|intent| intent.uid != *uid) {
                    return Ok(());
                }
                let patch = json!([
                    { "op": "test", "path": "/metadata/resourceVersion", "value": lease.resource_version() },
                    { "op": "remove", "path": format!("/metadata/annotations/{}", INTENT.replace('/', "~1")) },
                ]);
                patched(api.patch(node, &PatchParams::default(), &Patch::Json::<()>(operations(patch)?)).await)
            }
        }
    }
}

fn operations(patch: serde_json::Value) -> anyhow::Result<JsonPatch> {
    Ok(JsonPatch(serde_json::from_value::<Vec<PatchOperation>>(patch)?))
}

fn patched<K>(answer: kube::Result<K>) -> anyhow::Result<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 409 | 422) => {
            bail!("it changed meanwhile; run palisade doctor again")
        }
        Err(error) => Err(error).context("the API server"),
    }
}
