//! Machines of Cluster API. Their kind has the name of OpenShift's, so they are asked for here by group.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::machines::{annotate, know, remediate};
use crate::node::State::Sick;
use crate::world::{SOON, World};

/// Version of the machines.
pub const VERSION: &str = "v1beta2";

/// Machines in the namespace of a case.
pub fn machines(world: &World) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("cluster.x-k8s.io", VERSION, "Machine"));
    Api::namespaced_with(world.plane.client.clone(), &world.name, &kind)
}

/// Makes the kind known.
pub async fn define(world: &World) -> anyhow::Result<()> {
    let path = world.plane.parts.fixtures.join("cluster-api/cluster.x-k8s.io_machines.yaml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let definition: Value = serde_yaml_ng::from_str(&text)?;
    let name = definition["metadata"]["name"].as_str().context("a definition without name")?.to_owned();
    let parameters = PatchParams::apply("palisade-conformance").force();
    world.plane.api("CustomResourceDefinition", "")?.patch(&name, &parameters, &Patch::Apply(&definition)).await?;
    let begun = Instant::now();
    while let Err(error) = machines(world).list(&kube::api::ListParams::default().limit(1)).await {
        ensure!(begun.elapsed() < SOON * 2, "machines of Cluster API are not served: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// MD-17.
pub async fn machine_is_deleted(w: &Rc<World>) -> anyhow::Result<()> {
    know(w).await?;
    define(w).await?;
    let node = w.node(Sick).await?;
    let links = json!({ "cluster.x-k8s.io/machine": "capi-m", "cluster.x-k8s.io/cluster-namespace": w.name,
        "cluster.x-k8s.io/cluster-name": "c" });
    annotate(w, &node, links).await?;
    let machine = json!({
        "apiVersion": format!("cluster.x-k8s.io/{VERSION}"), "kind": "Machine",
        "metadata": { "name": "capi-m", "namespace": w.name, "finalizers": ["machine.cluster.x-k8s.io"],
            "ownerReferences": [{ "apiVersion": format!("cluster.x-k8s.io/{VERSION}"), "kind": "MachineSet", "name": "set",
                "uid": "set-uid", "controller": true }] },
        "spec": { "clusterName": "c", "providerID": "docker:///capi-m", "bootstrap": { "dataSecretName": "s" },
            "infrastructureRef": { "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DockerMachine", "name": "i" } },
    });
    let machine: DynamicObject = serde_json::from_value(machine)?;
    let api = machines(w);
    api.create(&PostParams::default(), &machine).await?;
    let status = Patch::Merge(json!({ "status": { "nodeRef": { "name": node.name } } }));
    api.patch_status("capi-m", &PatchParams::default(), &status).await?;
    let remediation = remediate(w, &node).await?;
    let begun = Instant::now();
    while api.get("capi-m").await?.metadata.deletion_timestamp.is_none() {
        if begun.elapsed() > SOON {
            bail!("its deletion was not asked for; the remediation says {}", remediation.now().await?["status"]);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    api.patch("capi-m", &PatchParams::default(), &free).await?;
    Ok(())
}
