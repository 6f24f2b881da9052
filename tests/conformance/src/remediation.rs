//! Remediation objects of a case, which nobody else works on.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::node::Node;
use crate::value::{brief, seconds, shows};
use crate::world::{SOON, World};

/// Annotation with the name of the node.
pub const NODE_NAME: &str = "remediation.medik8s.io/node-name";
/// Annotation with the name of the template.
pub const TEMPLATE_NAME: &str = "remediation.medik8s.io/template-name";
/// Annotation that says: stop trying.
pub const TIMED_OUT: &str = "remediation.medik8s.io/nhc-timed-out";
/// Annotation with the start of the healthy delay.
pub const HEALTHY_DELAY: &str = "remediation.medik8s.io/healthy-delay";

/// A remediation object.
#[derive(Clone)]
pub struct Remediation {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The object as it was when it was found.
    pub object: Rc<Value>,
    namespace: String,
    world: Rc<World>,
}

impl World {
    /// Waits for a remediation of kind Foo of this node.
    pub async fn remediation(self: &Rc<Self>, node: &Node) -> anyhow::Result<Remediation> {
        self.remediation_of("Foo", node).await
    }

    /// Waits for a remediation of this kind of this node.
    pub async fn remediation_of(self: &Rc<Self>, kind: &str, node: &Node) -> anyhow::Result<Remediation> {
        self.remediation_that(kind, node, SOON, |_| true).await
    }

    /// The same, for what has to wait for something that takes its time.
    pub async fn remediation_within(
        self: &Rc<Self>,
        kind: &str,
        node: &Node,
        limit: Duration,
    ) -> anyhow::Result<Remediation> {
        self.remediation_that(kind, node, limit, |_| true).await
    }

    /// Waits for a remediation made from a template of this name.
    pub async fn remediation_from(
        self: &Rc<Self>,
        kind: &str,
        template: &str,
        node: &Node,
    ) -> anyhow::Result<Remediation> {
        self.remediation_that(kind, node, SOON, |object| object["metadata"]["annotations"][TEMPLATE_NAME] == template)
            .await
    }

    /// Waits for another remediation than this one, of the same kind and node.
    pub async fn another_than(self: &Rc<Self>, first: &Remediation, node: &Node) -> anyhow::Result<Remediation> {
        self.remediation_that(&first.kind, node, SOON, |object| object["metadata"]["uid"] != *first.uid).await
    }

    async fn remediation_that(
        self: &Rc<Self>,
        kind: &str,
        node: &Node,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Remediation> {
        let what = format!("a {kind} for node {}", node.name);
        let found = self
            .eyes()
            .until(&what, limit, || {
                let all = self.remediations(kind, node);
                all.iter().find(|object| wanted(object)).cloned().ok_or_else(|| {
                    let policies = self.eyes().all("NodeHealthCheck", |policy| {
                        policy["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(&self.name))
                    });
                    let statuses: Vec<_> = policies.iter().map(|policy| brief(&policy["status"])).collect();
                    format!("there are {} of that kind; policies: {}", all.len(), statuses.join(" "))
                })
            })
            .await?;
        Ok(Remediation::of(self, kind, found))
    }

    /// Remediations of this kind of this node, as far as they were seen.
    pub fn remediations(&self, kind: &str, node: &Node) -> Vec<Rc<Value>> {
        let namespace = &self.name;
        self.eyes().all(kind, |object| {
            let metadata = &object["metadata"];
            metadata["annotations"][NODE_NAME] == *node.name
                && (metadata["namespace"].is_null() || metadata["namespace"] == **namespace)
        })
    }

    /// How many different remediations of this kind there ever were for this node.
    pub fn ever(&self, kind: &str, node: &Node) -> usize {
        let sights = self.eyes().history(kind, |object| object["metadata"]["annotations"][NODE_NAME] == *node.name);
        sights.iter().map(|sight| sight.object["metadata"]["uid"].to_string()).collect::<BTreeSet<_>>().len()
    }
}

impl Remediation {
    /// A handle on an object.
    pub fn of(world: &Rc<World>, kind: &str, object: Rc<Value>) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            kind: kind.to_owned(),
            name: text(&object["metadata"]["name"]),
            uid: text(&object["metadata"]["uid"]),
            namespace: text(&object["metadata"]["namespace"]),
            object,
            world: Rc::clone(world),
        }
    }

