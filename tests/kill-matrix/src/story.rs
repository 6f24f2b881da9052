//! What is played: one remediation from the request to the last trace of it, by somebody who does what the world outside
//! of the controller would do, and never knows whether a controller died.

pub mod fence_agents;
mod machine_deletion;
mod meatware;
mod metal3;
mod script;
mod self_node;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use kube::api::DeleteParams;
use palisade_conformance::node::Node;
use palisade_conformance::plane::NAMESPACE;
use palisade_conformance::world::{LEASES, SOON, World};
use palisade_sandbox::demo::BackendKind;
use serde_json::{Map, Value, json};

use crate::gate::{Gate, Plan};

/// What a story gets.
pub struct Scene {
    /// Names and a namespace of its own, and the words to act with.
    pub world: Rc<World>,
    /// What the controller writes goes through it.
    pub gate: Rc<Gate>,
    /// Folder of the devices.
    pub devices: PathBuf,
    /// At which write the controller dies.
    pub plan: Plan,
}

/// How things are at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// Whatever has to be the same, killed or not, without names of this run.
    pub state: Value,
    /// Acts that cannot be taken back, and how often each was done.
    pub acts: Vec<(&'static str, usize)>,
}

type Lines = Box<dyn Fn(Scene) -> LocalBoxFuture<'static, anyhow::Result<Ending>>>;

/// A story.
pub struct Story {
    /// Name of the remediator.
    pub name: &'static str,
    /// Why a back end cannot show it.
    pub not_on: Option<(BackendKind, &'static str)>,
    /// The lines.
    pub play: Lines,
}

fn story(name: &'static str, lines: impl AsyncFn(Scene) -> anyhow::Result<Ending> + 'static) -> Story {
    let lines = Rc::new(lines);
    let play: Lines = Box::new(move |scene| {
        let lines = Rc::clone(&lines);
        Box::pin(async move { lines(scene).await })
    });
    Story { name, not_on: None, play }
}

/// All of them.
pub fn all() -> Vec<Story> {
    vec![
        self_node::story("self-node", "ResourceDeletion"),
        self_node::story("out-of-service-taint", "OutOfServiceTaint"),
        machine_deletion::story(),
        fence_agents::story(),
        metal3::story(),
        script::story(),
        meatware::story(),
    ]
}

impl Scene {
    /// Everything is in place: from now on what the controller writes is counted.
    pub fn begin(&self) {
        self.gate.arm(self.plan);
    }

    /// Two pods on a node: one that is marked before it is released, one that is not.
    pub async fn pods(&self, node: &Node) -> anyhow::Result<()> {
        self.world.pod(node, "web", "ReplicaSet", json!([])).await?;
        self.world.pod(node, "db-0", "StatefulSet", json!([])).await
    }

    /// What the collector of pods does on a node that is out of service.
    pub async fn collect_pods(&self) -> anyhow::Result<()> {
        let api = self.world.plane.api("Pod", &self.world.name)?;
        for name in ["web", "db-0"] {
            match api.delete(name, &DeleteParams::default().grace_period(0)).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// How the remediation stands: its conditions, how it came there, and what proved the end.
    pub fn standing(object: &Value) -> Value {
        let mut conditions: Vec<String> = object["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| format!("{}={} {}", text(&one["type"]), text(&one["status"]), text(&one["reason"])))
            .collect();
        conditions.sort();
        let progress = &object["status"]["palisade"];
        let stages: Vec<&Value> =
            progress["timeline"].as_array().into_iter().flatten().map(|entry| &entry["stage"]).collect();
        let proof = &progress["certificate"];
        json!({ "conditions": conditions, "stages": stages, "phase": object["status"]["phase"],
            "proof": [proof["proof"], proof["grade"], proof["bootId"]] })
    }

    /// What is left in the end, where a remediation has to leave nothing.
    pub async fn traces(&self, node: &str) -> anyhow::Result<Value> {
        let w = &self.world;
        let mut left = Map::new();
        if let Some(node) = w.get("Node", "", node).await? {
            let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
            // The API server itself sets this one on a new node, and nobody is here to take it away.
            let taints: Vec<&Value> = node["spec"]["taints"].as_array().into_iter().flatten().collect();
            let taints: Vec<_> = taints.iter().filter(|one| one["key"] != "node.kubernetes.io/not-ready").collect();
            left.insert(
                "node".into(),
                json!({ "labels": keys(&node["metadata"]["labels"]), "annotations": keys(&node["metadata"]["annotations"]),
                    "taints": taints, "unschedulable": node["spec"]["unschedulable"] }),
            );
        }
        // The lease of a node that has an agent stays, without intent.
        if let Some(lease) = w.get("Lease", NAMESPACE, node).await? {
            let annotations = lease["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
            left.insert("agent lease".into(), json!(annotations.keys().collect::<Vec<_>>()));
        }
        let held = w.get("Lease", LEASES, &format!("node-{node}")).await?;
        left.insert("node lease".into(), held.map_or(Value::Null, |lease| lease["spec"]["holderIdentity"].clone()));
        let mut pods: Vec<Value> =
            w.plane.list("Pod", &w.name).await?.iter().map(|pod| pod["metadata"]["name"].clone()).collect();
        pods.sort_by_key(ToString::to_string);
        left.insert("pods".into(), json!(pods));
        Ok(self.anonymous(&Value::Object(left)))
    }

    /// Without the name of this run.
    pub fn anonymous(&self, value: &Value) -> Value {
        // What was JSON stays so: the name has no character of its own in it.
        serde_json::from_str(&value.to_string().replace(&self.world.name, "RUN")).unwrap_or_default()
    }

    /// How often the controller asked for something, and got it.
    pub fn asked(&self, method: &str, part: &str) -> usize {
        let writes = self.gate.writes();
        writes.iter().filter(|write| write.method == method && write.path.contains(part) && write.accepted()).count()
    }

    /// Waits for something that nobody announces.
    pub async fn eventually(
        &self,
        what: &str,
        mut probe: impl AsyncFnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !probe().await? {
            anyhow::ensure!(begun.elapsed() < SOON, "{what}: not within {SOON:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
