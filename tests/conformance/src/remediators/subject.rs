//! A remediation of any kind.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::value::{brief, shows};
use crate::world::{SOON, World};

/// A remediation.
pub struct Subject {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    world: Rc<World>,
}

impl World {
    /// Asks for a remediation of this kind.
    pub async fn asks(
        self: &Rc<Self>,
        kind: &'static str,
        api_version: &str,
        name: &str,
        metadata: Value,
        spec: Value,
    ) -> anyhow::Result<Subject> {
        self.remember_kind(kind);
        let mut object = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec });
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!(self.name);
        self.plane.create(&object).await?;
        Ok(Subject { kind, name: name.to_owned(), world: Rc::clone(self) })
    }

    /// The same, asked for by whoever this client belongs to.
    pub async fn asks_as(
        self: &Rc<Self>,
        client: kube::Client,
        kind: &'static str,
        object: Value,
    ) -> anyhow::Result<Subject> {
        self.remember_kind(kind);
        let object: kube::core::DynamicObject = serde_json::from_value(object)?;
        let api =
            kube::Api::<kube::core::DynamicObject>::namespaced_with(client, &self.name, &self.plane.resource(kind)?);
        let made = api.create(&kube::api::PostParams::default(), &object).await?;
        Ok(Subject { kind, name: made.metadata.name.unwrap_or_default(), world: Rc::clone(self) })
    }
}

impl Subject {
    /// Waits until `probe` is content with it.
    pub async fn until(&self, what: &str, probe: impl Fn(&Value) -> Result<(), String>) -> anyhow::Result<Rc<Value>> {
        let what = format!("{} {}: {what}", self.kind, self.name);
        self.world.until(&what, self.kind, &self.world.name, &self.name, probe).await
    }

    /// Waits until it shows this.
    pub async fn shows(&self, expected: Value) -> anyhow::Result<Rc<Value>> {
        self.until("to show it", |object| shows(object, &expected)).await
    }

    /// Waits for a condition; an empty reason: any.
    pub async fn says(&self, kind: &str, status: &str, reason: &str) -> anyhow::Result<Rc<Value>> {
        self.until(&format!("{kind}={status} {reason}"), |object| {
            let found = object["status"]["conditions"].as_array().is_some_and(|all| {
                all.iter().any(|one| {
                    one["type"] == kind && one["status"] == status && (reason.is_empty() || one["reason"] == reason)
                })
            });
            if found { Ok(()) } else { Err(brief(&object["status"]["conditions"])) }
        })
        .await
    }

    /// Waits for its end without success, for this reason, and with these words in the message.
    pub async fn fails(&self, reason: &str, words: &[&str]) -> anyhow::Result<()> {
        let object = self.says("Succeeded", "False", reason).await?;
        self.says("Processing", "False", reason).await?;
        let text = object["status"]["conditions"].to_string();
        for word in words {
            anyhow::ensure!(text.contains(word), "{word:?} is missing in {text}");
        }
        Ok(())
    }

    /// Asks for its deletion, and waits until it is gone.
    pub async fn leaves(&self) -> anyhow::Result<()> {
        self.world.delete(self.kind, &self.world.name, &self.name).await?;
        let (eyes, name) = (self.world.eyes(), &self.name);
        let probe = || match eyes.get(self.kind, &self.world.name, name) {
            None => Ok(()),
            Some(object) => Err(brief(&object["metadata"])),
        };
        eyes.until(&format!("{} {name} to vanish", self.kind), SOON, probe).await
    }

    /// An annotation on it.
    pub async fn annotate(&self, key: &str, value: &str) -> anyhow::Result<()> {
        let patch = json!({ "metadata": { "annotations": { key: value } } });
        self.world.patch(self.kind, &self.world.name, &self.name, patch).await.map(drop)
    }

    /// It as the server has it now.
    pub async fn now(&self) -> anyhow::Result<Value> {
        self.world.get(self.kind, &self.world.name, &self.name).await.map(Option::unwrap_or_default)
    }

    /// Waits for an event about an object with this reason.
    pub async fn event(&self, kind: &str, name: &str, reason: &str) -> anyhow::Result<Rc<Value>> {
        let eyes = self.world.eyes();
        let probe = || {
            let found = eyes.all("Event", |event| {
                event["reason"] == reason
                    && event["involvedObject"]["kind"] == kind
                    && event["involvedObject"]["name"] == name
                    && (kind == "Node" || event["involvedObject"]["namespace"] == *self.world.name)
            });
            found.into_iter().next().ok_or_else(|| "there is none".to_owned())
        };
        eyes.until(&format!("event {reason} about {kind} {name}"), SOON, probe).await
    }
}
