//! Telling agents that their node is a control-plane node: their own rights end before the Node objects.
//!
//! Only where the configuration says `Diagnose`; nobody else asks. It is a hint to the agent. What counts for a proof is
//! what the agent then publishes, signed, in its record.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use palisade_api::keys::cluster::{CONTROL_PLANE_ROLE, MASTER_ROLE};
use palisade_api::self_node_remediation_config::ControlPlanePolicy;
use palisade_core::fencing::record::{CONTROL_PLANE, INTENT};
use serde_json::json;
use tokio::time::Instant;

use crate::context::Context;
use crate::error::{Error, within};
use crate::fence::lease;

/// Pause between looks at the leases in memory.
const LOOK: Duration = Duration::from_secs(5);
/// Roles seldom change: the nodes are asked again after so long, or when an agent appears.
const ASK_AGAIN: Duration = Duration::from_mins(5);
/// No round takes longer.
const LIMIT: Duration = Duration::from_mins(1);

/// Tells until the future is dropped.
pub async fn run(context: &Context) {
    let mut told = Told::default();
    loop {
        if let Err(error) = within(LIMIT, "telling control-plane nodes their role", look(context, &mut told)).await {
            tracing::debug!(%error, "agents do not know their roles yet");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What this process knows to be told.
#[derive(Default)]
struct Told {
    /// By name of the node.
    roles: BTreeMap<String, bool>,
    asked: Option<Instant>,
}

async fn look(context: &Context, told: &mut Told) -> Result<(), Error> {
    let policy = context.config().and_then(|config| config.spec.control_plane_policy);
    if policy != Some(ControlPlanePolicy::Diagnose) {
        return Ok(());
    }
    if told.asked.is_some_and(|asked| asked.elapsed() > ASK_AGAIN) {
        told.roles.clear();
    }
    let leases = context.leases.state();
    if leases.iter().all(|lease| told.roles.contains_key(&lease.name_any())) {
        return Ok(());
    }
    let nodes: Api<Node> = Api::all(context.client.clone());
    let roles: BTreeMap<String, bool> = nodes
        .list_metadata(&ListParams::default().match_any())
        .await?
        .items
        .iter()
        .map(|node| (node.name_any(), is_control_plane(node.labels())))
        .collect();
    told.asked = Some(Instant::now());
    for found in leases {
        let name = found.name_any();
        let role = roles.get(&name).copied().unwrap_or(false);
        let tells = found.annotations().get(CONTROL_PLANE).is_some_and(|value| value == "true");
        // A lease under an intent is left alone: nothing may come between the fencing and what it compares.
        if tells != role && !found.annotations().contains_key(INTENT) {
            let value = role.then_some("true");
            let patch = json!({ "metadata": { "uid": found.uid(), "annotations": { CONTROL_PLANE: value } } });
            let leases = lease::api(&context.client, &context.options.namespace);
            leases.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
            tracing::info!(node = name, control_plane = role, "its agent is told the role of its node");
        }
        told.roles.insert(name, role);
    }
    Ok(())
}

fn is_control_plane(labels: &BTreeMap<String, String>) -> bool {
    [CONTROL_PLANE_ROLE, MASTER_ROLE].iter().any(|role| labels.contains_key(*role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_label_makes_a_control_plane_node() {
        let labelled = |key: &str| is_control_plane(&[(key.to_owned(), String::new())].into());
        assert!(labelled("node-role.kubernetes.io/control-plane") && labelled("node-role.kubernetes.io/master"));
        assert!(!labelled("node-role.kubernetes.io/worker") && !is_control_plane(&BTreeMap::new()));
    }
}
