//! What a release may take away, against the sandbox's API store.

use std::cell::Cell;

use palisade_core::fencing::record::{FenceIntent, INTENT, encode};
use palisade_sandbox::api::{ApiStore, Settings};
use serde_json::{Value, json};

use super::*;
use crate::fence::testing;

const NAMESPACE: &str = "palisade-system";

fn node(boot: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1" },
        "status": {
            "nodeInfo": { "architecture": "", "bootID": boot, "containerRuntimeVersion": "", "kernelVersion": "",
                "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "operatingSystem": "",
                "osImage": "", "systemUUID": "" },
            "conditions": [{ "type": "Ready", "status": ready }]
        }
    })
}

fn read(boot: &str, ready: &str) -> Node {
    serde_json::from_value(node(boot, ready)).unwrap()
}

/// A dead node with a fenced boot and four pods, and the proof of its end.
async fn dead_node() -> (ApiStore, Client, Proof) {
    let store = ApiStore::new(Settings { collect_garbage: false, audit: 1_000, ..Settings::default() });
    let mut proof = testing::proof("n1", "b1");
    let intent = FenceIntent {
        uid: proof.intent_uid.clone(),
        boot_id: proof.boot.clone(),
        terms: proof.terms.clone(),
        based_on_sequence: 1,
        owners: vec!["r1".into()],
    };
    for name in [NAMESPACE, "shop"] {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        store.apply_value(&namespace).unwrap();
    }
    store.apply_value(&node("b1", "Unknown")).unwrap();
    let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "n1", "namespace": NAMESPACE, "annotations": { INTENT: encode(&intent) } }, "spec": {} });
    store.apply_value(&lease).unwrap();
    for name in ["a", "b", "c", "d"] {
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "shop" },
            "spec": { "nodeName": "n1", "containers": [{ "name": "c", "image": "i" }] } });
        store.apply_value(&pod).unwrap();
    }
    let client = store.client();
    proof.lease_uid = lease::api(&client, NAMESPACE).get("n1").await.unwrap().uid().unwrap();
    (store, client, proof)
}

/// The node says something else.
async fn becomes(client: &Client, boot: &str, ready: &str) {
    let status = json!({ "status": node(boot, ready)["status"] });
    let patch = kube::api::Patch::Merge(&status);
    Api::<Node>::all(client.clone()).patch_status("n1", &kube::api::PatchParams::default(), &patch).await.unwrap();
}

async fn pods(client: &Client) -> usize {
    Api::<Pod>::namespaced(client.clone(), "shop").list(&kube::api::ListParams::default()).await.unwrap().items.len()
}

#[test]
fn line_16_a_node_wide_taint_needs_the_dead_boot_and_a_node_that_is_not_ready() {
    let proof = testing::proof("n1", "b1");
    assert!(dead(&read("b1", "Unknown"), &proof).is_ok());
    assert!(dead(&read("b1", "False"), &proof).is_ok());
    assert!(dead(&read("b1", "True"), &proof).is_err());
    assert!(dead(&read("b2", "Unknown"), &proof).is_err());
    assert!(dead(&read("", "Unknown"), &proof).is_err());
}

#[tokio::test]
async fn a_release_takes_everything_while_the_proof_holds() {
    let (_store, client, proof) = dead_node().await;
    let guard = Guard::new(&client, NAMESPACE, &proof, || true);
    let released = release(guard, &BTreeSet::new(), ReleaseMethod::ResourceDeletion).await.unwrap();
    assert!(matches!(released, Released::Done { pods: 4, .. }), "{released:?}");
    assert_eq!(pods(&client).await, 0);
}

#[tokio::test]
async fn a_release_stops_at_the_object_before_which_the_proof_was_withdrawn() {
    let (_store, client, proof) = dead_node().await;
    // Given a session that hears the boot after the check before the taint and two pods,
    let asked = Cell::new(0);
    let live = || {
        asked.set(asked.get() + 1);
        asked.get() <= 3
    };
    let guard = Guard::new(&client, NAMESPACE, &proof, live);
    let released = release(guard, &BTreeSet::new(), ReleaseMethod::ResourceDeletion).await.unwrap();
    // then the other two stay.
    assert!(matches!(released, Released::Stopped(_)), "{released:?}");
    assert_eq!(pods(&client).await, 2);
}

#[tokio::test]
async fn a_controller_that_was_paused_reads_again_before_it_deletes() {
    let (_store, client, proof) = dead_node().await;
    let mut guard = Guard::new(&client, NAMESPACE, &proof, || true);
    assert!(guard.allows().await.unwrap().is_ok());
    // Within the time a read is good for, it is not made again;
    becomes(&client, "b2", "True").await;
    assert!(guard.allows().await.unwrap().is_ok());
    // after a pause it is, and shows the new boot.
    guard.checked = Some(clock::now() - (FRESH + Duration::from_millis(1)));
    assert!(guard.allows().await.unwrap().unwrap_err().contains("b2"));
}

