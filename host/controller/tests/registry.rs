//! The life of a module, against a real registry: pushed, signed, pulled, granted, swapped, withdrawn; and everything
//! that is refused. Run by `cargo xtask registry`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;
mod registry_support;

use std::sync::atomic::Ordering;

use common::{NAMESPACE, World, eventually, guests};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use palisade_api::remediator::RemediatorStatus;
use palisade_api::{Remediator, Stage};
use palisade_oci::signature::SigningKey;
use registry_support::{PASSWORD, Registry, USER};
use serde_json::{Value, json};

/// A key that nobody else has.
fn key() -> SigningKey {
    SigningKey::from_pem(rcgen::KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap()
}

/// The stock component, and others that behave the same and have other digests.
fn component(edition: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(guests().join("self-node.wasm")).unwrap();
    // A custom section of the name "edition": nothing of the behaviour changes.
    let body = [&[7_u8], b"edition".as_slice(), edition.as_bytes()].concat();
    bytes.push(0);
    bytes.push(u8::try_from(body.len()).unwrap());
    bytes.extend(body);
    bytes
}

fn remediators(world: &World) -> Api<Remediator> {
    Api::all(world.client.clone())
}

async fn prepare(world: &World, registry: &Registry) {
    let login = json!({ "auths": { (registry.host.clone()): { "username": USER, "password": PASSWORD } } });
    let secret: Secret = serde_json::from_value(json!({
        "metadata": { "name": "pull", "namespace": NAMESPACE }, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {}, "data": { ".dockerconfigjson": base64(&login.to_string()) },
    }))
    .unwrap();
    Api::namespaced(world.client.clone(), NAMESPACE).create(&PostParams::default(), &secret).await.unwrap();
    let map: ConfigMap = serde_json::from_value(json!({
        "metadata": { "name": "registry-ca", "namespace": NAMESPACE }, "data": { "ca.crt": registry.authority },
    }))
    .unwrap();
    Api::namespaced(world.client.clone(), NAMESPACE).create(&PostParams::default(), &map).await.unwrap();
}

fn base64(text: &str) -> String {
    let bytes = k8s_openapi::ByteString(text.as_bytes().to_vec());
    serde_json::to_value(bytes).unwrap().as_str().unwrap().to_owned()
}

fn oci(reference: &str) -> Value {
    json!({ "oci": { "reference": reference, "pullSecret": "pull", "caConfigMap": "registry-ca" } })
}

fn signed(by: &SigningKey) -> Value {
    json!({ "publicKeys": [by.public_pem()] })
}

async fn create(world: &World, name: &str, mut spec: Value) {
    if spec.get("capabilities").is_none() {
        spec["capabilities"] = json!(["fencing", "workloads", "report"]);
    }
    let object: Remediator = serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap();
    remediators(world).create(&PostParams::default(), &object).await.unwrap();
}

async fn status(world: &World, name: &str) -> RemediatorStatus {
    remediators(world).get(name).await.unwrap().status.unwrap_or_default()
}

async fn ready(world: &World, name: &str, value: &str, reason: &str) -> RemediatorStatus {
    eventually(&format!("Remediator {name} is Ready={value} ({reason})"), || async {
        let status = status(world, name).await;
        status.conditions.iter().any(|known| known.type_ == "Ready" && known.status == value && known.reason == reason)
    })
    .await;
    status(world, name).await
}

async fn uses(world: &World, name: &str, digest: &str) {
    eventually(&format!("Remediator {name} uses {digest}"), || async {
        status(world, name).await.module.is_some_and(|module| module.digest == digest)
    })
    .await;
}

async fn began_with(world: &World, remediation: &str) -> String {
    let status = world.remediation(remediation).await.status.unwrap();
    status.palisade.unwrap().module.unwrap().digest
}

/// Released, then back with another boot, and everything taken back.
async fn runs_to_its_end(world: &mut World, name: &str, boot: &str) {
    world.completes(name).await;
    world.boot(boot).await;
    world.delete(name).await;
    world.vanishes(name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs docker-registry: cargo xtask registry"]
async fn a_module_is_pushed_signed_pulled_granted_swapped_and_withdrawn() {
    // Given a registry with TLS and a password, and a signed component in it,
    let folder = tempfile::tempdir().unwrap();
    let mut registry = Registry::start(folder.path());
    let mut world = World::refreshing(&folder.path().join("cache")).await;
    prepare(&world, &registry).await;
    let ours = key();
    let first = registry.push("team/fence:stable", component("1"), Some(&ours)).await;

    // when an administrator grants it what it asks for, then it is pulled, checked and described.
    let mut spec = json!({ "source": oci(&registry.at("team/fence:stable")), "signature": signed(&ours) });
    spec["serves"] = json!([{ "kind": "SelfNodeRemediation" }]);
    create(&world, "fence", spec).await;
    let described = ready(&world, "fence", "True", "Loaded").await.module.unwrap();
    assert_eq!((described.name.as_str(), described.digest.as_str()), ("self-node", first.component_digest.as_str()));
    assert_eq!(described.manifest_digest.as_deref(), Some(first.manifest_digest.as_str()));
    assert_eq!(described.version, env!("CARGO_PKG_VERSION"));

    // When the tag moves in the middle of a remediation,
    world.agents.willing.store(false, Ordering::SeqCst);
    world.pod("web", Some("ReplicaSet")).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.reaches("r1", Stage::Intended).await;
    assert_eq!(began_with(&world, "r1").await, first.component_digest);
    let second = registry.push("team/fence:stable", component("2"), Some(&ours)).await;
    uses(&world, "fence", &second.component_digest).await;

    // and the controller is restarted besides, then the remediation ends with what it began with,
    world.restart_controller().await;
    world.agents.willing.store(true, Ordering::SeqCst);
    world.completes("r1").await;
    assert!(!world.has_pod("web").await);
    assert_eq!(began_with(&world, "r1").await, first.component_digest);
    runs_to_its_end(&mut world, "r1", "b2").await;

    // and the next one begins with the new one.
    world.silence().await;
    world.remediate("r2", "ResourceDeletion").await;
    world.completes("r2").await;
    assert_eq!(began_with(&world, "r2").await, second.component_digest);
    runs_to_its_end(&mut world, "r2", "b3").await;
    eventually("calls are counted", || async {
        let status = status(&world, "fence").await;
        status.calls.is_some_and(|calls| calls > 2) && status.p99_micros.is_some_and(|p99| p99 > 0)
    })
    .await;

    // When somebody else signs the next one, then the one in use stays, and the status says why.
    registry.push("team/fence:stable", component("3"), Some(&key())).await;
    let kept = ready(&world, "fence", "True", "KeepsEarlier").await;
    assert_eq!(kept.module.unwrap().digest, second.component_digest);
    assert!(kept.last_error.unwrap().contains("none of them by a key of the policy"));

    // When the registry is gone and the controller starts anew, then nothing is missing.
    registry.down();
    world.restart_controller().await;
    world.silence().await;
    world.remediate("r3", "ResourceDeletion").await;
    world.completes("r3").await;
    assert_eq!(began_with(&world, "r3").await, second.component_digest);
    runs_to_its_end(&mut world, "r3", "b4").await;

    // When it is withdrawn in the middle of a remediation, it is not called any more: the built-in one goes on.
    world.agents.willing.store(false, Ordering::SeqCst);
    world.silence().await;
    world.remediate("r4", "ResourceDeletion").await;
    world.reaches("r4", Stage::Intended).await;
    remediators(&world).delete("fence", &DeleteParams::default()).await.unwrap();
    eventually("the built-in component took over", || async {
        began_with(&world, "r4").await != second.component_digest
    })
    .await;
    world.agents.willing.store(true, Ordering::SeqCst);
    world.completes("r4").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs docker-registry: cargo xtask registry"]
async fn whatever_must_not_run_is_refused_with_the_reason_in_the_status() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(folder.path());
    let world = World::refreshing(&folder.path().join("cache")).await;
    prepare(&world, &registry).await;
    let (ours, stranger) = (key(), key());

    // Given everything that somebody may push by mistake or on purpose,
    registry.push("unsigned:1", component("u"), None).await;
    registry.push("strange:1", component("s"), Some(&stranger)).await;
    let good = registry.push("good:1", component("g"), Some(&ours)).await;
    registry.push("text:1", b"this is not WebAssembly".to_vec(), Some(&ours)).await;
    // The header of a component, layer 1, and nothing in it: valid, but of another world.
    registry.push("world:1", b"\0asm\x0d\0\x01\0".to_vec(), Some(&ours)).await;
    registry.push("huge:1", vec![0; 25 << 20], Some(&ours)).await;
    registry.push("contract:1", with_contract("9.9.9"), Some(&ours)).await;

    let of = |what: &str| json!({ "source": oci(&registry.at(what)), "signature": signed(&ours) });
    let mut digest = of("good:1");
    digest["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    let mut greedy = of("good:1");
    greedy["capabilities"] = json!(["fencing", "report"]);
    let nowhere = format!("good@sha256:{}", "a".repeat(64));
    let mut no_secret = of("good:1");
    no_secret["source"]["oci"]["pullSecret"] = Value::Null;
    let mut no_authority = of("good:1");
    no_authority["source"]["oci"]["caConfigMap"] = Value::Null;
    let mut no_such_secret = of("good:1");
    no_such_secret["source"]["oci"]["pullSecret"] = json!("none");
    let mut mirrored = of("good:1");
    mirrored["source"]["oci"]["reference"] = json!("registry.invalid/good:1");
    mirrored["source"]["oci"]["mirrors"] = json!([registry.host]);
    let mut pinned = of("good:1");
    pinned["source"]["oci"]["reference"] = json!(registry.at(&format!("good@{}", good.manifest_digest)));
    pinned["digest"] = json!(good.component_digest);

    // when Remediators name it, then each says why it is not used,
    let cases = [
        ("unsigned", of("unsigned:1"), "NotSigned", "it is not signed"),
        ("strange", of("strange:1"), "NotSigned", "none of them by a key of the policy"),
        ("digest", digest, "DigestMismatch", "spec.digest"),
        ("nowhere", of(&nowhere), "SourceUnavailable", "there is no such artifact"),
        ("text", of("text:1"), "Invalid", "not a WebAssembly file"),
        ("world", of("world:1"), "WrongContract", "does not export the function \"reconcile\""),
        ("contract", of("contract:1"), "WrongContract", "9.9.9"),
        ("huge", of("huge:1"), "TooLarge", "the limit is 25165824"),
        ("greedy", greedy, "CapabilityNotGranted", "asks for workloads"),
        ("no-secret", no_secret, "SourceUnavailable", "not authorized"),
        ("no-such-secret", no_such_secret, "SourceUnavailable", "Secret palisade-system/none does not exist"),
        ("no-authority", no_authority, "SourceUnavailable", "spec.source.oci.caConfigMap"),
        ("no-registry", of_reference("fence:1"), "SourceUnavailable", "registry/repository:tag"),
    ];
    for (name, spec, _, _) in &cases {
        create(&world, name, spec.clone()).await;
    }
    create(&world, "mirrored", mirrored).await;
    create(&world, "pinned", pinned).await;
    for (name, _, reason, words) in &cases {
        let status = ready(&world, name, "False", reason).await;
        let said = status.last_error.unwrap_or_default();
        assert!(said.contains(words) && said.contains(&format!("Remediator {name}")), "{name}: {said}");
        assert!(!said.contains(PASSWORD) && status.module.is_none(), "{name}: {said}");
    }

    // while what is in order is used, also through a mirror and by digest.
    for name in ["mirrored", "pinned"] {
        let module = ready(&world, name, "True", "Loaded").await.module.unwrap();
        assert_eq!(module.digest, good.component_digest, "{name}");
    }

    // When the mistake is corrected, it is used.
    let patch = json!({ "spec": { "capabilities": ["fencing", "workloads", "report"] } });
    remediators(&world).patch("greedy", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let status = ready(&world, "greedy", "True", "Loaded").await;
    assert_eq!(status.last_error, None);
    assert_eq!(remediators(&world).get("greedy").await.unwrap().name_any(), "greedy");
}

fn of_reference(reference: &str) -> Value {
    json!({ "source": oci(reference) })
}

/// The stock component with another version of the contract in its manifest (the last place that has it), of the same
/// length.
fn with_contract(version: &str) -> Vec<u8> {
    let mut bytes = component("c");
    let section = b"\"contract\":\"palisade:remediation@";
    let at = bytes.windows(section.len()).rposition(|window| window == section).unwrap() + section.len();
    bytes[at..at + version.len()].copy_from_slice(version.as_bytes());
    bytes
}
