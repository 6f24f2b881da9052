//! Whose turn it is in the control plane: one Lease, written before a remediation of a control-plane node is made.
//!
//! Within one process the detector sees its own remediations before any watch does. Two processes that both believe
//! themselves leaders (a leader that slept through its own end) share nothing but the API: whichever writes this Lease
//! first has its turn, and the other one waits until its watches must have shown what came of it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use palisade_core::health::{NodeLease, NodeView};
use serde_json::json;

use super::leases;

/// Name of the Lease, in the namespace of the node leases. Theirs begin with `node-`.
pub const NAME: &str = "palisade-control-plane";
/// Annotation that says what came of the turn: where the remediation is.
const PATH: &str = "palisade.dev/turn-remediation";
/// Annotation with its UID.
const UID: &str = "palisade.dev/turn-remediation-uid";
/// How long a turn lasts, unless its remediation is gone before. Within this time its remediation is made or never is
/// ([`MAKE`]), and the watches of everybody else show it. Clocks may differ by what is between the two.
pub const TURN: Duration = Duration::from_secs(40);
/// A turn that is another node's is looked at again after this time, if no watch shows its end before.
const AGAIN: Duration = Duration::from_secs(5);
/// A remediation is made this long after its turn began, or not in this turn.
pub const MAKE: Duration = Duration::from_secs(10);

/// What came of asking for a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It is this node's.
    Ours,
    /// It is another node's, for so long.
    Taken {
        /// Who has it.
        holder: String,
        /// What is left of it.
        left: Duration,
    },
}

/// Asks for a turn. What the Lease says is read anew every time: this is rare, and a watch may lag behind.
pub async fn take(client: &Client, namespace: &str, node: &NodeView, policy: &str) -> Result<Turn, kube::Error> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let holder = format!("{} of {policy}", node.name);
    let known = leases.get_opt(NAME).await?;
    if let Some(known) = &known {
        let view = leases::view(known);
        let annotation = |key: &str| known.annotations().get(key).map(String::as_str).unwrap_or_default();
        let is_over = async || match annotation(PATH) {
            "" => false,
            // What cannot be read may be there.
            path => matches!(is_there(client, path, annotation(UID)).await, Ok(false)),
        };
        let left = view.left(Timestamp::now()).filter(|_| is_others(&view, &node.name));
        if let Some(left) = left
            && !is_over().await
        {
            return Ok(Turn::Taken { holder: view.holder, left: left.min(AGAIN) });
        }
    }
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let seconds = TURN.as_secs();
    let spec =
        json!({ "holderIdentity": holder, "leaseDurationSeconds": seconds, "acquireTime": now, "renewTime": now });
    let written = if let Some(known) = known {
        let metadata = json!({ "resourceVersion": known.resource_version(), "annotations": { PATH: null, UID: null } });
        let body = json!({ "metadata": metadata, "spec": spec });
        leases.patch(NAME, &PatchParams::default(), &Patch::Merge(body)).await.map(drop)
    } else {
        let object = json!({ "metadata": { "name": NAME }, "spec": spec });
        let object: Lease = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        leases.create(&PostParams::default(), &object).await.map(drop)
    };
    match written {
        Ok(()) => Ok(Turn::Ours),
        // Somebody was faster: it may be for the same node, but that is theirs to make.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            Ok(Turn::Taken { holder: "somebody who was faster".to_owned(), left: Duration::from_secs(1) })
        }
        Err(error) => Err(error),
    }
}

/// Notes what came of a turn, so that the next one may begin as soon as that is gone.
pub async fn made(client: &Client, namespace: &str, path: &str, uid: &str) -> Result<(), kube::Error> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let body = json!({ "metadata": { "annotations": { PATH: path, UID: uid } } });
    leases.patch(NAME, &PatchParams::default(), &Patch::Merge(body)).await.map(drop)
}

async fn is_there(client: &Client, path: &str, uid: &str) -> Result<bool, kube::Error> {
    let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    match client.request::<DynamicObject>(request).await {
        Ok(found) => Ok(found.uid().as_deref() == Some(uid)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_others(lease: &NodeLease, node: &str) -> bool {
    let whose = lease.holder.split(' ').next().unwrap_or_default();
    !whose.is_empty() && whose != node
}

#[cfg(test)]
mod tests {
    use palisade_sandbox::api::ApiStore;

    use super::*;

    fn node(name: &str) -> NodeView {
        NodeView { name: name.to_owned(), ..NodeView::default() }
    }

    #[tokio::test]
    async fn of_two_controllers_that_know_nothing_of_each_other_one_has_its_turn() {
        // Given two controllers, and a sick control-plane node in the eyes of each
        let store = ApiStore::default();
        let (first, second) = (store.client(), store.client());
        let (one, two) = (node("m1"), node("m2"));
        // When both ask at once
        let answers = tokio::join!(take(&first, "default", &one, "a"), take(&second, "default", &two, "b"));
        let ours = [answers.0.unwrap(), answers.1.unwrap()];
        // Then one has its turn
        assert_eq!(ours.iter().filter(|turn| **turn == Turn::Ours).count(), 1, "{ours:?}");
        let (has, waits) = if ours[0] == Turn::Ours { (&one, &two) } else { (&two, &one) };
        // Also for its next step, while the other one waits
        assert_eq!(take(&second, "default", has, "b").await.unwrap(), Turn::Ours);
        let Turn::Taken { holder, left } = take(&first, "default", waits, "a").await.unwrap() else {
            panic!("two turns at once");
        };
        assert!(holder.starts_with(&has.name) && left <= TURN, "{holder} {left:?}");
    }

    #[tokio::test]
    async fn a_turn_ends_with_its_remediation_or_by_itself() {
        let store = ApiStore::default();
        let client = store.client();
        let (one, two) = (node("m1"), node("m2"));
        assert_eq!(take(&client, "default", &one, "a").await.unwrap(), Turn::Ours);
        // Given a turn whose remediation is there (any object will do)
        let path = "/api/v1/namespaces/default/configmaps/m1";
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "m1", "namespace": "default" },
        });
        let uid = store.apply_value(&object).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
        made(&client, "default", path, &uid).await.unwrap();
        assert!(matches!(take(&client, "default", &two, "a").await.unwrap(), Turn::Taken { .. }));
        // When it is gone, the next one begins at once
        let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client.clone(), "default");
        maps.delete("m1", &kube::api::DeleteParams::default()).await.unwrap();
        assert_eq!(take(&client, "default", &two, "a").await.unwrap(), Turn::Ours);
        // Of which nothing comes: it ends by itself
        assert!(matches!(take(&client, "default", &one, "a").await.unwrap(), Turn::Taken { .. }));
        let leases: Api<Lease> = Api::namespaced(client.clone(), "default");
        let long_ago = json!({ "spec": { "renewTime": "2020-01-01T00:00:00.000000Z" } });
        leases.patch(NAME, &PatchParams::default(), &Patch::Merge(long_ago)).await.unwrap();
        assert_eq!(take(&client, "default", &one, "a").await.unwrap(), Turn::Ours);
    }
}
