//! 9.1: what the definitions accept, refuse and fill in.

use std::rc::Rc;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::know;
use crate::case::Tag::Keep;
use crate::case::{Case, Place, case};
use crate::plane::NAMESPACE;
use crate::value::brief;
use crate::world::World;

const SECTION: &str = "9.1";
const GROUP: &str = "self-node-remediation.medik8s.io/v1alpha1";
const CONFIG: &str = "self-node-remediation-config";

fn remediation(w: &World, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": GROUP, "kind": "SelfNodeRemediation", "metadata": { "name": name, "namespace": w.name }, "spec": spec })
}

fn template(w: &World, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": GROUP, "kind": "SelfNodeRemediationTemplate",
        "metadata": { "name": name, "namespace": w.name }, "spec": { "template": { "spec": spec } } })
}

/// The singleton, in the namespace of the case.
fn config(w: &World, spec: Value) -> Value {
    json!({ "apiVersion": GROUP, "kind": "SelfNodeRemediationConfig",
        "metadata": { "name": CONFIG, "namespace": w.name }, "spec": spec })
}

async fn refused(w: &Rc<World>, object: &Value, texts: &[&str]) -> anyhow::Result<()> {
    let Err(error) = w.plane.create(object).await else {
        anyhow::bail!("it was accepted: {}", brief(object));
    };
    let complaint = format!("{error:#}");
    for text in texts {
        ensure!(complaint.contains(text), "{text:?} is not in the refusal of {}: {complaint}", brief(object));
    }
    Ok(())
}

