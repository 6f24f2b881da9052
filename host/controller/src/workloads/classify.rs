//! Which pods are marked before the proof, which are touched only after it, and which never.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use palisade_api::keys::cluster;

/// Annotation of a pod that a kubelet runs from a file of its own.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// How a pod is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Marked before the proof: nobody replaces it until it is gone, or it holds a volume that attaches only once.
    First,
    /// Touched only after the proof: it is replaced as soon as it terminates, or lost for good.
    Second,
    /// Never touched: it belongs to the node, or it is over.
    Never,
}

/// What decides beside the pod itself.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// UIDs of pods that were marked before: whatever made them first class then, they stay so.
    pub marked: BTreeSet<String>,
    /// Claims (`namespace/name`) of `ReadWriteOnce` or `ReadWriteOncePod` volumes attached to the node.
    pub exclusive_claims: BTreeSet<String>,
    /// Jobs (`namespace/name`) that replace only failed pods.
    pub patient_jobs: BTreeSet<String>,
}

/// The class of a pod.
pub fn class(pod: &Pod, facts: &Facts) -> Class {
    let metadata = &pod.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    if metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR)) || is_over(pod) {
        return Class::Never;
    }
    if metadata.uid.as_ref().is_some_and(|uid| facts.marked.contains(uid)) {
        return Class::First;
    }
    if let Some(owner) = controller(pod) {
        match owner.kind.as_str() {
            "DaemonSet" | "Node" => return Class::Never,
            "StatefulSet" | "VirtualMachineInstance" => return Class::First,
            "Job" if facts.patient_jobs.contains(&format!("{namespace}/{}", owner.name)) => return Class::First,
            _ => {}
        }
    }
    let launches_machine = metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get("kubevirt.io"))
        .is_some_and(|role| role == "virt-launcher");
    let exclusive = claims(pod).iter().any(|claim| facts.exclusive_claims.contains(&format!("{namespace}/{claim}")));
    if launches_machine || exclusive { Class::First } else { Class::Second }
}

/// The owner that replaces the pod.
pub fn controller(pod: &Pod) -> Option<&OwnerReference> {
    pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// A pod that came to its end runs nothing.
pub fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Claims that a pod mounts, also those made for it.
pub fn claims(pod: &Pod) -> Vec<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{name}-{}", volume.name)),
            (None, None) => None,
        })
        .collect()
}

/// Whether the out-of-service taint leaves the pod alone.
pub fn tolerates_out_of_service(pod: &Pod) -> bool {
    let tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    tolerations.into_iter().any(|toleration| {
        let exists = toleration.operator.as_deref() == Some("Exists");
        let key = toleration.key.as_deref().unwrap_or_default();
        let value = toleration.value.as_deref().unwrap_or_default();
        let effect = toleration.effect.as_deref().unwrap_or_default();
        let key_fits = if key.is_empty() { exists } else { key == cluster::OUT_OF_SERVICE_TAINT };
        key_fits
            && (exists || value == cluster::OUT_OF_SERVICE_VALUE)
            && (effect.is_empty() || effect == "NoExecute")
            && toleration.toleration_seconds.is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "every caller makes the value for it")]
    fn pod(owner: Option<(&str, &str)>, extra: serde_json::Value) -> Pod {
        let owners = owner.map(
            |(kind, name)| json!([{ "apiVersion": "v1", "kind": kind, "name": name, "uid": "u", "controller": true }]),
        );
        let mut value = json!({ "metadata": { "namespace": "ns", "name": "p", "ownerReferences": owners }, "spec": { "containers": [] } });
        json_patch::merge(&mut value, &extra);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn pods_whose_controller_waits_are_marked_early() {
        let facts = Facts { patient_jobs: ["ns/patient".to_owned()].into(), ..Facts::default() };
        for owner in [("StatefulSet", "db"), ("VirtualMachineInstance", "vm"), ("Job", "patient")] {
            assert_eq!(class(&pod(Some(owner), json!({})), &facts), Class::First, "{owner:?}");
        }
        let launcher = pod(None, json!({ "metadata": { "labels": { "kubevirt.io": "virt-launcher" } } }));
        assert_eq!(class(&launcher, &facts), Class::First);
    }

    #[test]
    fn line_17_replica_sets_and_bare_pods_wait_for_the_proof() {
        let facts = Facts::default();
        for owner in [Some(("ReplicaSet", "web")), Some(("Job", "eager")), None] {
            assert_eq!(class(&pod(owner, json!({})), &facts), Class::Second, "{owner:?}");
        }
        // A volume that many nodes may write changes nothing.
        let shared =
            json!({ "spec": { "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "shared" } }] } });
        assert_eq!(class(&pod(Some(("ReplicaSet", "web")), shared), &facts), Class::Second);
    }

    #[test]
    fn a_volume_that_attaches_once_makes_any_pod_first_class() {
        let facts =
            Facts { exclusive_claims: ["ns/data".to_owned(), "ns/p-scratch".to_owned()].into(), ..Facts::default() };
        let claim =
            json!({ "spec": { "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "data" } }] } });
        assert_eq!(class(&pod(Some(("ReplicaSet", "web")), claim), &facts), Class::First);
        let own = json!({ "spec": { "volumes": [{ "name": "scratch", "ephemeral": {} }] } });
        assert_eq!(class(&pod(None, own), &facts), Class::First);
    }

    #[test]
    fn what_was_marked_stays_first_class_until_it_is_over() {
        let facts = Facts { marked: ["u1".to_owned()].into(), ..Facts::default() };
        let marked = |extra: serde_json::Value| {
            let mut value = json!({ "metadata": { "uid": "u1" } });
            json_patch::merge(&mut value, &extra);
            class(&pod(Some(("ReplicaSet", "web")), value), &facts)
        };
        assert_eq!(marked(json!({})), Class::First);
        assert_eq!(marked(json!({ "status": { "phase": "Failed" } })), Class::Never);
        assert_eq!(marked(json!({ "metadata": { "uid": "u2" } })), Class::Second);
    }

    #[test]
    fn daemon_mirror_and_finished_pods_are_never_touched() {
        let facts = Facts::default();
        assert_eq!(class(&pod(Some(("DaemonSet", "agent")), json!({})), &facts), Class::Never);
        let mirror = json!({ "metadata": { "annotations": { MIRROR: "x" } } });
        assert_eq!(class(&pod(None, mirror), &facts), Class::Never);
        let over = json!({ "status": { "phase": "Succeeded" } });
        assert_eq!(class(&pod(Some(("StatefulSet", "db")), over), &facts), Class::Never);
    }

    #[test]
    fn tolerations_of_the_out_of_service_taint() {
        let with = |toleration: serde_json::Value| pod(None, json!({ "spec": { "tolerations": [toleration] } }));
        assert!(tolerates_out_of_service(&with(json!({ "operator": "Exists" }))));
        assert!(tolerates_out_of_service(&with(
            json!({ "key": "node.kubernetes.io/out-of-service", "operator": "Exists", "effect": "NoExecute" })
        )));
        assert!(!tolerates_out_of_service(&with(
            json!({ "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute" })
        )));
        assert!(!tolerates_out_of_service(&with(json!({ "operator": "Exists", "tolerationSeconds": 300 }))));
    }
}
