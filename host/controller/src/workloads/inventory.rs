//! What runs, or is held, on a node: read from the API, each time anew.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use palisade_api::progress::MarkedPod;
use palisade_runtime::ReleaseMethod;

use super::classify::{self, Class, Facts};
use crate::error::Error;

/// Pods and volume attachments of one node.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Pods bound to the node, with their class.
    pub pods: Vec<(Pod, Class)>,
    /// Volume attachments of the node.
    pub attachments: Vec<VolumeAttachment>,
    /// The attached volume behind each claim (`namespace/name`) of those pods.
    pub volumes: BTreeMap<String, String>,
}

/// Reads everything about a node. Lists name no resource version: they are as fresh as the API server's store.
pub async fn read(client: &Client, node: &str) -> Result<Inventory, Error> {
    let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = Api::<Pod>::all(client.clone()).list(&on_node).await?.items;
    let attachments: Vec<VolumeAttachment> = Api::<VolumeAttachment>::all(client.clone())
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .filter(|attachment| attachment.spec.node_name == node)
        .collect();
    let (facts, volumes) = facts(client, &pods, &attachments).await?;
    let pods = pods
        .into_iter()
        .map(|pod| {
            let class = classify::class(&pod, &facts);
            (pod, class)
        })
        .collect();
    Ok(Inventory { pods, attachments, volumes })
}

/// What classes depend on, and the attached volume behind each claim.
async fn facts(
    client: &Client,
    pods: &[Pod],
    attachments: &[VolumeAttachment],
) -> Result<(Facts, BTreeMap<String, String>), Error> {
    let attached: BTreeSet<&str> =
        attachments.iter().filter_map(|attachment| attachment.spec.source.persistent_volume_name.as_deref()).collect();
    let mut facts = Facts::default();
    let mut volumes = BTreeMap::new();
    let mut jobs = BTreeSet::new();
    for pod in pods {
        let namespace = pod.namespace().unwrap_or_default();
        if let Some(owner) = classify::controller(pod).filter(|owner| owner.kind == "Job") {
            jobs.insert((namespace.clone(), owner.name.clone()));
        }
        if attached.is_empty() {
            continue;
        }
        for claim in classify::claims(pod) {
            let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
            let Some(spec) = api.get_opt(&claim).await?.and_then(|claim| claim.spec) else { continue };
            let exclusive =
                spec.access_modes.iter().flatten().any(|mode| mode == "ReadWriteOnce" || mode == "ReadWriteOncePod");
            let Some(volume) = spec.volume_name.filter(|volume| attached.contains(volume.as_str())) else { continue };
            let claim = format!("{namespace}/{claim}");
            if exclusive {
                facts.exclusive_claims.insert(claim.clone());
            }
            volumes.insert(claim, volume);
        }
    }
    for (namespace, name) in jobs {
        let api: Api<Job> = Api::namespaced(client.clone(), &namespace);
        let policy = api.get_opt(&name).await?.and_then(|job| job.spec).and_then(|spec| spec.pod_replacement_policy);
        if policy.as_deref() == Some("Failed") {
            facts.patient_jobs.insert(format!("{namespace}/{name}"));
        }
    }
    Ok((facts, volumes))
}

impl Inventory {
    /// Pods that a release has to take away. First class pods count only if they were marked before the proof: one
    /// that was bound to the node later may be started by its next boot.
    pub fn to_release<'a>(
        &'a self,
        marked: &'a BTreeSet<String>,
        how: Option<ReleaseMethod>,
    ) -> impl Iterator<Item = &'a Pod> {
        self.pods
            .iter()
            .filter(move |(pod, class)| match class {
                Class::First => marked.contains(&uid(pod)),
                Class::Second => true,
                Class::Never => false,
            })
            .map(|(pod, _)| pod)
            .filter(move |pod| {
                how != Some(ReleaseMethod::OutOfServiceTaint) || !classify::tolerates_out_of_service(pod)
            })
    }

    /// Volume attachments that a release has to take away. Not those of pods that stay on the node: attach/detach would
    /// make them again at once, again and again, and a volume with an attempt under way goes nowhere else (2 minutes).
    pub fn attachments_to_release<'a>(
        &'a self,
        marked: &'a BTreeSet<String>,
        how: Option<ReleaseMethod>,
    ) -> impl Iterator<Item = &'a VolumeAttachment> {
        let going: BTreeSet<String> = self.to_release(marked, how).map(uid).collect();
        let staying = self.pods.iter().map(|(pod, _)| pod).filter(|pod| !going.contains(&uid(pod)));
        let kept: BTreeSet<&str> =
            staying.filter(|pod| !classify::is_over(pod)).flat_map(|pod| self.volumes_of(pod)).collect();
        self.attachments.iter().filter(move |attachment| {
            attachment.spec.source.persistent_volume_name.as_deref().is_none_or(|volume| !kept.contains(volume))
        })
    }

    /// Attached volumes that a pod uses.
    fn volumes_of(&self, pod: &Pod) -> impl Iterator<Item = &str> {
        let namespace = pod.namespace().unwrap_or_default();
        let claims = classify::claims(pod).into_iter();
        claims.filter_map(move |claim| self.volumes.get(&format!("{namespace}/{claim}")).map(String::as_str))
    }

    /// Marked pods that still exist.
    pub fn still_marked<'a>(&'a self, marked: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Pod> {
        self.pods.iter().map(|(pod, _)| pod).filter(move |pod| marked.contains(&uid(pod)))
    }
}

/// Whether its deletion was forced already, and only somebody's finalizer keeps it.
pub fn is_held(pod: &Pod) -> bool {
    pod.metadata.deletion_grace_period_seconds == Some(0) && !pod.finalizers().is_empty()
}

/// UID of a pod.
pub fn uid(pod: &Pod) -> String {
    pod.uid().unwrap_or_default()
}

/// UIDs of marked pods.
pub fn uids(marked: &[MarkedPod]) -> BTreeSet<String> {
    marked.iter().map(|pod| pod.uid.clone()).collect()
}
