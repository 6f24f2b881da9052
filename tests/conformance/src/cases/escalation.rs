//! 8.6: one template after another.

use anyhow::ensure;
use serde_json::{Value, json};

use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, Place, case};
use crate::node::Node;
use crate::node::State::{Failing, Fine, Sick};
use crate::policy::{Policy, Step};
use crate::remediation::TIMED_OUT;
use crate::value::seconds;

const SECTION: &str = "8.6";
/// A first step that ends soon and a second that does not.
const TWO: [Step; 2] = [("FooTemplate", "foo", 0, "3s"), ("BarTemplate", "bar", 1, "10m")];

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("E01", Keep, SECTION)
            .given("a ladder with the orders 5 and 0, in that sequence")
            .then("order 0 is first")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let ladder = [("BarTemplate", "bar", 5, "10m"), ("FooTemplate", "foo", 0, "10m")];
                let policy = w.policy().ladder(&ladder).create().await?;
                w.remediation_of("Foo", &sick).await?;
                policy.looked().await?;
                sick.explained("a ladder runs").await?;
                ensure!(w.ever("Bar", &sick) == 0, "order 5 came too");
                Ok(())
            }),
        case("E02", Keep, SECTION)
            .given("the time of the first step runs out")
            .then(
                "it is told so and stays; timedOut in the status; the second step begins; Remediating with both listed",
            )
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().ladder(&TWO).create().await?;
                let first = w.remediation_of("Foo", &sick).await?;
                let told = first.annotated(TIMED_OUT).await?;
                let second = w.remediation_of("Bar", &sick).await?;
                let early = seconds(&json!(told))? - first.made()?;
                ensure!((3..=20).contains(&early), "it was told after {early} s, its time is 3 s");
                first.stays().await?;
                both_listed(&policy, &sick, &first.uid, &second.uid).await
            }),
        case("E03", Keep, SECTION)
            .given("the first remediation says Succeeded=False long before its time is over")
            .then("as with a time-out, at once")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let ladder = [("FooTemplate", "foo", 0, "10m"), ("BarTemplate", "bar", 1, "10m")];
                let policy = w.policy().ladder(&ladder).create().await?;
                let first = w.remediation_of("Foo", &sick).await?;
                first.says("Succeeded", "False").await?;
                first.annotated(TIMED_OUT).await?;
                let second = w.remediation_of("Bar", &sick).await?;
                first.stays().await?;
                both_listed(&policy, &sick, &first.uid, &second.uid).await
            }),
        case("E04", Keep, SECTION)
            .given("the first remediation says Succeeded=True, its time runs out and the node is still sick")
            .then("it is not told to stop, but the status notes the time-out and the second step begins")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().ladder(&TWO).create().await?;
                let first = w.remediation_of("Foo", &sick).await?;
                first.says("Succeeded", "True").await?;
                let second = w.remediation_of("Bar", &sick).await?;
                both_listed(&policy, &sick, &first.uid, &second.uid).await?;
                let now = first.now().await?;
                ensure!(
                    now["metadata"]["annotations"][TIMED_OUT].is_null(),
                    "it was told to stop although it succeeded"
                );
                Ok(())
            }),
        case("E05", Keep, SECTION)
            .given("the time of the last step runs out")
            .then("it is told so; Warning NoTemplateLeft; nothing more is made; still Remediating")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let ladder = [("FooTemplate", "foo", 0, "2s"), ("BarTemplate", "bar", 1, "2s")];
                let policy = w.policy().ladder(&ladder).create().await?;
                w.remediation_of("Foo", &sick).await?.annotated(TIMED_OUT).await?;
                w.remediation_of("Bar", &sick).await?.annotated(TIMED_OUT).await?;
                policy.event("Warning", "NoTemplateLeft", &sick.name).await?;
                policy.looked().await?;
                sick.explained("every template tried").await?;
                policy.shows(json!({ "phase": "Remediating" })).await?;
                ensure!(w.ever("Foo", &sick) == 1 && w.ever("Bar", &sick) == 1, "more remediations were made");
                Ok(())
            }),
        case("E06", Keep, SECTION)
            .given("the node recovers during the second step")
            .then("both remediations are deleted, the lease released, the list empty, one more healthy, Enabled")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().ladder(&TWO).create().await?;
                let first = w.remediation_of("Foo", &sick).await?;
                let second = w.remediation_of("Bar", &sick).await?;
                policy.shows(json!({ "healthyNodes": 2 })).await?;
                sick.becomes(Fine).await?;
                first.gone().await?;
                second.gone().await?;
                policy.shows(json!({ "unhealthyNodes": null, "healthyNodes": 3, "phase": "Enabled" })).await?;
                sick.lease_gone().await
            }),
        case("E07", Keep, SECTION)
            .given("a node recovered during the second step and gets sick again")
            .then("the ladder starts at order 0")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().ladder(&TWO).create().await?;
                let first = w.remediation_of("Foo", &sick).await?;
                let second = w.remediation_of("Bar", &sick).await?;
                sick.becomes(Fine).await?;
                policy.shows(json!({ "unhealthyNodes": null, "healthyNodes": 3 })).await?;
                sick.becomes(Failing).await?;
                let again = w.another_than(&first, &sick).await?;
                let third = w.another_than(&second, &sick).await?;
                ensure!(again.made()? <= third.made()?, "the second step came before the first");
                Ok(())
            }),
        case("E08", Fix, SECTION)
            .given("a ladder of two templates of one kind that support it")
            .then("both are listed, the second runs out of time too, then NoTemplateLeft")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                one_kind(&w, &["one", "two"]).await?;
                let ladder = [("FooTemplate", "one", 0, "2s"), ("FooTemplate", "two", 1, "2s")];
                let policy = w.policy().without_templates().ladder(&ladder).create().await?;
                let first = w.remediation_from("Foo", "one", &sick).await?;
                let second = w.remediation_from("Foo", "two", &sick).await?;
                first.annotated(TIMED_OUT).await?;
                second.annotated(TIMED_OUT).await?;
                policy.event("Warning", "NoTemplateLeft", &sick.name).await?;
                policy
                    .until("both timed out", |status| {
                        let listed =
                            status["unhealthyNodes"][0]["remediations"].as_array().cloned().unwrap_or_default();
                        let done = listed.len() == 2 && listed.iter().all(|one| one["timedOut"].is_string());
                        if done { Ok(()) } else { Err(format!("{listed:?}")) }
                    })
                    .await
                    .map(drop)
            }),
        case("E09", Keep, SECTION)
            .given("a ladder of four steps, three of them of one kind, every one fails at once")
            .then("each is tried once, in order, all four are listed as timed out")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                one_kind(&w, &["one", "two", "three"]).await?;
                w.template("BarTemplate", "bar").await?;
                let ladder = [
                    ("FooTemplate", "two", 2, "10m"),
                    ("FooTemplate", "one", 1, "10m"),
                    ("BarTemplate", "bar", 3, "10m"),
                    ("FooTemplate", "three", 4, "10m"),
                ];
                let policy = w.policy().without_templates().ladder(&ladder).create().await?;
                let mut before = 0;
                for (kind, template) in [("Foo", "one"), ("Foo", "two"), ("Bar", "bar"), ("Foo", "three")] {
                    let made = w.remediation_from(kind, template, &sick).await?;
                    ensure!(made.made()? >= before, "{template} came too early");
                    before = made.made()?;
                    made.says("Succeeded", "False").await?;
                }
                policy
                    .until("all four timed out, in order", |status| {
                        let listed =
                            status["unhealthyNodes"][0]["remediations"].as_array().cloned().unwrap_or_default();
                        let names: Vec<_> =
                            listed.iter().map(|one| one["templateName"].as_str().unwrap_or_default()).collect();
                        let all = listed.iter().all(|one| one["timedOut"].is_string());
                        if all && names.len() == 4 { Ok(()) } else { Err(format!("{names:?}")) }
                    })
                    .await?;
                policy.event("Warning", "NoTemplateLeft", &sick.name).await.map(drop)
            }),
        case("E10", Keep, SECTION)
            .given("the controller ends between the steps and starts again")
            .then("it goes on from what is stored; no second remediation of any step")
            .at(Place::Alone)
            .run(async |w| {
                let mut controller = w.controller()?;
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let ladder = [("FooTemplate", "foo", 0, "10m"), ("BarTemplate", "bar", 1, "10m")];
                let policy = w.policy().ladder(&ladder).create().await?;
                let first = w.remediation_of("Foo", &sick).await?;
                policy
                    .shows(json!({ "unhealthyNodes": [{ "remediations": [{ "resource": { "uid": first.uid } }] }] }))
                    .await?;
                controller.kill().await;
                first.says("Succeeded", "False").await?;
                controller = w.controller()?;
                let second = w.remediation_of("Bar", &sick).await?;
                both_listed(&policy, &sick, &first.uid, &second.uid).await?;
                controller.kill().await;
                controller = w.controller()?;
                policy.looked().await?;
                ensure!(w.ever("Foo", &sick) == 1 && w.ever("Bar", &sick) == 1, "a step was begun twice");
                controller.kill().await;
                Ok(())
            }),
        case("E11", Keep, SECTION)
            .given("one template, no ladder, and the remediation says Succeeded=False")
            .then("nothing follows: it is not told to stop and not replaced")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                made.says("Succeeded", "False").await?;
                policy.looked().await?;
                made.stays().await?;
                ensure!(made.now().await?["metadata"]["annotations"][TIMED_OUT].is_null(), "it was told to stop");
                policy.shows(json!({ "phase": "Remediating", "unhealthyNodes": [{ "remediations": [{ "timedOut": null }] }] })).await?;
                ensure!(w.ever("Foo", &sick) == 1, "it was replaced");
                Ok(())
            }),
        case("E12", Keep, SECTION)
            .given("the controller is down from before a time-out until after it")
            .then(
                "the time counts from the creation of the remediation: the next step comes within seconds of the start",
            )
            .at(Place::Alone)
            .run(async |w| {
                let mut controller = w.controller()?;
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let ladder = [("FooTemplate", "foo", 0, "8s"), ("BarTemplate", "bar", 1, "10m")];
                let policy = w.policy().ladder(&ladder).create().await?;
                let first = w.remediation_of("Foo", &sick).await?;
                policy
                    .shows(json!({ "unhealthyNodes": [{ "remediations": [{ "resource": { "uid": first.uid } }] }] }))
                    .await?;
                controller.kill().await;
                // The real time of the step passes: nobody is there whose clock could be turned.
                let over = first.made()? + 9;
                while jiff::Timestamp::now().as_second() < over {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
                ensure!(w.ever("Bar", &sick) == 0, "the next step came while the controller was down");
                let started = jiff::Timestamp::now().as_second();
                controller = w.controller()?;
                let second = w.remediation_of("Bar", &sick).await?;
                let after = second.made()? - started;
                ensure!(after <= 7, "the next step came {after} s after the start: its time was counted anew");
                controller.kill().await;
                Ok(())
            }),
    ]
}

async fn both_listed(policy: &Policy, node: &Node, first: &str, second: &str) -> anyhow::Result<()> {
    let listed = json!([{
        "name": node.name,
        "remediations": [{ "resource": { "uid": first } }, { "resource": { "uid": second }, "timedOut": null }],
    }]);
    let status = policy.shows(json!({ "phase": "Remediating", "unhealthyNodes": listed })).await?;
    let timed_out: &Value = &status["status"]["unhealthyNodes"][0]["remediations"][0]["timedOut"];
    ensure!(timed_out.is_string(), "the first has no timedOut");
    Ok(())
}

/// Templates of kind Foo that say that they support several of their kind.
async fn one_kind(w: &crate::world::World, names: &[&str]) -> anyhow::Result<()> {
    for name in names {
        let annotation = json!({ "remediation.medik8s.io/multiple-templates-support": "true" });
        w.template_with("FooTemplate", name, &annotation).await?;
    }
    Ok(())
}