/// Accepts, and takes it away again: there is one name only.
async fn accepted(w: &Rc<World>, object: &Value) -> anyhow::Result<Value> {
    let stored = w.plane.create(object).await.with_context(|| format!("{} was refused", brief(object)))?;
    w.delete(
        object["kind"].as_str().unwrap_or_default(),
        &w.name,
        object["metadata"]["name"].as_str().unwrap_or_default(),
    )
    .await?;
    Ok(stored)
}

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("C002", Keep, SECTION)
            .given("a remediation with spec {}, and one without spec")
            .then("strategy Automatic")
            .at(Place::Shipped)
            .run(async |w| {
                know(&w).await?;
                let stored = accepted(&w, &remediation(&w, "a", json!({}))).await?;
                ensure!(stored["spec"]["remediationStrategy"] == "Automatic", "it is {}", brief(&stored["spec"]));
                let mut bare = remediation(&w, "b", json!({}));
                bare.as_object_mut().context("an object")?.remove("spec");
                let stored = accepted(&w, &bare).await?;
                ensure!(stored["spec"]["remediationStrategy"] == "Automatic", "it is {}", brief(&stored["spec"]));
                Ok(())
            }),
        case("C003", Keep, SECTION)
            .given("strategy NodeDeletion, or in lower case, in remediation and template")
            .then("refused by the schema")
            .at(Place::Shipped)
            .run(async |w| {
                know(&w).await?;
                for strategy in ["NodeDeletion", "automatic", "resourcedeletion"] {
                    let spec = json!({ "remediationStrategy": strategy });
                    refused(&w, &remediation(&w, "a", spec.clone()), &["remediationStrategy", strategy]).await?;
                    refused(&w, &template(&w, "a", spec), &["remediationStrategy", strategy]).await?;
                }
                Ok(())
            }),
        case("C005", Keep, SECTION)
            .given("lengths 5, -5s, '5 s' and nothing; 1m30s, 1.5h and 10s in microseconds")
            .then("the first four are refused, the others accepted")
            .at(Place::Shipped)
            .run(async |w| {
                know(&w).await?;
                for length in ["5", "-5s", "5 s", ""] {
                    refused(&w, &config(&w, json!({ "apiCheckInterval": length })), &["apiCheckInterval"]).await?;
                }
                for length in ["1m30s", "1.5h", "10000000µs"] {
                    accepted(&w, &config(&w, json!({ "apiCheckInterval": length }))).await?;
                }
                accepted(&w, &config(&w, json!({ "peerDialTimeout": "10000µs" }))).await.map(drop)
            }),
        case("C009", Keep, SECTION)
            .given("each of the six lengths below its minimum, on update")
            .then("refused with field and minimum; the minimum itself is accepted")
            .at(Place::Shipped)
            .run(async |w| {
                know(&w).await?;
                w.plane.create(&config(&w, json!({}))).await?;
                for (field, low, least) in [
                    ("apiCheckInterval", "999ms", "1s"),
                    ("apiServerTimeout", "9ms", "10ms"),
                    ("peerApiServerTimeout", "9ms", "10ms"),
                    ("peerUpdateInterval", "9999ms", "10s"),
                    ("peerDialTimeout", "9ms", "10ms"),
                    ("peerRequestTimeout", "9ms", "10ms"),
                ] {
                    let change = |value: &str| json!({ "spec": { field: value } });
                    let Err(error) = w.patch("SelfNodeRemediationConfig", &w.name, CONFIG, change(low)).await else {
                        anyhow::bail!("{field} {low} was accepted");
                    };
                    let complaint = format!("{error:#}");
                    ensure!(complaint.contains(field) && complaint.contains(least), "{field}: {complaint}");
                    w.patch("SelfNodeRemediationConfig", &w.name, CONFIG, change(least)).await?;
                }
                Ok(())
            }),
        case("C012", Keep, SECTION)
            .given("tolerations {}, with key and effect, Equal with negative seconds, with a value only")
            .then("accepted")
            .at(Place::Shipped)
            .run(async |w| {
                know(&w).await?;
                let tolerations = json!([
                    {}, { "key": "k", "effect": "NoSchedule" },
                    { "key": "k", "operator": "Equal", "effect": "NoExecute", "tolerationSeconds": -5 }, { "value": "v" },
                ]);
                accepted(&w, &config(&w, json!({ "customDsTolerations": tolerations }))).await?;
                for (wrong, word) in [
                    (json!({ "operator": "Near" }), "operator"),
                    (json!({ "operator": "Exists", "value": "v" }), "value"),
                    (json!({ "effect": "Maybe" }), "effect"),
                ] {
                    refused(&w, &config(&w, json!({ "customDsTolerations": [wrong] })), &[word]).await?;
                }
                Ok(())
            }),
        case("C013", Keep, SECTION)
            .given("node selectors with empty key or operator, an unknown operator, too many or too few values")
            .then("each is refused; Exists without values and In with values are accepted")
            .at(Place::Shipped)
            .run(async |w| {
                know(&w).await?;
                for wrong in [
                    json!({ "key": "", "operator": "Exists" }),
                    json!({ "key": "k", "operator": "" }),
                    json!({ "key": "k", "operator": "Near" }),
                    json!({ "key": "k", "operator": "Exists", "values": ["a"] }),
                    json!({ "key": "k", "operator": "In" }),
                    json!({ "key": "k", "operator": "Gt" }),
                    json!({ "key": "k", "operator": "Gt", "values": ["1", "2"] }),
                    json!({ "key": "k", "operator": "Lt", "values": ["four"] }),
                ] {
                    let spec = json!({ "customDsNodeSelectorRequirements": [wrong] });
                    refused(&w, &config(&w, spec), &["customDsNodeSelectorRequirements"]).await?;
                }
                let right = json!([{ "key": "a", "operator": "Exists" }, { "key": "b", "operator": "In", "values": ["x"] },
                    { "key": "c", "operator": "Gt", "values": ["4"] }]);
                accepted(&w, &config(&w, json!({ "customDsNodeSelectorRequirements": right }))).await.map(drop)
            }),
        case("C016", Keep, SECTION)
            .given("strategy OutOfServiceTaint on a server that knows the taint (1.26 or later)")
            .then("allowed, in remediation and template")
            .at(Place::Shipped)
            .run(async |w| {
                know(&w).await?;
                let spec = json!({ "remediationStrategy": "OutOfServiceTaint" });
                accepted(&w, &remediation(&w, "a", spec.clone())).await?;
                accepted(&w, &template(&w, "a", spec)).await.map(drop)
            }),
        case("C018", Keep, SECTION)
            .given("a template without the annotation for several templates, and one that says false")
            .then("the first gets true, the other keeps its own")
            .run(async |w| {
                know(&w).await?;
                w.plane.eyes.watch(&w.plane.resource("SelfNodeRemediationTemplate")?).await?;
                let key = "remediation.medik8s.io/multiple-templates-support";
                let mut own = template(&w, "own", json!({}));
                own["metadata"]["annotations"] = json!({ key: "false" });
                w.plane.create(&own).await?;
                w.plane.create(&template(&w, "plain", json!({}))).await?;
                let kind = "SelfNodeRemediationTemplate";
                w.until("the annotation", kind, &w.name, "plain", |object| {
                    let value = &object["metadata"]["annotations"][key];
                    if value == "true" { Ok(()) } else { Err(format!("it is {value}")) }
                })
                .await?;
                let kept = w.get(kind, &w.name, "own").await?.context("the template")?;
                ensure!(kept["metadata"]["annotations"][key] == "false", "it was overwritten");
                Ok(())
            }),
        case("C020", Keep, SECTION)
            .given("a configuration with isSoftwareRebootEnabled false and minPeersForRemediation 0, and a controller that writes to it")
            .then("both values survive")
            .at(Place::Alone)
            .run(async |w| {
                know(&w).await?;
                // Every controller that ran here before has brought the default one.
                super::bootstrap::clear(&w).await?;
                let spec = json!({ "isSoftwareRebootEnabled": false, "minPeersForRemediation": 0 });
                let mut object = config(&w, spec);
                object["metadata"]["namespace"] = json!(NAMESPACE);
                w.plane.create(&object).await?;
                let _controller = w.controller_with(super::bootstrap::rolling(""))?;
                w.plane.eyes.watch(&w.plane.resource("SelfNodeRemediationConfig")?).await?;
                let after = w
                    .until("the report", "SelfNodeRemediationConfig", NAMESPACE, CONFIG, |object| {
                        if object["status"]["conditions"].is_array() { Ok(()) } else { Err("no report yet".to_owned()) }
                    })
                    .await?;
                let spec = &after["spec"];
                ensure!(
                    spec["isSoftwareRebootEnabled"] == false && spec["minPeersForRemediation"] == 0,
                    "it is {}",
                    brief(spec)
                );
                super::bootstrap::clear(&w).await
            }),
    ]
}
