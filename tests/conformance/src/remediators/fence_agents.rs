//! D.3: fence agents.

use std::rc::Rc;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use super::devices::{Bench, Device, KIND, SECRET, TEMPLATE, VERSION, know};
use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, Draft, Place, case};
use crate::node::State::{Fine, Sick};
use crate::plane::refusal_code;
use crate::world::{SOON, World};

const SECTION: &str = "D.3";
const ACTED: &str = "FenceAgentActionSucceeded";
const TIMED_OUT: &str = "remediation.medik8s.io/nhc-timed-out";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";

fn fa(id: &'static str, tag: crate::case::Tag) -> Draft {
    case(id, tag, SECTION)
}

/// The cases.
pub fn cases() -> Vec<Case> {
    let mut cases = run();
    cases.extend(refused());
    cases.extend(attempts());
    cases.extend(release());
    cases.extend(templates());
    cases.extend(ends());
    cases
}

fn run() -> Vec<Case> {
    vec![
        fa("FA-01", Keep)
            .given("an agent that works, and pods on two nodes")
            .then(
                "it hears on standard input which device is meant; off is read back before the release, on comes after",
            )
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                w.pod(&bench.node, "web", "ReplicaSet", json!([])).await?;
                let far = bench.remediate(json!({})).await?;
                let done = far.says("Succeeded", "True", "").await?;
                far.says(ACTED, "True", "FenceAgentSucceeded").await?;
                ensure!(bench.device.switches() == ["off", "on"], "{:?}", bench.device.switches());
                for line in bench.device.runs() {
                    let told = (Device::word(&line, "argc"), Device::word(&line, "plug"));
                    ensure!(told == ("0", "1"), "it was told {line}");
                }
                let certificate = &done["status"]["palisade"]["certificate"];
                ensure!(certificate["proof"] == "PoweredOff" && certificate["grade"] == "Certain", "{certificate}");
                ensure!(w.pod_now("web").await? == (false, false), "its pod is left");
                far.leaves().await
            }),
        fa("FA-12", Fix)
            .given("a password in a Secret, an agent that fails and prints what it heard")
            .then("in no argument, environment, event, condition or log of the controller (weakness B.2 #9)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                bench.device.does("off", "echo \"login with $(get password) failed oddly\" >&2; exit 1")?;
                let far = bench.remediate(json!({ "retrycount": 2 })).await?;
                far.fails("RemediationFailed", &[]).await?;
                let runs = bench.device.runs();
                ensure!(
                    !runs.is_empty() && runs.iter().all(|line| line.contains("argc=0") && line.contains("shown=0"))
                );
                ensure!(
                    runs.iter().all(|line| Device::word(line, "keys").contains("password,")),
                    "it heard no password"
                );
                let mut texts = vec![far.now().await?.to_string()];
                texts.extend(w.eyes().all("Event", |_| true).iter().map(ToString::to_string));
                let log = w.plane.dir.join("logs").join(format!("{}.log", crate::run::CONTROLLER));
                texts.push(std::fs::read_to_string(log)?);
                ensure!(texts.iter().all(|text| !text.contains(SECRET)), "the password is shown");
                Ok(())
            }),
        fa("FA-31", Keep)
            .given("eight nodes at once, of which one device never answers")
            .then("all others are done while that one still hangs")
            .run(async |w| {
                let hung = Bench::new(&w).await?;
                hung.device.does("status", "sleep 600")?;
                let stuck = hung.remediate(json!({ "retrycount": 1, "timeout": "5m" })).await?;
                let mut others = Vec::new();
                for _ in 0..7 {
                    let node = w.booted().await?;
                    node.becomes(Sick).await?;
                    let device = Device::new(&w, &node.name)?;
                    let spec = json!({ "nodeparameters": { "--plug": { node.name.as_str(): "3" } } });
                    others.push((hung.remediate_as(&node.name, json!({}), spec).await?, device));
                }
                for (far, device) in &others {
                    far.says("Succeeded", "True", "").await?;
                    ensure!(device.switches() == ["off", "on"], "{:?}", device.switches());
                }
                stuck.says("Succeeded", "Unknown", "").await?;
                hung.device.works("status");
                stuck.leaves().await
            }),
        fa("FA-29", Fix)
            .given("somebody empties the conditions while the agent runs")
            .then("no crash; the result is stored all the same (weakness B.2 #7)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                bench.device.does("off", "while [ ! -f go ]; do sleep 0.1; done")?;
                let far = bench.remediate(json!({})).await?;
                bench.device.until("it is being switched off", |device| !device.switches().is_empty()).await?;
                w.patch_status(KIND, &w.name, &far.name, json!({ "conditions": null })).await?;
                bench.device.does("go", "")?;
                far.says("Succeeded", "True", "").await.map(drop)
            }),
    ]
}