#[tokio::test]
async fn a_node_that_is_reported_ready_with_the_dead_boot_stops_a_release() {
    let (_store, client, proof) = dead_node().await;
    becomes(&client, "b1", "True").await;
    assert!(still_holds(&client, NAMESPACE, &proof).await.unwrap().unwrap_err().contains("ready"));
}

#[tokio::test]
async fn a_pod_that_was_written_since_it_was_listed_stays() {
    let (_store, client, _) = dead_node().await;
    let api = Api::<Pod>::namespaced(client.clone(), "shop");
    let listed = api.get("a").await.unwrap();
    // The kubelet of a new boot has started it in between.
    let status = json!({ "status": { "phase": "Running" } });
    api.patch_status("a", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&status)).await.unwrap();
    assert_eq!(delete(&api, &listed, Some(0)).await.unwrap(), Deletion::WrittenSince);
    assert!(api.get_opt("a").await.unwrap().is_some());
}

/// A claimed volume that is attached to the node, and the pod of the given owner that uses it.
fn attach(store: &ApiStore, pod: &str, owner: &str) {
    for object in [
        json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": pod, "namespace": "shop" },
            "spec": { "accessModes": ["ReadWriteOnce"], "volumeName": format!("volume-{pod}"),
                "resources": { "requests": { "storage": "1Gi" } } } }),
        json!({ "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": { "name": format!("csi-{pod}") },
            "spec": { "attacher": "csi", "nodeName": "n1", "source": { "persistentVolumeName": format!("volume-{pod}") } } }),
        json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": pod, "namespace": "shop", "ownerReferences": [
                { "apiVersion": "apps/v1", "kind": owner, "name": "o", "uid": "o", "controller": true }] },
            "spec": { "nodeName": "n1", "containers": [{ "name": "c", "image": "i" }],
                "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": pod } }] } }),
    ] {
        store.apply_value(&object).unwrap();
    }
}

/// The pod that was marked.
async fn marked(client: &Client) -> BTreeSet<String> {
    let pod = Api::<Pod>::namespaced(client.clone(), "shop").get("db-0").await.unwrap();
    BTreeSet::from([inventory::uid(&pod)])
}

/// A guard's question whether it still leads, at which somebody writes to that pod; `when` is told how often it was asked.
fn writing(store: &ApiStore, when: impl Fn(u32) -> bool) -> impl Fn() -> bool {
    let asked = Cell::new(0);
    move || {
        asked.set(asked.get() + 1);
        let late = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "db-0", "namespace": "shop",
            "annotations": { "written": asked.get().to_string() } } });
        if when(asked.get()) {
            store.apply_value(&late).unwrap();
        }
        true
    }
}

async fn attached(client: &Client) -> Vec<String> {
    let api = Api::<VolumeAttachment>::all(client.clone());
    api.list(&kube::api::ListParams::default()).await.unwrap().items.iter().map(ResourceExt::name_any).collect()
}

#[tokio::test]
async fn a_volume_stays_attached_until_the_pass_that_takes_its_pod() {
    let (store, client, proof) = dead_node().await;
    attach(&store, "db-0", "StatefulSet");
    let marked = marked(&client).await;
    // Given somebody who writes to the pod each time after it was listed, as the kubelet of a new boot does,
    let live = writing(&store, |asked| asked >= 2);
    let guard = Guard::new(&client, NAMESPACE, &proof, live);
    let released = release(guard, &marked, ReleaseMethod::ResourceDeletion).await.unwrap();
    // then its volume stays attached, or attach/detach would attach it to the dead node again;
    assert!(matches!(released, Released::Done { attachments: 0, .. }), "{released:?}");
    assert_eq!((pods(&client).await, attached(&client).await), (1, vec!["csi-db-0".to_owned()]));
    // and both go with the next pass.
    let guard = Guard::new(&client, NAMESPACE, &proof, || true);
    let released = release(guard, &marked, ReleaseMethod::ResourceDeletion).await.unwrap();
    assert!(matches!(released, Released::Done { pods: 1, attachments: 1, .. }), "{released:?}");
    assert_eq!((pods(&client).await, attached(&client).await.len()), (0, 0));
}

#[tokio::test]
async fn volumes_of_pods_that_stay_on_the_node_are_not_detached() {
    let (store, client, proof) = dead_node().await;
    attach(&store, "cache", "DaemonSet");
    attach(&store, "late", "StatefulSet");
    attach(&store, "db-0", "StatefulSet");
    let guard = Guard::new(&client, NAMESPACE, &proof, || true);
    let marked = marked(&client).await;
    let released = release(guard, &marked, ReleaseMethod::ResourceDeletion).await.unwrap();
    assert!(matches!(released, Released::Done { pods: 5, attachments: 1, .. }), "{released:?}");
    assert_eq!(attached(&client).await, ["csi-cache", "csi-late"]);
    let left = inventory::read(&client, "n1", Purpose::Release(&BTreeSet::new())).await.unwrap();
    assert_eq!(left.attachments_to_release(&marked, Some(ReleaseMethod::ResourceDeletion)).count(), 0);
}

