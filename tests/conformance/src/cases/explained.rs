//! Ours alone: situations that `palisade explain` has to explain and that no other case holds for long enough to ask.

use std::time::Duration;

use serde_json::json;

use crate::case::Tag::Beyond;
use crate::case::{Case, Place, case};
use crate::node::State::{Failing, FailingFor, Fine, Sick, SickFor};
use crate::value::stamp;

const SECTION: &str = "explain";
const VETO: &str = "palisade.dev/veto";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("EX01", Beyond, SECTION)
            .given("two nodes with Ready=Unknown, and one place for this cause")
            .then("one is remediated, and explain says of the other which limit is reached")
            .run(async |w| {
                let [first, second, _] = w.nodes([SickFor(90), SickFor(60), Fine]).await?;
                let cause = json!([{ "type": "Ready", "status": "Unknown", "maxConcurrent": 1 }]);
                w.policy().with(json!({ "minHealthy": 0, "budget": { "perCause": cause } })).create().await?;
                w.remediation(&first).await?;
                second.explained("budget of a cause").await
            }),
        case("EX02", Beyond, SECTION)
            .given("two sick nodes, and an hour between two remediations")
            .then("explain says of the second when it may begin")
            .run(async |w| {
                let [first, second, _] = w.nodes([FailingFor(90), FailingFor(60), Fine]).await?;
                w.policy().with(json!({ "minHealthy": 0, "budget": { "minInterval": "1h" } })).create().await?;
                w.remediation(&first).await?;
                second.explained("pacing").await
            }),
        case("EX03", Beyond, SECTION)
            .given("a policy with a veto, and a sick node")
            .then("explain names whose veto it is, why, and when it ends")
            .run(async |w| {
                let [sick, ..] = w.nodes([Fine, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let veto = format!("owner=ann; until={}; reason=new switches", stamp(3_600));
                let annotation = json!({ "metadata": { "annotations": { VETO: veto } } });
                w.patch("NodeHealthCheck", "", &policy.name, annotation).await?;
                policy.condition("Vetoed", json!({ "status": "True" })).await?;
                sick.becomes(Failing).await?;
                sick.explained("veto on the policy").await?;
                w.never_remediated().await
            }),
        case("EX04", Beyond, SECTION)
            .given("a sick node with a veto")
            .then("explain names whose veto it is, why, when it ends, and the annotation")
            .run(async |w| {
                let [sick, ..] = w.nodes([Fine, Fine, Fine]).await?;
                sick.annotate(VETO, Some(&format!("owner=ann; until={}; reason=new disk", stamp(3_600)))).await?;
                let policy = w.policy().create().await?;
                policy.shows(json!({ "healthyNodes": 3 })).await?;
                sick.becomes(Failing).await?;
                sick.explained("veto on the node").await?;
                w.never_remediated().await
            }),
        case("EX05", Beyond, SECTION)
            .given("a sick node, and a policy whose template is gone")
            .then("explain names the template")
            .run(async |w| {
                let [sick, ..] = w.nodes([Fine, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                policy.shows(json!({ "healthyNodes": 3 })).await?;
                w.delete("FooTemplate", &w.name, "foo").await?;
                policy
                    .condition("Disabled", json!({ "status": "True", "reason": "RemediationTemplateNotFound" }))
                    .await?;
                sick.becomes(Failing).await?;
                sick.explained("template missing").await?;
                w.never_remediated().await
            }),
        case("EX06", Beyond, SECTION)
            .given("a sick node whose condition MaintenanceInProgress is True; then it is no longer")
            .then("explain names the condition; then the node is remediated")
            .run(async |w| {
                let [sick, ..] = w.nodes([Fine, Fine, Fine]).await?;
                sick.reports("MaintenanceInProgress", "True", 60).await?;
                let policy = w.policy().create().await?;
                policy.shows(json!({ "healthyNodes": 3 })).await?;
                sick.reports("Ready", "False", 60).await?;
                sick.explained("maintenance").await?;
                w.never_remediated().await?;
                sick.reports("MaintenanceInProgress", "False", 0).await?;
                w.remediation(&sick).await.map(drop)
            }),
        case("EX07", Beyond, SECTION)
            .given("a sick node whose lease somebody else holds")
            .then("explain names the holder")
            .run(async |w| {
                let [sick, ..] = w.nodes([Fine, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                policy.shows(json!({ "healthyNodes": 3 })).await?;
                sick.lease_by(Some("node-maintenance"), Duration::from_hours(1)).await?;
                sick.becomes(Sick).await?;
                sick.explained("lease of somebody else").await?;
                w.never_remediated().await
            }),
        case("EX08", Beyond, SECTION)
            .given("a remediation that somebody deletes and a finalizer holds, while the node is sick")
            .then("explain says that it has to go first")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                made.held(true).await?;
                made.delete().await?;
                made.ending().await?;
                sick.explained("remediation that does not go").await
            }),
        case("EX09", Beyond, SECTION)
            .given("correlatedFailures, and most nodes of the cluster are silent at once")
            .then("nobody is remediated, and explain says that the observer may be what fails")
            .at(Place::Alone)
            .run(async |w| {
                let mut controller = w.controller()?;
                let nodes = w.nodes([Fine, Fine, Fine, Fine, Fine]).await?;
                // Paused, until all of them are silent: the first would be a node that fails alone.
                let spec = json!({ "minHealthy": 0, "correlatedFailures": {}, "pauseRequests": ["not yet"] });
                let policy = w.policy().with(spec).create().await?;
                policy.condition("CorrelatedFailure", json!({ "status": "False" })).await?;
                for node in &nodes[..4] {
                    node.becomes(Sick).await?;
                }
                let condition = json!({ "status": "True", "reason": "ObserverFailure" });
                policy.condition("CorrelatedFailure", condition).await?;
                policy.patch(json!({ "pauseRequests": null })).await?;
                nodes[0].explained("the observer is cut off").await?;
                w.never_remediated().await?;
                controller.kill().await;
                Ok(())
            }),
        case("EX10", Beyond, SECTION)
            .given("a node that is Ready=Unknown since a moment")
            .then("explain says that it is suspect, and since when it would count as unhealthy")
            .run(async |w| {
                let [suspect, ..] = w.nodes([SickFor(0), Fine, Fine]).await?;
                w.policy().after("1h").create().await?;
                suspect.explained("not long enough yet").await
            }),
    ]
}
