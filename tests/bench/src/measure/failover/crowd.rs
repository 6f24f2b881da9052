//! Nodes around those with agents: kubelets that beat as in a large cluster, selected by the same policy. They run no
//! pods and sit in no jury, which never has more than 15 members.

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use palisade_sandbox::demo::{Scenario, Stand};
use palisade_sandbox::lab::workload::NODES_LABEL;
use serde_json::json;

use crate::fleet::{AGENT, Fleet, Spec};
use crate::plane;

/// Keeps the pods of the story on nodes that can run them.
const TAINT: &str = "bench.palisade.dev/no-pods";

/// Registers so many.
pub async fn gather(stand: &Stand, scenario: &Scenario, count: usize) -> anyhow::Result<Option<Fleet>> {
    if count == 0 {
        return Ok(None);
    }
    let client = plane::client(&stand.backend.admin()?, AGENT).await?;
    let mut spec = Spec::new("crowd", count);
    spec.labels.insert(NODES_LABEL.to_owned(), scenario.name.clone());
    let fleet = Fleet::start(client.clone(), spec).await?;
    let nodes: Api<Node> = Api::all(client);
    let taint = Patch::Merge(json!({ "spec": { "taints": [{ "key": TAINT, "effect": "NoSchedule" }] } }));
    let names: Vec<String> = fleet.machines().iter().map(|machine| machine.name().to_owned()).collect();
    stream::iter(&names)
        .map(|name| async { nodes.patch(name, &PatchParams::default(), &taint).await })
        .buffer_unordered(16)
        .try_for_each(|_| futures::future::ok(()))
        .await
        .context("taint of a node")?;
    Ok(Some(fleet))
}