fn refused() -> Vec<Case> {
    vec![
        fa("FA-04", Fix)
            .given("retrycount -1 and 0, in a remediation and in a template")
            .then("refused by the schema, with field and remedy (weakness B.2 #1)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                for count in [-1, 0] {
                    is_refused(&w, &bench, &json!({ "retrycount": count }), &["retrycount", "must be 1 to 100"]).await?;
                }
                Ok(())
            }),
        case("X-22", Fix, "D.1")
            .given("a definition without its rules, and a remediation with retrycount -1, 0 and timeout 0s")
            .then("the controller checks once more: no success, no device call, no pod touched (weakness B.2 #1)")
            .at(Place::Alone)
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                let group = "fence-agents-remediation.medik8s.io";
                let probe = bench.object(KIND, "probe", &json!({ "retrycount": -1 }));
                w.plane.loosen_kind(group, "fenceagentsremediations", &|_| true, &probe).await?;
                let mut controller = w.controller()?;
                w.pod(&bench.node, "web", "ReplicaSet", json!([])).await?;
                for (change, field) in [
                    (json!({ "retrycount": -1 }), "spec.retrycount is -1"),
                    (json!({ "retrycount": 0 }), "spec.retrycount is 0"),
                    (json!({ "timeout": "0s" }), "spec.timeout is 0s"),
                ] {
                    let far = bench.remediate(change).await?;
                    far.fails("RemediationCannotStartInvalidParameters", &[field]).await?;
                    far.leaves().await?;
                }
                ensure!(bench.device.runs().is_empty(), "the device was asked: {:?}", bench.device.runs());
                bench.untouched("web").await?;
                controller.kill().await;
                w.plane.loosen_kind(group, "fenceagentsremediations", &|_| false, &bench.object(KIND, "probe", &json!({}))).await
            }),
        fa("FA-05", Fix)
            .given("a node that one of two per-node maps does not name")
            .then("the agent is not run; the reason names node and parameter (weakness B.2 #2)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                w.pod(&bench.node, "web", "ReplicaSet", json!([])).await?;
                let far = bench.remediate(json!({ "nodeparameters": { "--port": { "somebody": "7" } } })).await?;
                far.fails("RemediationCannotStartInvalidParameters", &["--port", &bench.node.name]).await?;
                ensure!(bench.device.runs().is_empty(), "the agent was run");
                bench.untouched("web").await?;
                ensure!(bench.taints().await?.is_empty(), "the node was marked");
                Ok(())
            }),
        fa("FA-07", Fix).given("two nodes with the same plug").then("refused, and both nodes are named").run(async |w| {
            let bench = Bench::new(&w).await?;
            let (node, other) = (bench.node.name.as_str(), bench.other.name.as_str());
            let change = json!({ "sharedparameters": { "--ip": "10.0.0.1" }, "nodeparameters": { "--plug": { node: "1", other: "1" } } });
            let far = bench.remediate(change).await?;
            far.fails("RemediationCannotStartInvalidParameters", &[node, other, "one device"]).await?;
            ensure!(bench.device.runs().is_empty(), "the agent was run");
            Ok(())
        }),
        fa("FA-08", Keep)
            .given("a shared value with a placeholder that nobody knows, and one that is not closed")
            .then("refused at admission; {{.NodeName}} itself is rendered (FA-01 relies on it)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                for text in ["{{.Secret}}", "bmc-{{.NodeName"] {
                    let change = json!({ "sharedparameters": { "--host": text } });
                    is_refused(&w, &bench, &change, &["only the placeholder {{.NodeName}}"]).await?;
                }
                Ok(())
            }),
        fa("FA-13", Fix)
            .given("actions other than reboot and off, in every spelling; and off in the short one")
            .then("refused at admission or by the controller; the short off is off (weakness B.2 #5)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                for action in ["on", "status", "metadata", "diag"] {
                    let change = json!({ "sharedparameters": { "--action": action } });
                    is_refused(&w, &bench, &change, &["--action must be reboot or off"]).await?;
                }
                for (index, spelling) in ["-o", "o", "--option", "option"].iter().enumerate() {
                    let change = json!({ "sharedparameters": { *spelling: "on" } });
                    let about = json!({ "annotations": { "remediation.medik8s.io/node-name": bench.node.name } });
                    let far = bench.remediate_as(&format!("on-{index}"), about, change).await?;
                    far.fails("RemediationCannotStartInvalidParameters", &["reboot or off"]).await?;
                    far.leaves().await?;
                }
                ensure!(bench.device.runs().is_empty(), "the agent was run: {:?}", bench.device.runs());
                let far = bench.remediate(json!({ "sharedparameters": { "-o": "off" } })).await?;
                far.says("Succeeded", "True", "").await?;
                ensure!(bench.device.switches() == ["off"], "{:?}", bench.device.switches());
                Ok(())
            }),
        fa("FA-14", Keep)
            .given("agents that do not exist, and names with a path")
            .then("refused with a reason; nothing outside the folder of agents is run")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                for (index, agent) in ["fence_missing", "fence_../../../bin/sh", "fence_suite/../x"].iter().enumerate() {
                    let about = json!({ "annotations": { "remediation.medik8s.io/node-name": bench.node.name } });
                    let far = bench.remediate_as(&format!("agent-{index}"), about, json!({ "agent": agent })).await?;
                    far.fails("RemediationCannotStartInvalidParameters", &["spec.agent"]).await?;
                    far.leaves().await?;
                }
                Ok(())
            }),
        fa("FA-34", Fix)
            .given("the Secret comes to hold a parameter that is also in the specification, while attempts fail")
            .then("both conditions False with the reason, within seconds (weakness B.2 #15)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                bench.device.does("off", "echo broken >&2; exit 1")?;
                let far = bench.remediate(json!({ "retrycount": 90 })).await?;
                bench.device.until("an attempt", |device| !device.switches().is_empty()).await?;
                let plug = serde_json::to_value(k8s_openapi::ByteString(b"9".to_vec()))?;
                w.patch("Secret", &w.name, "creds", json!({ "data": { "plug": plug } })).await?;
                far.fails("RemediationFailed", &["also in spec"]).await.map(drop)
            }),
    ]
}

