//! Attach/detach for `ReadWriteOnce` volumes, and the attacher of the lab's CSI driver.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::pods::OUT_OF_SERVICE;
use super::{every, outrun};
use crate::lab::workload::{self, CSI_DRIVER};

/// Plays the external attacher of the driver, on both back ends: whatever is to be attached is. Runs until aborted.
pub async fn attacher(client: Client) {
    every("attacher", || async {
        let api: Api<VolumeAttachment> = Api::all(client.clone());
        for attachment in api.list(&ListParams::default()).await?.items {
            let attached = attachment.status.as_ref().is_some_and(|status| status.attached);
            if attachment.spec.attacher == CSI_DRIVER && !attached && attachment.metadata.deletion_timestamp.is_none() {
                let done = Patch::Merge(json!({ "status": { "attached": true } }));
                outrun(api.patch_status(&attachment.name_any(), &PatchParams::default(), &done).await)?;
            }
        }
        Ok(())
    })
    .await;
}

/// One pass: attaches what bound pods need unless it is attached elsewhere, detaches what no pod needs any more.
///
/// A volume leaves a node only if its kubelet says that it is unmounted, or the node is out of service: as with the
/// real controller when forced detach by timeout is off.
pub async fn attach_and_detach(client: &Client) -> kube::Result<()> {
    let attachments: Api<VolumeAttachment> = Api::all(client.clone());
    let present = attachments.list(&ListParams::default()).await?.items;
    let claims: Vec<PersistentVolumeClaim> = Api::all(client.clone()).list(&ListParams::default()).await?.items;
    let volume_of: BTreeMap<(String, String), String> = claims
        .into_iter()
        .filter_map(|claim| {
            let volume = claim.spec.as_ref()?.volume_name.clone()?;
            Some(((claim.namespace()?, claim.name_any()), volume))
        })
        .collect();
    let pods: Vec<Pod> = Api::all(client.clone()).list(&ListParams::default()).await?.items;
    let mut needed: BTreeSet<(String, String)> = BTreeSet::new();
    for pod in &pods {
        let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) else { continue };
        let namespace = pod.namespace().unwrap_or_default();
        let volumes = workload::claims(pod).into_iter().filter_map(|claim| volume_of.get(&(namespace.clone(), claim)));
        needed.extend(volumes.map(|volume| (volume.clone(), node.clone())));
    }
    let place = |attachment: &VolumeAttachment| {
        let volume = attachment.spec.source.persistent_volume_name.clone().unwrap_or_default();
        (volume, attachment.spec.node_name.clone())
    };
    let nodes: Vec<Node> = Api::all(client.clone()).list(&ListParams::default()).await?.items;
    for attachment in present.iter().filter(|attachment| !needed.contains(&place(attachment))) {
        let (volume, node) = place(attachment);
        if nodes.iter().find(|found| found.name_any() == node).is_none_or(|node| lets_go(node, &volume)) {
            outrun(attachments.delete(&attachment.name_any(), &DeleteParams::default()).await)?;
        }
    }
    for (volume, node) in needed {
        if present.iter().any(|attachment| place(attachment).0 == volume) {
            continue;
        }
        let object = serde_json::from_value(json!({
            "metadata": { "name": format!("csi-{volume}-{node}") },
            "spec": { "attacher": CSI_DRIVER, "nodeName": node, "source": { "persistentVolumeName": volume } },
        }))
        .map_err(kube::Error::SerdeError)?;
        outrun(attachments.create(&PostParams::default(), &object).await)?;
    }
    Ok(())
}

fn lets_go(node: &Node, volume: &str) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let in_use = node.status.as_ref().and_then(|status| status.volumes_in_use.as_deref()).unwrap_or_default();
    taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
        || !in_use.contains(&format!("kubernetes.io/csi/{CSI_DRIVER}^{volume}"))
}
