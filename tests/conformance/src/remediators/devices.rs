//! Machines behind a fence agent of the suite: the agent is a script, and its device is a folder.
//!
//! The real agents against real simulators of management controllers are in `cargo xtask power`. Here it matters what the
//! controller does with what an agent says, and the API server is the real one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::subject::Subject;
use crate::node::Node;
use crate::node::State::Sick;
use crate::plane::Plane;
use crate::world::{SOON, World};

/// Kind under test.
pub const KIND: &str = "FenceAgentsRemediation";
/// Its API version.
pub const VERSION: &str = "fence-agents-remediation.medik8s.io/v1alpha1";
/// Kind of its templates.
pub const TEMPLATE: &str = "FenceAgentsRemediationTemplate";
/// What must never be seen anywhere.
pub const SECRET: &str = "hidden-4711-password";

/// Every action sources a file of its name, if the device's folder has one; that is how a case makes a device fail.
const AGENT: &str = r#"#!/bin/sh
input=$(cat)
get() { printf '%s\n' "$input" | sed -n "s/^$1=//p"; }
action=$(get action)
[ "$action" = metadata ] && exit 1
device=$(get ip)
cd "$device" || { echo "there is no device $device" >&2; exit 1; }
keys=$(printf '%s\n' "$input" | sed 's/=.*//' | sort | tr '\n' ',')
shown=$(env | grep -c 'hidden-4711')
echo "at=$(date +%s%3N) argc=$# action=$action plug=$(get plug) keys=$keys shown=$shown" >> log
[ -f "$action" ] && . "./$action"
case $action in
status) grep -q off power && { echo "Status: OFF"; exit 2; }; echo "Status: ON";;
off|on) echo "$action" > power;;
esac
"#;

/// Where the agents of a plane lie.
pub fn agents(plane_dir: &Path) -> PathBuf {
    plane_dir.join("fence-agents")
}