fn attempts() -> Vec<Case> {
    vec![
        fa("FA-11", Keep)
            .given("a Secret that is made after the remediation")
            .then("it says what it waits for, and works without a new remediation")
            .run(async |w| {
                let bench = Bench::without_secret(&w).await?;
                let far = bench.remediate(json!({})).await?;
                far.says(ACTED, "Unknown", "WaitingForDevice").await?;
                let text = far.now().await?["status"]["conditions"].to_string();
                ensure!(text.contains(&format!("Secret {}/creds", w.name)), "{text}");
                ensure!(bench.device.runs().is_empty(), "the agent was run");
                bench.secret("creds", json!({ "--password": SECRET })).await?;
                far.says("Succeeded", "True", "").await.map(drop)
            }),
        fa("FA-15", Keep)
            .given("an agent that fails twice, retryinterval 1s")
            .then("exactly three attempts, one second apart, and success")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                let script =
                    "n=$(cat n 2>/dev/null || echo 0); echo $((n+1)) > n; [ $n -lt 2 ] && { echo broken >&2; exit 1; }";
                bench.device.does("off", script)?;
                let far = bench.remediate(json!({ "retrycount": 5 })).await?;
                far.says("Succeeded", "True", "").await?;
                ensure!(bench.device.switches() == ["off", "off", "off", "on"], "{:?}", bench.device.switches());
                let at: Vec<i64> = times(&bench.device, "off");
                ensure!(at.windows(2).all(|pair| pair[1] - pair[0] >= 1_000), "they were at {at:?}");
                Ok(())
            }),
        fa("FA-16", Keep)
            .given("an agent that always fails")
            .then(
                "as many attempts as allowed, both conditions False, nothing released; a new remediation may try again",
            )
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                w.pod(&bench.node, "web", "ReplicaSet", json!([])).await?;
                bench.device.does("off", "echo broken >&2; exit 1")?;
                let far = bench.remediate(json!({ "retrycount": 3 })).await?;
                far.fails("RemediationFailed", &["ended with 1: broken"]).await?;
                far.says(ACTED, "False", "FenceAgentFailed").await?;
                ensure!(bench.device.switches() == ["off", "off", "off"], "{:?}", bench.device.switches());
                bench.untouched("web").await?;
                far.leaves().await?;
                ensure!(bench.taints().await?.is_empty(), "marks are left: {:?}", bench.taints().await?);
                bench.device.works("off");
                bench.remediate(json!({})).await?.says("Succeeded", "True", "").await.map(drop)
            }),
        fa("FA-17", Fix)
            .given("an agent that takes longer than its limit")
            .then("told apart from a failure (weakness B.2 #3)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                bench.device.does("off", "sleep 600")?;
                let far = bench.remediate(json!({ "retrycount": 1, "timeout": "2s" })).await?;
                far.fails("RemediationFailed", &["time limit"]).await?;
                far.says(ACTED, "False", "FenceAgentTimedOut").await?;
                ensure!(bench.device.switches() == ["off"], "{:?}", bench.device.switches());
                Ok(())
            }),
        fa("FA-18", Fix)
            .given(
                "an agent past its limit that ignores SIGTERM and has a child which would switch the machine off later",
            )
            .then("the whole group is dead before the next attempt begins (weakness B.2 #3)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                let script = "trap '' TERM; (trap '' TERM; sleep 3; touch late; echo off > power) & sleep 600";
                bench.device.does("off", script)?;
                let far = bench.remediate(json!({ "retrycount": 2, "timeout": "1s" })).await?;
                far.says(ACTED, "False", "FenceAgentTimedOut").await?;
                tokio::time::sleep(Duration::from_secs(3)).await;
                ensure!(bench.device.power() == "on", "a child of an ended attempt switched it off");
                ensure!(bench.device.switches() == ["off", "off"], "{:?}", bench.device.switches());
                Ok(())
            }),
        fa("FA-19", Fix)
            .given("the controller is killed after the agent has switched, and before it is back")
            .then("the next one reads the device first: one power cycle in all (weakness B.2 #6)")
            .at(Place::Alone)
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                bench.device.does("off", "echo off > power; sleep 600")?;
                let mut controller = w.controller()?;
                let far = bench.remediate(json!({})).await?;
                bench.device.until("it is off", |device| device.power() == "off").await?;
                controller.kill().await;
                bench.device.works("off");
                let mut controller = w.controller()?;
                far.says("Succeeded", "True", "").await?;
                ensure!(bench.device.switches() == ["off", "on"], "{:?}", bench.device.switches());
                far.leaves().await?;
                controller.kill().await;
                Ok(())
            }),
        fa("FA-32", Keep)
            .given("a device that cannot be reached, and one that refuses")
            .then("the reasons tell them apart, and nothing is released")
            .run(async |w| {
                for (said, word) in
                    [("Connection refused", "cannot be reached"), ("Login failed", "the device refuses")]
                {
                    let bench = Bench::without_secret(&w).await?;
                    w.pod(&bench.node, &format!("web-{}", bench.node.name), "ReplicaSet", json!([])).await?;
                    bench.device.does("status", &format!("echo '{said}' >&2; exit 1"))?;
                    let change = json!({ "sharedSecretName": null, "retrycount": 2 });
                    let far = bench.remediate(change).await?;
                    far.fails("RemediationFailed", &[word]).await?;
                    bench.untouched(&format!("web-{}", bench.node.name)).await?;
                    ensure!(bench.device.switches().is_empty(), "{:?}", bench.device.switches());
                }
                Ok(())
            }),
    ]
}

