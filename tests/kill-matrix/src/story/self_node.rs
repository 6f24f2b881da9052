//! The node's own agent ends the boot: it obeys every intent that names its boot, and what counts is how many there were.

use std::collections::BTreeSet;

use palisade_conformance::node::State::Sick;
use palisade_conformance::plane::NAMESPACE;
use palisade_conformance::self_node::{self, subject};
use serde_json::json;

use super::{Ending, Scene, Story};

const INTENT: &str = palisade_core::fencing::record::INTENT;

pub fn story(name: &'static str, strategy: &'static str) -> Story {
    super::story(name, async move |scene: Scene| {
        let w = &scene.world;
        self_node::know(w).await?;
        let trio = w.trio().await?;
        // What proves the end is the agent's own word; with promises it would be whatever comes first.
        trio.refuse();
        let victim = &trio.victim;
        scene.pods(&victim.node).await?;
        victim.node.becomes(Sick).await?;
        scene.begin();
        let snr = w.remediate(&victim.node, strategy).await?;
        let intent = victim.intended().await?;
        let uid = intent["uid"].as_str().unwrap_or_default().to_owned();
        victim.publish("b1", |record| record.acknowledged = Some(uid)).await?;
        if strategy == "OutOfServiceTaint" {
            victim.tainted(subject::OUT_OF_SERVICE, true).await?;
            scene.collect_pods().await?;
        }
        let done = snr.reaches("Fencing-Completed").await?;
        let standing = Scene::standing(&done);
        victim.comes_back("b2").await?;
        snr.delete().await?;
        snr.gone().await?;
        victim.let_go().await?;
        let seen = w.eyes().history("Lease", |lease| {
            lease["metadata"]["namespace"] == NAMESPACE && lease["metadata"]["name"] == *victim.node.name
        });
        // Every intent ends the boot that it names.
        let reboots: BTreeSet<(String, String)> = seen
            .iter()
            .filter_map(|sight| sight.object["metadata"]["annotations"][INTENT].as_str())
            .filter_map(|intent| serde_json::from_str::<serde_json::Value>(intent).ok())
            .map(|intent| (intent["bootId"].to_string(), intent["uid"].to_string()))
            .collect();
        Ok(Ending {
            state: json!({ "standing": standing, "traces": scene.traces(&victim.node.name).await? }),
            acts: vec![("reboot of the node", reboots.len())],
        })
    })
}