    /// When it was made, in seconds since 1970.
    pub fn made(&self) -> anyhow::Result<i64> {
        seconds(&self.object["metadata"]["creationTimestamp"])
    }

    /// The remediator says something in its conditions.
    pub async fn says(&self, type_: &str, status: &str) -> anyhow::Result<()> {
        self.says_all(&[(type_, status)]).await
    }

    /// The remediator says all this in its conditions.
    pub async fn says_all(&self, conditions: &[(&str, &str)]) -> anyhow::Result<()> {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(type_, status)| {
                json!({ "type": type_, "status": status, "reason": "Case", "message": "", "lastTransitionTime": crate::value::stamp(0) })
            })
            .collect();
        self.world.patch_status(&self.kind, &self.namespace, &self.name, json!({ "conditions": conditions })).await
    }

    /// The remediator keeps it with a finalizer, or lets it go.
    pub async fn held(&self, held: bool) -> anyhow::Result<()> {
        let finalizers = if held { json!(["test.example/hold"]) } else { json!(null) };
        self.patch(json!({ "metadata": { "finalizers": finalizers } })).await
    }

    /// Changes it by a merge patch.
    pub async fn patch(&self, patch: Value) -> anyhow::Result<()> {
        self.world.patch(&self.kind, &self.namespace, &self.name, patch).await.map(drop)
    }

    /// Somebody deletes it.
    pub async fn delete(&self) -> anyhow::Result<()> {
        self.world.delete(&self.kind, &self.namespace, &self.name).await
    }

    /// Waits until it shows this.
    pub async fn shows(&self, expected: Value) -> anyhow::Result<Rc<Value>> {
        self.until(&format!("shows {expected}"), |object| shows(object, &expected)).await
    }

    /// Waits until `probe` is content with it.
    pub async fn until(&self, what: &str, probe: impl Fn(&Value) -> Result<(), String>) -> anyhow::Result<Rc<Value>> {
        let what = format!("{} {}: {what}", self.kind, self.name);
        let probe = |object: &Value| {
            probe(object).map_err(|why| format!("{why}; its metadata is {}", brief(&object["metadata"])))
        };
        self.world.until(&what, &self.kind, &self.namespace, &self.name, probe).await
    }

    /// Waits until it carries an annotation, and returns its value.
    pub async fn annotated(&self, key: &str) -> anyhow::Result<String> {
        let object = self
            .until(&format!("annotation {key}"), |object| {
                let there = object["metadata"]["annotations"][key].is_string();
                if there { Ok(()) } else { Err("it lacks it".to_owned()) }
            })
            .await?;
        Ok(object["metadata"]["annotations"][key].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until it is being deleted.
    pub async fn ending(&self) -> anyhow::Result<()> {
        self.until("is being deleted", |object| {
            if object["metadata"]["deletionTimestamp"].is_string() { Ok(()) } else { Err("it stays".to_owned()) }
        })
        .await
        .map(drop)
    }

    /// Waits until it is gone.
    pub async fn gone(&self) -> anyhow::Result<()> {
        let eyes = self.world.eyes();
        let what = format!("{} {} goes away", self.kind, self.name);
        eyes.until(&what, SOON, || match eyes.get(&self.kind, &self.namespace, &self.name) {
            Some(object) if object["metadata"]["uid"] == *self.uid => {
                Err(format!("it is still there: {}", brief(&object["metadata"])))
            }
            _ => Ok(()),
        })
        .await
    }

    /// It as the server has it now; fails if it is gone or another one.
    pub async fn now(&self) -> anyhow::Result<Value> {
        let object = self.world.get(&self.kind, &self.namespace, &self.name).await?;
        let object = object.ok_or_else(|| anyhow::anyhow!("{} {} is gone", self.kind, self.name))?;
        anyhow::ensure!(object["metadata"]["uid"] == *self.uid, "{} {} is another one now", self.kind, self.name);
        Ok(object)
    }

    /// It is there and nobody asked for its end.
    pub async fn stays(&self) -> anyhow::Result<()> {
        let now = self.now().await?;
        anyhow::ensure!(now["metadata"]["deletionTimestamp"].is_null(), "{} {} is being deleted", self.kind, self.name);
        Ok(())
    }
}