fn release() -> Vec<Case> {
    vec![
        fa("FA-22", Keep)
            .given("strategy ResourceDeletion, and pods of several nodes")
            .then("those of the node are gone, and no other is touched")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                w.pod(&bench.node, "web", "ReplicaSet", json!([])).await?;
                w.pod(&bench.node, "db-0", "StatefulSet", json!([])).await?;
                w.pod(&bench.other, "elsewhere", "ReplicaSet", json!([])).await?;
                let far = bench.remediate(json!({})).await?;
                far.says("Succeeded", "True", "").await?;
                for pod in ["web", "db-0"] {
                    ensure!(w.pod_now(pod).await? == (false, false), "pod {pod} is left");
                }
                bench.untouched("elsewhere").await
            }),
        fa("FA-23", Fix)
            .given("pods of a DaemonSet and of the kubelet's own files on the node")
            .then("they belong to the node and stay (weakness B.2 #13)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                w.pod(&bench.node, "web", "ReplicaSet", json!([])).await?;
                w.pod(&bench.node, "every-node", "DaemonSet", json!([])).await?;
                w.pod(&bench.node, "static", "", json!([])).await?;
                let mirror = json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "x" } } });
                // On a real API server only who creates a pod may say so.
                let is_mirror = w.patch("Pod", &w.name, "static", mirror).await.is_ok();
                let far = bench.remediate(json!({})).await?;
                far.says("Succeeded", "True", "").await?;
                ensure!(w.pod_now("web").await? == (false, false), "its pod is left");
                bench.untouched("every-node").await?;
                if is_mirror { bench.untouched("static").await } else { Ok(()) }
            }),
        fa("FA-24", Keep)
            .given("strategy OutOfServiceTaint")
            .then("key, value and effect are exact; it goes when the node is ready again")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                w.pod(&bench.node, "web", "ReplicaSet", json!([])).await?;
                let far = bench.remediate(json!({ "remediationStrategy": "OutOfServiceTaint" })).await?;
                bench.node.shows_taint(OUT_OF_SERVICE).await?;
                far.says("Succeeded", "Unknown", "").await?;
                w.plane.api("Pod", &w.name)?.delete("web", &kube::api::DeleteParams::default().grace_period(0)).await?;
                far.says("Succeeded", "True", "").await?;
                w.boots(&bench.node, "b2").await?;
                bench.node.becomes(Fine).await?;
                bench.node.lost_taint(OUT_OF_SERVICE).await?;
                far.leaves().await?;
                ensure!(bench.taints().await?.is_empty(), "marks are left: {:?}", bench.taints().await?);
                Ok(())
            }),
        fa("FA-25", Fix)
            .given("an administrator had set the out-of-service taint before")
            .then("it stays when the remediation goes (weakness B.2 #12)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                let taint = json!([{ "key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute" }]);
                w.patch("Node", "", &bench.node.name, json!({ "spec": { "taints": taint } })).await?;
                let far = bench.remediate(json!({ "remediationStrategy": "OutOfServiceTaint" })).await?;
                far.says("Succeeded", "True", "").await?;
                far.leaves().await?;
                ensure!(bench.taints().await? == [OUT_OF_SERVICE], "{:?}", bench.taints().await?);
                Ok(())
            }),
        fa("FA-30", Fix)
            .given("a device that reads as off once, and then as on, whatever it is told")
            .then("nothing is released on the old reading (weakness B.2 #8)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                w.pod(&bench.node, "web", "ReplicaSet", json!([])).await?;
                let script = "[ -f once ] && { echo 'Status: ON'; exit 0; }; grep -q off power && touch once";
                bench.device.does("status", script)?;
                let change = json!({ "retrycount": 2, "sharedparameters": { "--action": "off" } });
                let far = bench.remediate(change).await?;
                bench.device.until("it reads as on again", |device| device.runs().len() >= 5).await?;
                tokio::time::sleep(Duration::from_secs(3)).await;
                bench.untouched("web").await?;
                let now = far.now().await?;
                ensure!(crate::value::condition(&now["status"], "Succeeded")["status"] != "True", "it says success");
                far.leaves().await
            }),
        fa("FA-B8", Fix)
            .given("an agent that says success while the machine runs on")
            .then("the reading counts: nothing is released (weakness B.2 #8)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                w.pod(&bench.node, "web", "ReplicaSet", json!([])).await?;
                bench.device.does("off", "exit 0")?;
                let far = bench.remediate(json!({ "retrycount": 2 })).await?;
                far.fails("RemediationFailed", &["still reads On"]).await?;
                bench.untouched("web").await
            }),
    ]
}

