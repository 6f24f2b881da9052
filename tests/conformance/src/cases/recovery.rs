//! 8.8: nodes that recover, and how long that is doubted. 8.9: nodes that are gone.

use anyhow::ensure;
use serde_json::json;

use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, case};
use crate::definitions::API_VERSION;
use crate::node::State::{Failing, Fine, Sick};
use crate::remediation::{HEALTHY_DELAY, NODE_NAME, TEMPLATE_NAME};
use crate::value::seconds;

const SECTION: &str = "8.8";
const CONFIRMED: &str = "remediation.medik8s.io/manually-confirmed-healthy";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("D01", Keep, SECTION)
            .given("the node recovers and its remediation is held by a finalizer")
            .then("it is being deleted; conditionsHealthyTimestamp; still counted unhealthy; Remediating")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                made.held(true).await?;
                sick.becomes(Fine).await?;
                made.ending().await?;
                let status = policy.shows(json!({ "healthyNodes": 2, "phase": "Remediating", "unhealthyNodes": [{ "name": sick.name }] })).await?;
                drop(status);
                policy.until("conditionsHealthyTimestamp", |status| {
                    let set = status["unhealthyNodes"][0]["conditionsHealthyTimestamp"].is_string();
                    if set { Ok(()) } else { Err("it is not set".to_owned()) }
                })
                .await?;
                made.held(false).await
            }),
        case("D02", Keep, SECTION)
            .given("then the finalizer goes")
            .then("the node is dropped, one more healthy, Enabled; RemediationRemoved was said once")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                made.held(true).await?;
                sick.becomes(Fine).await?;
                made.ending().await?;
                policy.shows(json!({ "healthyNodes": 2 })).await?;
                made.held(false).await?;
                policy.shows(json!({ "healthyNodes": 3, "unhealthyNodes": null, "phase": "Enabled" })).await?;
                policy.event("Normal", "RemediationRemoved", &made.name).await?;
                policy.looked().await?;
                ensure!(policy.count("RemediationRemoved") == 1, "RemediationRemoved was said more than once");
                Ok(())
            }),
        case("D03", Keep, SECTION)
            .given("a healthy node with a remediation that another policy owns")
            .then("it is not touched")
            .run(async |w| {
                let [node, _] = w.nodes([Fine, Fine]).await?;
                let foreign = w.plane.create(&json!({
                    "apiVersion": API_VERSION, "kind": "Foo",
                    "metadata": {
                        "name": node.name, "namespace": w.name, "annotations": { NODE_NAME: node.name, TEMPLATE_NAME: "foo" },
                        "ownerReferences": [{
                            "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck", "name": "another",
                            "uid": "00000000-0000-0000-0000-000000000002",
                        }],
                    },
                })).await?;
                let policy = w.policy().create().await?;
                policy.shows(json!({ "healthyNodes": 2 })).await?;
                policy.looked().await?;
                let now = w.get("Foo", &w.name, &node.name).await?.unwrap_or_default();
                ensure!(now["metadata"]["resourceVersion"] == foreign["metadata"]["resourceVersion"], "it was touched");
                Ok(())
            }),
        case("D04", Keep, SECTION)
            .given("no healthyDelay, and the node recovers")
            .then("the remediation is deleted at once, without a mark of a delay")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().with(json!({ "healthyDelay": "0s" })).create().await?;
                let made = w.remediation(&sick).await?;
                sick.becomes(Fine).await?;
                made.gone().await?;
                policy.shows(json!({ "unhealthyNodes": null, "healthyNodes": 3 })).await?;
                let marked = w.eyes().history("Foo", |foo| foo["metadata"]["annotations"][HEALTHY_DELAY].is_string() && foo["metadata"]["namespace"] == *w.name);
                ensure!(marked.is_empty(), "a delay was begun");
                Ok(())
            }),
        case("D05", Keep, SECTION)
            .given("healthyDelay 3 s, and the node recovers")
            .then("the remediation stays, annotated, healthyDelayed; deleted after 3 s; then the node is dropped")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().with(json!({ "healthyDelay": "3s" })).create().await?;
                let made = w.remediation(&sick).await?;
                sick.becomes(Fine).await?;
                let began = seconds(&json!(made.annotated(HEALTHY_DELAY).await?))?;
                policy.shows(json!({ "unhealthyNodes": [{ "name": sick.name, "healthyDelayed": true }] })).await?;
                made.gone().await?;
                let after = jiff::Timestamp::now().as_second() - began;
                ensure!((3..=20).contains(&after), "it was deleted {after} s after the delay began");
                policy.shows(json!({ "unhealthyNodes": null, "healthyNodes": 3, "phase": "Enabled" })).await.map(drop)
            }),
        case("D06", Keep, SECTION)
            .given("healthyDelay is set and the node is still sick")
            .then("no healthyDelayed, no annotation")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().with(json!({ "healthyDelay": "10m" })).create().await?;
                let made = w.remediation(&sick).await?;
                policy.shows(json!({ "unhealthyNodes": [{ "name": sick.name, "healthyDelayed": null }] })).await?;
                policy.looked().await?;
                ensure!(made.now().await?["metadata"]["annotations"][HEALTHY_DELAY].is_null(), "a delay was begun");
                policy.shows(json!({ "unhealthyNodes": [{ "name": sick.name, "healthyDelayed": null }] })).await.map(drop)
            }),
        case("D07", Fix, SECTION)
            .given("healthyDelay 4 s: the node recovers, gets sick again, and recovers for good")
            .then("the delay counts from the second recovery")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().with(json!({ "healthyDelay": "4s" })).create().await?;
                let made = w.remediation(&sick).await?;
                sick.becomes(Fine).await?;
                made.annotated(HEALTHY_DELAY).await?;
                sick.becomes(Failing).await?;
                made.until("the delay is taken back", |object| {
                    if object["metadata"]["annotations"][HEALTHY_DELAY].is_null() { Ok(()) } else { Err("it runs on".to_owned()) }
                })
                .await?;
                policy.looked().await?;
                made.stays().await?;
                let again = jiff::Timestamp::now().as_second();
                sick.becomes(Fine).await?;
                made.gone().await?;
                let after = jiff::Timestamp::now().as_second() - again;
                ensure!(after >= 3, "it was deleted {after} s after the second recovery, before its 4 s");
                policy.shows(json!({ "unhealthyNodes": null, "healthyNodes": 3 })).await.map(drop)
            }),
        case("D08", Keep, SECTION)
            .given("healthyDelay -1s, and the node recovers")
            .then("the remediation is kept until somebody confirms; healthyDelayed says so")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().with(json!({ "healthyDelay": "-1s" })).create().await?;
                let made = w.remediation(&sick).await?;
                sick.becomes(Fine).await?;
                policy.shows(json!({ "phase": "Remediating", "unhealthyNodes": [{ "name": sick.name, "healthyDelayed": true }] })).await?;
                policy.looked().await?;
                sick.explained("healthy again, to be confirmed").await?;
                made.stays().await
            }),
        case("D09", Keep, SECTION)
            .given("healthyDelay -1s, the node recovered, and somebody annotates it manually-confirmed-healthy")
            .then("the remediation is deleted, the node dropped, the annotation removed")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().with(json!({ "healthyDelay": "-1s" })).create().await?;
                let made = w.remediation(&sick).await?;
                sick.becomes(Fine).await?;
                policy.shows(json!({ "unhealthyNodes": [{ "healthyDelayed": true }] })).await?;
                sick.annotate(CONFIRMED, Some("")).await?;
                made.gone().await?;
                policy.shows(json!({ "unhealthyNodes": null, "healthyNodes": 3, "phase": "Enabled" })).await?;
                sick.shows(json!({ "metadata": { "annotations": { CONFIRMED: null } } })).await
            }),
        case("O01", Keep, "8.9")
            .given("a sick node with a remediation is deleted")
            .then("remediation deleted, status empty, lease gone")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                sick.vanishes().await?;
                made.gone().await?;
                policy.shows(json!({ "observedNodes": 2, "healthyNodes": 2, "unhealthyNodes": null, "phase": "Enabled" })).await?;
                sick.lease_gone().await
            }),
        case("O02", Keep, "8.9")
            .given("the remediation says PermanentNodeDeletionExpected=True and Succeeded=False, and the node is deleted")
            .then("the remediation is kept, the node still listed")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                made.says_all(&[("PermanentNodeDeletionExpected", "True"), ("Succeeded", "False")]).await?;
                policy.looked().await?;
                sick.vanishes().await?;
                policy.shows(json!({ "observedNodes": 2, "unhealthyNodes": [{ "name": sick.name }] })).await?;
                policy.looked().await?;
                made.stays().await?;
                policy.shows(json!({ "unhealthyNodes": [{ "name": sick.name }] })).await.map(drop)
            }),
        case("O03", Keep, "8.9")
            .given("the same, and then the remediation says Succeeded=True")
            .then("it is deleted, the list is empty")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                made.says_all(&[("PermanentNodeDeletionExpected", "True"), ("Succeeded", "Unknown")]).await?;
                policy.looked().await?;
                sick.vanishes().await?;
                policy.shows(json!({ "observedNodes": 2, "unhealthyNodes": [{ "name": sick.name }] })).await?;
                made.stays().await?;
                made.says_all(&[("PermanentNodeDeletionExpected", "True"), ("Succeeded", "True")]).await?;
                made.gone().await?;
                policy.shows(json!({ "unhealthyNodes": null, "phase": "Enabled" })).await.map(drop)
            }),
        case("O04", Fix, "8.9")
            .given("the remediation is deleted by hand, and the node right after")
            .then("the list is empty and the policy can be deleted")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                // While it is paused nothing is made anew in between.
                policy.patch(json!({ "pauseRequests": ["hands off"] })).await?;
                policy.shows(json!({ "phase": "Paused" })).await?;
                made.delete().await?;
                made.gone().await?;
                sick.vanishes().await?;
                policy.patch(json!({ "pauseRequests": null })).await?;
                policy.shows(json!({ "observedNodes": 2, "unhealthyNodes": null, "phase": "Enabled" })).await?;
                policy.delete().await
            }),
        case("O05", Fix, "8.9")
            .given("a sick node that is listed without a remediation (too few are healthy) is deleted")
            .then("its entry is removed")
            .run(async |w| {
                let [sick, _] = w.nodes([Sick, Fine]).await?;
                let policy = w.policy().with(json!({ "minHealthy": "100%" })).create().await?;
                policy.shows(json!({ "unhealthyNodes": [{ "name": sick.name }] })).await?;
                sick.vanishes().await?;
                policy.shows(json!({ "observedNodes": 1, "unhealthyNodes": null })).await.map(drop)
            }),
        case("O06", Fix, "8.9")
            .given("a node under remediation loses the label that the policy selects")
            .then("as if it were deleted, without waiting for another event")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                sick.label(&w.label(), None).await?;
                made.gone().await?;
                policy.shows(json!({ "observedNodes": 2, "unhealthyNodes": null, "phase": "Enabled" })).await?;
                sick.lease_gone().await?;
                sick.vanishes().await
            }),
    ]
}
