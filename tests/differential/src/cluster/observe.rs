//! What can be seen of a remediation from outside of the controller.

use std::rc::Rc;

use anyhow::Context;
use kube::api::DeleteParams;
use palisade_conformance::plane::NAMESPACE;
use palisade_conformance::value::{brief, condition};
use palisade_conformance::world::World;
use palisade_remediator::testing::Effect;
use serde_json::{Value, json};

use crate::ending::{Ending, Notes, bare, reason_of_condition};
use crate::wasm::convert;

/// Conditions of the host itself.
const HOSTS: [&str; 3] = ["Processing", "Succeeded", "Disabled"];

/// A remediation under observation.
pub struct Observed<'a> {
    /// Where it is.
    pub world: &'a Rc<World>,
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: String,
}

impl Observed<'_> {
    /// Waits for the verdict, and notes everything up to it.
    pub async fn verdict(&self) -> anyhow::Result<Ending> {
        let over = |object: &Value| match condition(&object["status"], "Succeeded")["status"].as_str() {
            Some("True" | "False") => Ok(()),
            _ => Err(brief(&object["status"])),
        };
        let what = format!("the verdict of {} {}", self.kind, self.name);
        let done = self.world.until(&what, self.kind, &self.world.name, &self.name, over).await?;
        let succeeded = condition(&done["status"], "Succeeded");
        let well = succeeded["status"] == "True";
        let mut notes = Notes::default();
        let mut released = String::new();
        for (key, effect) in self.ledger() {
            notes.asked(&key, &effect);
        }
        for effect in effects(&done["status"]["palisade"]["applied"]) {
            if let (_, Effect::Release(_, how)) = effect {
                released = bare(&how);
            }
        }
        let mut told: Vec<String> = done["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|one| !HOSTS.contains(&text(&one["type"])))
            .map(|one| format!("{}={} {}", text(&one["type"]), text(&one["status"]), text(&one["reason"])))
            .collect();
        told.sort();
        Ok(Ending {
            verdict: if well { "Succeeded" } else { "Failed" }.to_owned(),
            reason: if well { "succeeded".to_owned() } else { reason_of_condition(text(&succeeded["reason"])) },
            effects: notes.effects,
            told,
            released,
            left: self.traces().await?,
            afterwards: Vec::new(),
        })
    }

    /// Every effect that the status ever named, in the order in which they came up.
    fn ledger(&self) -> Vec<(String, Effect)> {
        let ours = |object: &Value| {
            object["metadata"]["namespace"] == *self.world.name && object["metadata"]["name"] == *self.name
        };
        let sights = self.world.eyes().history(self.kind, ours);
        let progress = sights.iter().map(|sight| &sight.object["status"]["palisade"]);
        progress.flat_map(|it| [effects(&it["applied"]), effects(&it["pending"])].concat()).collect()
    }

    /// Asks for its deletion, waits until it is gone, and returns what is left then.
    pub async fn leaves(&self) -> anyhow::Result<Vec<String>> {
        let (world, name) = (self.world, &self.name);
        world.delete(self.kind, &world.name, name).await?;
        let eyes = world.eyes();
        let gone = || match eyes.get(self.kind, &world.name, name) {
            None => Ok(()),
            Some(object) => Err(brief(&json!([object["metadata"]["finalizers"], object["status"]]))),
        };
        eyes.until(&format!("{} {name} to vanish", self.kind), palisade_conformance::world::SOON, gone).await?;
        self.traces().await
    }

    /// Pods and marks of ours that are there now.
    async fn traces(&self) -> anyhow::Result<Vec<String>> {
        let world = self.world;
        let node = world.get("Node", "", &self.node).await?.unwrap_or_default();
        let taints: Vec<&str> =
            node["spec"]["taints"].as_array().into_iter().flatten().map(|it| text(&it["key"])).collect();
        let lease = world.get("Lease", NAMESPACE, &self.node).await?.unwrap_or_default();
        let intent = !lease["metadata"]["annotations"]["palisade.dev/fence-intent"].is_null();
        let mut left = Vec::new();
        if intent || taints.iter().any(|key| key.contains("medik8s.io") || key.contains("palisade.dev")) {
            left.push("mark".to_owned());
        }
        if taints.contains(&"node.kubernetes.io/out-of-service") {
            left.push("out of service".to_owned());
        }
        for name in ["db-0", "web"] {
            if world.pod_now(name).await?.0 {
                left.push(format!("pod {name}"));
            }
        }
        Ok(left)
    }
}

/// What the controller of pods, or a kubelet, does with pods that may go.
pub async fn remove_pods(world: &World, names: &[&str]) -> anyhow::Result<()> {
    let api = world.plane.api("Pod", &world.name)?;
    for name in names {
        match api.delete(name, &DeleteParams::default().grace_period(0)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error).context(format!("pod {name}")),
        }
    }
    Ok(())
}

fn effects(list: &Value) -> Vec<(String, Effect)> {
    let entries = list.as_array().into_iter().flatten();
    entries
        .filter_map(|entry| {
            let effect: palisade_runtime::Effect = serde_json::from_value(entry["effect"].clone()).ok()?;
            Some((text(&entry["key"]).to_owned(), convert::effect(&effect)))
        })
        .collect()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
