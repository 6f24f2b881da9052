//! A host is held off and let go. Its operator is played: it goes off once it is held, and on once nobody holds it.

use palisade_conformance::node::State::Fine;
use palisade_conformance::remediators::metal3::Scene as Hosts;
use serde_json::json;

use super::{Ending, Scene, Story};

pub fn story() -> Story {
    super::story("metal3", async |scene: Scene| {
        let w = &scene.world;
        w.plane.eyes.watch(&w.plane.resource("Lease")?).await?;
        let hosts = Hosts::new(w, json!({})).await?;
        scene.begin();
        let wr = hosts.remediate(json!({})).await?;
        hosts.held().await?;
        hosts.powered(false).await?;
        hosts.let_go().await?;
        hosts.powered(true).await?;
        let done = wr.says("Succeeded", "True", "").await?;
        let mut standing = Scene::standing(&done);
        w.boots(&hosts.node, "b2").await?;
        hosts.node.becomes(Fine).await?;
        wr.leaves().await?;
        let host = hosts.host().await?;
        standing["host"] = json!([host["metadata"]["annotations"], host["spec"]["online"]]);
        Ok(Ending {
            state: json!({ "standing": standing, "traces": scene.traces(&hosts.node.name).await? }),
            acts: vec![("power off", hosts.times_held())],
        })
    })
}
