//! 9.3, first half: when a remediation is taken up, when not, and how it ends.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use super::know;
use super::subject::OWN;
use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, case};
use crate::node::State::Sick;
use crate::plane::NAMESPACE;
use crate::value::brief;

const SECTION: &str = "9.3";
const TIMED_OUT: &str = "remediation.medik8s.io/nhc-timed-out";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("C037", Keep, SECTION)
            .given("a node without agent, with either strategy")
            .then("for 10 s no finalizer and no taint; lastError, Processing=True, Succeeded=Unknown")
            .run(async |w| {
                know(&w).await?;
                let node = w.booted().await?;
                let annotation = json!({ "remediation.medik8s.io/node-name": node.name });
                let mut subjects = Vec::new();
                for (name, strategy) in [("a", "ResourceDeletion"), ("b", "OutOfServiceTaint")] {
                    subjects.push(w.remediate_as(name, annotation.clone(), json!([]), strategy).await?);
                }
                for snr in &subjects {
                    snr.complains("no agent lease").await?;
                    snr.stands("True", "Unknown", "RemediationStarted").await?;
                }
                node.explained("no agent").await?;
                subjects[0].is_not_taken_up(Duration::from_secs(10)).await?;
                subjects[1].is_not_taken_up(Duration::ZERO).await
            }),
        case("C038", Keep, SECTION)
            .given("an agent whose lease is not signed by it, or carries no record")
            .then("as without an agent")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                let name = &trio.victim.node.name;
                let key = palisade_core::fencing::record::RECORD_SIGNATURE;
                w.patch("Lease", NAMESPACE, name, json!({ "metadata": { "annotations": { key: "AAAA" } } })).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                snr.complains("cannot end itself").await?;
                trio.victim.node.explained("an agent that cannot end itself").await?;
                snr.is_not_taken_up(Duration::from_secs(5)).await?;
                trio.victim.never_touched()
            }),
        case("C041", Keep, SECTION)
            .given("a completed remediation is deleted, on a node with a taint of somebody else")
            .then("the own taint is removed, the other one stays, the object is gone")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                let name = &trio.victim.node.name;
                let foreign = json!({ "spec": { "taints": [{ "key": "team.example/gpu", "value": "a", "effect": "NoSchedule" }] } });
                w.patch("Node", "", name, foreign).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                trio.victim.tainted(OWN, true).await?;
                snr.reaches("Fencing-Completed").await?;
                snr.stands("False", "True", "RemediationFinishedSuccessfully").await?;
                trio.victim.comes_back("b2").await?;
                snr.delete().await?;
                snr.gone().await?;
                trio.victim.tainted(OWN, false).await?;
                trio.victim.let_go().await?;
                let taints = trio.victim.taints();
                ensure!(taints == ["team.example/gpu:NoSchedule"], "left are {taints:?}");
                Ok(())
            }),
        case("C062", Keep, SECTION)
            .given("a remediation whose name is no node")
            .then("both conditions False with RemediationSkippedNodeNotFound, and a warning")
            .run(async |w| {
                know(&w).await?;
                let snr = w.remediate_as("c062-nobody", json!({}), json!([]), "Automatic").await?;
                snr.stands("False", "False", "RemediationSkippedNodeNotFound").await?;
                let event = snr.event("SelfNodeRemediation", &snr.name, "RemediationCannotStart").await?;
                ensure!(event["type"] == "Warning", "it is {}", event["type"]);
                snr.complains("does not exist").await?;
                w.explained("c062-nobody", "a node that does not exist").await
            }),
        case("C066", Keep, SECTION)
            .given("a node with the exclusion label")
            .then("event RemediationSkipped, no finalizer, no taint; Succeeded=False, so that nobody waits for ever")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                trio.victim.node.label("remediation.medik8s.io/exclude-from-remediation", Some("true")).await?;
                let snr = w.remediate(&trio.victim.node, "Automatic").await?;
                snr.event("SelfNodeRemediation", &snr.name, "RemediationSkipped").await?;
                snr.stands("False", "False", "RemediationSkipped").await?;
                trio.victim.node.explained("excluded, and remediated by hand").await?;
                snr.is_not_taken_up(Duration::from_secs(2)).await?;
                trio.victim.never_touched()
            }),
        case("C067", Keep, SECTION)
            .given("its detector gives up while the proof is awaited")
            .then("both conditions False with RemediationTimeoutByNHC, event RemediationStopped, no further progress, clean end")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                trio.refuse();
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                snr.reaches("Pre-Reboot-Completed").await?;
                snr.annotate(TIMED_OUT, "2026-01-01T00:00:00Z").await?;
                snr.stands("False", "False", "RemediationTimeoutByNHC").await?;
                snr.event("SelfNodeRemediation", &snr.name, "RemediationStopped").await?;
                trio.victim.node.explained("the detector gave up").await?;
                trio.promise();
                tokio::time::sleep(Duration::from_secs(5)).await;
                ensure!(snr.now().await?["status"]["phase"] == "Pre-Reboot-Completed", "it went on");
                snr.delete().await?;
                snr.gone().await?;
                trio.victim.tainted(OWN, false).await?;
                trio.victim.let_go().await
            }),
        case("C069", Keep, SECTION)
            .given("a remediation that is deleted before it was taken up")
            .then("gone, and the node untouched")
            .run(async |w| {
                know(&w).await?;
                let node = w.booted().await?;
                let snr = w.remediate(&node, "ResourceDeletion").await?;
                snr.complains("no agent lease").await?;
                snr.delete().await?;
                snr.gone().await
            }),
        case("C070", Fix, SECTION)
            .given("a remediation that is deleted while the proof is awaited")
            .then("an abort: taint and intent go, no pod is touched")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                trio.refuse();
                w.pod(&trio.victim.node, "web", "ReplicaSet", json!([])).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                snr.reaches("Pre-Reboot-Completed").await?;
                snr.delete().await?;
                snr.gone().await?;
                trio.victim.tainted(OWN, false).await?;
                trio.victim.let_go().await?;
                trio.promise();
                tokio::time::sleep(Duration::from_secs(4)).await;
                ensure!(w.pod_now("web").await? == (true, false), "the pod was touched");
                Ok(())
            }),
        case("C073", Fix, SECTION)
            .given("a remediation is deleted after its node object vanished")
            .then("it is let go (the stock manager keeps it for ever)")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                trio.refuse();
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                snr.reaches("Pre-Reboot-Completed").await?;
                w.delete("Node", "", &trio.victim.node.name).await?;
                snr.delete().await?;
                snr.gone().await
            }),
        case("C075", Keep, SECTION)
            .given("status.phase is set to garbage by a user")
            .then("lastError, and the node is not touched")
            .run(async |w| {
                know(&w).await?;
                let node = w.booted().await?;
                let snr = w.remediate(&node, "ResourceDeletion").await?;
                snr.complains("no agent lease").await?;
                snr.status(json!({ "phase": "Nonsense" })).await?;
                snr.complains("which is no phase").await?;
                ensure!(snr.now().await?["metadata"]["finalizers"].is_null(), "it was taken up");
                Ok(())
            }),
        case("C078", Fix, SECTION)
            .given("two remediations of one node, the first one ends")
            .then("taint and intent stay until both are done")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                trio.victim.node.becomes(Sick).await?;
                let annotation = json!({ "remediation.medik8s.io/node-name": trio.victim.node.name });
                let one = w.remediate_as("one", annotation.clone(), json!([]), "ResourceDeletion").await?;
                let two = w.remediate_as("two", annotation, json!([]), "ResourceDeletion").await?;
                one.reaches("Fencing-Completed").await?;
                two.reaches("Fencing-Completed").await?;
                trio.victim.comes_back("b2").await?;
                one.delete().await?;
                one.gone().await?;
                ensure!(trio.victim.taints().contains(&OWN.to_owned()), "the first one took the taint away");
                ensure!(trio.victim.intent().is_some(), "the first one took the intent away");
                two.delete().await?;
                two.gone().await?;
                trio.victim.tainted(OWN, false).await?;
                trio.victim.let_go().await
            }),
        case("C079", Fix, SECTION)
            .given("the kubelet of the same boot is heard after the deadline")
            .then("not declared dead: no certificate, no success, the condition explains, no pod is touched")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                trio.refuse();
                w.pod(&trio.victim.node, "web", "ReplicaSet", json!([])).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                snr.reaches("Pre-Reboot-Completed").await?;
                tokio::time::sleep(Duration::from_secs(4)).await;
                trio.victim.node.reports("Ready", "False", 0).await?;
                trio.promise();
                let told = snr.event("SelfNodeRemediation", &snr.name, "RemediationFailed").await?;
                ensure!(brief(&told["message"]).contains("CONTRADICTION"), "it says {}", told["message"]);
                trio.victim.node.explained("a sign of life after the end").await?;
                ensure!(w.pod_now("web").await? == (true, false), "the pod was touched");
                ensure!(snr.now().await?["status"]["palisade"]["certificate"].is_null(), "there is a certificate");
                Ok(())
            }),
    ]
}
