//! The agent lease of a node: reading it, and changing our one annotation of it by compare-and-swap.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use palisade_api::keys::palisade::BARE_LEASE;
use palisade_core::fencing::prover::{WriteIntent, WriteOutcome};
use palisade_core::fencing::record::{
    AgentRecord, CERTIFICATE, FenceIntent, INTENT, LeaseView, RECORD, RECORD_SIGNATURE, encode,
};
use palisade_rpc::Trust;
use serde_json::json;

use crate::error::{Error, within};

/// Making a lease takes no longer.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

/// The leases of the agents.
pub fn api(client: &Client, namespace: &str) -> Api<Lease> {
    Api::namespaced(client.clone(), namespace)
}

/// The agent's record, if its signature verifies under its own node's certificate; else why it does not count.
pub fn verified(lease: &Lease, trust: &Trust) -> Result<AgentRecord, String> {
    let annotations = lease.annotations();
    let view = LeaseView::from_annotations(annotations).map_err(|error| error.to_string())?;
    let record = view.record.ok_or("the agent lease carries no record yet")?;
    let node = lease.name_any();
    if record.node != node {
        return Err(format!("the record in the lease of {node} names node {}", record.node));
    }
    let text = |key| annotations.get(key).map(String::as_str).unwrap_or_default();
    if text(CERTIFICATE).is_empty() {
        return Err("the agent has no certificate yet".to_owned());
    }
    trust
        .verify_record(text(CERTIFICATE), &node, text(RECORD).as_bytes(), text(RECORD_SIGNATURE))
        .map_err(|error| format!("the record of the agent does not count: {error}"))?;
    Ok(record)
}

/// Step 3: stores the intent over exactly the version that was read.
pub async fn store(client: &Client, namespace: &str, node: &str, write: &WriteIntent) -> WriteOutcome {
    match swap(client, namespace, node, &write.lease_uid, &write.lease_version, Some(&write.intent)).await {
        Ok(()) => WriteOutcome::Stored,
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => WriteOutcome::Conflict,
        Err(kube::Error::Api(status)) => WriteOutcome::Unknown { why: format!("{} ({})", status.message, status.code) },
        Err(error) => WriteOutcome::Unknown { why: error.to_string() },
    }
}

async fn swap(
    client: &Client,
    namespace: &str,
    node: &str,
    uid: &str,
    version: &str,
    intent: Option<&FenceIntent>,
) -> Result<(), kube::Error> {
    let patch = json!({
        "metadata": {
            "uid": uid,
            "resourceVersion": version,
            "annotations": { INTENT: intent.map(encode) },
        }
    });
    api(client, namespace).patch(node, &PatchParams::default(), &Patch::Merge(&patch)).await.map(|_| ())
}

/// Makes the lease of a node without agent. It names no holder and carries no record.
pub async fn make_bare(client: &Client, namespace: &str, node: &str) -> Result<(), Error> {
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(node.to_owned()),
            labels: Some([(BARE_LEASE.to_owned(), "true".to_owned())].into()),
            ..ObjectMeta::default()
        },
        ..Lease::default()
    };
    match within(LIMIT, "making the lease of a node without agent", async {
        Ok(api(client, namespace).create(&PostParams::default(), &lease).await?)
    })
    .await
    {
        // An agent was faster.
        Ok(_) | Err(Error::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes away a lease that was made for a node without agent, unless an agent, or an intent, is in it now.
pub async fn remove_bare(client: &Client, namespace: &str, node: &str) -> Result<(), Error> {
    let Some(lease) = api(client, namespace).get_opt(node).await? else { return Ok(()) };
    let made_here = lease.labels().contains_key(BARE_LEASE);
    let empty = lease.annotations().get(RECORD).is_none() && lease.annotations().get(INTENT).is_none();
    if !made_here || !empty {
        return Ok(());
    }
    let preconditions = Preconditions { uid: lease.uid(), resource_version: lease.resource_version() };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api(client, namespace).delete(node, &parameters).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What letting go of an intent came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetGo {
    /// We own none (any more).
    NotOurs,
    /// Others still hold it.
    OthersHold,
    /// We were the last owner: it is gone.
    Cleared,
}

/// Takes this owner off the intent of the node; the last one clears it. Only by compare-and-swap, over and over until
/// one succeeds.
pub async fn let_go(client: &Client, namespace: &str, node: &str, owner: &str) -> Result<LetGo, Error> {
    for _ in 0..8 {
        let Some(lease) = api(client, namespace).get_opt(node).await? else { return Ok(LetGo::NotOurs) };
        let view = match LeaseView::from_annotations(lease.annotations()) {
            Ok(view) => view,
            Err(error) => {
                return Err(Error::Blocked(format!("lease {namespace}/{node}: {error}; remove the annotation")));
            }
        };
        let Some(mut intent) = view.intent.filter(|intent| intent.owners.iter().any(|other| other == owner)) else {
            return Ok(LetGo::NotOurs);
        };
        intent.owners.retain(|other| other != owner);
        let left = (!intent.owners.is_empty()).then_some(&intent);
        let (uid, version) = (lease.uid().unwrap_or_default(), lease.resource_version().unwrap_or_default());
        match swap(client, namespace, node, &uid, &version, left).await {
            Ok(()) => return Ok(if left.is_some() { LetGo::OthersHold } else { LetGo::Cleared }),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Busy(format!("the agent lease of {node} changes too fast to clear the intent")))
}