fn templates() -> Vec<Case> {
    vec![
        fa("FA-26", Keep)
            .given("a template with a device that answers, one that refuses and one that hangs, sample 100%")
            .then("each is told by node, the condition is False, and no power is switched")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                let (bad, hung) = (Device::new(&w, &bench.other.name)?, Device::new(&w, "hung")?);
                bad.does("status", "echo 'Login failed' >&2; exit 1")?;
                hung.does("status", "sleep 600")?;
                let template = validated(&w, &bench, json!("100%"), json!({ "hung": "9" })).await?;
                let status = &template["status"];
                ensure!(status["conditions"][0]["reason"] == "ValidationFailed", "{status}");
                ensure!(status["validationPassed"][&bench.node.name].is_string(), "{status}");
                ensure!(status["validationFailed"][&bench.other.name].to_string().contains("refuses"), "{status}");
                ensure!(status["validationFailed"]["hung"].to_string().contains("time limit"), "{status}");
                for device in [&bench.device, &bad, &hung] {
                    ensure!(device.switches().is_empty(), "{:?}", device.switches());
                }
                Ok(())
            }),
        fa("FA-27", Keep)
            .given("samples of 34% and of 10, of three nodes")
            .then("two nodes are tried; three are, and the status says that there are no more")
            .run(async |w| {
                for (sample, tried, told) in [(json!("34%"), 2, false), (json!(10), 3, true)] {
                    let bench = Bench::without_secret(&w).await?;
                    bench.secret(&format!("creds-{}", bench.node.name), json!({ "--password": SECRET })).await?;
                    for node in [&bench.other.name, "third"] {
                        Device::new(&w, node)?;
                    }
                    let template = validated(&w, &bench, sample, json!({ "third": "9" })).await?;
                    let passed = template["status"]["validationPassed"].as_object().map_or(0, serde_json::Map::len);
                    ensure!(passed == tried, "{passed} instead of {tried} were tried: {}", template["status"]);
                    let message = template["status"]["conditions"][0]["message"].to_string();
                    ensure!(message.contains("larger than the number of nodes") == told, "{message}");
                }
                Ok(())
            }),
        fa("FA-28", Fix)
            .given("the dry run of a template, and a real run with the same parameters")
            .then("the agent hears both in the same way (weakness B.2 #14)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                Device::new(&w, &bench.other.name)?;
                validated(&w, &bench, json!("100%"), json!({})).await?;
                let dry = bench.device.runs();
                let far = bench.remediate(json!({})).await?;
                far.says("Succeeded", "True", "").await?;
                let form =
                    |line: &String| ["argc", "plug", "keys", "shown"].map(|name| Device::word(line, name).to_owned());
                let all = bench.device.runs();
                ensure!(dry.len() == 1 && all.iter().all(|line| form(line) == form(&all[0])), "{all:?}");
                Ok(())
            }),
    ]
}

