//! 9.3, second half: how workloads are released.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};

use super::agents::{TIME_TO_LIVE, WATCHDOG};
use super::know;
use super::subject::{OUT_OF_SERVICE, OWN};
use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, case};
use crate::node::State::Sick;
use crate::world::SOON;

const SECTION: &str = "9.3";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("C046", Fix, SECTION)
            .given("an agent that published T and the watchdog's timeout")
            .then("the wait is at least T + 2 Wd, with the published values, and the certificate shows them")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                trio.victim.publish("b1", |record| record.terms.time_to_live_millis = 3_000).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                let begun = Instant::now();
                let done = snr.reaches("Fencing-Completed").await?;
                let least = Duration::from_millis(3_000 + 2 * WATCHDOG);
                // A busy machine may have seen the lease a little before the remediation was asked for.
                ensure!(begun.elapsed() + Duration::from_millis(1_500) > least, "done after {:?}", begun.elapsed());
                let certificate = &done["status"]["palisade"]["certificate"];
                ensure!(certificate["timeToLive"] == "3s", "T is {}", certificate["timeToLive"]);
                ensure!(certificate["watchdogTimeout"] == "400ms", "Wd is {}", certificate["watchdogTimeout"]);
                ensure!(TIME_TO_LIVE < 3_000);
                Ok(())
            }),
        case("C050", Keep, SECTION)
            .given("the proof is not there yet")
            .then("no pod is deleted, no out-of-service taint; a stateful pod is only marked")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                trio.refuse();
                w.pod(&trio.victim.node, "web", "ReplicaSet", json!([])).await?;
                w.pod(&trio.victim.node, "db-0", "StatefulSet", json!([])).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                snr.reaches("Pre-Reboot-Completed").await?;
                tokio::time::sleep(Duration::from_secs(4)).await;
                ensure!(w.pod_now("web").await? == (true, false), "the pod of the ReplicaSet was touched");
                ensure!(w.pod_now("db-0").await? == (true, true), "the pod of the StatefulSet is not marked, or gone");
                ensure!(!trio.victim.taints().contains(&OUT_OF_SERVICE.to_owned()), "it is out of service");
                trio.victim.node.explained("a juror has not promised").await?;
                trio.promise();
                snr.reaches("Fencing-Completed").await?;
                ensure!(w.pod_now("web").await? == (false, false) && w.pod_now("db-0").await? == (false, false));
                Ok(())
            }),
        case("C054", Keep, SECTION)
            .given("strategy Automatic on a server of 1.28 or later")
            .then("the out-of-service taint")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                w.pod(&trio.victim.node, "web", "ReplicaSet", json!([])).await?;
                trio.victim.node.becomes(Sick).await?;
                w.remediate(&trio.victim.node, "Automatic").await?;
                trio.victim.tainted(OUT_OF_SERVICE, true).await
            }),
        case("C055", Keep, SECTION)
            .given("strategy OutOfServiceTaint, and a terminating pod that a finalizer holds")
            .then("the taint comes after the proof, stays while the pod exists, goes after it; then success")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                w.pod(&trio.victim.node, "db-0", "StatefulSet", json!(["test.example/hold"])).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "OutOfServiceTaint").await?;
                trio.victim.tainted(OUT_OF_SERVICE, true).await?;
                let taint = taint(&w, &trio.victim.node.name);
                ensure!(taint["value"] == "nodeshutdown", "its value is {}", taint["value"]);
                tokio::time::sleep(Duration::from_secs(3)).await;
                ensure!(trio.victim.taints().contains(&OUT_OF_SERVICE.to_owned()), "it went too early");
                free(&w, "db-0").await?;
                snr.reaches("Fencing-Completed").await?;
                trio.victim.tainted(OUT_OF_SERVICE, false).await?;
                snr.stands("False", "True", "RemediationFinishedSuccessfully").await
            }),
        case("C058", Keep, SECTION)
            .given("a stuck pod under the out-of-service taint, and the remediation is deleted")
            .then("the taint goes, a warning on the node, the own taint goes, the object is gone")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                w.pod(&trio.victim.node, "db-0", "StatefulSet", json!(["test.example/hold"])).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "OutOfServiceTaint").await?;
                trio.victim.tainted(OUT_OF_SERVICE, true).await?;
                snr.delete().await?;
                snr.gone().await?;
                let event = snr.event("Node", &trio.victim.node.name, "OutOfServiceTimestampExpired").await?;
                ensure!(event["type"] == "Warning", "it is {}", event["type"]);
                trio.victim.tainted(OUT_OF_SERVICE, false).await?;
                trio.victim.tainted(OWN, false).await?;
                free(&w, "db-0").await
            }),
        case("C059", Keep, SECTION)
            .given("a stuck pod under the out-of-service taint for more than a minute")
            .then("the taint stays, lastError is set, and it completes when the pod goes")
            .slow("the taint has to stand for more than a minute of real time, for which there is no setting")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                w.pod(&trio.victim.node, "db-0", "StatefulSet", json!(["test.example/hold"])).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "OutOfServiceTaint").await?;
                trio.victim.tainted(OUT_OF_SERVICE, true).await?;
                tokio::time::sleep(Duration::from_secs(50)).await;
                snr.complains("are still there 60 s after").await?;
                ensure!(trio.victim.taints().contains(&OUT_OF_SERVICE.to_owned()), "the taint went");
                free(&w, "db-0").await?;
                snr.reaches("Fencing-Completed").await.map(drop)
            }),
        case("C060", Fix, SECTION)
            .given("somebody else's out-of-service taint is on the node beforehand")
            .then("it is still there when the remediation is gone")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                let foreign = json!({ "spec": { "taints": [
                    { "key": "node.kubernetes.io/out-of-service", "value": "maintenance", "effect": "NoExecute" }] } });
                w.patch("Node", "", &trio.victim.node.name, foreign).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "OutOfServiceTaint").await?;
                snr.reaches("Fencing-Completed").await?;
                trio.victim.comes_back("b2").await?;
                snr.delete().await?;
                snr.gone().await?;
                ensure!(
                    taint(&w, &trio.victim.node.name)["value"] == "maintenance",
                    "it is {:?}",
                    trio.victim.taints()
                );
                Ok(())
            }),
        case("C061", Fix, SECTION)
            .given("somebody else adds and removes taints while ours are set and removed")
            .then("no taint of theirs is lost or comes back")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                let name = trio.victim.node.name.clone();
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                let mut kept = Vec::new();
                for round in 0..24 {
                    let key = format!("team.example/t{round}");
                    edit(&w, &name, |taints| taints.push(json!({ "key": key, "effect": "PreferNoSchedule" }))).await?;
                    if round % 2 == 0 {
                        edit(&w, &name, |taints| taints.retain(|taint| taint["key"] != *key)).await?;
                    } else {
                        kept.push(format!("{key}:PreferNoSchedule"));
                    }
                }
                snr.reaches("Fencing-Completed").await?;
                trio.victim.comes_back("b2").await?;
                snr.delete().await?;
                snr.gone().await?;
                trio.victim.tainted(OWN, false).await?;
                let taints = trio.victim.taints();
                ensure!(taints == kept, "it has {taints:?}, expected {kept:?}");
                Ok(())
            }),
        case("C074", Fix, SECTION)
            .given("the strategy is edited after the out-of-service taint was set")
            .then("no taint is left at the end")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                w.pod(&trio.victim.node, "db-0", "StatefulSet", json!(["test.example/hold"])).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "OutOfServiceTaint").await?;
                trio.victim.tainted(OUT_OF_SERVICE, true).await?;
                let edit = json!({ "spec": { "remediationStrategy": "ResourceDeletion" } });
                w.patch("SelfNodeRemediation", &w.name, &snr.name, edit).await?;
                free(&w, "db-0").await?;
                snr.reaches("Fencing-Completed").await?;
                trio.victim.comes_back("b2").await?;
                snr.delete().await?;
                snr.gone().await?;
                trio.victim.tainted(OWN, false).await?;
                let taints = trio.victim.taints();
                ensure!(taints.is_empty(), "left are {taints:?}");
                Ok(())
            }),
    ]
}

