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

use super::inventory::{self, Inventory, Purpose};
use crate::clock;
use crate::error::Error;
use crate::fence::lease;
use crate::fence::read::{boot_of, is_ready};
use crate::taints::{self, Edit};

/// So long a consistent read stands behind deletions; then another one is made.
const FRESH: Duration = Duration::from_secs(1);
/// Deletions on their way at once.
const TOGETHER: usize = 8;
/// The eviction that our own taint starts writes to each pod once. Those that it wrote to since they were listed are read
/// again this often, with a little time for it in between, before the next pass has to.
const ATTEMPTS: u32 = 4;
/// That time, more with every attempt.
const EVICTION: Duration = Duration::from_millis(50);
/// The same after the taint: a deletion that comes too early costs a request, and another list.
const AFTER_TAINT: Duration = Duration::from_millis(100);

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
    /// The Node as that read had it, until somebody takes it.
    node: Option<Node>,
}

impl<'a, L: Fn() -> bool> Guard<'a, L> {
    /// For releases by one proof.
    pub fn new(client: &'a Client, namespace: &'a str, proof: &'a Proof, live: L) -> Self {
        Self { client, namespace, proof, live, checked: None, node: None }
    }

    /// Whether one more object may be taken away: nothing spoke against the proof so far, and the last consistent read
    /// was made just now by our own clock, however long this process was held up.
    async fn allows(&mut self) -> Result<Result<(), String>, Error> {
        if !self.is_fresh() {
            let begun = clock::now();
            match still_holds(self.client, self.namespace, self.proof).await? {
                Ok(node) => self.node = Some(node),
                Err(why) => return Ok(Err(why)),
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
    let tainted = match taints::add_to(client, &proof.node, guard.node.take(), &taint, |node| dead(node, proof)).await?
    {
        Edit::Changed => Some(taints::text(&taint)),
        Edit::Unchanged => None,
        Edit::Refused(why) => return Ok(Released::Stopped(why)),
        Edit::NodeGone => return Ok(Released::Stopped(format!("node {} does not exist any more", proof.node))),
    };
    delete_all(guard, marked, how, tainted).await
}

/// Takes away what the method takes. With the out-of-service taint that is what was marked: its garbage collection would
/// come within 20 s, and nothing of it runs elsewhere before. The pods of the second class are replaced as soon as they
/// are evicted, and volumes without pod are detached at once: those are left to Kubernetes.
async fn delete_all<L: Fn() -> bool>(
    mut guard: Guard<'_, L>,
    marked: &BTreeSet<String>,
    how: ReleaseMethod,
    tainted: Option<String>,
) -> Result<Released, Error> {
    let client = guard.client;
    let all = how == ReleaseMethod::ResourceDeletion;
    let purpose = if all { Purpose::Release(marked) } else { Purpose::Marked(marked) };
    let mut deleted = 0;
    if tainted.is_some() {
        tokio::time::sleep(AFTER_TAINT).await;
    }
    for attempt in 1.. {
        let left = inventory::read(client, &guard.proof.node, purpose).await?;
        // The list was read after the last check: check again, on what is true now.
        guard.checked = None;
        let pods: Vec<&Pod> = left
            .to_release(marked, Some(how))
            .filter(|pod| all || marked.contains(&inventory::uid(pod)) && !inventory::is_held(pod))
            .collect();
        let round = delete_pods(&mut guard, &pods).await?;
        deleted += round.accepted;
        if let Some(why) = round.stopped {
            return Ok(Released::Stopped(why));
        }
        if round.written_since && attempt < ATTEMPTS {
            tokio::time::sleep(EVICTION * attempt).await;
            continue;
        }
        // While a pod is there, attach/detach would attach its volumes again: they wait for the pass that takes it away.
        let detached = if all && !round.written_since { detach_all(&mut guard, &left, marked).await? } else { Ok(0) };
        return Ok(match detached {
            Ok(attachments) => Released::Done { pods: deleted, attachments, tainted },
            Err(why) => Released::Stopped(why),
        });
    }
    Ok(Released::Done { pods: deleted, attachments: 0, tainted })
}

/// What deleting the pods of one list came to.
#[derive(Debug, Default)]
struct Round {
    accepted: usize,
    written_since: bool,
    /// Why it ended before the last of them.
    stopped: Option<String>,
}

async fn delete_pods<L: Fn() -> bool>(guard: &mut Guard<'_, L>, pods: &[&Pod]) -> Result<Round, Error> {
    let client = guard.client;
    let mut round = Round::default();
    for pods in pods.chunks(TOGETHER) {
        let mut allowed = Vec::with_capacity(pods.len());
        for pod in pods {
            if let Err(why) = guard.allows().await? {
                round.stopped = Some(why);
                break;
            }
            let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
            allowed.push(async move { delete(&api, *pod, Some(0)).await });
        }
        for deletion in futures::future::join_all(allowed).await {
            match deletion? {
                Deletion::Accepted => round.accepted += 1,
                Deletion::Gone => {}
                Deletion::WrittenSince => round.written_since = true,
            }
        }
        if round.stopped.is_some() {
            break;
        }
    }
    Ok(round)
}

/// How many volume attachments were taken away, or why no more may be.
async fn detach_all<L: Fn() -> bool>(
    guard: &mut Guard<'_, L>,
    left: &Inventory,
    marked: &BTreeSet<String>,
) -> Result<Result<usize, String>, Error> {
    let api: Api<VolumeAttachment> = Api::all(guard.client.clone());
    let attachments = left.attachments_to_release(marked, Some(ReleaseMethod::ResourceDeletion));
    let mut detached = 0;
    for attachment in attachments.filter(|attachment| attachment.metadata.deletion_timestamp.is_none()) {
        if let Err(why) = guard.allows().await? {
            return Ok(Err(why));
        }
        detached += usize::from(delete(&api, attachment, None).await? == Deletion::Accepted);
    }
    Ok(Ok(detached))
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
async fn still_holds(client: &Client, namespace: &str, proof: &Proof) -> Result<Result<Node, String>, Error> {
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
    Ok(Ok(node))
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