fn ends() -> Vec<Case> {
    vec![
        fa("FA-B4", Fix)
            .given("the node object is deleted while the agent runs, then the remediation")
            .then("it is gone with its finalizer (weakness B.2 #4, X-10)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                bench.device.does("off", "sleep 600")?;
                let far = bench.remediate(json!({})).await?;
                bench.device.until("the agent runs", |device| !device.switches().is_empty()).await?;
                bench.node.vanishes().await?;
                far.leaves().await
            }),
        fa("FA-B11", Fix)
            .given("the time-out annotation comes after success, twice")
            .then("success stays, and nothing is told of a stop (weakness B.2 #11)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                let far = bench.remediate(json!({})).await?;
                far.says("Succeeded", "True", "").await?;
                for time in ["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"] {
                    far.annotate(TIMED_OUT, time).await?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                far.says("Succeeded", "True", "").await?;
                let told = w.eyes().all("Event", |event| {
                    event["reason"] == "RemediationStopped" && event["involvedObject"]["name"] == *far.name
                });
                ensure!(told.is_empty(), "it is told that it was stopped");
                Ok(())
            }),
        fa("FA-B10", Fix)
            .given("the time-out annotation comes while the agent runs")
            .then("the agent ends, nothing more is switched, and its own reason is set (X-05)")
            .run(async |w| {
                let bench = Bench::new(&w).await?;
                w.pod(&bench.node, "web", "ReplicaSet", json!([])).await?;
                bench.device.does("off", "sleep 4; touch late; echo off > power")?;
                let far = bench.remediate(json!({})).await?;
                bench.device.until("the agent runs", |device| !device.switches().is_empty()).await?;
                far.annotate(TIMED_OUT, "2026-01-01T00:00:00Z").await?;
                far.fails("RemediationInterruptedByNHC", &[]).await?;
                tokio::time::sleep(Duration::from_secs(5)).await;
                ensure!(bench.device.switches() == ["off"], "{:?}", bench.device.switches());
                ensure!(bench.device.power() == "on", "the agent went on");
                bench.untouched("web").await?;
                bench.device.works("off");
                far.leaves().await?;
                ensure!(bench.device.switches() == ["off"], "it was switched again: {:?}", bench.device.switches());
                ensure!(bench.taints().await?.is_empty(), "marks are left: {:?}", bench.taints().await?);
                Ok(())
            }),
    ]
}

