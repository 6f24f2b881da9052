//! 9.2: what a controller brings along, and the agents' DaemonSet.

use std::rc::Rc;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::know;
use super::subject::{KIND, OWN};
use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, Place, case};
use crate::node::State::Sick;
use crate::plane::{NAMESPACE, Start};
use crate::value::brief;
use crate::world::{SOON, World};

const SECTION: &str = "9.2";
/// Group and version.
pub const GROUP: &str = "self-node-remediation.medik8s.io/v1alpha1";
/// Kind of the configuration.
pub const CONFIGS: &str = "SelfNodeRemediationConfig";
/// Its one name.
pub const CONFIG: &str = "self-node-remediation-config";
/// Name of the agents' DaemonSet.
pub const AGENTS: &str = "self-node-remediation-ds";
const TEMPLATE: &str = "self-node-remediation-automatic-strategy-template";

/// A controller that rolls out agents.
pub fn rolling(name: &str) -> Start {
    Start {
        name: name.to_owned(),
        args: vec!["--agent-image".to_owned(), "registry.example/agent:1".to_owned()],
        ..Start::default()
    }
}

/// Takes away what only exists once per cluster.
pub async fn clear(w: &Rc<World>) -> anyhow::Result<()> {
    w.delete(CONFIGS, NAMESPACE, CONFIG).await?;
    w.delete("DaemonSet", NAMESPACE, AGENTS).await?;
    w.delete("SelfNodeRemediationTemplate", NAMESPACE, TEMPLATE).await
}

/// A cluster without anything that a controller brings along.
pub async fn begin(w: &Rc<World>) -> anyhow::Result<()> {
    know(w).await?;
    clear(w).await?;
    for kind in [CONFIGS, "DaemonSet", "SelfNodeRemediationTemplate"] {
        w.plane.eyes.watch(&w.plane.resource(kind)?).await?;
    }
    // What the case before left, and what the watch has not shown as gone yet, would pass for what this one brings along.
    for (kind, name) in [(CONFIGS, CONFIG), ("DaemonSet", AGENTS), ("SelfNodeRemediationTemplate", TEMPLATE)] {
        let probe = || match w.eyes().get(kind, NAMESPACE, name) {
            None => Ok(()),
            Some(left) => Err(brief(&left["metadata"])),
        };
        w.eyes().until(&format!("{kind} {name} to be gone"), SOON, probe).await?;
    }
    Ok(())
}

/// Waits until the agents' DaemonSet is as wanted.
pub async fn agents(w: &World, what: &str, probe: impl Fn(&Value) -> bool) -> anyhow::Result<Rc<Value>> {
    w.until(what, "DaemonSet", NAMESPACE, AGENTS, |set| if probe(set) { Ok(()) } else { Err(brief(&set["spec"])) })
        .await
}

/// Waits until the agents are rolled out, so that the controller knows its configuration.
pub async fn agents_of(w: &World) -> anyhow::Result<()> {
    agents(w, "the agents", |_| true).await.map(drop)
}

/// A variable of the agents' environment.
pub fn variable<'a>(set: &'a Value, name: &str) -> &'a Value {
    let list = set["spec"]["template"]["spec"]["containers"][0]["env"].as_array();
    list.and_then(|list| list.iter().find(|one| one["name"] == name)).map_or(&Value::Null, |one| &one["value"])
}

