//! Nodes: plain objects whose status the case writes, as a kubelet or the node lifecycle controller would.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::value::{shows, stamp};
use crate::world::{LEASES, SOON, World};

/// What a node says of itself, and since how many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Ready is True.
    Fine,
    /// Ready is Unknown since a minute.
    Sick,
    /// Ready is Unknown since so many seconds.
    SickFor(i64),
    /// Ready is False since a minute.
    Failing,
    /// Ready is False since so many seconds.
    FailingFor(i64),
    /// It has no conditions at all.
    Silent,
}

impl State {
    fn conditions(self) -> Vec<Value> {
        match self {
            Self::Fine => vec![condition("Ready", "True", 3_600)],
            Self::Sick => vec![condition("Ready", "Unknown", 60)],
            Self::SickFor(age) => vec![condition("Ready", "Unknown", age)],
            Self::Failing => vec![condition("Ready", "False", 60)],
            Self::FailingFor(age) => vec![condition("Ready", "False", age)],
            Self::Silent => Vec::new(),
        }
    }
}

fn condition(type_: &str, status: &str, age: i64) -> Value {
    json!({ "type": type_, "status": status, "reason": "Case", "message": "", "lastTransitionTime": stamp(-age), "lastHeartbeatTime": stamp(-age) })
}

/// A node of a case.
#[derive(Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    world: Rc<World>,
    conditions: Rc<RefCell<Vec<Value>>>,
}

impl Node {
    /// The corner that it belongs to.
    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    pub(crate) async fn create(world: &Rc<World>, name: &str, state: State, labels: &Value) -> anyhow::Result<Self> {
        let mut all = labels.as_object().cloned().unwrap_or_else(Map::new);
        // Null says: without the label that the policy selects.
        all.entry(world.label()).or_insert_with(|| json!(""));
        all.retain(|_, value| !value.is_null());
        let object = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": all } });
        let made = world.plane.create(&object).await?;
        if !made["spec"]["taints"].is_null() {
            // Admission says that a new node is not ready yet, and nobody is here who would take that back.
            world.patch("Node", "", name, json!({ "spec": { "taints": null } })).await?;
        }
        let node = Self { name: name.to_owned(), world: Rc::clone(world), conditions: Rc::default() };
        if state != State::Silent {
            node.becomes(state).await?;
        }
        Ok(node)
    }

    /// All its conditions are replaced.
    pub async fn becomes(&self, state: State) -> anyhow::Result<()> {
        *self.conditions.borrow_mut() = state.conditions();
        self.write().await
    }

    /// One of its conditions is added or replaced: since so many seconds.
    pub async fn reports(&self, type_: &str, status: &str, age: i64) -> anyhow::Result<()> {
        {
            let mut conditions = self.conditions.borrow_mut();
            conditions.retain(|known| known["type"] != type_);
            conditions.push(condition(type_, status, age));
        }
        self.write().await
    }

    /// One of its conditions goes away.
    pub async fn forgets(&self, type_: &str) -> anyhow::Result<()> {
        self.conditions.borrow_mut().retain(|known| known["type"] != type_);
        self.write().await
    }

    async fn write(&self) -> anyhow::Result<()> {
        let conditions = self.conditions.borrow().clone();
        self.world.patch_status("Node", "", &self.name, json!({ "conditions": conditions })).await
    }

    /// When its Ready condition changed last, in seconds since 1970.
    pub fn since(&self) -> anyhow::Result<i64> {
        let conditions = self.conditions.borrow();
        let ready = conditions.iter().find(|known| known["type"] == "Ready").cloned().unwrap_or_default();
        crate::value::seconds(&ready["lastTransitionTime"])
    }

    /// Sets a label, or takes it away.
    pub async fn label(&self, key: &str, value: Option<&str>) -> anyhow::Result<()> {
        self.world.patch("Node", "", &self.name, json!({ "metadata": { "labels": { key: value } } })).await.map(drop)
    }

