//! Whom a remediation is about, where its time goes, and what is recorded when nobody looked at the right moment.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{NAMESPACE, VICTIM, World, eventually, stays};
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use palisade_api::{ProofKind, SelfNodeRemediation, SelfNodeRemediationConfig, Stage};
use serde_json::{Value, json};

const MACHINES: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: machines.machine.openshift.io }
spec:
  group: machine.openshift.io
  scope: Namespaced
  names: { kind: Machine, listKind: MachineList, plural: machines, singular: machine }
  versions:
    - name: v1beta1
      served: true
      storage: true
      schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
";

fn machines(world: &World) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("machine.openshift.io", "v1beta1", "Machine"));
    Api::namespaced_with(world.client.clone(), NAMESPACE, &kind)
}

async fn machine(world: &World, name: &str, status: Value) {
    let object = serde_json::from_value(json!({
        "apiVersion": "machine.openshift.io/v1beta1", "kind": "Machine",
        "metadata": { "name": name, "namespace": NAMESPACE }, "status": status,
    }));
    machines(world).create(&PostParams::default(), &object.unwrap()).await.unwrap();
}

/// A remediation as a machine health check makes it: named after the Machine that owns it.
async fn of_machine(world: &World, name: &str) -> SelfNodeRemediation {
    let owner = machines(world).get_opt(name).await.unwrap();
    let uid = owner.and_then(|owner| owner.metadata.uid).unwrap_or_else(|| "gone".to_owned());
    let object = serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": NAMESPACE, "ownerReferences": [
            { "apiVersion": "machine.openshift.io/v1beta1", "kind": "Machine", "name": name, "uid": uid } ] },
        "spec": { "remediationStrategy": "ResourceDeletion" },
    }));
    world.remediations().create(&PostParams::default(), &object.unwrap()).await.unwrap()
}

