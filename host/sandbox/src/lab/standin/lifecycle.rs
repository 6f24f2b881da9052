//! Node lifecycle: a node whose lease stands still becomes Unknown and gets the unreachable taints.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::{every, outrun};

/// Taint of a node that does not report.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// What was last seen of a node's lease, and when it changed: only our own clock counts.
#[derive(Default)]
struct Seen {
    renewal: String,
    at: Option<Instant>,
}

/// Runs until aborted.
pub async fn run(client: Client, grace: Duration) {
    let seen: tokio::sync::Mutex<BTreeMap<String, Seen>> = tokio::sync::Mutex::default();
    every("node lifecycle stand-in", || async {
        let mut seen = seen.lock().await;
        pass(&client, grace, &mut seen).await
    })
    .await;
}

async fn pass(client: &Client, grace: Duration, seen: &mut BTreeMap<String, Seen>) -> kube::Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let all = nodes.list(&ListParams::default()).await?.items;
    // Either sign of life counts: the lease, or a status.
    let heartbeat = |name: &str| {
        let node = all.iter().find(|node| node.name_any() == name)?;
        let conditions = node.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == "Ready")?.last_heartbeat_time.clone()
    };
    for lease in leases.list(&ListParams::default()).await?.items {
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
        let renewal = format!("{renewed:?} {:?}", heartbeat(&lease.name_any()));
        let entry = seen.entry(lease.name_any()).or_default();
        if entry.renewal != renewal {
            *entry = Seen { renewal, at: Some(Instant::now()) };
        }
    }
    for node in &all {
        let name = node.name_any();
        let silent = seen.entry(name).or_default().at.get_or_insert_with(Instant::now).elapsed() > grace;
        if silent {
            make_unknown(&nodes, node).await?;
        }
        set_taints(&nodes, node, silent).await?;
    }
    Ok(())
}

async fn make_unknown(nodes: &Api<Node>, node: &Node) -> kube::Result<()> {
    let mut conditions = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    if conditions.iter().all(|condition| condition.status == "Unknown") {
        return Ok(());
    }
    let now = Timestamp::now();
    for condition in conditions.iter_mut().filter(|condition| condition.status != "Unknown") {
        "Unknown".clone_into(&mut condition.status);
        condition.reason = Some("NodeStatusUnknown".to_owned());
        condition.message = Some("Kubelet stopped posting node status.".to_owned());
        condition.last_transition_time = Some(Time(now));
    }
    // Guarded: a kubelet that reports at this very moment wins.
    let patch = Patch::Merge(json!({
        "metadata": { "resourceVersion": node.resource_version() },
        "status": { "conditions": conditions },
    }));
    outrun(nodes.patch_status(&node.name_any(), &PatchParams::default(), &patch).await)
}

async fn set_taints(nodes: &Api<Node>, node: &Node, silent: bool) -> kube::Result<()> {
    let ready = node.status.as_ref().and_then(|status| status.conditions.as_ref()).is_some_and(|conditions| {
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    });
    if !silent && !ready {
        return Ok(());
    }
    let spec = node.spec.clone().unwrap_or_default();
    let before = spec.taints.unwrap_or_default();
    let mut taints: Vec<Taint> = before.iter().filter(|taint| silent || taint.key != UNREACHABLE).cloned().collect();
    for effect in ["NoSchedule", "NoExecute"].into_iter().filter(|_| silent) {
        if !taints.iter().any(|taint| taint.key == UNREACHABLE && taint.effect == effect) {
            taints.push(Taint {
                key: UNREACHABLE.to_owned(),
                effect: effect.to_owned(),
                time_added: Some(Time(Timestamp::now())),
                value: None,
            });
        }
    }
    if taints == before {
        return Ok(());
    }
    // Taints are one atomic list: only a replacement of the version just read keeps those of others.
    let mut changed = node.clone();
    changed.spec.get_or_insert_default().taints = Some(taints);
    outrun(nodes.replace(&node.name_any(), &PostParams::default(), &changed).await)
}