/// The out-of-service taint of a node, as it was seen last.
fn taint(w: &crate::world::World, node: &str) -> Value {
    let node = w.eyes().get("Node", "", node).map(|node| node["spec"]["taints"].clone()).unwrap_or_default();
    let found = node
        .as_array()
        .and_then(|taints| taints.iter().find(|one| one["key"] == "node.kubernetes.io/out-of-service").cloned());
    found.unwrap_or_default()
}

/// What the garbage collection of pods does, and whoever holds the finalizer.
pub async fn free(w: &crate::world::World, pod: &str) -> anyhow::Result<()> {
    let _ = w.patch("Pod", &w.name, pod, json!({ "metadata": { "finalizers": null } })).await;
    let now = kube::api::DeleteParams::default().grace_period(0);
    match w.plane.api("Pod", &w.name)?.delete(pod, &now).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Changes the taints as a careful writer does: over the version it read.
async fn edit(w: &crate::world::World, node: &str, change: impl Fn(&mut Vec<Value>)) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let Some(object) = w.get("Node", "", node).await? else { anyhow::bail!("node {node} is gone") };
        let mut taints = object["spec"]["taints"].as_array().cloned().unwrap_or_default();
        change(&mut taints);
        let patch = json!({ "metadata": { "resourceVersion": object["metadata"]["resourceVersion"] }, "spec": { "taints": taints } });
        match w.patch("Node", "", node, patch).await {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > SOON => return Err(error),
            Err(_) => {}
        }
    }
}
