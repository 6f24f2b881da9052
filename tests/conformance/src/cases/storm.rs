//! 8.11, storms: too many nodes at once, and the time after it.

use std::rc::Rc;

use anyhow::ensure;
use serde_json::json;

use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, case};
use crate::node::Node;
use crate::node::State::{Failing, Fine};
use crate::policy::Policy;
use crate::value::seconds;
use crate::world::World;

const SECTION: &str = "8.11";
const ACTIVE: &str = "StormActive";
const COOLDOWN: &str = "StormCooldownActive";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("S01", Keep, SECTION)
            .given("stormCooldownDuration is set, and 3 of 5 nodes get sick (3 healthy are needed)")
            .then("StormActive, no cooldown; Warning StormRecoveryStarted; nothing is remediated")
            .run(async |w| {
                let (policy, sick) = storm(&w, "10m").await?;
                policy.event("Warning", "StormRecoveryStarted", "").await?;
                policy.condition(ACTIVE, json!({ "reason": "HealthyNodeThresholdChange" })).await?;
                policy.looked().await?;
                sick[0].explained("storm").await?;
                w.never_remediated().await
            }),
        case("S02", Keep, SECTION)
            .given("one of them recovers")
            .then("StormCooldownActive; Warning StormRecoveryCooldownStarted")
            .run(async |w| {
                let (policy, sick) = storm(&w, "10m").await?;
                sick[0].becomes(Fine).await?;
                policy.condition(COOLDOWN, json!({ "status": "True", "reason": "HealthyNodeThresholdChange" })).await?;
                policy.condition(ACTIVE, json!({ "status": "True" })).await?;
                policy.event("Warning", "StormRecoveryCooldownStarted", "").await.map(drop)
            }),
        case("S03", Keep, SECTION)
            .given("the cooldown runs, enough nodes are healthy, two are sick")
            .then("nothing is remediated; Warning RemediationSkipped")
            .run(async |w| {
                let (policy, sick) = storm(&w, "10m").await?;
                sick[0].becomes(Fine).await?;
                policy.condition(COOLDOWN, json!({ "status": "True" })).await?;
                policy.shows(json!({ "healthyNodes": 3 })).await?;
                policy.event("Warning", "RemediationSkipped", "").await?;
                policy.looked().await?;
                sick[1].explained("cooldown of a storm").await?;
                w.never_remediated().await
            }),
        case("S04", Keep, SECTION)
            .given("another gets sick before the cooldown ends")
            .then("StormCooldownActive is False, the storm goes on")
            .run(async |w| {
                let (policy, sick) = storm(&w, "10m").await?;
                sick[0].becomes(Fine).await?;
                policy.condition(COOLDOWN, json!({ "status": "True" })).await?;
                sick[0].becomes(Failing).await?;
                policy.condition(COOLDOWN, json!({ "status": "False" })).await?;
                policy.condition(ACTIVE, json!({ "status": "True" })).await?;
                policy.looked().await?;
                w.never_remediated().await
            }),
        case("S05", Keep, SECTION)
            .given("and it recovers again")
            .then("the cooldown starts anew, with a later transition time and its full length")
            .run(async |w| {
                let (policy, sick) = storm(&w, "5s").await?;
                sick[0].becomes(Fine).await?;
                let first = policy.condition(COOLDOWN, json!({ "status": "True" })).await?;
                sick[0].becomes(Failing).await?;
                policy.condition(COOLDOWN, json!({ "status": "False" })).await?;
                // Stamps have whole seconds: a later one needs a later second.
                while jiff::Timestamp::now().as_second() <= seconds(&first["lastTransitionTime"])? {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
                sick[0].becomes(Fine).await?;
                let second = policy.condition(COOLDOWN, json!({ "status": "True" })).await?;
                let (before, after) = (seconds(&first["lastTransitionTime"])?, seconds(&second["lastTransitionTime"])?);
                ensure!(after > before, "the transition time did not move: {before}, {after}");
                let made = w.remediation(&sick[1]).await?.made()?;
                ensure!(
                    made - after >= 5,
                    "remediated {} s after the second cooldown began, before its 5 s",
                    made - after
                );
                Ok(())
            }),
        case("S06", Keep, SECTION)
            .given("the cooldown is over")
            .then("both conditions False, Normal StormRecoveryEnded, the nodes still sick are remediated")
            .run(async |w| {
                let (policy, sick) = storm(&w, "3s").await?;
                sick[0].becomes(Fine).await?;
                for node in &sick[1..] {
                    w.remediation(node).await?;
                }
                policy.condition(ACTIVE, json!({ "status": "False" })).await?;
                policy.condition(COOLDOWN, json!({ "status": "False" })).await?;
                policy.event("Normal", "StormRecoveryEnded", "").await.map(drop)
            }),
        case("S07", Fix, SECTION)
            .given("all nodes recover during a storm")
            .then("the storm ends after the cooldown, and the next single failure is not delayed")
            .run(async |w| {
                let (policy, sick) = storm(&w, "3s").await?;
                for node in &sick {
                    node.becomes(Fine).await?;
                }
                policy.condition(ACTIVE, json!({ "status": "False" })).await?;
                policy.condition(COOLDOWN, json!({ "status": "False" })).await?;
                sick[0].becomes(Failing).await?;
                w.remediation(&sick[0]).await.map(drop)
            }),
        case("S08", Fix, SECTION)
            .given("stormCooldownDuration is removed during the cooldown of a storm")
            .then("the conditions are cleared, and remediation goes on")
            .run(async |w| {
                let (policy, sick) = storm(&w, "10m").await?;
                sick[0].becomes(Fine).await?;
                policy.condition(COOLDOWN, json!({ "status": "True" })).await?;
                policy.patch(json!({ "stormCooldownDuration": null })).await?;
                w.remediation(&sick[1]).await?;
                policy
                    .until("no storm", |status| {
                        for type_ in [ACTIVE, COOLDOWN] {
                            if crate::value::condition(status, type_)["status"] == "True" {
                                return Err(format!("{type_} is True"));
                            }
                        }
                        Ok(())
                    })
                    .await
                    .map(drop)
            }),
    ]
}

/// Five nodes of which three are sick: two healthy are fewer than the three of 51 %.
async fn storm(w: &Rc<World>, cooldown: &str) -> anyhow::Result<(Policy, Vec<Node>)> {
    let nodes = w.nodes([Fine; 5]).await?;
    let policy =
        w.policy().after("1s").with(json!({ "stormCooldownDuration": cooldown, "minHealthy": 3 })).create().await?;
    policy.shows(json!({ "observedNodes": 5, "healthyNodes": 5 })).await?;
    // While it is paused nothing starts between the first and the third.
    policy.patch(json!({ "pauseRequests": ["three at once"] })).await?;
    policy.shows(json!({ "phase": "Paused" })).await?;
    let sick: Vec<Node> = nodes.into_iter().take(3).collect();
    for node in &sick {
        node.becomes(Failing).await?;
    }
    policy.shows(json!({ "healthyNodes": 2 })).await?;
    policy.patch(json!({ "pauseRequests": null })).await?;
    policy.condition(ACTIVE, json!({ "status": "True" })).await?;
    Ok((policy, sick))
}
