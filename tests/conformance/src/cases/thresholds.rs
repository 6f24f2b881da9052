//! 8.4: how many nodes must be healthy.

use serde_json::json;

use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, case};
use crate::node::State::{Fine, Sick};

const SECTION: &str = "8.4";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("T01", Keep, SECTION)
            .given("3 nodes, 1 sick, minHealthy 51 %")
            .then("one remediation; 3 observed, 2 healthy, Remediating")
            .run(async |w| {
                let policy = w.policy().create().await?;
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                w.remediation(&sick).await?;
                policy.shows(json!({ "observedNodes": 3, "healthyNodes": 2, "phase": "Remediating" })).await?;
                policy.looked().await?;
                anyhow::ensure!(w.remediations_now().await?.len() == 1, "exactly one remediation is expected");
                Ok(())
            }),
        case("T02", Keep, SECTION)
            .given("7 nodes, 4 sick, minHealthy 51 %")
            .then("no remediation; 4 listed without one; 3 healthy of 7, Enabled; Warning RemediationSkipped")
            .run(async |w| {
                let nodes = w.nodes([Sick, Sick, Sick, Sick, Fine, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let listed: Vec<_> =
                    nodes[..4].iter().map(|node| json!({ "name": node.name, "remediations": null })).collect();
                policy
                    .shows(
                        json!({ "observedNodes": 7, "healthyNodes": 3, "phase": "Enabled", "unhealthyNodes": listed }),
                    )
                    .await?;
                policy.event("Warning", "RemediationSkipped", "3").await?;
                policy.looked().await?;
                nodes[0].explained("too few healthy").await?;
                w.never_remediated().await
            }),
        case("T03", Keep, SECTION)
            .given("7 nodes, 3 sick, minHealthy 51 %")
            .then("three remediations: the threshold is met exactly")
            .run(async |w| {
                let nodes = w.nodes([Sick, Sick, Sick, Fine, Fine, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                for node in &nodes[..3] {
                    w.remediation(node).await?;
                }
                policy.shows(json!({ "observedNodes": 7, "healthyNodes": 4, "phase": "Remediating" })).await.map(drop)
            }),
        case("T04", Keep, SECTION)
            .given("one of three nodes is sick; one policy with minHealthy 100 %, another with maxUnhealthy 0")
            .then("neither ever remediates")
            .run(async |w| {
                w.nodes([Sick, Fine, Fine]).await?;
                let all = w.policy().with(json!({ "minHealthy": "100%" })).create().await?;
                let none =
                    w.policy().named("none").with(json!({ "minHealthy": null, "maxUnhealthy": 0 })).create().await?;
                for policy in [all, none] {
                    policy.event("Warning", "RemediationSkipped", "").await?;
                    policy.looked().await?;
                }
                w.never_remediated().await
            }),
        case("T05", Keep, SECTION)
            .given("10 nodes: maxUnhealthy 30 % with 3 sick, minHealthy 75 % with 3 sick")
            .then("percentages are rounded up: the first remediates, the second (8 needed) does not")
            .run(async |w| {
                let nodes = w.nodes([Sick, Sick, Sick, Fine, Fine, Fine, Fine, Fine, Fine, Fine]).await?;
                let strict =
                    w.policy().named("strict").template("BarTemplate", "bar").with(json!({ "minHealthy": "75%" }));
                let strict = strict.create().await?;
                strict.event("Warning", "RemediationSkipped", "8").await?;
                w.policy().with(json!({ "minHealthy": null, "maxUnhealthy": "30%" })).create().await?;
                for node in &nodes[..3] {
                    w.remediation(node).await?;
                }
                strict.looked().await?;
                anyhow::ensure!(
                    w.eyes().history("Bar", |bar| bar["metadata"]["namespace"] == *w.name).is_empty(),
                    "a Bar"
                );
                Ok(())
            }),
        case("T06", Keep, SECTION)
            .given("two nodes, minHealthy 1: the first recovers but its remediation is held; then the second gets sick")
            .then("the first is not counted healthy, and the second waits until the first is free")
            .run(async |w| {
                let [first, second] = w.nodes([Sick, Fine]).await?;
                let policy = w.policy().with(json!({ "minHealthy": 1 })).create().await?;
                let held = w.remediation(&first).await?;
                held.held(true).await?;
                first.becomes(Fine).await?;
                held.ending().await?;
                policy.shows(json!({ "healthyNodes": 1 })).await?;
                second.becomes(Sick).await?;
                policy.shows(json!({ "healthyNodes": 0 })).await?;
                policy.looked().await?;
                anyhow::ensure!(w.ever("Foo", &second) == 0, "the second node has to wait");
                held.held(false).await?;
                w.remediation(&second).await.map(drop)
            }),
        case("T07", Fix, SECTION)
            .given("maxUnhealthy 5 with three nodes, one of them sick")
            .then("it is remediated")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                w.policy().with(json!({ "minHealthy": null, "maxUnhealthy": 5 })).create().await?;
                w.remediation(&sick).await.map(drop)
            }),
        case("T08", Fix, SECTION)
            .given(
                "a ladder runs for one node, another gets sick so that too few are healthy, and the step's time ends",
            )
            .then("the time-out is recorded all the same; the next step starts once enough are healthy")
            .run(async |w| {
                let [first, second, _] = w.nodes([Sick, Fine, Fine]).await?;
                let ladder = [("FooTemplate", "foo", 0, "6s"), ("BarTemplate", "bar", 1, "60s")];
                let policy = w.policy().ladder(&ladder).create().await?;
                let foo = w.remediation(&first).await?;
                second.becomes(crate::node::State::Failing).await?;
                policy.event("Warning", "RemediationSkipped", "").await?;
                foo.annotated(crate::remediation::TIMED_OUT).await?;
                policy
                    .until("the time-out is recorded", |status| {
                        let nodes = status["unhealthyNodes"].as_array().cloned().unwrap_or_default();
                        let timed_out = nodes.iter().any(|node| node["remediations"][0]["timedOut"].is_string());
                        if timed_out { Ok(()) } else { Err("no timedOut".to_owned()) }
                    })
                    .await?;
                second.becomes(Fine).await?;
                w.remediation_of("Bar", &first).await.map(drop)
            }),
        case("T09", Keep, SECTION)
            .given("10 nodes, 4 get sick together, minHealthy 51 %")
            .then("four remediations")
            .run(async |w| {
                let policy = w.policy().create().await?;
                let nodes = w.nodes([Fine; 10]).await?;
                policy.shows(json!({ "observedNodes": 10, "healthyNodes": 10 })).await?;
                for node in &nodes[..4] {
                    node.becomes(Sick).await?;
                }
                for node in &nodes[..4] {
                    w.remediation(node).await?;
                }
                policy.looked().await?;
                anyhow::ensure!(w.remediations_now().await?.len() == 4, "exactly four remediations are expected");
                Ok(())
            }),
        case("T10", Keep, SECTION)
            .given("3 nodes, minHealthy 51 %: one is sick but excluded, then another gets sick")
            .then("the excluded one counts as unhealthy, so that the other is not remediated")
            .run(async |w| {
                let excluded = json!({ "remediation.medik8s.io/exclude-from-remediation": "true" });
                let excluded = w.node_with(Sick, excluded).await?;
                let [other, _] = w.nodes([Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                policy.shows(json!({ "healthyNodes": 2, "unhealthyNodes": [{ "name": excluded.name }] })).await?;
                other.becomes(Sick).await?;
                policy.shows(json!({ "healthyNodes": 1 })).await?;
                policy.looked().await?;
                w.never_remediated().await
            }),
    ]
}