/// The configuration where it counts.
pub fn config(spec: Value) -> Value {
    json!({ "apiVersion": GROUP, "kind": CONFIGS, "metadata": { "name": CONFIG, "namespace": NAMESPACE }, "spec": spec })
}

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("C021", Keep, SECTION)
            .given("an empty cluster, and a controller that starts")
            .then("default configuration and default template")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let _controller = w.controller_with(rolling(""))?;
                w.until("the configuration", CONFIGS, NAMESPACE, CONFIG, |_| Ok(())).await?;
                let kind = "SelfNodeRemediationTemplate";
                let template = w.until("the template", kind, NAMESPACE, TEMPLATE, |_| Ok(())).await?;
                ensure!(template["metadata"]["labels"]["remediation.medik8s.io/default-template"] == "true");
                ensure!(template["spec"]["template"]["spec"]["remediationStrategy"] == "Automatic");
                clear(&w).await
            }),
        case("C023", Keep, SECTION)
            .given("configuration and template that a user changed before the start")
            .then("untouched")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                w.plane.create(&config(json!({ "hostPort": 30_555, "apiCheckInterval": "3s" }))).await?;
                let template = json!({ "apiVersion": GROUP, "kind": "SelfNodeRemediationTemplate",
                    "metadata": { "name": TEMPLATE, "namespace": NAMESPACE },
                    "spec": { "template": { "spec": { "remediationStrategy": "ResourceDeletion" } } } });
                w.plane.create(&template).await?;
                let _controller = w.controller_with(rolling(""))?;
                let set = agents(&w, "the agents", |_| true).await?;
                ensure!(variable(&set, "HOST_PORT") == "30555" && variable(&set, "API_CHECK_INTERVAL") == "3000000000");
                let kept = w.get(CONFIGS, NAMESPACE, CONFIG).await?.context("the configuration")?;
                ensure!(kept["metadata"]["generation"] == 1, "its specification was written");
                let kept = w.get("SelfNodeRemediationTemplate", NAMESPACE, TEMPLATE).await?.context("the template")?;
                ensure!(kept["spec"]["template"]["spec"]["remediationStrategy"] == "ResourceDeletion");
                clear(&w).await
            }),
        case("C029", Keep, SECTION)
            .given("one node selector of the user's own")
            .then("one term: the exclusion and the user's, and other values replace and do not add up")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let selector = |key: &str| json!({ "customDsNodeSelectorRequirements": [{ "key": key, "operator": "Exists" }] });
                w.plane.create(&config(selector("one"))).await?;
                let _controller = w.controller_with(rolling(""))?;
                for key in ["one", "two"] {
                    w.patch(CONFIGS, NAMESPACE, CONFIG, json!({ "spec": selector(key) })).await?;
                    agents(&w, "the term", |set| {
                        let terms = &set["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
                        let keys: Vec<_> = terms[0]["matchExpressions"].as_array().into_iter().flatten().map(|one| one["key"].clone()).collect();
                        terms.as_array().is_some_and(|terms| terms.len() == 1)
                            && keys == [json!("remediation.medik8s.io/exclude-from-remediation"), json!(key)]
                    })
                    .await?;
                }
                clear(&w).await
            }),
        case("C031", Keep, SECTION)
            .given("the DaemonSet is edited, then deleted")
            .then("reverted, also when its container's arguments are changed, then made again")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let _controller = w.controller_with(rolling(""))?;
                let first = agents(&w, "the agents", |_| true).await?;
                let edit = json!({ "spec": { "template": { "spec": { "hostNetwork": true, "priorityClassName": "other" } } } });
                w.patch("DaemonSet", NAMESPACE, AGENTS, edit).await?;
                agents(&w, "the edit is reverted", |set| {
                    let pod = &set["spec"]["template"]["spec"];
                    pod["hostNetwork"].is_null() && pod["priorityClassName"] == "system-node-critical"
                        && set["metadata"]["generation"].as_i64() > first["metadata"]["generation"].as_i64()
                })
                .await?;
                let mut containers = first["spec"]["template"]["spec"]["containers"].clone();
                containers[0]["args"] = json!(["--reboot=none"]);
                let edit = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
                w.patch("DaemonSet", NAMESPACE, AGENTS, edit).await?;
                let arguments = &first["spec"]["template"]["spec"]["containers"][0]["args"];
                agents(&w, "the arguments are reverted", |set| {
                    set["spec"]["template"]["spec"]["containers"][0]["args"] == *arguments
                        && set["metadata"]["generation"].as_i64() > Some(3)
                })
                .await?;
                w.delete("DaemonSet", NAMESPACE, AGENTS).await?;
                agents(&w, "it is made again", |set| set["metadata"]["uid"] != first["metadata"]["uid"]).await?;
                clear(&w).await
            }),
        case("C033", Keep, SECTION)
            .given("the configuration is deleted, and a remediation is asked for")
            .then("Disabled=True with ConfigurationNotFound, no finalizer, no taint")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let _controller = w.controller_with(rolling(""))?;
                let set = agents(&w, "the agents", |_| true).await?;
                // Collected with its owner, where a garbage collector runs.
                let owner = &set["metadata"]["ownerReferences"][0];
                ensure!(owner["kind"] == CONFIGS && owner["controller"] == true, "owned by {owner}");
                let trio = w.trio().await?;
                w.delete(CONFIGS, NAMESPACE, CONFIG).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                disabled(&w, &snr.name, true).await?;
                trio.victim.node.explained("the configuration is missing").await?;
                snr.is_not_taken_up(std::time::Duration::from_secs(2)).await?;
                trio.victim.never_touched()?;
                snr.delete().await?;
                snr.gone().await?;
                clear(&w).await
            }),
        case("C034", Keep, SECTION)
            .given("the configuration comes back while a remediation waits")
            .then("Disabled goes, and it proceeds without being touched")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let _controller = w.controller_with(rolling(""))?;
                agents(&w, "the agents", |_| true).await?;
                let trio = w.trio().await?;
                w.delete(CONFIGS, NAMESPACE, CONFIG).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                disabled(&w, &snr.name, true).await?;
                w.plane.create(&config(json!({}))).await?;
                disabled(&w, &snr.name, false).await?;
                snr.reaches("Fencing-Completed").await?;
                trio.victim.comes_back("b2").await?;
                snr.delete().await?;
                snr.gone().await?;
                clear(&w).await
            }),
        case("C035", Keep, SECTION)
            .given("two controllers at once, of which one is killed when the intent stands")
            .then("the other finishes; one intent, and the published instant never moves forward")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let mut first = w.controller_with(rolling("first"))?;
                let _second = w.controller_with(rolling("second"))?;
                agents(&w, "the agents", |_| true).await?;
                let trio = w.trio().await?;
                trio.refuse();
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                let published = snr.reaches("Pre-Reboot-Completed").await?;
                let intent = trio.victim.intended().await?;
                first.kill().await;
                trio.promise();
                let done = snr.reaches("Fencing-Completed").await?;
                ensure!(trio.victim.intended().await?["uid"] == intent["uid"], "another intent was written");
                let instant = |object: &Value| object["status"]["timeAssumedRebooted"].as_str().unwrap_or_default().to_owned();
                ensure!(instant(&done) >= instant(&published), "it was brought forward");
                trio.victim.comes_back("b2").await?;
                snr.delete().await?;
                snr.gone().await?;
                trio.victim.tainted(OWN, false).await?;
                clear(&w).await
            }),
        case("C036", Fix, SECTION)
            .given("an endpointHealthCheckUrl full of YAML")
            .then("the very text in the environment, and no other field")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let nasty = "x\"\n        - name: EVIL\n          value: yes";
                w.plane.create(&config(json!({ "endpointHealthCheckUrl": nasty }))).await?;
                let _controller = w.controller_with(rolling(""))?;
                let set = agents(&w, "the agents", |_| true).await?;
                ensure!(variable(&set, "END_POINT_HEALTH_CHECK_URL") == nasty, "it is {}", variable(&set, "END_POINT_HEALTH_CHECK_URL"));
                ensure!(variable(&set, "EVIL").is_null(), "a variable was injected");
                clear(&w).await
            }),
    ]
}

async fn disabled(w: &World, name: &str, wanted: bool) -> anyhow::Result<()> {
    w.until(&format!("Disabled is {wanted}"), KIND, &w.name, name, |object| {
        let is = object["status"]["conditions"].as_array().is_some_and(|all| {
            all.iter().any(|one| {
                one["type"] == "Disabled" && one["status"] == "True" && one["reason"] == "ConfigurationNotFound"
            })
        });
        if is == wanted { Ok(()) } else { Err(brief(&object["status"]["conditions"])) }
    })
    .await
    .map(drop)
}