    /// Sets an annotation, or takes it away.
    pub async fn annotate(&self, key: &str, value: Option<&str>) -> anyhow::Result<()> {
        self.world
            .patch("Node", "", &self.name, json!({ "metadata": { "annotations": { key: value } } }))
            .await
            .map(drop)
    }

    /// Waits until the node object says this.
    pub async fn shows(&self, expected: Value) -> anyhow::Result<()> {
        let what = format!("node {}", self.name);
        self.world.until(&what, "Node", "", &self.name, |node| shows(node, &expected)).await.map(drop)
    }

    /// Waits until the node carries this taint, as `key=value:effect`.
    pub async fn shows_taint(&self, taint: &str) -> anyhow::Result<()> {
        self.taints_are(&format!("taint {taint}"), |all| all.iter().any(|known| known == taint)).await
    }

    /// Waits until the node does not carry this taint.
    pub async fn lost_taint(&self, taint: &str) -> anyhow::Result<()> {
        self.taints_are(&format!("no taint {taint}"), |all| all.iter().all(|known| known != taint)).await
    }

    async fn taints_are(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> anyhow::Result<()> {
        let probe = |node: &Value| {
            let all = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
            let part = |taint: &Value, name: &str| taint[name].as_str().unwrap_or_default().to_owned();
            let all: Vec<String> = all
                .iter()
                .map(|taint| format!("{}={}:{}", part(taint, "key"), part(taint, "value"), part(taint, "effect")))
                .collect();
            if wanted(&all) { Ok(()) } else { Err(format!("{all:?}")) }
        };
        self.world.until(&format!("node {}: {what}", self.name), "Node", "", &self.name, probe).await.map(drop)
    }

    /// The object is deleted.
    pub async fn vanishes(&self) -> anyhow::Result<()> {
        self.world.delete("Node", "", &self.name).await
    }

    /// A new object of the same name.
    pub async fn comes_back(&self, state: State) -> anyhow::Result<Self> {
        Self::create(&self.world, &self.name, state, &json!({})).await
    }

    fn lease_name(&self) -> String {
        format!("node-{}", self.name)
    }

    /// Waits until the lease of this node says this, and returns it.
    pub async fn lease(&self, expected: Value) -> anyhow::Result<Rc<Value>> {
        let (what, name) = (format!("lease of node {}", self.name), self.lease_name());
        self.world.until(&what, "Lease", LEASES, &name, |lease| shows(&lease["spec"], &expected)).await
    }

    /// Waits until nobody holds a lease of this node.
    pub async fn lease_gone(&self) -> anyhow::Result<()> {
        let what = format!("release of the lease of node {}", self.name);
        let eyes = self.world.eyes();
        eyes.until(&what, SOON, || match eyes.get("Lease", LEASES, &self.lease_name()) {
            None => Ok(()),
            Some(lease) => Err(format!("it is held: {}", lease["spec"])),
        })
        .await
    }

    /// The lease as the server has it now.
    pub async fn lease_now(&self) -> anyhow::Result<Option<Value>> {
        self.world.get("Lease", LEASES, &self.lease_name()).await
    }

    /// Somebody holds the lease of this node from now on, for so long.
    pub async fn lease_by(&self, holder: Option<&str>, lasts: Duration) -> anyhow::Result<()> {
        let world = &self.world;
        world.plane.ensure(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LEASES}})).await?;
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        let spec = json!({
            "holderIdentity": holder, "leaseDurationSeconds": lasts.as_secs().max(1), "acquireTime": now, "renewTime": now,
            "leaseTransitions": 0,
        });
        world.delete("Lease", LEASES, &self.lease_name()).await?;
        world
            .plane
            .create(&json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": { "name": self.lease_name(), "namespace": LEASES }, "spec": spec,
            }))
            .await
            .map(drop)
    }
}
