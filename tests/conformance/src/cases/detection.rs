//! 8.3: which nodes count as sick, and since when.

use anyhow::ensure;
use serde_json::json;

use crate::case::Tag::{Design, Keep};
use crate::case::{Case, case};
use crate::node::State::{Fine, Sick, SickFor, Silent};

const SECTION: &str = "8.3";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("H01", Keep, SECTION)
            .given("a node is Ready=Unknown for 2 s of a duration of 5 s, and nothing else happens")
            .then("no remediation before the 5 s are over, and one within seconds after")
            .run(async |w| {
                let [node, ..] = w.nodes([Fine, Fine, Fine]).await?;
                let policy = w.policy().after("5s").create().await?;
                policy.shows(json!({ "observedNodes": 3, "healthyNodes": 3 })).await?;
                node.becomes(SickFor(2)).await?;
                let made = w.remediation(&node).await?.made()?;
                let after = made - node.since()?;
                ensure!(after >= 5, "it was made {after} s after the condition changed, before its 5 s were over");
                ensure!(after <= 5 + 15, "it was made only {after} s after the condition changed");
                Ok(())
            }),
        case("H02", Keep, SECTION)
            .given("condition A (an hour) is not expired and condition B is")
            .then("the node is sick now: A does not hide B")
            .run(async |w| {
                let [node, ..] = w.nodes([Sick, Fine, Fine]).await?;
                node.reports("B", "Bad", 60).await?;
                let conditions = json!([
                    { "type": "Ready", "status": "Unknown", "duration": "1h" }, { "type": "B", "status": "Bad", "duration": "2s" },
                ]);
                w.policy().with(json!({ "unhealthyConditions": conditions })).create().await?;
                w.remediation(&node).await.map(drop)
            }),
        case("H03", Keep, SECTION)
            .given("two conditions are bad since now, one for 4 s and one for an hour")
            .then("the earlier one decides, without another event")
            .run(async |w| {
                let [node, ..] = w.nodes([Fine, Fine, Fine]).await?;
                let conditions = json!([
                    { "type": "Slow", "status": "Bad", "duration": "1h" }, { "type": "Quick", "status": "Bad", "duration": "4s" },
                ]);
                w.policy().with(json!({ "unhealthyConditions": conditions })).create().await?;
                node.reports("Slow", "Bad", 0).await?;
                node.reports("Quick", "Bad", 0).await?;
                w.remediation(&node).await.map(drop)
            }),
        case("H04", Keep, SECTION)
            .given("a configured condition type is absent on a node")
            .then("it is ignored: the node is healthy")
            .run(async |w| {
                w.nodes([Fine, Silent, Fine]).await?;
                let conditions = json!([{ "type": "NeverThere", "status": "True", "duration": "1s" }]);
                let policy = w.policy().with(json!({ "unhealthyConditions": conditions })).create().await?;
                policy.shows(json!({ "observedNodes": 3, "healthyNodes": 3, "unhealthyNodes": null })).await?;
                policy.looked().await?;
                w.never_remediated().await
            }),
        case("H05", Keep, SECTION)
            .given("a node that has no conditions at all")
            .then("it is observed and healthy")
            .run(async |w| {
                w.nodes([Silent, Fine]).await?;
                let policy = w.policy().create().await?;
                policy.shows(json!({ "observedNodes": 2, "healthyNodes": 2, "phase": "Enabled" })).await?;
                policy.looked().await?;
                w.never_remediated().await
            }),
        case("H06", Keep, SECTION)
            .given("KernelDeadlock=True, as a node problem detector reports it, on a node that is Ready")
            .then("works like Ready")
            .run(async |w| {
                let [node, ..] = w.nodes([Fine, Fine, Fine]).await?;
                let conditions = json!([{ "type": "KernelDeadlock", "status": "True", "duration": "2s" }]);
                let policy = w.policy().with(json!({ "unhealthyConditions": conditions })).create().await?;
                policy.shows(json!({ "healthyNodes": 3 })).await?;
                node.reports("KernelDeadlock", "True", 0).await?;
                let remediation = w.remediation(&node).await?;
                node.reports("KernelDeadlock", "False", 0).await?;
                remediation.gone().await
            }),
        case("H07", Keep, SECTION)
            .given("a sick node outside the selector, and one inside")
            .then("only the one inside is remediated")
            .run(async |w| {
                let outside = w.node_with(Sick, json!({ w.label(): null })).await?;
                let [inside, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                w.remediation(&inside).await?;
                policy.shows(json!({ "observedNodes": 3, "unhealthyNodes": [{ "name": inside.name }] })).await?;
                policy.looked().await?;
                outside.explained("nobody looks after it").await?;
                ensure!(w.ever("Foo", &outside) == 0, "the node outside was remediated");
                w.delete("Node", "", &outside.name).await
            }),
        case("H08", Keep, SECTION)
            .given("a node is Ready=Unknown but recovers before the duration is over")
            .then("nothing is remediated; while pending it is not counted healthy")
            .run(async |w| {
                let [node, ..] = w.nodes([Fine, Fine, Fine]).await?;
                let policy = w.policy().after("1h").create().await?;
                policy.shows(json!({ "healthyNodes": 3 })).await?;
                node.becomes(SickFor(0)).await?;
                policy.shows(json!({ "observedNodes": 3, "healthyNodes": 2, "unhealthyNodes": null, "phase": "Enabled" })).await?;
                node.becomes(Fine).await?;
                policy.shows(json!({ "healthyNodes": 3 })).await?;
                policy.looked().await?;
                w.never_remediated().await
            }),
        case("H09", Keep, SECTION)
            .given("only Ready=False is configured, and a node is Ready=Unknown for long")
            .then("statuses are compared as they are: it is healthy")
            .run(async |w| {
                w.nodes([Sick, Fine]).await?;
                let conditions = json!([{ "type": "Ready", "status": "False", "duration": "1s" }]);
                let policy = w.policy().with(json!({ "unhealthyConditions": conditions })).create().await?;
                policy.shows(json!({ "observedNodes": 2, "healthyNodes": 2 })).await?;
                policy.looked().await?;
                w.never_remediated().await
            }),
        case("H10", Keep, SECTION)
            .given("mid-remediation Ready flips from Unknown to False with a fresh transition time, then the node recovers")
            .then("the remediation stays and the ladder waits for the duration; then it goes on; Ready=True deletes all")
            .run(async |w| {
                let [node, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let ladder = [("FooTemplate", "foo", 0, "3s"), ("BarTemplate", "bar", 1, "60s")];
                w.policy().after("8s").ladder(&ladder).create().await?;
                let first = w.remediation(&node).await?;
                node.becomes(crate::node::State::FailingFor(0)).await?;
                let second = w.remediation_of("Bar", &node).await?;
                let (flipped, next) = (node.since()?, second.made()?);
                ensure!(next - flipped >= 8, "the next step began {} s after the flip, before 8 s", next - flipped);
                first.stays().await?;
                node.becomes(Fine).await?;
                first.gone().await?;
                second.gone().await
            }),
        case("H11", Design, SECTION)
            .given("a sick node is deleted and comes back under its name, first healthy, then sick")
            .then("it is a new node: nothing of the old one is left, and it is remediated anew")
            .run(async |w| {
                let [node, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let old = w.remediation(&node).await?;
                node.vanishes().await?;
                old.gone().await?;
                policy.shows(json!({ "observedNodes": 2, "unhealthyNodes": null })).await?;
                let again = node.comes_back(Fine).await?;
                policy.shows(json!({ "observedNodes": 3, "healthyNodes": 3, "unhealthyNodes": null })).await?;
                again.becomes(Sick).await?;
                w.another_than(&old, &again).await.map(drop)
            }),
        case("H12", Keep, SECTION)
            .given("a node is created without conditions and becomes Ready=False later")
            .then("it is detected")
            .run(async |w| {
                let [node, ..] = w.nodes([Silent, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                policy.shows(json!({ "observedNodes": 3, "healthyNodes": 3 })).await?;
                node.becomes(crate::node::State::Failing).await?;
                w.remediation(&node).await.map(drop)
            }),
    ]
}