/// Neither a remediation nor a template with this is taken.
async fn is_refused(w: &Rc<World>, bench: &Bench, change: &Value, words: &[&str]) -> anyhow::Result<()> {
    for kind in [KIND, TEMPLATE] {
        let Err(error) = w.plane.create(&bench.object(kind, "refused", change)).await else {
            anyhow::bail!("a {kind} with {change} was accepted");
        };
        ensure!(refusal_code(&error) == Some(422), "{error:#}");
        let text = format!("{error:#}");
        for word in words {
            ensure!(text.contains(word), "{word:?} is missing in {text}");
        }
    }
    Ok(())
}

/// A template whose parameters were tried.
async fn validated(w: &Rc<World>, bench: &Bench, sample: Value, more: Value) -> anyhow::Result<Rc<Value>> {
    know(&w.plane).await?;
    let name = format!("t-{}", bench.node.name);
    let secret =
        w.get("Secret", &w.name, "creds").await?.map_or(format!("creds-{}", bench.node.name), |_| "creds".to_owned());
    let change = json!({ "sharedSecretName": secret, "nodeparameters": { "--plug": more } });
    let mut template = bench.object(TEMPLATE, &name, &change);
    ensure!(template["apiVersion"] == VERSION, "another version");
    template["spec"]["statusValidationSample"] = sample;
    w.plane.create(&template).await?;
    let probe = |template: &Value| match template["status"]["conditions"][0]["status"].as_str() {
        Some("True" | "False") => Ok(()),
        _ => Err(crate::value::brief(&template["status"])),
    };
    w.eyes()
        .until("a validated template", SOON, || match w.eyes().get(TEMPLATE, &w.name, &name) {
            Some(template) => probe(&template).map(|()| template),
            None => Err("it is not there".to_owned()),
        })
        .await
}

fn times(device: &Device, action: &str) -> Vec<i64> {
    let runs = device.runs().into_iter().filter(|line| Device::word(line, "action") == action);
    runs.filter_map(|line| Device::word(&line, "at").parse().ok()).collect()
}
