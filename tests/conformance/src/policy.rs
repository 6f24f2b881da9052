//! Policies: how a case writes them and what it expects of them.

use std::rc::Rc;

use anyhow::Context;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::definitions::API_VERSION;
use crate::value::{brief, condition, merge, shows};
use crate::world::{SOON, World};

/// One step of a ladder: template kind, template name, order, timeout.
pub type Step = (&'static str, &'static str, i64, &'static str);

/// A policy that is being written down.
pub struct Draft {
    world: Rc<World>,
    name: String,
    spec: Value,
    templates: bool,
}

impl Draft {
    pub(crate) fn new(world: &Rc<World>) -> Self {
        let spec = json!({
            "selector": { "matchLabels": { world.label(): "" } },
            "unhealthyConditions": [
                { "type": "Ready", "status": "False", "duration": "2s" },
                { "type": "Ready", "status": "Unknown", "duration": "2s" },
            ],
            "minHealthy": "51%",
            "remediationTemplate": reference(world, "FooTemplate", "foo"),
        });
        Self { world: Rc::clone(world), name: world.name.clone(), spec, templates: true }
    }

    /// A second policy of the same case.
    pub fn named(mut self, suffix: &str) -> Self {
        self.name = format!("{}-{suffix}", self.world.name);
        self
    }

    /// Changes the specification by a merge patch.
    pub fn with(mut self, patch: Value) -> Self {
        merge(&mut self.spec, &patch);
        self
    }

    /// Another duration for the conditions.
    pub fn after(self, duration: &str) -> Self {
        let conditions =
            ["False", "Unknown"].map(|status| json!({ "type": "Ready", "status": status, "duration": duration }));
        self.with(json!({ "unhealthyConditions": conditions }))
    }

    /// Another template.
    pub fn template(self, kind: &str, name: &str) -> Self {
        let template = reference(&self.world, kind, name);
        self.with(json!({ "remediationTemplate": template }))
    }

    /// Steps instead of one template.
    pub fn ladder(self, steps: &[Step]) -> Self {
        let ladder: Vec<Value> = steps
            .iter()
            .map(|(kind, name, order, timeout)| {
                json!({ "remediationTemplate": reference(&self.world, kind, name), "order": order, "timeout": timeout })
            })
            .collect();
        self.with(json!({ "remediationTemplate": null, "escalatingRemediations": ladder }))
    }

    /// The case makes the templates itself, or wants them missing.
    pub fn without_templates(mut self) -> Self {
        self.templates = false;
        self
    }

    /// The object as it would be created.
    pub fn object(&self) -> Value {
        json!({
            "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
            "metadata": { "name": self.name }, "spec": self.spec,
        })
    }

    /// Creates templates and policy.
    pub async fn create(self) -> anyhow::Result<Policy> {
        if self.templates {
            let ladder = self.spec["escalatingRemediations"].as_array().cloned().unwrap_or_default();
            let steps = ladder.iter().map(|step| &step["remediationTemplate"]);
            for template in steps.chain([&self.spec["remediationTemplate"]]).filter(|one| !one.is_null()) {
                if template["apiVersion"] == API_VERSION {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    self.world.template(&text(&template["kind"]), &text(&template["name"])).await?;
                }
            }
        }
        let object = self.world.plane.create(&self.object()).await.with_context(|| format!("policy {}", self.name))?;
        self.world.remember_policy(&self.name);
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        Ok(Policy { name: self.name, uid, world: self.world })
    }

    /// Creates templates and policy, expecting a refusal whose text has all these parts.
    pub async fn refused(self, parts: &[&str]) -> anyhow::Result<()> {
        match self.world.plane.create(&self.object()).await {
            Ok(object) => {
                self.world.remember_policy(&self.name);
                anyhow::bail!("it is to be refused, but was accepted: {}", brief(&object["spec"]))
            }
            Err(error) => refusal(&error, parts),
        }
    }

    /// Asks whether it would be accepted, without creating it.
    pub async fn accepted(self) -> anyhow::Result<()> {
        let object = self.object();
        self.create().await.map(drop).with_context(|| format!("{} is to be accepted", brief(&object["spec"])))
    }
}

/// Whether an error is a refusal of the API server that says all this.
pub fn refusal(error: &anyhow::Error, parts: &[&str]) -> anyhow::Result<()> {
    let Some(kube::Error::Api(status)) = error.downcast_ref::<kube::Error>() else {
        anyhow::bail!("a refusal is expected, but it is {error:#}");
    };
    anyhow::ensure!(
        matches!(status.code, 400 | 403 | 422),
        "a refusal is expected, but it is {}: {}",
        status.code,
        status.message
    );
    for part in parts {
        anyhow::ensure!(status.message.contains(part), "the refusal does not say {part:?}: {}", status.message);
    }
    Ok(())
}

/// A reference to a template of this case.
pub fn reference(world: &World, kind: &str, name: &str) -> Value {
    json!({ "apiVersion": API_VERSION, "kind": kind, "name": name, "namespace": world.name })
}

/// A policy that exists.
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    world: Rc<World>,
}

