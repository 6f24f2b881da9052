//! Giving the workloads of a proven-dead boot free.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::{Client, Resource, ResourceExt};
use palisade_core::fencing::proof::Proof;
use palisade_core::fencing::record::LeaseView;
use palisade_core::time::Mono;
use palisade_runtime::ReleaseMethod;

use super::inventory;
use crate::clock;
use crate::error::Error;
use crate::fence::lease;
use crate::fence::read::{boot_of, is_ready};
use crate::taints::{self, Edit};

/// So long a consistent read stands behind deletions; then another one is made.
const FRESH: Duration = Duration::from_secs(1);

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

/// Stands before every object that a release takes away.
pub struct Guard<'a, L> {
    client: &'a Client,
    namespace: &'a str,
    proof: &'a Proof,
    /// Whether the session still holds the proof.
    live: L,
    /// When the newest consistent read began.
    checked: Option<Mono>,
}

impl<'a, L: Fn() -> bool> Guard<'a, L> {
    /// For releases by one proof.
    pub fn new(client: &'a Client, namespace: &'a str, proof: &'a Proof, live: L) -> Self {
        Self { client, namespace, proof, live, checked: None }
    }

    /// Whether one more object may be taken away: nothing spoke against the proof so far, and the last consistent read
    /// was made just now by our own clock, however long this process was held up.
    async fn allows(&mut self) -> Result<Result<(), String>, Error> {
        if !self.is_fresh() {
            let begun = clock::now();
            if let Err(why) = still_holds(self.client, self.namespace, self.proof).await? {
                return Ok(Err(why));
            }
            self.checked = Some(begun);
            if !self.is_fresh() {
                return Ok(Err(format!("the consistent read took longer than {FRESH:?}; it is made again")));
            }
        }
        Ok(if (self.live)() { Ok(()) } else { Err("the proof was withdrawn meanwhile".to_owned()) })
    }

    fn is_fresh(&self) -> bool {
        self.checked.is_some_and(|checked| clock::now().since(checked) <= FRESH)
    }
}

/// Releases by the given method. Every decision rests on a consistent read made for it; every deletion names the UID and
/// the version of the object it means.
pub async fn release<L: Fn() -> bool>(
    mut guard: Guard<'_, L>,
    marked: &BTreeSet<String>,
    how: ReleaseMethod,
) -> Result<Released, Error> {
    let (client, proof) = (guard.client, guard.proof);
    if !proof.kind.forces() {
        // P1: that boot's kubelet confirms the marked pods.
        return Ok(Released::Done { pods: 0, attachments: 0, tainted: None });
    }
    if let Err(why) = guard.allows().await? {
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
    delete_all(guard, marked, tainted).await
}

async fn delete_all<L: Fn() -> bool>(
    mut guard: Guard<'_, L>,
    marked: &BTreeSet<String>,
    tainted: Option<String>,
) -> Result<Released, Error> {
    let client = guard.client;
    let left = inventory::read(client, &guard.proof.node).await?;
    // The list was read after the last check: check again, on what is true now.
    guard.checked = None;
    let how = Some(ReleaseMethod::ResourceDeletion);
    let (mut deleted, mut written_since) = (0, false);
    for pod in left.to_release(marked, how) {
        if let Err(why) = guard.allows().await? {
            return Ok(Released::Stopped(why));
        }
        let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        match delete(&api, pod, Some(0)).await? {
            Deletion::Accepted => deleted += 1,
            Deletion::Gone => {}
            Deletion::WrittenSince => written_since = true,
        }
    }
    let mut detached = 0;
    let api: Api<VolumeAttachment> = Api::all(client.clone());
    // While a pod is there, attach/detach would attach its volumes again: they wait for the pass that takes it away.
    let attachments = left.attachments_to_release(marked, how).filter(|_| !written_since);
    for attachment in attachments.filter(|attachment| attachment.metadata.deletion_timestamp.is_none()) {
        if let Err(why) = guard.allows().await? {
            return Ok(Released::Stopped(why));
        }
        detached += usize::from(delete(&api, attachment, None).await? == Deletion::Accepted);
    }
    Ok(Released::Done { pods: deleted, attachments: detached, tainted })
}

/// What became of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deletion {
    /// The API server took it.
    Accepted,
    /// There was no such object any more.
    Gone,
    /// It is not the object, or not its version, that was read: the next pass looks again.
    WrittenSince,
}

/// Deletes the very version that was read: another object of that name stays, and so does one that somebody has
/// written since, as the kubelet of a new boot does with the pods it starts. What is left is seen in the next pass.
async fn delete<K>(api: &Api<K>, object: &K, grace: Option<u32>) -> Result<Deletion, Error>
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let params = DeleteParams {
        grace_period_seconds: grace,
        preconditions: Some(Preconditions { uid: object.uid(), resource_version: object.resource_version() }),
        ..DeleteParams::default()
    };
    match api.delete(&object.name_any(), &params).await {
        Ok(_) => Ok(Deletion::Accepted),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Deletion::Gone),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Deletion::WrittenSince),
        Err(error) => Err(error.into()),
    }
}

/// The consistent read made for a decision: the same lease still carries this very intent, and no other boot is named.
async fn still_holds(client: &Client, namespace: &str, proof: &Proof) -> Result<Result<(), String>, Error> {
    let (nodes, leases) = (Api::<Node>::all(client.clone()), lease::api(client, namespace));
    let (node, lease) = tokio::try_join!(nodes.get_opt(&proof.node), leases.get_opt(&proof.node))?;
    let Some(node) = node else {
        return Ok(Err(format!("node {} does not exist any more", proof.node)));
    };
    if let Err(why) = dead(&node, proof) {
        return Ok(Err(why));
    }
    let Some(lease) = lease else {
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
mod tests;
