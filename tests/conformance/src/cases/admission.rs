//! 8.2: which policies and changes are refused.

use std::rc::Rc;

use anyhow::ensure;
use kube::api::DeleteParams;
use serde_json::json;

use super::schema::change_refused;
use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, Place, case};
use crate::definitions::Scope;
use crate::node::Node;
use crate::node::State::{Fine, Sick};
use crate::policy::{Policy, reference, refusal};
use crate::world::World;

const SECTION: &str = "8.2";
const RUNNING: &str = "prohibited due to running remediation";
const MULTIPLE: &str = "remediation.medik8s.io/multiple-templates-support";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("A01", Keep, SECTION)
            .given("a valid policy with one template; one with a ladder of three, not sorted")
            .then("both accepted")
            .at(Place::Shipped)
            .run(async |w| {
                w.policy().accepted().await?;
                let ladder = [
                    ("BarTemplate", "bar", 5, "60s"), ("FooTemplate", "foo", 0, "5m"), ("BazTemplate", "baz", 3, "1h"),
                ];
                w.policy().named("ladder").without_templates().ladder(&ladder).accepted().await
            }),
        case("A02", Keep, SECTION)
            .given("both thresholds; no threshold")
            .then("denied, in the words that others look for")
            .at(Place::Shipped)
            .run(async |w| {
                let both = "minHealthy and maxUnhealthy cannot be specified at the same time";
                w.policy().with(json!({ "maxUnhealthy": 1 })).refused(&[both]).await?;
                let none = "one of minHealthy and maxUnhealthy should be specified";
                w.policy().with(json!({ "minHealthy": null })).refused(&[none]).await
            }),
        case("A03", Keep, SECTION)
            .given("a negative minHealthy; a negative maxUnhealthy")
            .then("denied, naming the field")
            .at(Place::Shipped)
            .run(async |w| {
                w.policy().with(json!({ "minHealthy": -5 })).refused(&["minHealthy must not be negative"]).await?;
                let spec = json!({ "minHealthy": null, "maxUnhealthy": -5 });
                w.policy().with(spec).refused(&["maxUnhealthy must not be negative"]).await
            }),
        case("A04", Keep, SECTION)
            .given("maxUnhealthy with the template of machine deletion, its kind in any case; minHealthy with it")
            .then("the first is denied: deleted nodes would never count; the second is accepted")
            .at(Place::Shipped)
            .run(async |w| {
                let most = json!({ "minHealthy": null, "maxUnhealthy": 1 });
                for kind in ["MachineDeletionRemediationTemplate", "machinedeletionremediationTemplate"] {
                    let draft = w.policy().template(kind, "mdr").with(most.clone());
                    draft.refused(&["maxUnhealthy"]).await?;
                }
                w.policy().without_templates().template("MachineDeletionRemediationTemplate", "mdr").accepted().await
            }),
        case("A05", Keep, SECTION)
            .given("maxUnhealthy with a ladder that has a template of machine deletion in it")
            .then("denied")
            .at(Place::Shipped)
            .run(async |w| {
                let ladder =
                    [("FooTemplate", "foo", 0, "60s"), ("MachineDeletionRemediationTemplate", "mdr", 1, "60s")];
                let most = json!({ "minHealthy": null, "maxUnhealthy": 1 });
                w.policy().ladder(&ladder).with(most).refused(&["maxUnhealthy"]).await
            }),
        case("A06", Keep, SECTION)
            .given("an empty selector; In without values; an operator that does not exist")
            .then("denied")
            .at(Place::Shipped)
            .run(async |w| {
                w.policy().with(json!({ "selector": { "matchLabels": null } })).refused(&["spec.selector"]).await?;
                for operator in ["In", "Near"] {
                    let selector = json!({ "matchLabels": null, "matchExpressions": [{ "key": "a", "operator": operator }] });
                    w.policy().with(json!({ "selector": selector })).refused(&["spec.selector"]).await?;
                }
                Ok(())
            }),
        case("A07", Keep, SECTION)
            .given("no template at all; one template and a ladder")
            .then("denied")
            .at(Place::Shipped)
            .run(async |w| {
                let none = json!({ "remediationTemplate": null });
                w.policy().with(none).refused(&["remediationTemplate", "escalatingRemediations"]).await?;
                let one = reference(&w, "FooTemplate", "foo");
                let both = w.policy().ladder(&[("BarTemplate", "bar", 0, "60s")]).with(json!({ "remediationTemplate": one }));
                both.refused(&["remediationTemplate", "escalatingRemediations"]).await
            }),
        case("A08", Keep, SECTION).given("a ladder with order 42 twice").then("denied, naming 42").at(Place::Shipped).run(
            async |w| {
                let ladder = [("FooTemplate", "foo", 42, "60s"), ("BarTemplate", "bar", 42, "60s")];
                w.policy().ladder(&ladder).refused(&["42"]).await
            },
        ),
        case("A09", Keep, SECTION)
            .given("a timeout of 42s; of 60s")
            .then("the first is denied, naming 42s; the second accepted")
            .at(Place::Shipped)
            .run(async |w| {
                w.policy().ladder(&[("FooTemplate", "foo", 0, "42s")]).refused(&["42s"]).await?;
                w.policy().ladder(&[("FooTemplate", "foo", 0, "60s")]).accepted().await
            }),
        case("A10", Keep, SECTION)
            .given("a ladder with two templates of one kind: none of them annotated; one of the two")
            .then("denied, or accepted and Disabled at once with a message that names the kind, and nothing is remediated")
            .run(async |w| {
                let [..] = w.nodes([Sick, Fine, Fine]).await?;
                for annotated in [false, true] {
                    let kind = if annotated { "A10One" } else { "A10None" };
                    let policy = two_of(&w, kind, [annotated, false]).await;
                    let template = format!("{kind}Template");
                    match policy {
                        // What needs other objects cannot be said in a definition: the controller checks it.
                        Ok(policy) => {
                            let message = policy.condition("Disabled", json!({ "status": "True" })).await?["message"].to_string();
                            ensure!(message.contains(&template), "the message does not name {template}: {message}");
                            policy.looked().await?;
                        }
                        Err(error) => refusal(&error, &[&template])?,
                    }
                }
                w.never_remediated().await
            }),
        case("A11", Keep, SECTION)
            .given("the same, all templates of the kind annotated multiple-templates-support")
            .then("accepted and enabled")
            .run(async |w| {
                let policy = two_of(&w, "A11Foo", [true, true]).await?;
                policy.condition("Disabled", json!({ "status": "False" })).await.map(drop)
            }),
        case("A12", Keep, SECTION)
            .given("a node under remediation; selector, template or ladder are changed")
            .then("denied, naming the field and the running remediation")
            .at(Place::Shipped)
            .run(async |w| {
                let (policy, _) = remediating(&w).await?;
                let selector = json!({ "selector": { "matchLabels": { "other": "" } } });
                change_refused(&policy, selector, &["selector", RUNNING]).await?;
                let template = json!({ "remediationTemplate": { "name": "other" } });
                change_refused(&policy, template, &["remediationTemplate", RUNNING]).await?;
                let step = json!({
                    "remediationTemplate": reference(&w, "BarTemplate", "bar"), "order": 0, "timeout": "60s",
                });
                let ladder = json!({ "remediationTemplate": null, "escalatingRemediations": [step] });
                change_refused(&policy, ladder, &["emediation", RUNNING]).await
            }),
        case("A13", Keep, SECTION)
            .given("a node under remediation; minHealthy, pauseRequests, healthyDelay, conditions, labels are changed")
            .then("accepted")
            .at(Place::Shipped)
            .run(async |w| {
                let (policy, _) = remediating(&w).await?;
                policy.patch(json!({ "minHealthy": "10%" })).await?;
                policy.patch(json!({ "minHealthy": null, "maxUnhealthy": 2 })).await?;
                policy.patch(json!({ "pauseRequests": ["a reason"] })).await?;
                policy.patch(json!({ "healthyDelay": "5s", "stormCooldownDuration": "5s" })).await?;
                policy.patch(json!({ "unhealthyConditions": [{ "type": "Ready", "status": "Unknown", "duration": "3s" }] })).await?;
                let label = json!({ "metadata": { "labels": { "a": "b" } } });
                w.patch("NodeHealthCheck", "", &policy.name, label).await.map(drop)
            }),
        case("A14", Keep, SECTION)
            .given("a node under remediation; the policy is deleted")
            .then("denied")
            .real("admission policies")
            .at(Place::Shipped)
            .run(async |w| {
                let (policy, _) = remediating(&w).await?;
                let refused = deletion_refused(&w, &policy).await?;
                refusal(&refused, &[RUNNING])
            }),
        case("A15", Keep, SECTION)
            .given("an unhealthy node without a remediation; selector and template are changed, the policy is deleted")
            .then("accepted")
            .at(Place::Shipped)
            .run(async |w| {
                let [sick, _] = w.nodes([Sick, Fine]).await?;
                let policy = w.policy().with(json!({ "minHealthy": "100%" })).create().await?;
                policy.shows(json!({ "unhealthyNodes": [{ "name": sick.name, "remediations": null }] })).await?;
                policy.patch(json!({ "remediationTemplate": { "name": "other" } })).await?;
                policy.patch(json!({ "selector": { "matchLabels": { "other": "" } } })).await?;
                policy.delete().await
            }),
        case("A16", Fix, SECTION)
            .given("minHealthy \"2\" as a text, and one of three nodes is sick; maxUnhealthy \"1\" as well")
            .then("treated as numbers: the node is remediated")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let text = w.policy().with(json!({ "minHealthy": "2" })).create().await?;
                w.remediation(&sick).await?;
                text.shows(json!({ "phase": "Remediating", "healthyNodes": 2 })).await?;
                w.node_with(Sick, json!({ w.label(): null, "most": "" })).await?;
                let most = json!({ "minHealthy": null, "maxUnhealthy": "1", "selector": { "matchLabels": { w.label(): null, "most": "" } } });
                let most = w.policy().named("most").with(most).create().await?;
                most.shows(json!({ "phase": "Remediating" })).await.map(drop)
            }),
        case("A17", Fix, SECTION)
            .given("a template kind that does not end in Template, alone and in a ladder")
            .then("denied, naming kind")
            .at(Place::Shipped)
            .run(async |w| {
                for kind in ["Foo", "Template", "FooTemplat"] {
                    w.policy().without_templates().template(kind, "foo").refused(&["Template", kind]).await?;
                    w.policy().without_templates().ladder(&[(kind, "foo", 0, "60s")]).refused(&["Template", kind]).await?;
                }
                Ok(())
            }),
        case("A18", Fix, SECTION)
            .given("a policy with an empty selector that was stored before there were rules; a label of it is changed, it is paused")
            .then("accepted: what was not changed is not judged anew; a new one like it is still refused")
            .at(Place::Alone)
            .run(async |w| {
                let probe = json!({
                    "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
                    "metadata": { "name": "probe" }, "spec": { "selector": {} },
                });
                w.plane.loosen(&|_| true, &probe).await?;
                let result = judged_anew(&w).await;
                // The cases after this one need the definition as it was.
                w.plane.loosen(&|rule| rule.contains("duration('60s')"), &super::lenient_probe()).await?;
                result
            }),
    ]
}