/// Puts the agent where the controllers of a plane look for it.
pub fn install(plane_dir: &Path) -> anyhow::Result<()> {
    let folder = agents(plane_dir);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let file = folder.join("fence_suite");
    std::fs::write(&file, AGENT)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Makes the kinds known and watches what the cases look at.
pub async fn know(plane: &Rc<Plane>) -> anyhow::Result<()> {
    let group = "fence-agents-remediation.medik8s.io";
    plane.learn(group, "v1alpha1", KIND, "fenceagentsremediations");
    plane.learn(group, "v1alpha1", TEMPLATE, "fenceagentsremediationtemplates");
    for kind in [KIND, TEMPLATE, "Event", "Node", "Lease"] {
        plane.eyes.watch(&plane.resource(kind)?).await?;
    }
    Ok(())
}

/// The device of one node.
#[derive(Debug, Clone)]
pub struct Device(PathBuf);

impl Device {
    /// A device that is on.
    pub fn new(world: &World, node: &str) -> anyhow::Result<Self> {
        let dir = devices(world).join(node);
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        std::fs::write(dir.join("power"), "on\n")?;
        Ok(Self(dir))
    }

    /// What it does first from now on when it is asked for this action.
    pub fn does(&self, action: &str, script: &str) -> anyhow::Result<()> {
        // An agent that runs meanwhile reads the old file or the new one, never half of one.
        let new = self.0.join("new");
        std::fs::write(&new, script)?;
        std::fs::rename(new, self.0.join(action))?;
        Ok(())
    }

    /// It does what it is asked for again.
    pub fn works(&self, action: &str) {
        let _ = std::fs::remove_file(self.0.join(action));
    }

    /// `on` or `off`.
    pub fn power(&self) -> String {
        std::fs::read_to_string(self.0.join("power")).unwrap_or_default().trim().to_owned()
    }

    /// Somebody else switches it.
    pub fn switched(&self, power: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.0.join("power"), format!("{power}\n"))?)
    }

    /// One line for each run.
    pub fn runs(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A word of a line of the log.
    pub fn word<'a>(line: &'a str, name: &str) -> &'a str {
        let found = line.split(' ').find_map(|word| word.split_once('=').filter(|(key, _)| *key == name));
        found.map_or("", |(_, value)| value)
    }

    /// Off and on, in the order in which they were asked for.
    pub fn switches(&self) -> Vec<String> {
        let actions = self.runs().into_iter().map(|line| Self::word(&line, "action").to_owned());
        actions.filter(|action| action != "status").collect()
    }

    /// Waits until it is as it should be.
    pub async fn until(&self, what: &str, probe: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !probe(self) {
            anyhow::ensure!(begun.elapsed() < SOON, "{what}: not within {SOON:?}; its runs: {:?}", self.runs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

fn devices(world: &World) -> PathBuf {
    world.plane.dir.join("devices").join(&world.name)
}

/// A sick node with a device, and another node beside it.
pub struct Bench {
    /// Where it is.
    pub world: Rc<World>,
    /// The node.
    pub node: Node,
    /// Its device.
    pub device: Device,
    /// Another node.
    pub other: Node,
}

impl Bench {
    /// A bench with a Secret.
    pub async fn new(world: &Rc<World>) -> anyhow::Result<Self> {
        let bench = Self::without_secret(world).await?;
        bench.secret("creds", json!({ "--password": SECRET })).await?;
        Ok(bench)
    }

    /// A bench.
    pub async fn without_secret(world: &Rc<World>) -> anyhow::Result<Self> {
        know(&world.plane).await?;
        let (node, other) = (world.booted().await?, world.booted().await?);
        node.becomes(Sick).await?;
        let device = Device::new(world, &node.name)?;
        Ok(Self { world: Rc::clone(world), node, device, other })
    }

    /// A Secret in the namespace of the case.
    pub async fn secret(&self, name: &str, data: Value) -> anyhow::Result<()> {
        let mut secret = json!({ "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": name, "namespace": self.world.name }, "data": {} });
        for (key, value) in data.as_object().into_iter().flatten() {
            let bytes = value.as_str().unwrap_or_default().as_bytes().to_vec();
            secret["data"][key.trim_start_matches('-')] = serde_json::to_value(k8s_openapi::ByteString(bytes))?;
        }
        self.world.plane.create(&secret).await.map(drop)
    }

    /// Specification of a remediation; `change` is merged into it.
    pub fn spec(&self, change: &Value) -> Value {
        let folder = devices(&self.world);
        let mut spec = json!({
            "agent": "fence_suite", "sharedSecretName": "creds", "retryinterval": "1s",
            "sharedparameters": { "--ip": format!("{}/{{{{.NodeName}}}}", folder.display()) },
            "nodeparameters": { "--plug": { self.node.name.as_str(): "1", self.other.name.as_str(): "2" } },
        });
        crate::value::merge(&mut spec, change);
        spec
    }

    /// The whole object, named as its node.
    pub fn object(&self, kind: &str, name: &str, change: &Value) -> Value {
        let spec = self.spec(change);
        let spec = if kind == TEMPLATE { json!({ "template": { "spec": spec } }) } else { spec };
        json!({ "apiVersion": VERSION, "kind": kind, "metadata": { "name": name, "namespace": self.world.name }, "spec": spec })
    }

    /// Asks for the remediation of the node.
    pub async fn remediate(&self, change: Value) -> anyhow::Result<Subject> {
        self.remediate_as(&self.node.name, json!({}), change).await
    }

    /// The same, by an object of this name with this metadata.
    pub async fn remediate_as(&self, name: &str, metadata: Value, change: Value) -> anyhow::Result<Subject> {
        self.world.asks(KIND, VERSION, name, metadata, self.spec(&change)).await
    }

    /// Fails if a pod was touched, or the node marked.
    pub async fn untouched(&self, pod: &str) -> anyhow::Result<()> {
        anyhow::ensure!(self.world.pod_now(pod).await? == (true, false), "pod {pod} was touched");
        Ok(())
    }

    /// Keys of the taints of the node.
    pub async fn taints(&self) -> anyhow::Result<Vec<String>> {
        let node = self.world.get("Node", "", &self.node.name).await?.unwrap_or_default();
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        Ok(taints
            .iter()
            .map(|taint| format!("{}={}:{}", text(&taint["key"]), text(&taint["value"]), text(&taint["effect"])))
            .collect())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
