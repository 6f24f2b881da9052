//! The machine is deleted, and another one comes in its place.

use palisade_conformance::node::State::{Fine, Sick};
use palisade_conformance::remediators::machines::{fleet, remediate};
use serde_json::json;

use super::{Ending, Scene, Story};

pub fn story() -> Story {
    super::story("machine-deletion", async |scene: Scene| {
        let w = &scene.world;
        let fleet = fleet(w, Some(1)).await?;
        let (node, machine) = fleet.member(Sick).await?;
        scene.begin();
        let mdr = remediate(w, &node).await?;
        fleet.deletion(&machine).await?;
        fleet.finish(&machine, &node).await?;
        let (_, replacement) = fleet.member(Fine).await?;
        let done = mdr.says("Succeeded", "True", "MachineDeleted").await?;
        let mut standing = Scene::standing(&done);
        standing["recorded"] = scene.anonymous(&done["metadata"]["annotations"]);
        mdr.leaves().await?;
        fleet.untouched(&replacement)?;
        Ok(Ending {
            state: json!({ "standing": standing, "traces": scene.traces(&node.name).await? }),
            acts: vec![("deletion of the machine", scene.asked("DELETE", "/machines/"))],
        })
    })
}
