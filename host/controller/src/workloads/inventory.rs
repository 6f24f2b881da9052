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
    /// Volume attachments of the node, where they matter.
    pub attachments: Vec<VolumeAttachment>,
    /// The attached volume behind each claim (`namespace/name`) of the pods whose claims matter.
    pub volumes: BTreeMap<String, String>,
}

/// What an inventory is made for. That decides what is asked of the API server beside the pods: the attachments are a list
/// of the whole cluster, and every claim is a request of its own.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// To find the pods that are to be marked.
    Marking,
    /// To see which of the marked pods (by UID) are left.
    Marked(&'a BTreeSet<String>),
    /// To see, or take away, everything that a release takes, after these pods were marked.
    Release(&'a BTreeSet<String>),
}

impl Purpose<'_> {
    fn marked(self) -> BTreeSet<String> {
        match self {
            Self::Marking => BTreeSet::new(),
            Self::Marked(marked) | Self::Release(marked) => marked.clone(),
        }
    }

    /// Whether the claims of this pod decide anything: its class, or which volumes stay because the pod does.
    fn asks_claims(self, pod: &Pod, facts: &Facts) -> bool {
        let decides = match self {
            Self::Marking => classify::class(pod, facts) == Class::Second,
            Self::Marked(_) => false,
            // One that tolerates the out-of-service taint may stay although it was marked.
            Self::Release(marked) => {
                let goes = marked.contains(&uid(pod)) && !classify::tolerates_out_of_service(pod);
                !classify::is_over(pod) && !goes
            }
        };
        decides && !classify::claims(pod).is_empty()
    }
}

/// Reads what runs on a node. Lists name no resource version: they are as fresh as the API server's store.
pub async fn read(client: &Client, node: &str, purpose: Purpose<'_>) -> Result<Inventory, Error> {
    let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = Api::<Pod>::all(client.clone()).list(&on_node).await?.items;
    let mut facts = Facts { marked: purpose.marked(), ..Facts::default() };
    facts.patient_jobs = patient_jobs(client, &pods, &facts).await?;
    let asking: Vec<&Pod> = pods.iter().filter(|pod| purpose.asks_claims(pod, &facts)).collect();
    let attachments = if matches!(purpose, Purpose::Release(_)) || !asking.is_empty() {
        attached_to(client, node).await?
    } else {
        Vec::new()
    };
    let (exclusive, volumes) = claims(client, &asking, &attachments).await?;
    facts.exclusive_claims = exclusive;
    let pods = pods
        .into_iter()
        .map(|pod| {
            let class = classify::class(&pod, &facts);
            (pod, class)
        })
        .collect();
    Ok(Inventory { pods, attachments, volumes })
}

async fn attached_to(client: &Client, node: &str) -> Result<Vec<VolumeAttachment>, Error> {
    let all = Api::<VolumeAttachment>::all(client.clone()).list(&ListParams::default()).await?.items;
    Ok(all.into_iter().filter(|attachment| attachment.spec.node_name == node).collect())
}

/// The exclusive ones of the claims of these pods, and the attached volume behind each claim.
async fn claims(
    client: &Client,
    pods: &[&Pod],
    attachments: &[VolumeAttachment],
) -> Result<(BTreeSet<String>, BTreeMap<String, String>), Error> {
    let attached: BTreeSet<&str> =
        attachments.iter().filter_map(|attachment| attachment.spec.source.persistent_volume_name.as_deref()).collect();
    let (mut exclusive, mut volumes) = (BTreeSet::new(), BTreeMap::new());
    if attached.is_empty() {
        return Ok((exclusive, volumes));
    }
    let named = |pod: &&Pod| {
        let namespace = pod.namespace().unwrap_or_default();
        classify::claims(pod).into_iter().map(move |claim| (namespace.clone(), claim))
    };
    for (namespace, claim) in pods.iter().flat_map(named).collect::<BTreeSet<_>>() {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
        let Some(spec) = api.get_opt(&claim).await?.and_then(|claim| claim.spec) else { continue };
        let once = spec.access_modes.iter().flatten().any(|mode| mode == "ReadWriteOnce" || mode == "ReadWriteOncePod");
        let Some(volume) = spec.volume_name.filter(|volume| attached.contains(volume.as_str())) else { continue };
        let claim = format!("{namespace}/{claim}");
        if once {
            exclusive.insert(claim.clone());
        }
        volumes.insert(claim, volume);
    }
    Ok((exclusive, volumes))
}

/// The jobs (`namespace/name`) of these pods that replace only failed ones, where that decides the class.
async fn patient_jobs(client: &Client, pods: &[Pod], facts: &Facts) -> Result<BTreeSet<String>, Error> {
    let mut jobs = BTreeSet::new();
    for pod in pods.iter().filter(|pod| classify::class(pod, facts) == Class::Second) {
        if let Some(owner) = classify::controller(pod).filter(|owner| owner.kind == "Job") {
            jobs.insert((pod.namespace().unwrap_or_default(), owner.name.clone()));
        }
    }
    let mut patient = BTreeSet::new();
    for (namespace, name) in jobs {
        let api: Api<Job> = Api::namespaced(client.clone(), &namespace);
        let policy = api.get_opt(&name).await?.and_then(|job| job.spec).and_then(|spec| spec.pod_replacement_policy);
        if policy.as_deref() == Some("Failed") {
            patient.insert(format!("{namespace}/{name}"));
        }
    }
    Ok(patient)
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