impl Policy {
    /// Waits until its status shows this.
    pub async fn shows(&self, status: Value) -> anyhow::Result<Rc<Value>> {
        self.until(&format!("status {}", brief(&status)), |seen| shows(seen, &status)).await
    }

    /// Waits until `probe` is content with its status.
    pub async fn until(&self, what: &str, probe: impl Fn(&Value) -> Result<(), String>) -> anyhow::Result<Rc<Value>> {
        let what = format!("policy {}: {what}", self.name);
        let probe = |object: &Value| {
            probe(&object["status"]).map_err(|why| format!("{why}; the status is {}", brief(&object["status"])))
        };
        self.world.until(&what, "NodeHealthCheck", "", &self.name, probe).await
    }

    /// Waits until a condition shows this.
    pub async fn condition(&self, type_: &str, expected: Value) -> anyhow::Result<Value> {
        let what = format!("condition {type_} {expected}");
        let object = self.until(&what, |status| shows(condition(status, type_), &expected)).await?;
        Ok(condition(&object["status"], type_).clone())
    }

    /// Its status as the server has it now.
    pub async fn status(&self) -> anyhow::Result<Value> {
        let object = self.world.get("NodeHealthCheck", "", &self.name).await?;
        Ok(object.context("the policy is gone")?["status"].take())
    }

    /// Changes its specification by a merge patch.
    pub async fn patch(&self, spec: Value) -> anyhow::Result<Value> {
        self.world.patch("NodeHealthCheck", "", &self.name, json!({ "spec": spec })).await
    }

    /// Writes its status, as only a controller should.
    pub async fn pretend(&self, status: Value) -> anyhow::Result<()> {
        self.world.patch_status("NodeHealthCheck", "", &self.name, status).await
    }

    /// Deletes it.
    pub async fn delete(&self) -> anyhow::Result<()> {
        let api = self.world.plane.api("NodeHealthCheck", "")?;
        api.delete(&self.name, &kube::api::DeleteParams::default()).await?;
        Ok(())
    }

    /// Returns when the controller has looked at the policy twice from its beginning to its end, all of it after this
    /// call: what it did not do by then it does not do. Each look is asked for by a change that changes nothing (a
    /// condition that no node has), and seen by the generation that the status reports. Twice, because the watches of
    /// nodes and policies are not ordered with each other.
    pub async fn looked(&self) -> anyhow::Result<()> {
        for round in 0..2 {
            let api = self.world.plane.api("NodeHealthCheck", "")?;
            let type_ = format!("Look{}{round}", jiff::Timestamp::now().as_microsecond());
            let add = json!([{
                "op": "add", "path": "/spec/unhealthyConditions/-",
                "value": { "type": type_, "status": "Never", "duration": "1h" },
            }]);
            let patch: Patch<Value> = Patch::Json(serde_json::from_value(add)?);
            let changed = api.patch(&self.name, &PatchParams::default(), &patch).await?;
            let generation = changed.metadata.generation.unwrap_or_default();
            self.until(&format!("a look at generation {generation}"), |status| {
                let observed = condition(status, "Disabled")["observedGeneration"].as_i64().unwrap_or_default();
                if observed >= generation { Ok(()) } else { Err(format!("generation {observed} was looked at")) }
            })
            .await?;
        }
        Ok(())
    }

    /// Waits for an event about this policy: type, reason, and a part of the message.
    pub async fn event(&self, type_: &str, reason: &str, part: &str) -> anyhow::Result<Rc<Value>> {
        let eyes = self.world.eyes();
        let what = format!("policy {}: a {type_} event {reason} with {part:?}", self.name);
        eyes.until(&what, SOON, || {
            let events = self.events(reason);
            let found = events.iter().find(|event| {
                event["type"] == type_ && event["message"].as_str().is_some_and(|text| text.contains(part))
            });
            found.cloned().ok_or_else(|| {
                let all = eyes.all("Event", |event| event["involvedObject"]["name"] == *self.name);
                let said: Vec<String> = all
                    .iter()
                    .map(|event| {
                        format!("{} {}: {}", event["type"], event["reason"], event["message"]).replace('"', "")
                    })
                    .collect();
                format!("the events are {said:?}")
            })
        })
        .await
    }

    /// Events about this policy with a reason, so far.
    pub fn events(&self, reason: &str) -> Vec<Rc<Value>> {
        self.world
            .eyes()
            .all("Event", |event| event["involvedObject"]["name"] == *self.name && event["reason"] == reason)
    }

    /// Exactly so many events with this reason were seen, counting repetitions.
    pub fn count(&self, reason: &str) -> i64 {
        self.events(reason).iter().map(|event| event["count"].as_i64().unwrap_or(1).max(1)).sum()
    }
}
