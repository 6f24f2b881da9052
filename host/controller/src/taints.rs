//! Taints of a node. They are one atomic list, so every change is a JSON patch that tests the version just read: no
//! foreign taint is ever lost or brought back.

use json_patch::{Patch as JsonPatch, PatchOperation, jsonptr::PointerBuf};
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use palisade_api::keys::{cluster, palisade, self_node};
use serde_json::{Value, json};

use crate::clock;
use crate::error::Error;

/// So often a version conflict is answered by reading again.
const ATTEMPTS: usize = 6;

/// What an edit came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The node was changed.
    Changed,
    /// Nothing to change.
    Unchanged,
    /// The node read does not allow the change.
    Refused(String),
    /// The node does not exist.
    NodeGone,
}

/// The own taint while a remediation works.
pub fn own() -> Taint {
    taint(self_node::TAINT, None, "NoSchedule")
}

/// The out-of-service taint.
pub fn out_of_service() -> Taint {
    taint(cluster::OUT_OF_SERVICE_TAINT, Some(cluster::OUT_OF_SERVICE_VALUE), "NoExecute")
}

/// The own taint of a release. `NoExecute`, because a kubelet that boots meanwhile starts no pod that does not tolerate
/// it: what is being deleted cannot run again. The price: pods of `DaemonSets` that tolerate neither this taint nor all
/// taints are evicted from the dead node too, and made again by their DaemonSet once the node is back and the taint
/// gone; the out-of-service taint does the same to them.
pub fn released() -> Taint {
    taint(palisade::RELEASE_TAINT, None, "NoExecute")
}

/// A taint set now.
pub fn taint(key: &str, value: Option<&str>, effect: &str) -> Taint {
    Taint {
        key: key.to_owned(),
        value: value.map(str::to_owned),
        effect: effect.to_owned(),
        time_added: Some(clock::wall()),
    }
}

/// `key=value:effect` or `key:effect`, as records of ownership have it.
pub fn text(taint: &Taint) -> String {
    match taint.value.as_deref().filter(|value| !value.is_empty()) {
        Some(value) => format!("{}={value}:{}", taint.key, taint.effect),
        None => format!("{}:{}", taint.key, taint.effect),
    }
}

/// Whether the node carries a taint of this key and effect.
pub fn has(node: &Node, wanted: &Taint) -> bool {
    list(node).iter().any(|taint| same(taint, wanted))
}

fn same(one: &Taint, other: &Taint) -> bool {
    one.key == other.key && one.effect == other.effect
}

fn list(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

/// Adds a taint, if the node as read allows it.
pub async fn add(
    client: &Client,
    node: &str,
    wanted: &Taint,
    allow: impl Fn(&Node) -> Result<(), String>,
) -> Result<Edit, Error> {
    add_to(client, node, None, wanted, allow).await
}

/// The same with the node as it was read just now: the patch tests that very version.
pub async fn add_to(
    client: &Client,
    node: &str,
    read: Option<Node>,
    wanted: &Taint,
    allow: impl Fn(&Node) -> Result<(), String>,
) -> Result<Edit, Error> {
    edit(client, node, read, allow, |taints| {
        if taints.iter().any(|taint| same(taint, wanted)) {
            return false;
        }
        taints.push(wanted.clone());
        true
    })
    .await
}

/// Removes taints of these keys and effects.
pub async fn remove(client: &Client, node: &str, unwanted: &[Taint]) -> Result<Edit, Error> {
    edit(
        client,
        node,
        None,
        |_| Ok(()),
        |taints| {
            let before = taints.len();
            taints.retain(|taint| !unwanted.iter().any(|other| same(taint, other)));
            taints.len() != before
        },
    )
    .await
}

async fn edit(
    client: &Client,
    name: &str,
    mut read: Option<Node>,
    allow: impl Fn(&Node) -> Result<(), String>,
    change: impl Fn(&mut Vec<Taint>) -> bool,
) -> Result<Edit, Error> {
    let api: Api<Node> = Api::all(client.clone());
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let node = match read.take() {
            Some(node) => node,
            None => match api.get_opt(name).await? {
                Some(node) => node,
                None => return Ok(Edit::NodeGone),
            },
        };
        if let Err(why) = allow(&node) {
            return Ok(Edit::Refused(why));
        }
        let mut taints = list(&node).to_vec();
        if !change(&mut taints) {
            return Ok(Edit::Unchanged);
        }
        match api.patch(name, &PatchParams::default(), &Patch::Json::<()>(patch(&node, &taints))).await {
            Ok(_) => return Ok(Edit::Changed),
            // A failed test of a JSON patch is 422 on a real API server; a lost race on the write is 409.
            Err(kube::Error::Api(status)) if matches!(status.code, 409 | 422) => last = Some(status.message.clone()),
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(Edit::NodeGone),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Busy(format!(
        "node {name} changed {ATTEMPTS} times while its taints were being edited: {}",
        last.unwrap_or_default()
    )))
}

fn patch(node: &Node, taints: &[Taint]) -> JsonPatch {
    let version = node.metadata.resource_version.clone().unwrap_or_default();
    let mut operations = vec![operation("test", "/metadata/resourceVersion", &json!(version))];
    let value = json!(taints);
    let had_list = node.spec.as_ref().is_some_and(|spec| spec.taints.is_some());
    operations.push(match (node.spec.is_some(), had_list, taints.is_empty()) {
        (false, ..) => operation("add", "/spec", &json!({ "taints": value })),
        (true, true, true) => operation("remove", "/spec/taints", &Value::Null),
        (true, true, false) => operation("replace", "/spec/taints", &value),
        (true, false, _) => operation("add", "/spec/taints", &value),
    });
    JsonPatch(operations)
}

fn operation(name: &str, path: &str, value: &Value) -> PatchOperation {
    let path = PointerBuf::parse(path).unwrap_or_default();
    let value = value.clone();
    match name {
        "test" => PatchOperation::Test(json_patch::TestOperation { path, value }),
        "remove" => PatchOperation::Remove(json_patch::RemoveOperation { path }),
        "replace" => PatchOperation::Replace(json_patch::ReplaceOperation { path, value }),
        _ => PatchOperation::Add(json_patch::AddOperation { path, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::NodeSpec;

    fn node(taints: Option<Vec<Taint>>) -> Node {
        let mut node = Node { spec: Some(NodeSpec { taints, ..NodeSpec::default() }), ..Node::default() };
        node.metadata.resource_version = Some("7".into());
        node
    }

    #[test]
    fn every_patch_tests_the_version_it_was_made_for() {
        for node in [node(None), node(Some(vec![own()])), Node::default()] {
            let text = serde_json::to_value(patch(&node, &[own()])).unwrap();
            assert_eq!((&text[0]["op"], &text[0]["path"]), (&json!("test"), &json!("/metadata/resourceVersion")));
        }
    }

    #[test]
    fn the_last_taint_takes_the_list_with_it() {
        let text = serde_json::to_value(patch(&node(Some(vec![own()])), &[])).unwrap();
        assert_eq!((&text[1]["op"], &text[1]["path"]), (&json!("remove"), &json!("/spec/taints")));
    }

    #[test]
    fn taints_read_as_kubectl_prints_them() {
        assert_eq!(text(&own()), "remediation.medik8s.io/self-node-remediation:NoSchedule");
        assert_eq!(text(&out_of_service()), "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute");
        assert!(has(&node(Some(vec![own()])), &own()) && !has(&node(None), &own()));
    }
}
