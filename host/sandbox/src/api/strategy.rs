//! What the real server does to compiled-in kinds on create and update, as far as our programs can tell.

use serde_json::{Value, json};

use super::error::{FieldError, Segment};
use super::meta::{self, at, default_at};
use super::resource::Resource;

const DNS_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
    '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Fills in defaults of a new object and drops what a client may not set.
pub fn prepare_create(resource: &Resource, object: &mut Value) {
    if resource.custom {
        return;
    }
    match resource.plural.as_str() {
        "pods" => {
            pod_defaults(object);
            reset_status(object, json!({"phase": "Pending", "qosClass": "BestEffort"}));
        }
        "namespaces" => {
            let name = meta::text(object, "name").to_owned();
            default_at(object, &["metadata", "labels", "kubernetes.io/metadata.name"], json!(name));
            default_at(object, &["spec", "finalizers"], json!(["kubernetes"]));
            reset_status(object, json!({"phase": "Active"}));
        }
        "statefulsets" => {
            default_at(object, &["spec", "replicas"], json!(1));
            default_at(object, &["spec", "podManagementPolicy"], json!("OrderedReady"));
            default_at(object, &["spec", "revisionHistoryLimit"], json!(10));
            default_at(object, &["spec", "updateStrategy", "type"], json!("RollingUpdate"));
            reset_status(object, json!({"replicas": 0, "availableReplicas": 0}));
        }
        "deployments" | "replicasets" => {
            default_at(object, &["spec", "replicas"], json!(1));
            reset_status(object, json!({"replicas": 0}));
        }
        "daemonsets" => reset_status(
            object,
            json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0}),
        ),
        "jobs" => {
            default_at(object, &["spec", "parallelism"], json!(1));
            default_at(object, &["spec", "completions"], json!(1));
            default_at(object, &["spec", "backoffLimit"], json!(6));
            reset_status(object, json!({}));
        }
        "persistentvolumes" | "persistentvolumeclaims" => {
            let phase = if resource.namespaced { "Pending" } else { "Available" };
            default_at(object, &["spec", "volumeMode"], json!("Filesystem"));
            reset_status(object, json!({"phase": phase}));
        }
        "volumeattachments" => reset_status(object, json!({"attached": false})),
        "secrets" => {
            default_at(object, &["type"], json!("Opaque"));
            encode_string_data(object);
        }
        _ => {}
    }
}

/// Repairs and checks a changed object of a compiled-in kind.
pub fn prepare_update(resource: &Resource, object: &mut Value, old: &Value) -> Vec<FieldError> {
    if resource.custom {
        return Vec::new();
    }
    match resource.plural.as_str() {
        "secrets" => encode_string_data(object),
        "pods" => return pod_immutable(object, old),
        "namespaces" => meta::copy_top(old, object, "spec"),
        _ => {}
    }
    Vec::new()
}

/// Field errors of a compiled-in object, and of every object's name.
pub fn validate(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = meta::text(object, "name");
    let free = resource.group == "rbac.authorization.k8s.io";
    if free {
        if name.contains(['/', '%']) || matches!(name, "." | "..") {
            errors.push(FieldError::invalid(FieldError::at("metadata.name"), &quoted(name), "may not contain '/'"));
        }
    } else if !is_dns_subdomain(name) {
        errors.push(FieldError::invalid(FieldError::at("metadata.name"), &quoted(name), DNS_SUBDOMAIN));
    }
    if resource.custom {
        return errors;
    }
    match resource.plural.as_str() {
        "leases" => {
            if let Some(seconds) = at(object, &["spec", "leaseDurationSeconds"]).filter(|v| !v.is_null())
                && seconds.as_i64().is_none_or(|s| s <= 0)
            {
                let path = FieldError::at("spec.leaseDurationSeconds");
                errors.push(FieldError::invalid(path, &seconds.to_string(), "must be greater than 0"));
            }
        }
        "pods" if at(object, &["spec", "containers"]).and_then(Value::as_array).is_none_or(Vec::is_empty) => {
            errors.push(FieldError::required(FieldError::at("spec.containers"), ""));
        }
        "nodes" => errors.extend(duplicate_taints(object)),
        _ => {}
    }
    errors
}

fn duplicate_taints(node: &Value) -> Vec<FieldError> {
    let taints = at(node, &["spec", "taints"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let identity = |taint: &Value| (taint.get("key").cloned(), taint.get("effect").cloned());
    let mut errors = Vec::new();
    for (index, taint) in taints.iter().enumerate() {
        if taints.iter().take(index).any(|other| identity(other) == identity(taint)) {
            let mut path = FieldError::at("spec.taints");
            path.push(Segment::Index(index));
            let message = format!("Duplicate value: {taint}: taints must be unique by key and effect pair");
            errors.push(FieldError { path, cause: "FieldValueDuplicate", message });
        }
    }
    errors
}

fn pod_defaults(pod: &mut Value) {
    for (field, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("serviceAccountName", json!("default")),
    ] {
        default_at(pod, &["spec", field], value);
    }
    // What the DefaultTolerationSeconds admission plugin adds.
    default_at(pod, &["spec", "tolerations"], json!([]));
    let Some(tolerations) = pod.pointer_mut("/spec/tolerations").and_then(Value::as_array_mut) else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = tolerations.iter().any(|t| {
            let named = t.get("key").and_then(Value::as_str);
            let effect = t.get("effect").and_then(Value::as_str).unwrap_or("");
            (named == Some(key) || named.unwrap_or("").is_empty()) && matches!(effect, "" | "NoExecute")
        });
        if !tolerated {
            tolerations
                .push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
}

fn pod_immutable(new: &Value, old: &Value) -> Vec<FieldError> {
    let fixed = |pod: &Value| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        if let Some(map) = spec.as_object_mut() {
            for free in ["tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds", "schedulingGates"] {
                map.remove(free);
            }
            for list in ["containers", "initContainers"] {
                for container in map.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                    if let Some(container) = container.as_object_mut() {
                        container.remove("image");
                    }
                }
            }
        }
        spec
    };
    if fixed(new) == fixed(old) {
        return Vec::new();
    }
    let detail = "pod updates may not change fields other than `spec.containers[*].image`,\
        `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
        tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
    vec![FieldError::forbidden(FieldError::at("spec"), detail)]
}

fn reset_status(object: &mut Value, status: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert("status".to_owned(), status);
    }
}

fn encode_string_data(secret: &mut Value) {
    use base64::Engine as _;
    let Some(plain) = secret.as_object_mut().and_then(|map| map.remove("stringData")) else { return };
    for (key, value) in plain.as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        default_at(secret, &["data"], json!({}));
        if let Some(data) = secret.get_mut("data").and_then(Value::as_object_mut) {
            data.insert(key.clone(), json!(encoded));
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn is_dns_subdomain(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            edge(label.chars().next())
                && edge(label.chars().next_back())
                && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        })
}
