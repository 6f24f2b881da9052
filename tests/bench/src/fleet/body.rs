//! What kubelets write.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Spec;
use crate::install::FLEET_LABEL;

/// A new node.
pub(super) fn node(spec: &Spec, index: usize, name: &str) -> Value {
    let mut labels = json!({
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        // Kubelets set these too; otherwise the controller manager adds them, one node after the other.
        "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64",
        "node-role.kubernetes.io/worker": "", FLEET_LABEL: spec.name,
        "topology.kubernetes.io/zone": format!("zone-{}", index % spec.zones.max(1)),
    });
    for (key, value) in &spec.labels {
        labels[key] = value.clone().into();
    }
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels } })
}

/// A new lease of a node.
pub(super) fn lease(name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": name, "namespace": "kube-node-lease",
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": name, "uid": uid }] },
        "spec": { "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": micros(Timestamp::now()) },
    })
}

/// A heartbeat.
pub(super) fn renewal() -> Value {
    json!({ "spec": { "renewTime": micros(Timestamp::now()) } })
}

/// The conditions.
pub(super) fn conditions(ready: bool, changed: Timestamp) -> Value {
    let now = seconds(Timestamp::now());
    let good = |kind: &str, reason: &str| {
        json!({ "type": kind, "status": "False", "reason": reason, "message": reason,
            "lastHeartbeatTime": now, "lastTransitionTime": "2026-01-01T00:00:00Z" })
    };
    let (status, reason) = if ready { ("True", "KubeletReady") } else { ("False", "KubeletNotReady") };
    json!([
        good("MemoryPressure", "KubeletHasSufficientMemory"),
        good("DiskPressure", "KubeletHasNoDiskPressure"),
        good("PIDPressure", "KubeletHasSufficientPID"),
        { "type": "Ready", "status": status, "reason": reason, "message": reason,
            "lastHeartbeatTime": now, "lastTransitionTime": seconds(changed) },
    ])
}

/// A report of a status.
pub(super) fn status(conditions: &Value, boot: &str) -> Value {
    json!({ "status": { "conditions": conditions, "nodeInfo": { "bootID": boot } } })
}

/// The first one, as large as a real one.
pub(super) fn full_status(spec: &Spec, index: usize, conditions: &Value, boot: &str) -> Value {
    let image = |number: usize| {
        let digest = format!("{:064x}", (number + 1) * 0x9e37_79b9);
        json!({ "names": [format!("registry.example/team/service-{number}@sha256:{digest}"),
            format!("registry.example/team/service-{number}:v1.{number}")], "sizeBytes": 100_000_000 + number })
    };
    let resources = json!({ "cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi" });
    json!({ "status": {
        "conditions": conditions,
        "addresses": [{ "type": "InternalIP", "address": format!("10.{}.{}.{}", 128 + index / 62_500, index / 250 % 250, 1 + index % 250) }],
        "capacity": resources, "allocatable": resources,
        "images": (0..spec.images).map(image).collect::<Vec<_>>(),
        "nodeInfo": {
            "bootID": boot, "machineID": format!("{index:032x}"), "systemUUID": format!("{index:032x}"),
            "kernelVersion": "6.12.0-bench", "osImage": "palisade bench", "containerRuntimeVersion": "bench://1",
            "kubeletVersion": "v1.36.0-bench", "kubeProxyVersion": "", "operatingSystem": "linux",
            "architecture": "amd64",
        },
    } })
}

/// As the API stores times.
pub(super) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn micros(time: Timestamp) -> String {
    format!("{time:.6}")
}
