//! What a remediation looks like when it is made.

use palisade_api::NodeHealthCheck;
use palisade_api::keys::{palisade, remediation as keys};
use palisade_core::health::{NodeView, Step};
use palisade_core::stable_hash::fnv1a;
use serde_json::{Value, json};

use super::template::Template;

/// Longest name of an object.
const NAME_LIMIT: usize = 253;

/// The remediation of a node from a template.
pub(super) fn remediation(policy: &NodeHealthCheck, node: &NodeView, step: &Step, template: &Template) -> Value {
    let mut metadata = json!({
        "name": name(policy, node, step, template),
        "labels": { keys::PART_OF: keys::PART_OF_VALUE },
        "annotations": { keys::NODE_NAME: node.name, keys::TEMPLATE_NAME: step.template },
        "ownerReferences": [{
            "apiVersion": "remediation.medik8s.io/v1alpha1",
            "kind": "NodeHealthCheck",
            "name": policy.metadata.name,
            "uid": policy.metadata.uid,
            "controller": false,
        }],
    });
    if !step.namespace.is_empty() {
        metadata["namespace"] = step.namespace.clone().into();
    }
    if !node.uid.is_empty() {
        metadata["annotations"][palisade::NODE_UID] = node.uid.clone().into();
    }
    if node.is_control_plane() {
        metadata["labels"][keys::CONTROL_PLANE] = "".into();
    }
    let mut object = json!({ "apiVersion": step.api_version, "kind": step.kind, "metadata": metadata });
    if !template.spec.is_null() {
        object["spec"] = template.spec.clone();
    }
    object
}

/// The machine that a node runs on, as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    /// Group and version of the kind `Machine`.
    pub api_version: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// Makes the machine an owner: remediators that work on machines find theirs by it.
pub(super) fn add_owner(object: &mut Value, machine: &Machine) {
    if let Some(owners) = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) {
        owners.push(json!({
            "apiVersion": machine.api_version,
            "kind": "Machine",
            "name": machine.name,
            "uid": machine.uid,
            "controller": false,
        }));
    }
}

/// The name of the node; or, where the remediator reads the annotation instead, the node's name and a hash of what the
/// remediation is for. Stock detectors let the API server choose that suffix: then two of them, or one that was
/// restarted, can make two remediations. With the same name from the same cause the second creation fails.
fn name(policy: &NodeHealthCheck, node: &NodeView, step: &Step, template: &Template) -> String {
    if !template.multiple {
        return node.name.clone();
    }
    let policy_uid = policy.metadata.uid.as_deref().unwrap_or_default();
    let cause = [policy_uid, &node.uid, &node.name, &step.api_version, &step.kind, &step.namespace, &step.template];
    let cause = cause.iter().flat_map(|part| part.bytes().chain([0]));
    let suffix = format!("{:08x}", fnv1a(cause) >> 32);
    let kept: String = node.name.chars().take(NAME_LIMIT - suffix.len() - 1).collect();
    format!("{kept}-{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> NodeHealthCheck {
        let mut policy = NodeHealthCheck::new("nhc", palisade_api::node_health_check::NodeHealthCheckSpec::default());
        policy.metadata.uid = Some("uid-of-policy".to_owned());
        policy
    }

    fn node() -> NodeView {
        NodeView { name: "worker-0".to_owned(), uid: "uid-of-node".to_owned(), ..NodeView::default() }
    }

    fn step() -> Step {
        Step {
            api_version: "test.example/v1".to_owned(),
            template_kind: "FooTemplate".to_owned(),
            kind: "Foo".to_owned(),
            namespace: "rem".to_owned(),
            template: "foo".to_owned(),
            timeout: None,
        }
    }

    #[test]
    fn it_has_the_shape_that_remediators_expect() {
        let template = Template { spec: json!({ "size": "foo" }), multiple: false };
        assert_eq!(
            remediation(&policy(), &node(), &step(), &template),
            json!({
                "apiVersion": "test.example/v1",
                "kind": "Foo",
                "metadata": {
                    "name": "worker-0",
                    "namespace": "rem",
                    "labels": { "app.kubernetes.io/part-of": "node-healthcheck-controller" },
                    "annotations": {
                        "remediation.medik8s.io/node-name": "worker-0",
                        "remediation.medik8s.io/template-name": "foo",
                        "palisade.dev/node-uid": "uid-of-node",
                    },
                    "ownerReferences": [{
                        "apiVersion": "remediation.medik8s.io/v1alpha1",
                        "kind": "NodeHealthCheck",
                        "name": "nhc",
                        "uid": "uid-of-policy",
                        "controller": false,
                    }],
                },
                "spec": { "size": "foo" },
            })
        );
    }

    #[test]
    fn control_plane_nodes_are_labelled() {
        let mut node = node();
        node.labels.insert("node-role.kubernetes.io/master".to_owned(), String::new());
        let made = remediation(&policy(), &node, &step(), &Template { spec: Value::Null, multiple: false });
        assert_eq!(made["metadata"]["labels"]["remediation.medik8s.io/isControlPlaneNode"], "");
        assert!(made.get("spec").is_none());
    }

    #[test]
    fn with_several_templates_the_name_follows_from_the_cause() {
        let template = Template { spec: Value::Null, multiple: true };
        let name = |policy: &NodeHealthCheck, node: &NodeView, step: &Step| super::name(policy, node, step, &template);
        let first = name(&policy(), &node(), &step());
        assert!(first.starts_with("worker-0-") && first.len() == "worker-0-".len() + 8, "{first}");
        // Another controller comes to the same name,
        assert_eq!(first, name(&policy(), &node(), &step()));
        // another template, node object or policy to another.
        let mut other_step = step();
        other_step.template = "bar".to_owned();
        let mut other_node = node();
        other_node.uid = "uid-of-its-successor".to_owned();
        let mut other_policy = policy();
        other_policy.metadata.uid = Some("another".to_owned());
        assert_ne!(first, name(&policy(), &node(), &other_step));
        assert_ne!(first, name(&policy(), &other_node, &step()));
        assert_ne!(first, name(&other_policy, &node(), &step()));
        // A long name still fits.
        let long = NodeView { name: "n".repeat(253), ..node() };
        assert_eq!(name(&policy(), &long, &step()).len(), 253);
    }
}
