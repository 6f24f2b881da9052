//! What cannot work: each case has a condition and an event that name object, field and remedy, and everything else
//! goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::{NAMESPACE, VICTIM, World, eventually, guests};
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use palisade_api::{Remediator, WasmRemediation};
use serde_json::{Value, json};

async fn remediator(world: &World, name: &str, spec: Value) {
    let object: Remediator =
        serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).expect("a remediator");
    Api::all(world.client.clone()).create(&PostParams::default(), &object).await.expect("created");
}

async fn wasm(world: &World, name: &str, remediator: &str, parameters: Value) {
    let object: WasmRemediation = serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": NAMESPACE,
            "annotations": { "remediation.medik8s.io/node-name": VICTIM } },
        "spec": { "remediator": remediator, "parameters": parameters },
    }))
    .expect("a remediation");
    remediations(world).create(&PostParams::default(), &object).await.expect("created");
}

fn remediations(world: &World) -> Api<WasmRemediation> {
    Api::namespaced(world.client.clone(), NAMESPACE)
}

/// Every capability there is.
const EVERYTHING: [&str; 10] =
    ["target", "agent", "fencing", "workloads", "machines", "power", "approval", "jobs", "scheduling", "report"];

/// Succeeded=False with a message, and a warning event with the same words.
async fn fails_with(world: &World, name: &str, words: &[&str]) {
    let said = |text: &str| words.iter().all(|word| text.contains(word));
    eventually(&format!("{name} fails with {words:?}"), || async {
        let status = remediations(world).get(name).await.unwrap().status.unwrap_or_default();
        status
            .conditions
            .iter()
            .any(|known| known.type_ == "Succeeded" && known.status == "False" && said(&known.message))
    })
    .await;
    let events: Api<Event> = Api::namespaced(world.client.clone(), NAMESPACE);
    let told = events.list(&ListParams::default()).await.unwrap().items.iter().any(|event| {
        event.involved_object.name.as_deref() == Some(name)
            && event.type_.as_deref() == Some("Warning")
            && said(event.message.as_deref().unwrap_or_default())
    });
    assert!(told, "no event about {name} with {words:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_input_is_named_with_its_remedy_and_others_go_on() {
    let world = World::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        json!({ "file": path.to_string_lossy() })
    };
    let good = std::fs::read(guests().join("self-node.wasm")).expect("built");
    remediator(&world, "text", json!({ "source": file("text.wasm", b"hello"), "capabilities": EVERYTHING })).await;
    remediator(&world, "core", json!({ "source": file("core.wasm", b"\0asm\x01\0\0\0"), "capabilities": EVERYTHING }))
        .await;
    remediator(&world, "greedy", json!({ "source": file("self.wasm", &good), "capabilities": ["fencing"] })).await;
    remediator(&world, "gone", json!({ "source": { "file": "/nowhere/x.wasm" }, "capabilities": EVERYTHING })).await;
    let digest = format!("sha256:{}", "0".repeat(64));
    remediator(
        &world,
        "digest",
        json!({ "source": { "builtin": "self-node" }, "digest": digest, "capabilities": EVERYTHING }),
    )
    .await;
    remediator(
        &world,
        "map",
        json!({ "source": { "configMap": { "namespace": NAMESPACE, "name": "none", "key": "k" } }, "capabilities": EVERYTHING }),
    )
    .await;
    for name in ["missing", "text", "core", "greedy", "gone", "digest", "map"] {
        wasm(&world, name, name, json!({})).await;
    }

    fails_with(&world, "missing", &["spec.remediator", "\"missing\"", "create it"]).await;
    fails_with(&world, "text", &["Remediator text", "spec.source", "not a WebAssembly file"]).await;
    fails_with(&world, "core", &["Remediator core", "not a component"]).await;
    fails_with(&world, "greedy", &["Remediator greedy", "spec.capabilities", "workloads", "grant"]).await;
    fails_with(&world, "gone", &["Remediator gone", "spec.source.file", "/nowhere/x.wasm"]).await;
    fails_with(&world, "digest", &["Remediator digest", "spec.digest"]).await;
    fails_with(&world, "map", &["Remediator map", "ConfigMap", "create it"]).await;

    // The Remediator objects say it themselves.
    for (name, ready) in [("text", "False"), ("greedy", "False")] {
        eventually(&format!("Remediator {name} is Ready={ready}"), || async {
            let object = Api::<Remediator>::all(world.client.clone()).get(name).await.unwrap();
            object
                .status
                .unwrap_or_default()
                .conditions
                .iter()
                .any(|known| known.type_ == "Ready" && known.status == ready)
        })
        .await;
    }

    // Meanwhile an honest remediation of the same node gets through.
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.completes("r1").await;

    // And what never came to work can be deleted.
    for name in ["missing", "text", "greedy"] {
        remediations(&world).delete(name, &DeleteParams::default()).await.expect("deleted");
        eventually(&format!("{name} vanishes"), || async {
            remediations(&world).get_opt(name).await.unwrap().is_none()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_only_fails_is_not_called_any_more_and_others_go_on() {
    let world = World::start().await;
    remediator(
        &world,
        "hostile",
        json!({ "source": { "builtin": "hostile" }, "capabilities": EVERYTHING, "limits": { "fuel": 1_000_000 } }),
    )
    .await;
    wasm(&world, "looping", "hostile", json!({ "attack": "loop" })).await;
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    fails_with(&world, "looping", &["hostile", "in a row"]).await;
    world.completes("r1").await;
    // Nothing of it is on the node, and it can be deleted without being called.
    remediations(&world).delete("looping", &DeleteParams::default()).await.expect("deleted");
    eventually("it vanishes", || async { remediations(&world).get_opt("looping").await.unwrap().is_none() }).await;
}
