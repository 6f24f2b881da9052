//! A fence agent switches the machine: a script that keeps the power of every plug in a file and logs what it is asked.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context;
use palisade_conformance::node::State::{Fine, Sick};
use serde_json::json;

use super::{Ending, Scene, Story};

const KIND: &str = "FenceAgentsRemediation";
const VERSION: &str = "fence-agents-remediation.medik8s.io/v1alpha1";

/// Parameters come on standard input only.
const AGENT: &str = r#"#!/bin/sh
cd FOLDER || exit 1
input=$(cat)
action=$(printf '%s\n' "$input" | sed -n 's/^action=//p')
plug=$(printf '%s\n' "$input" | sed -n 's/^plug=//p')
[ "$action" = metadata ] && exit 1
echo "$action" >> "log-$plug"
case $action in
status) grep -qs off "power-$plug" && { echo "Status: OFF"; exit 2; }; echo "Status: ON";;
off|on) echo "$action" > "power-$plug";;
esac
"#;

/// Brings the agent.
pub fn install(devices: &Path) -> anyhow::Result<()> {
    let agents = devices.join("agents");
    std::fs::create_dir_all(&agents).with_context(|| agents.display().to_string())?;
    let agent = agents.join("fence_recorded");
    std::fs::write(&agent, AGENT.replace("FOLDER", &devices.display().to_string()))?;
    std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

pub fn story() -> Story {
    super::story("fence-agents", async |scene: Scene| {
        let w = &scene.world;
        w.plane.learn("fence-agents-remediation.medik8s.io", "v1alpha1", KIND, "fenceagentsremediations");
        for kind in [KIND, "Node", "Lease"] {
            w.plane.eyes.watch(&w.plane.resource(kind)?).await?;
        }
        let node = w.booted().await?;
        scene.pods(&node).await?;
        node.becomes(Sick).await?;
        scene.begin();
        let about = json!({ "annotations": { "remediation.medik8s.io/node-name": node.name } });
        let spec = json!({ "agent": "fence_recorded", "retryinterval": "1s", "sharedparameters": { "--ip": "192.0.2.1" },
            "nodeparameters": { "--plug": { &node.name: node.name } } });
        let far = w.asks(KIND, VERSION, "far", about, spec).await?;
        let done = far.says("Succeeded", "True", "").await?;
        let standing = Scene::standing(&done);
        w.boots(&node, "b2").await?;
        node.becomes(Fine).await?;
        far.leaves().await?;
        let read = |file: String| std::fs::read_to_string(scene.devices.join(file)).unwrap_or_default();
        let log = read(format!("log-{}", node.name));
        let count = |action: &str| log.lines().filter(|line| *line == action).count();
        Ok(Ending {
            state: json!({ "standing": standing, "traces": scene.traces(&node.name).await?,
                "power": read(format!("power-{}", node.name)) }),
            acts: vec![("power off", count("off")), ("power on", count("on"))],
        })
    })
}
