//! The compiled-in resources: what controllers, agents, kubectl and the lab use, no more.

use super::resource::{Behaviour, Resource, Version};

const NAMESPACED: u8 = 1;
const STATUS: u8 = 2;
const GENERATION: u8 = 4;
/// Updates must name the version they replace.
const CONDITIONAL: u8 = 8;
const CREATE_ON_UPDATE: u8 = 16;

/// Group, version, kind, plural, short names, flags.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, u8);

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("", "v1", "Namespace", "namespaces", "ns", STATUS),
    ("", "v1", "Node", "nodes", "no", STATUS),
    ("", "v1", "Pod", "pods", "po", NAMESPACED | STATUS | GENERATION),
    ("", "v1", "Event", "events", "ev", NAMESPACED | CREATE_ON_UPDATE),
    ("", "v1", "ConfigMap", "configmaps", "cm", NAMESPACED),
    ("", "v1", "Secret", "secrets", "", NAMESPACED),
    ("", "v1", "Service", "services", "svc", NAMESPACED | STATUS),
    ("", "v1", "ServiceAccount", "serviceaccounts", "sa", NAMESPACED),
    ("", "v1", "PersistentVolume", "persistentvolumes", "pv", STATUS),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", NAMESPACED | STATUS),
    ("apps", "v1", "StatefulSet", "statefulsets", "sts", NAMESPACED | STATUS | GENERATION),
    ("apps", "v1", "Deployment", "deployments", "deploy", NAMESPACED | STATUS | GENERATION),
    ("apps", "v1", "ReplicaSet", "replicasets", "rs", NAMESPACED | STATUS | GENERATION),
    ("apps", "v1", "DaemonSet", "daemonsets", "ds", NAMESPACED | STATUS | GENERATION),
    ("apps", "v1", "ControllerRevision", "controllerrevisions", "", NAMESPACED),
    ("batch", "v1", "Job", "jobs", "", NAMESPACED | STATUS | GENERATION),
    ("batch", "v1", "CronJob", "cronjobs", "", NAMESPACED | STATUS | GENERATION),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", NAMESPACED | STATUS | GENERATION),
    ("coordination.k8s.io", "v1", "Lease", "leases", "", NAMESPACED | CONDITIONAL | CREATE_ON_UPDATE),
    ("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", "", STATUS | CONDITIONAL),
    ("storage.k8s.io", "v1", "StorageClass", "storageclasses", "sc", 0),
    ("storage.k8s.io", "v1", "CSINode", "csinodes", "", CONDITIONAL),
    ("storage.k8s.io", "v1", "CSIDriver", "csidrivers", "", CONDITIONAL),
    ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "pc", 0),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", "crd crds", STATUS | GENERATION | CONDITIONAL),
    (RBAC, "v1", "ClusterRole", "clusterroles", "", 0),
    (RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", "", 0),
    (RBAC, "v1", "Role", "roles", "", NAMESPACED),
    (RBAC, "v1", "RoleBinding", "rolebindings", "", NAMESPACED),
    (ADMISSION, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", "", STATUS | GENERATION),
    (ADMISSION, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", "", GENERATION),
];

/// All of them.
pub fn resources() -> Vec<Resource> {
    TABLE.iter().map(resource).collect()
}

fn resource(&(group, version, kind, plural, short, flags): &Row) -> Resource {
    let has = |flag: u8| flags & flag != 0;
    let categories = match plural {
        "pods" | "services" | "statefulsets" | "deployments" | "replicasets" | "daemonsets" | "jobs" => {
            vec!["all".to_owned()]
        }
        _ => Vec::new(),
    };
    Resource {
        group: group.to_owned(),
        kind: kind.to_owned(),
        list_kind: format!("{kind}List"),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        short_names: short.split_whitespace().map(str::to_owned).collect(),
        categories,
        namespaced: has(NAMESPACED),
        custom: false,
        behaviour: Behaviour {
            generation: has(GENERATION),
            conditional_update: has(CONDITIONAL),
            create_on_update: has(CREATE_ON_UPDATE),
        },
        versions: vec![Version {
            name: version.to_owned(),
            served: true,
            storage: true,
            status: has(STATUS),
            schema: None,
            columns: Vec::new(),
            selectable: Vec::new(),
        }],
    }
}
