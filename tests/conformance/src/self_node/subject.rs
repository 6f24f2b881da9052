//! The remediation of a case, and pods on the node it is about.

use std::rc::Rc;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::node::Node;
use crate::value::{brief, shows};
use crate::world::{SOON, World};

/// The kind under test.
pub const KIND: &str = "SelfNodeRemediation";
/// The taint of a remediation that works.
pub const OWN: &str = "remediation.medik8s.io/self-node-remediation:NoSchedule";
/// The out-of-service taint.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service:NoExecute";

/// A remediation.
pub struct Subject {
    /// Its name.
    pub name: String,
    world: Rc<World>,
}

impl World {
    /// Asks for the remediation of a node.
    pub async fn remediate(self: &Rc<Self>, node: &Node, strategy: &str) -> anyhow::Result<Subject> {
        self.remediate_as("snr", json!({ "remediation.medik8s.io/node-name": node.name }), json!([]), strategy).await
    }

    /// The same with a name, annotations and owners of its own.
    pub async fn remediate_as(
        self: &Rc<Self>,
        name: &str,
        annotations: Value,
        owners: Value,
        strategy: &str,
    ) -> anyhow::Result<Subject> {
        self.remember_kind(KIND);
        let object = json!({
            "apiVersion": "self-node-remediation.medik8s.io/v1alpha1", "kind": KIND,
            "metadata": { "name": name, "namespace": self.name, "annotations": annotations, "ownerReferences": owners },
            "spec": { "remediationStrategy": strategy },
        });
        self.plane.create(&object).await?;
        Ok(Subject { name: name.to_owned(), world: Rc::clone(self) })
    }

    /// A pod on a node, in the namespace of the case.
    pub async fn pod(&self, node: &Node, name: &str, owner: &str, finalizers: Value) -> anyhow::Result<()> {
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": "default", "namespace": self.name } });
        self.plane.ensure(&account).await?;
        let owners = if owner.is_empty() {
            json!([])
        } else {
            json!([{ "apiVersion": "apps/v1", "kind": owner, "name": "owner", "uid": format!("{owner}-uid"), "controller": true }])
        };
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": self.name, "ownerReferences": owners, "finalizers": finalizers },
            "spec": { "nodeName": node.name, "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
                "containers": [{ "name": "c", "image": "i" }] },
        });
        self.plane.create(&pod).await.map(drop)
    }

    /// Whether a pod is there, and whether it is terminating.
    pub async fn pod_now(&self, name: &str) -> anyhow::Result<(bool, bool)> {
        let pod = self.get("Pod", &self.name, name).await?;
        let terminating = pod.as_ref().is_some_and(|pod| !pod["metadata"]["deletionTimestamp"].is_null());
        Ok((pod.is_some(), terminating))
    }
}

impl Subject {
    /// Waits until it shows this.
    pub async fn shows(&self, expected: Value) -> anyhow::Result<Rc<Value>> {
        let what = format!("{KIND} {}", self.name);
        self.world.until(&what, KIND, &self.world.name, &self.name, |object| shows(object, &expected)).await
    }

    /// Waits for a phase.
    pub async fn reaches(&self, phase: &str) -> anyhow::Result<Rc<Value>> {
        self.shows(json!({ "status": { "phase": phase } })).await
    }

    /// Waits for both conditions.
    pub async fn stands(&self, processing: &str, succeeded: &str, reason: &str) -> anyhow::Result<()> {
        let what = format!("{KIND} {} Processing={processing} Succeeded={succeeded} {reason}", self.name);
        let is = |object: &Value, kind: &str, value: &str| {
            object["status"]["conditions"].as_array().is_some_and(|all| {
                all.iter().any(|one| one["type"] == kind && one["status"] == value && one["reason"] == reason)
            })
        };
        self.world
            .until(&what, KIND, &self.world.name, &self.name, |object| {
                if is(object, "Processing", processing) && is(object, "Succeeded", succeeded) {
                    Ok(())
                } else {
                    Err(brief(&object["status"]["conditions"]))
                }
            })
            .await
            .map(drop)
    }

    /// Waits until its last error contains this.
    pub async fn complains(&self, text: &str) -> anyhow::Result<()> {
        let what = format!("lastError of {KIND} {} with {text:?}", self.name);
        self.world
            .until(&what, KIND, &self.world.name, &self.name, |object| {
                let error = object["status"]["lastError"].as_str().unwrap_or_default();
                if error.contains(text) { Ok(()) } else { Err(format!("it is {error:?}")) }
            })
            .await
            .map(drop)
    }

    /// Asks for its deletion.
    pub async fn delete(&self) -> anyhow::Result<()> {
        self.world.delete(KIND, &self.world.name, &self.name).await
    }

    /// Waits until it is gone.
    pub async fn gone(&self) -> anyhow::Result<()> {
        let what = format!("{KIND} {} to vanish", self.name);
        let (eyes, name) = (self.world.eyes(), &self.name);
        let probe = || match eyes.get(KIND, &self.world.name, name) {
            None => Ok(()),
            Some(object) => Err(brief(&object["metadata"])),
        };
        eyes.until(&what, SOON, probe).await
    }

    /// An annotation on it.
    pub async fn annotate(&self, key: &str, value: &str) -> anyhow::Result<()> {
        let patch = json!({ "metadata": { "annotations": { key: value } } });
        self.world.patch(KIND, &self.world.name, &self.name, patch).await.map(drop)
    }

    /// Changes its status behind the controller's back.
    pub async fn status(&self, status: Value) -> anyhow::Result<()> {
        self.world.patch_status(KIND, &self.world.name, &self.name, status).await
    }

    /// It as the server has it now.
    pub async fn now(&self) -> anyhow::Result<Value> {
        self.world.get(KIND, &self.world.name, &self.name).await.map(Option::unwrap_or_default)
    }

    /// Passes a time in which it must not get further: no finalizer, no phase.
    pub async fn is_not_taken_up(&self, length: Duration) -> anyhow::Result<()> {
        tokio::time::sleep(length).await;
        let ever = self.world.eyes().history(KIND, |object| {
            object["metadata"]["namespace"] == *self.world.name
                && object["metadata"]["name"] == *self.name
                && (!object["metadata"]["finalizers"].is_null() || !object["status"]["phase"].is_null())
        });
        ensure!(ever.is_empty(), "it was taken up: {}", brief(&ever[0].object));
        Ok(())
    }

    /// Waits for an event about it, or about a node, with this reason.
    pub async fn event(&self, kind: &str, name: &str, reason: &str) -> anyhow::Result<Rc<Value>> {
        let what = format!("event {reason} about {kind} {name}");
        let eyes = self.world.eyes();
        let probe = || {
            let found = eyes.all("Event", |event| {
                event["reason"] == reason
                    && event["involvedObject"]["kind"] == kind
                    && event["involvedObject"]["name"] == name
            });
            found.into_iter().next().ok_or_else(|| "there is none".to_owned())
        };
        eyes.until(&what, SOON, probe).await
    }
}
