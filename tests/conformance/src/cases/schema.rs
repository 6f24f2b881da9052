//! 8.1: what the definition accepts and fills in.

use anyhow::ensure;
use serde_json::{Value, json};

use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, Place, case};
use crate::policy::refusal;
use crate::value::shows;
use crate::world::World;

const SECTION: &str = "8.1";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("C01", Keep, SECTION)
            .given("a policy without unhealthyConditions")
            .then("stored with Ready=False and Ready=Unknown for 300 s")
            .at(Place::Shipped)
            .run(async |w| {
                let stored = stored(&w, json!({ "unhealthyConditions": null })).await?;
                let expected = json!([
                    { "type": "Ready", "status": "False", "duration": "300s" },
                    { "type": "Ready", "status": "Unknown", "duration": "300s" },
                ]);
                same(&stored["unhealthyConditions"], &expected)
            }),
        case("C02", Fix, SECTION)
            .given("unhealthyConditions: []")
            .then("refused, or a condition says that no node is ever sick")
            .at(Place::Shipped)
            .run(async |w| {
                w.policy().with(json!({ "unhealthyConditions": [] })).refused(&["spec.unhealthyConditions"]).await
            }),
        case("C03", Keep, SECTION).given("minHealthy 150%").then("refused by the schema").at(Place::Shipped).run(
            async |w| {
                for value in ["150%", "101%", "51 %", "half", "-1%", "1.5"] {
                    w.policy().with(json!({ "minHealthy": value })).refused(&["spec.minHealthy"]).await?;
                }
                w.policy().with(json!({ "minHealthy": "100%" })).accepted().await
            },
        ),
        case("C04", Keep, SECTION)
            .given("durations as Go writes them, and others")
            .then("1h30m, 1.5h, 100ms and 5µs are accepted; 5, 5 s, 1d, -5s and nothing are refused")
            .at(Place::Shipped)
            .run(async |w| {
                for (index, duration) in ["1h30m", "1.5h", "100ms", "5µs"].into_iter().enumerate() {
                    w.policy().named(&index.to_string()).after(duration).accepted().await?;
                }
                for duration in ["5", "5 s", "1d", "-5s", ""] {
                    w.policy().after(duration).refused(&["duration"]).await?;
                }
                Ok(())
            }),
        case("C05", Keep, SECTION)
            .given("minHealthy -1 as a number")
            .then("denied")
            .at(Place::Shipped)
            .run(async |w| w.policy().with(json!({ "minHealthy": -1 })).refused(&["minHealthy", "negative"]).await),
        case("C06", Keep, SECTION)
            .given("the same condition type and status twice")
            .then("refused: the list is keyed by both; the same type with another status is accepted")
            .at(Place::Shipped)
            .run(async |w| {
                let ready = |status: &str, duration: &str| json!({ "type": "Ready", "status": status, "duration": duration });
                let twice = json!({ "unhealthyConditions": [ready("False", "1s"), ready("False", "2s")] });
                w.policy().with(twice).refused(&["spec.unhealthyConditions"]).await?;
                let once = json!({ "unhealthyConditions": [ready("False", "1s"), ready("Unknown", "2s")] });
                w.policy().with(once).accepted().await
            }),
        case("C07", Keep, SECTION)
            .given("a condition with an empty type, or without a duration")
            .then("refused")
            .at(Place::Shipped)
            .run(async |w| {
                for (condition, field) in [
                    (json!({ "type": "", "status": "False", "duration": "1s" }), "type"),
                    (json!({ "type": "Ready", "status": "", "duration": "1s" }), "status"),
                    (json!({ "type": "Ready", "status": "False" }), "duration"),
                ] {
                    w.policy().with(json!({ "unhealthyConditions": [condition] })).refused(&[field]).await?;
                }
                Ok(())
            }),
        case("C08", Keep, SECTION)
            .given("ladder entries without order, timeout or template")
            .then("refused")
            .at(Place::Shipped)
            .run(async |w| {
                let whole = json!({
                    "remediationTemplate": crate::policy::reference(&w, "FooTemplate", "foo"), "order": 1, "timeout": "60s",
                });
                for field in ["order", "timeout", "remediationTemplate"] {
                    let mut entry = whole.clone();
                    if let Some(entry) = entry.as_object_mut() {
                        entry.remove(field);
                    }
                    let ladder = json!({ "remediationTemplate": null, "escalatingRemediations": [entry] });
                    w.policy().with(ladder).refused(&[field]).await?;
                }
                w.policy().with(json!({ "remediationTemplate": null, "escalatingRemediations": [whole] })).accepted().await
            }),
        case("C09", Keep, SECTION)
            .given("healthyDelay -1s; stormCooldownDuration -1s")
            .then("the first is accepted, the second refused")
            .at(Place::Shipped)
            .run(async |w| {
                w.policy().with(json!({ "healthyDelay": "-1s" })).accepted().await?;
                w.policy().named("storm").with(json!({ "stormCooldownDuration": "-1s" })).refused(&["stormCooldownDuration"]).await
            }),
        case("C10", Keep, SECTION)
            .given("a patch of one field of the status, through /status, that also touches the specification")
            .then("accepted; the specification stays")
            .at(Place::Shipped)
            .run(async |w| {
                let policy = w.policy().create().await?;
                policy.shows(json!({ "phase": "Enabled" })).await?;
                let api = w.plane.api("NodeHealthCheck", "")?;
                let patch = json!({ "status": { "reason": "by hand" }, "spec": { "minHealthy": "7%" } });
                let parameters = kube::api::PatchParams::default();
                let after = api.patch_status(&policy.name, &parameters, &kube::api::Patch::Merge(patch)).await?;
                let after = serde_json::to_value(after)?;
                same(&after["spec"]["minHealthy"], &json!("51%"))?;
                same(&after["status"], &json!({ "reason": "by hand", "phase": "Enabled" }))
            }),
        case("C11", Keep, SECTION)
            .given("a policy with a template that does not exist")
            .then("accepted: whether it can be used is a matter of run time")
            .at(Place::Shipped)
            .run(async |w| w.policy().without_templates().accepted().await),
    ]
}

async fn stored(w: &std::rc::Rc<World>, spec: Value) -> anyhow::Result<Value> {
    let policy = w.policy().with(spec).create().await?;
    let object = w.get("NodeHealthCheck", "", &policy.name).await?;
    Ok(object.unwrap_or_default()["spec"].take())
}

fn same(seen: &Value, expected: &Value) -> anyhow::Result<()> {
    shows(seen, expected).map_err(|why| anyhow::anyhow!(why))
}

/// Whether a change of a stored policy is refused, with these parts in the answer.
pub async fn change_refused(policy: &crate::policy::Policy, change: Value, parts: &[&str]) -> anyhow::Result<()> {
    match policy.patch(change.clone()).await {
        Ok(_) => anyhow::bail!("{change} is to be refused, but was accepted"),
        Err(error) => {
            refusal(&error, parts)?;
            ensure!(!parts.is_empty(), "a refusal has a reason");
            Ok(())
        }
    }
}