async fn last_error(world: &World, name: &str) -> String {
    world.remediation(name).await.status.unwrap_or_default().last_error.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c064_a_remediation_of_a_machine_is_about_its_node() {
    let world = World::start().await;
    world.store.apply_yaml(MACHINES).unwrap();
    machine(&world, "good", json!({ "nodeRef": { "name": VICTIM } })).await;
    machine(&world, "stray", json!({ "nodeRef": { "name": "nobody" } })).await;
    machine(&world, "new", json!({})).await;
    world.silence().await;
    for name in ["good", "stray", "new", "missing"] {
        of_machine(&world, name).await;
    }
    world.completes("good").await;
    let progress = world.remediation("good").await.status.unwrap().palisade.unwrap();
    assert_eq!(progress.node.as_deref(), Some(VICTIM));
    for (name, error) in [
        ("stray", "\"nobody\" does not exist"),
        ("new", "no status.nodeRef yet"),
        ("missing", "Machine palisade-system/missing does not exist"),
    ] {
        eventually(&format!("{name} says what is wrong"), || async { last_error(&world, name).await.contains(error) })
            .await;
        assert!(world.remediation(name).await.finalizers().is_empty(), "{name}");
    }
    for name in ["stray", "missing"] {
        let conditions = world.remediation(name).await.status.unwrap().conditions;
        assert!(
            conditions.iter().all(|known| known.status == "False" && known.reason == "RemediationSkippedNodeNotFound"),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remediation_that_was_taken_up_stays_with_its_node() {
    let world = World::start().await;
    world.agents.willing.store(false, Ordering::SeqCst);
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    // When somebody points it at a healthy node, nothing happens to that node.
    world.annotate("r1", "remediation.medik8s.io/node-name", "n2").await;
    stays("the other node is left alone", Duration::from_secs(3), || async {
        world.leases().get("n2").await.unwrap().annotations().get(palisade_core::fencing::record::INTENT).is_none()
    })
    .await;
    world.agents.willing.store(true, Ordering::SeqCst);
    world.completes("r1").await;
    let certificate = world.remediation("r1").await.status.unwrap().palisade.unwrap().certificate.unwrap();
    assert_eq!(certificate.node, VICTIM);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_back_before_anybody_looked_leaves_a_certificate_all_the_same() {
    let mut world = World::start().await;
    world.agents.willing.store(false, Ordering::SeqCst);
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    // Given a controller that is down while the node comes back and its detector lets the remediation go,
    world.kill_controllers().await;
    world.boot_unanswered("b2").await;
    world.hold("r1", "test.example/look").await;
    world.delete("r1").await;
    // when the next one cleans up,
    world.start_controller();
    eventually("it is let go", || async {
        !world.remediation("r1").await.finalizers().iter().any(|name| name.contains("snr-finalizer"))
    })
    .await;
    // then the object says by what the end of the old boot is proven.
    let progress = world.remediation("r1").await.status.unwrap().palisade.unwrap();
    let certificate = progress.certificate.unwrap();
    assert_eq!((certificate.proof, certificate.boot_id.as_str()), (ProofKind::BootChanged, "b1"));
    assert_eq!(certificate.new_boot_id.as_deref(), Some("b2"));
    let stages: Vec<Stage> = progress.timeline.iter().map(|entry| entry.stage).collect();
    assert!(stages.contains(&Stage::Proven) && stages.contains(&Stage::Recovered), "{stages:?}");
    assert_eq!((world.taints().await, world.intent().await), (vec![], None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contradiction_after_the_release_is_told_by_the_next_controller_too() {
    let mut world = World::start().await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.completes("r1").await;
    // Given a controller that made no proof itself, and that saw the node silent,
    world.restart_controller().await;
    let reads = Duration::from_secs(5);
    stays("it marks nothing and tells nothing", reads, || async {
        !world.stages("r1").await.contains(&Stage::Contradicted)
    })
    .await;
    // when the old boot is heard, it says so as loudly as the first one would have.
    world.patch_ready(VICTIM, "Unknown", Some("b1")).await;
    eventually("the contradiction is told", || async {
        let status = world.remediation("r1").await.status.unwrap();
        status.conditions.iter().any(|known| known.type_ == "Contradicted" && known.status == "True")
            && status.palisade.unwrap().certificate.is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_fell_silent_long_ago_needs_no_wait() {
    let world = World::start().await;
    world.silence().await;
    // Given silence for longer than T + 2 Wd + margin (about 2.2 s) before anybody asks,
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.remediate("r1", "ResourceDeletion").await;
    world.completes("r1").await;
    // then there is nothing to wait for between intent and proof but the promises: all of the time was over by then.
    let progress = world.remediation("r1").await.status.unwrap().palisade.unwrap();
    let (spent, certificate) = (progress.spent.unwrap(), progress.certificate.unwrap());
    let (waited, promises) = (certificate.waited.unwrap().to_std(), spent.promises.unwrap().to_std());
    let beside = waited.saturating_sub(promises);
    // A controller that counted from the intent would wait for 2.2 s; two seconds are what a busy machine may add.
    assert!(beside < Duration::from_secs(2), "{waited:?}, {promises:?} of it for promises");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_users_safe_time_is_a_floor_and_the_published_instant_is_d() {
    let world = World::start().await;
    let configs: Api<SelfNodeRemediationConfig> = Api::namespaced(world.client.clone(), NAMESPACE);
    let floor = json!({ "spec": { "safeTimeToAssumeNodeRebootedSeconds": 6 } });
    configs.patch("self-node-remediation-config", &PatchParams::default(), &Patch::Merge(&floor)).await.unwrap();
    world.silence().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.remediate("r1", "ResourceDeletion").await;
    world.completes("r1").await;
    let status = world.remediation("r1").await.status.unwrap();
    let certificate = status.palisade.unwrap().certificate.unwrap();
    let waited = certificate.waited.unwrap().to_std();
    assert!(waited >= Duration::from_secs(6), "{waited:?}");
    // The instant that others know, to the second.
    let (published, intent) = (status.time_assumed_rebooted.unwrap().0, certificate.intent_at.unwrap().0);
    let length = published.as_second() - intent.as_second();
    assert!((6..=8).contains(&length), "{length}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_says_where_the_time_went() {
    let world = World::start().await;
    world.pod("db-0", Some("StatefulSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.completes("r1").await;
    let spent = world.remediation("r1").await.status.unwrap().palisade.unwrap().spent.unwrap();
    let length = |part: &Option<palisade_api::GoDuration>| part.as_ref().expect("every part is measured").to_std();
    let parts =
        [&spent.detect, &spent.take_up, &spent.mark, &spent.intend, &spent.promises, &spent.wait, &spent.release];
    let sum: Duration = parts.into_iter().map(length).sum();
    let total = length(&spent.total);
    // Creation and the change of readiness are whole seconds.
    let difference = total.abs_diff(sum);
    assert!(difference < Duration::from_millis(2_500), "the parts make {sum:?}, together it took {total:?}: {spent:?}");
}