/// Given a policy that today's definition refuses, when it is in force again, then only what changes is judged.
async fn judged_anew(w: &Rc<World>) -> anyhow::Result<()> {
    let empty = json!({ "selector": { "matchLabels": null } });
    let old = w.policy().with(empty.clone()).create().await?;
    w.plane.loosen(&|_| false, &w.policy().named("probe").object()).await?;
    let judged = w.policy().named("new").with(empty);
    // The stricter definition is in force once a new policy of that form is refused.
    let object: kube::api::DynamicObject = serde_json::from_value(judged.object())?;
    let api = w.plane.api("NodeHealthCheck", "")?;
    let dry = kube::api::PostParams { dry_run: true, ..Default::default() };
    let deadline = std::time::Instant::now() + crate::world::SOON;
    while api.create(&dry, &object).await.is_ok() {
        ensure!(std::time::Instant::now() < deadline, "a new policy with an empty selector is accepted");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    w.patch("NodeHealthCheck", "", &old.name, json!({ "metadata": { "labels": { "a": "b" } } })).await?;
    // Somebody has to be able to stop it, whatever else is wrong with it.
    old.patch(json!({ "pauseRequests": ["a reason"] })).await?;
    let other_and_empty = json!({ "selector": { "matchLabels": null, "matchExpressions": [] } });
    change_refused(&old, other_and_empty, &["selector is mandatory"]).await?;
    old.patch(json!({ "selector": { "matchLabels": { "pool": "a" } } })).await?;
    change_refused(&old, json!({ "selector": { "matchLabels": null } }), &["selector is mandatory"]).await
}

/// A policy with a node under remediation.
async fn remediating(w: &Rc<World>) -> anyhow::Result<(Policy, Node)> {
    let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
    let policy = w.policy().create().await?;
    w.remediation(&sick).await?;
    policy
        .until("a remediation is listed", |status| {
            let listed = status["unhealthyNodes"][0]["remediations"][0]["resource"]["name"].is_string();
            if listed { Ok(()) } else { Err("none".to_owned()) }
        })
        .await?;
    Ok((policy, sick))
}

/// The answer to a deletion once the admission policy is in force; a dry run until then.
async fn deletion_refused(w: &World, policy: &Policy) -> anyhow::Result<anyhow::Error> {
    let api = w.plane.api("NodeHealthCheck", "")?;
    let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
    let deadline = std::time::Instant::now() + crate::world::SOON;
    while api.delete(&policy.name, &dry).await.is_ok() {
        ensure!(std::time::Instant::now() < deadline, "the deletion is not refused");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    match policy.delete().await {
        Ok(()) => anyhow::bail!("the dry run was refused, but not the deletion"),
        Err(error) => Ok(error),
    }
}

/// A policy with a ladder of two templates of one kind of its own, and which of them are annotated.
async fn two_of(w: &Rc<World>, kind: &'static str, annotated: [bool; 2]) -> anyhow::Result<Policy> {
    let template: &'static str = Box::leak(format!("{kind}Template").into_boxed_str());
    w.plane.kind(kind, Scope::Namespaced).await?;
    w.plane.kind(template, Scope::Namespaced).await?;
    w.remember_kind(kind);
    for (name, annotated) in ["one", "two"].into_iter().zip(annotated) {
        let annotations = if annotated { json!({ MULTIPLE: "true" }) } else { json!({}) };
        w.template_with(template, name, &annotations).await?;
    }
    let ladder = [(template, "one", 0, "60s"), (template, "two", 1, "60s")];
    w.policy().named(&kind.to_lowercase()).without_templates().ladder(&ladder).create().await
}
