//! From API objects to what decisions read.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::DynamicObject;
use palisade_api::keys::{palisade, remediation as keys};
use palisade_api::reasons::condition;
use palisade_core::health::{NODE_ANNOTATIONS, NodeCondition, NodeView, ObjectKey, RemediationView};
use serde_json::Value;

/// A node.
pub(super) fn node(node: &Node) -> NodeView {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    NodeView {
        name: node.name_any(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        labels: node.labels().clone().into(),
        conditions: conditions
            .map(|condition| NodeCondition {
                type_: condition.type_.clone(),
                status: condition.status.clone(),
                since: condition.last_transition_time.as_ref().map(|time| time.0),
            })
            .collect(),
        annotations: NODE_ANNOTATIONS
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), node.annotations().get(*key)?.clone())))
            .collect(),
        unschedulable: node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default(),
        kubelet_version: node
            .status
            .as_ref()
            .and_then(|status| status.node_info.as_ref())
            .map(|info| info.kubelet_version.clone())
            .unwrap_or_default(),
        confirmed_healthy: node.annotations().contains_key(keys::CONFIRMED_HEALTHY),
        recovered: None,
    }
}

/// A remediation of whatever kind, seen by the policy of this name.
pub(super) fn remediation(object: &DynamicObject, policy: &str) -> RemediationView {
    let annotation = |key: &str| object.annotations().get(key);
    let types = object.types.clone().unwrap_or_default();
    RemediationView {
        key: ObjectKey {
            api_version: types.api_version,
            kind: types.kind,
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
        },
        node: annotation(keys::NODE_NAME).cloned().unwrap_or_else(|| object.name_any()),
        node_uid: annotation(palisade::NODE_UID).cloned(),
        template: annotation(keys::TEMPLATE_NAME).cloned(),
        owned: owners(object).any(|owner| owner == policy),
        control_plane: object.labels().contains_key(keys::CONTROL_PLANE),
        created: object.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        terminating: object.metadata.deletion_timestamp.is_some(),
        succeeded: status_of(object, condition::SUCCEEDED).and_then(|status| match status {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        }),
        node_vanishes: status_of(object, condition::PERMANENT_NODE_DELETION) == Some("True"),
        timed_out: annotation(keys::TIMED_OUT).is_some(),
        // A stamp nobody can read cannot hold a node back for ever.
        healthy_since: annotation(keys::HEALTHY_DELAY).map(|stamp| stamp.parse().unwrap_or(Timestamp::UNIX_EPOCH)),
        flagged_old: annotation(keys::OLD_FLAG).is_some(),
    }
}

/// Names of the policies that own an object.
pub(super) fn owners(object: &DynamicObject) -> impl Iterator<Item = &str> {
    object
        .owner_references()
        .iter()
        .filter(|owner| owner.kind == "NodeHealthCheck" && owner.api_version.starts_with("remediation.medik8s.io/"))
        .map(|owner| owner.name.as_str())
}

fn status_of<'a>(object: &'a DynamicObject, type_: &str) -> Option<&'a str> {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array)?;
    conditions.iter().find(|condition| condition["type"] == type_)?["status"].as_str()
}
