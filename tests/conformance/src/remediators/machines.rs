//! Machines of a case, and what their controllers would do with them.

use std::rc::Rc;

use anyhow::Context;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::subject::Subject;
use crate::node::{Node, State};
use crate::world::World;

/// Kind under test.
pub const KIND: &str = "MachineDeletionRemediation";
/// Its API version.
pub const VERSION: &str = "machine-deletion-remediation.medik8s.io/v1alpha1";
/// Annotation by which a node names its machine.
pub const LINK: &str = "machine.openshift.io/machine";
const GROUP: &str = "machine.openshift.io/v1beta1";
/// What a machine controller holds its machines by.
const FINALIZER: &str = "machine.machine.openshift.io";

/// A set of machines, each with its node.
pub struct Fleet {
    world: Rc<World>,
    set: Value,
}

/// Makes the kinds known and watches what the cases look at.
pub async fn know(world: &Rc<World>) -> anyhow::Result<()> {
    let group = "machine-deletion-remediation.medik8s.io";
    world.plane.learn(group, "v1alpha1", KIND, "machinedeletionremediations");
    for name in ["machines", "machinesets"] {
        let path = world.plane.parts.fixtures.join(format!("openshift/0000_10_machine-api_01_{name}-Default.crd.yaml"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        world.plane.define(&serde_yaml_ng::from_str(&text).with_context(|| path.display().to_string())?).await?;
    }
    for kind in [KIND, "Machine", "Event", "Node"] {
        world.plane.eyes.watch(&world.plane.resource(kind)?).await?;
    }
    Ok(())
}

/// A set that wants so many machines; `None`: it does not say.
pub async fn fleet(world: &Rc<World>, replicas: Option<i64>) -> anyhow::Result<Fleet> {
    know(world).await?;
    let set = json!({
        "apiVersion": GROUP, "kind": "MachineSet", "metadata": { "name": "set", "namespace": world.name },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "set": "set" } },
            "template": { "metadata": { "labels": { "set": "set" } } } },
    });
    Ok(Fleet { world: Rc::clone(world), set: world.plane.create(&set).await? })
}

impl Fleet {
    /// The owner reference of its machines.
    pub fn owner(&self) -> Value {
        json!([{ "apiVersion": GROUP, "kind": "MachineSet", "name": "set", "uid": self.set["metadata"]["uid"],
            "controller": true }])
    }

    /// A node and its machine, of a cloud.
    pub async fn member(&self, state: State) -> anyhow::Result<(Node, Value)> {
        self.member_with(state, json!({})).await
    }

    /// The same; `change` is merged into the machine.
    pub async fn member_with(&self, state: State, change: Value) -> anyhow::Result<(Node, Value)> {
        let node = self.world.node(state).await?;
        let machine = self.machine(&format!("m-{}", node.name), Some(&node), change).await?;
        let name = machine["metadata"]["name"].as_str().unwrap_or_default();
        annotate(&self.world, &node, json!({ LINK: format!("{}/{name}", self.world.name) })).await?;
        Ok((node, machine))
    }

    /// A machine of the set.
    pub async fn machine(&self, name: &str, node: Option<&Node>, change: Value) -> anyhow::Result<Value> {
        let mut object = json!({
            "apiVersion": GROUP, "kind": "Machine",
            "metadata": { "name": name, "namespace": self.world.name, "ownerReferences": self.owner(),
                "finalizers": [FINALIZER], "labels": { "set": "set" } },
            "spec": { "providerID": format!("aws:///zone/{name}") },
        });
        crate::value::merge(&mut object, &change);
        let made = self.world.plane.create(&object).await?;
        if let Some(node) = node {
            self.linked(name, node).await?;
        }
        Ok(made)
    }

    /// The status of a machine names this node.
    pub async fn linked(&self, machine: &str, node: &Node) -> anyhow::Result<()> {
        let status = json!({ "phase": "Running", "nodeRef": { "kind": "Node", "name": node.name } });
        self.world.patch_status("Machine", &self.world.name, machine, status).await
    }

    /// Waits until the deletion of a machine was asked for.
    pub async fn deletion(&self, machine: &Value) -> anyhow::Result<Rc<Value>> {
        let name = machine["metadata"]["name"].as_str().unwrap_or_default();
        self.world
            .until(&format!("deletion of machine {name}"), "Machine", &self.world.name, name, |found| {
                if found["metadata"]["deletionTimestamp"].is_null() {
                    Err("it is not deleted".to_owned())
                } else {
                    Ok(())
                }
            })
            .await
    }

    /// What the machine controller does: the instance goes, then the node object, then the machine.
    pub async fn finish(&self, machine: &Value, node: &Node) -> anyhow::Result<()> {
        node.vanishes().await?;
        let name = machine["metadata"]["name"].as_str().unwrap_or_default();
        let patch = json!({ "metadata": { "finalizers": null } });
        self.world.patch("Machine", &self.world.name, name, patch).await.map(drop)
    }

    /// Fails if the deletion of a machine was ever asked for.
    pub fn untouched(&self, machine: &Value) -> anyhow::Result<()> {
        let name = &machine["metadata"]["name"];
        let touched = self.world.eyes().history("Machine", |seen| {
            seen["metadata"]["name"] == *name
                && seen["metadata"]["namespace"] == *self.world.name
                && !seen["metadata"]["deletionTimestamp"].is_null()
        });
        anyhow::ensure!(touched.is_empty(), "machine {name} was deleted");
        Ok(())
    }
}

/// Annotations on a node.
pub async fn annotate(world: &World, node: &Node, annotations: Value) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
    world.plane.api("Node", "")?.patch(&node.name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Asks for the deletion of a node's machine.
pub async fn remediate(world: &Rc<World>, node: &Node) -> anyhow::Result<Subject> {
    remediate_as(world, &node.name, json!({})).await
}

/// The same, by an object of this name with this metadata.
pub async fn remediate_as(world: &Rc<World>, name: &str, metadata: Value) -> anyhow::Result<Subject> {
    world.asks(KIND, VERSION, name, metadata, json!({})).await
}