#[tokio::test]
async fn a_marked_pod_that_tolerates_the_out_of_service_taint_keeps_its_volume() {
    let (store, client, _) = dead_node().await;
    attach(&store, "db-0", "StatefulSet");
    let tolerant = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "db-0", "namespace": "shop" },
        "spec": { "tolerations": [{ "operator": "Exists" }] } });
    store.apply_value(&tolerant).unwrap();
    let marked = marked(&client).await;
    let left = inventory::read(&client, "n1", Purpose::Release(&marked)).await.unwrap();
    let counted = |how| left.attachments_to_release(&marked, Some(how)).count();
    assert_eq!(counted(ReleaseMethod::OutOfServiceTaint), 0, "Kubernetes leaves it where it is");
    assert_eq!(counted(ReleaseMethod::ResourceDeletion), 1);
}

/// What an inventory for this purpose asks for, as `verb resource`.
async fn asked(store: &ApiStore, client: &Client, purpose: Purpose<'_>) -> Vec<String> {
    store.audit().clear();
    inventory::read(client, "n1", purpose).await.unwrap();
    store.audit().entries().iter().map(|entry| format!("{} {}", entry.verb, entry.resource)).collect()
}

#[tokio::test]
async fn attachments_and_claims_are_read_only_where_they_decide() {
    let (store, client, _) = dead_node().await;
    attach(&store, "db-0", "StatefulSet");
    let marked = marked(&client).await;
    let (pods, attachments, claim) = ("list pods", "list volumeattachments", "get persistentvolumeclaims");
    // What has a StatefulSet is of the first class, whatever its volumes are,
    assert_eq!(asked(&store, &client, Purpose::Marking).await, [pods]);
    // stays so once it is marked, and takes its volume with it.
    assert_eq!(asked(&store, &client, Purpose::Marked(&marked)).await, [pods]);
    assert_eq!(asked(&store, &client, Purpose::Release(&marked)).await, [pods, attachments]);
    // A pod that anybody may replace at once is of the first class only by its volume,
    attach(&store, "web", "ReplicaSet");
    assert_eq!(asked(&store, &client, Purpose::Marking).await, [pods, attachments, claim]);
    // and the volume of one that stays must stay.
    assert_eq!(asked(&store, &client, Purpose::Release(&marked)).await, [pods, attachments, claim]);
}

#[tokio::test]
async fn what_the_eviction_by_our_own_taint_writes_costs_no_pass() {
    let (store, client, proof) = dead_node().await;
    attach(&store, "db-0", "StatefulSet");
    let marked = marked(&client).await;
    // Given an eviction that writes to the pod once, after it was listed,
    let live = writing(&store, |asked| asked == 2);
    let guard = Guard::new(&client, NAMESPACE, &proof, live);
    // then the same release takes it, on a list and a check made after that.
    let released = release(guard, &marked, ReleaseMethod::ResourceDeletion).await.unwrap();
    assert!(matches!(released, Released::Done { pods: 5, attachments: 1, .. }), "{released:?}");
    assert_eq!((pods(&client).await, attached(&client).await.len()), (0, 0));
}

#[tokio::test]
async fn with_the_out_of_service_taint_marked_pods_do_not_wait_for_the_garbage_collection() {
    let (store, client, proof) = dead_node().await;
    attach(&store, "db-0", "StatefulSet");
    attach(&store, "late", "StatefulSet");
    let marked = marked(&client).await;
    let guard = Guard::new(&client, NAMESPACE, &proof, || true);
    let released = release(guard, &marked, ReleaseMethod::OutOfServiceTaint).await.unwrap();
    // The marked pod is taken, after the taint; all others and the volumes are for Kubernetes to free.
    let taint = taints::text(&taints::out_of_service());
    assert_eq!(released, Released::Done { pods: 1, attachments: 0, tainted: Some(taint) });
    let api = Api::<Pod>::namespaced(client.clone(), "shop");
    assert!(api.get_opt("db-0").await.unwrap().is_none());
    assert!(api.get_opt("late").await.unwrap().is_some());
    assert_eq!((pods(&client).await, attached(&client).await.len()), (5, 2));
}

#[tokio::test]
async fn with_the_out_of_service_taint_nothing_is_taken_once_the_proof_is_withdrawn() {
    let (store, client, proof) = dead_node().await;
    attach(&store, "db-0", "StatefulSet");
    let marked = marked(&client).await;
    let asked = Cell::new(0);
    let live = || {
        asked.set(asked.get() + 1);
        asked.get() <= 1
    };
    let guard = Guard::new(&client, NAMESPACE, &proof, live);
    let released = release(guard, &marked, ReleaseMethod::OutOfServiceTaint).await.unwrap();
    assert!(matches!(released, Released::Stopped(_)), "{released:?}");
    assert_eq!(pods(&client).await, 5);
}
