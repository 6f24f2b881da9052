//! Giving the workloads of a proven-dead boot free.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::{Client, Resource, ResourceExt};
use palisade_core::fencing::proof::Proof;
use palisade_core::fencing::record::LeaseView;
use palisade_runtime::ReleaseMethod;

use super::inventory;
use crate::error::Error;
use crate::fence::lease;
use crate::fence::read::{boot_of, is_ready};
use crate::taints::{self, Edit};

/// So many objects are deleted on the strength of one consistent read; then another one is made.
const BATCH: usize = 50;

/// What a release came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// Everything that this pass could do is done; what is left vanishes by itself or is seen in the next pass.
    Done {
        /// Pods deleted by this pass.
        pods: usize,
        /// Volume attachments deleted by this pass.
        attachments: usize,
        /// Taint that this pass set.
        tainted: Option<String>,
    },
    /// Nothing (more) may be released.
    Stopped(String),
}

/// Releases by the given method. Every decision rests on a consistent read made for it; every deletion names the UID of
/// the object it means.
pub async fn release(
    client: &Client,
    namespace: &str,
    proof: &Proof,
    marked: &BTreeSet<String>,
    how: ReleaseMethod,
) -> Result<Released, Error> {
    if !proof.kind.forces() {
        // P1: that boot's kubelet confirms the marked pods.
        return Ok(Released::Done { pods: 0, attachments: 0, tainted: None });
    }
    if let Err(why) = still_holds(client, namespace, proof).await? {
        return Ok(Released::Stopped(why));
    }
    let taint = match how {
        ReleaseMethod::ResourceDeletion => taints::released(),
        ReleaseMethod::OutOfServiceTaint => taints::out_of_service(),
    };
    // Both taints work on the whole node, whatever boot it runs: only on exactly the version of the Node just read.
    let tainted = match taints::add(client, &proof.node, &taint, |node| dead(node, proof)).await? {
        Edit::Changed => Some(taints::text(&taint)),
        Edit::Unchanged => None,
        Edit::Refused(why) => return Ok(Released::Stopped(why)),
        Edit::NodeGone => return Ok(Released::Stopped(format!("node {} does not exist any more", proof.node))),
    };
    if how == ReleaseMethod::OutOfServiceTaint {
        return Ok(Released::Done { pods: 0, attachments: 0, tainted });
    }
    delete_all(client, namespace, proof, marked, tainted).await
}

async fn delete_all(
    client: &Client,
    namespace: &str,
    proof: &Proof,
    marked: &BTreeSet<String>,
    tainted: Option<String>,
) -> Result<Released, Error> {
    let left = inventory::read(client, &proof.node).await?;
    let pods: Vec<&Pod> = left.to_release(marked, Some(ReleaseMethod::ResourceDeletion)).collect();
    let mut deleted = 0;
    for batch in pods.chunks(BATCH) {
        // The list above was read after the last check: check again, on what is true now.
        if let Err(why) = still_holds(client, namespace, proof).await? {
            return Ok(Released::Stopped(why));
        }
        for pod in batch {
            let api = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
            deleted += usize::from(delete::<Pod>(&api, &pod.name_any(), pod.uid(), Some(0)).await?);
        }
    }
    let mut detached = 0;
    let api: Api<VolumeAttachment> = Api::all(client.clone());
    for batch in left.attachments.chunks(BATCH) {
        if let Err(why) = still_holds(client, namespace, proof).await? {
            return Ok(Released::Stopped(why));
        }
        for attachment in batch.iter().filter(|attachment| attachment.metadata.deletion_timestamp.is_none()) {
            detached += usize::from(delete(&api, &attachment.name_any(), attachment.uid(), None).await?);
        }
    }
    Ok(Released::Done { pods: deleted, attachments: detached, tainted })
}

/// Deletes the very object that was read; another one of that name stays.
async fn delete<K>(api: &Api<K>, name: &str, uid: Option<String>, grace: Option<u32>) -> Result<bool, Error>
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let params = DeleteParams {
        grace_period_seconds: grace,
        preconditions: Some(Preconditions { uid, resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(name, &params).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The consistent read made for a decision: the same lease still carries this very intent, and no other boot is named.
pub async fn still_holds(client: &Client, namespace: &str, proof: &Proof) -> Result<Result<(), String>, Error> {
    let Some(node) = Api::<Node>::all(client.clone()).get_opt(&proof.node).await? else {
        return Ok(Err(format!("node {} does not exist any more", proof.node)));
    };
    if let Some(boot) = boot_of(&node)
        && boot != proof.boot
    {
        return Ok(Err(format!("node {} is back with boot {boot}: nothing is forced", proof.node)));
    }
    let Some(lease) = lease::api(client, namespace).get_opt(&proof.node).await? else {
        return Ok(Err(format!("the agent lease of {} does not exist any more", proof.node)));
    };
    if lease.uid().as_deref() != Some(proof.lease_uid.as_str()) {
        return Ok(Err(format!("the agent lease of {} was made again", proof.node)));
    }
    let view = match LeaseView::from_annotations(lease.annotations()) {
        Ok(view) => view,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if view.intent.as_ref().is_none_or(|intent| intent.uid != proof.intent_uid) {
        return Ok(Err(format!("the agent lease of {} no longer carries intent {}", proof.node, proof.intent_uid)));
    }
    // Also a record whose signature does not verify stops a release: it can only prevent, never permit.
    if let Some(record) = view.record
        && record.boot_id != proof.boot
    {
        return Ok(Err(format!("the agent lease of {} names boot {}: nothing is forced", proof.node, record.boot_id)));
    }
    Ok(Ok(()))
}

/// Whether this version of the Node is the dead boot's.
fn dead(node: &Node, proof: &Proof) -> Result<(), String> {
    match boot_of(node) {
        Some(boot) if boot != proof.boot => {
            return Err(format!("node {} is back with boot {boot}: nothing is forced", proof.node));
        }
        None => return Err(format!("node {} reports no boot id", proof.node)),
        Some(_) => {}
    }
    if is_ready(node) {
        return Err(format!("node {} is reported ready with boot {}", proof.node, proof.boot));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(boot: &str, ready: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": { "name": "n1" },
            "status": {
                "nodeInfo": { "architecture": "", "bootID": boot, "containerRuntimeVersion": "", "kernelVersion": "",
                    "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "operatingSystem": "",
                    "osImage": "", "systemUUID": "" },
                "conditions": [{ "type": "Ready", "status": ready }]
            }
        }))
        .unwrap()
    }

    #[test]
    fn line_16_a_node_wide_taint_needs_the_dead_boot_and_a_node_that_is_not_ready() {
        let proof = crate::fence::testing::proof("n1", "b1");
        assert!(dead(&node("b1", "Unknown"), &proof).is_ok());
        assert!(dead(&node("b1", "False"), &proof).is_ok());
        assert!(dead(&node("b1", "True"), &proof).is_err());
        assert!(dead(&node("b2", "Unknown"), &proof).is_err());
        assert!(dead(&node("", "Unknown"), &proof).is_err());
    }
}
