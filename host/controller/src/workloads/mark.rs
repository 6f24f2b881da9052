//! Step 1: what makes sure that nothing of the first class runs elsewhere before the proof, and that no later boot of
//! the node starts it again.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, Preconditions};
use kube::{Client, ResourceExt};
use palisade_api::progress::MarkedPod;

use super::classify::Class;
use super::inventory::{self, Purpose};
use crate::error::Error;
use crate::taints::{self, Edit};

/// Deletions on their way at once.
const TOGETHER: usize = 8;

/// Sets the own `NoSchedule` taint, then asks for a graceful deletion of the pods of the first class. Idempotent; returns
/// only when everything is stored: the pods that have a deletion timestamp now. The node as it was read a moment ago
/// counts only without the taint: then the write of it tests that very version.
pub async fn mark(client: &Client, node: &str, read: Option<Node>) -> Result<Vec<MarkedPod>, Error> {
    let own = taints::own();
    let read = read.filter(|node| !taints::has(node, &own));
    match taints::add_to(client, node, read, &own, |_| Ok(())).await? {
        Edit::Changed | Edit::Unchanged => {}
        Edit::Refused(why) => return Err(Error::Blocked(why)),
        Edit::NodeGone => return Err(Error::Blocked(format!("node {node} does not exist"))),
    }
    let mut marked = Vec::new();
    // The taint is stored before the list is read: a pod that tolerates it may still be bound later, but then it is not
    // among the marked and no release touches it.
    let pods = inventory::read(client, node, Purpose::Marking).await?.pods;
    let first: Vec<Pod> = pods.into_iter().filter(|(_, class)| *class == Class::First).map(|(pod, _)| pod).collect();
    for pods in first.chunks(TOGETHER) {
        let asked = pods.iter().map(|pod| async {
            let there = pod.metadata.deletion_timestamp.is_some() || delete(client, pod).await?;
            Ok::<_, Error>(there.then(|| marked_pod(pod)))
        });
        marked.extend(futures::future::try_join_all(asked).await?.into_iter().flatten());
    }
    Ok(marked)
}

fn marked_pod(pod: &Pod) -> MarkedPod {
    MarkedPod { namespace: pod.namespace().unwrap_or_default(), name: pod.name_any(), uid: inventory::uid(pod) }
}

/// Whether the very pod that was read has a deletion timestamp now.
async fn delete(client: &Client, pod: &Pod) -> Result<bool, Error> {
    let namespace = pod.namespace().unwrap_or_default();
    let grace = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
    let params = DeleteParams {
        // Never 0: that deletes at once, and the pod would be replaced before the proof.
        grace_period_seconds: Some(u32::try_from(grace.max(1)).unwrap_or(30)),
        preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    match Api::<Pod>::namespaced(client.clone(), &namespace).delete(&pod.name_any(), &params).await {
        Ok(_) => Ok(true),
        // Gone, or another pod of that name: nothing of this one is left to mark.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
