//! What a case talks about: its own corner of a control plane.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use kube::api::{DeleteParams, Patch, PatchParams};
use palisade_sandbox::lab::process::Process;
use serde_json::{Value, json};

use crate::definitions::API_VERSION;
use crate::eyes::Eyes;
use crate::node::{Node, State};
use crate::plane::{Plane, Start};
use crate::policy::Draft;
use crate::value::brief;

/// How long the product may take for what is normally a matter of milliseconds, on a machine that does much else.
pub const SOON: Duration = Duration::from_secs(90);
/// Namespace of the leases that say who acts on a node.
pub const LEASES: &str = "medik8s-leases";

/// The corner of one case: names, labels and a namespace that nobody else uses.
pub struct World {
    /// The plane it is on.
    pub plane: Rc<Plane>,
    /// Name of the case in lower case: its namespace, policy and label, and the prefix of its nodes.
    pub name: String,
    letters: Cell<u8>,
    policies: RefCell<Vec<String>>,
    kinds: RefCell<BTreeSet<String>>,
    /// Situations that were explained as they must be.
    pub(crate) told: RefCell<BTreeSet<&'static str>>,
}

impl World {
    /// Makes room for a case.
    pub async fn new(plane: Rc<Plane>, id: &str) -> anyhow::Result<Rc<Self>> {
        let name = id.to_lowercase();
        plane.ensure(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await?;
        let kinds = ["Foo", "Bar"].map(str::to_owned).into();
        Ok(Rc::new(Self {
            plane,
            name,
            letters: Cell::new(b'a'),
            policies: RefCell::default(),
            kinds: RefCell::new(kinds),
            told: RefCell::default(),
        }))
    }

    /// What was seen.
    pub fn eyes(&self) -> &Eyes {
        &self.plane.eyes
    }

    /// The label that the policy of this case selects.
    pub fn label(&self) -> String {
        format!("w-{}", self.name)
    }

    /// Nodes in these states, named `<case>-a`, `<case>-b` and so on.
    pub async fn nodes<const N: usize>(self: &Rc<Self>, states: [State; N]) -> anyhow::Result<[Node; N]> {
        let mut nodes = Vec::with_capacity(N);
        for state in states {
            nodes.push(self.node(state).await?);
        }
        nodes.try_into().map_err(|_| anyhow::anyhow!("as many nodes as states"))
    }

    /// One more node.
    pub async fn node(self: &Rc<Self>, state: State) -> anyhow::Result<Node> {
        let letter = self.letters.replace(self.letters.get() + 1);
        Node::create(self, &format!("{}-{}", self.name, char::from(letter)), state, &json!({})).await
    }

    /// One more node with these labels besides.
    pub async fn node_with(self: &Rc<Self>, state: State, labels: Value) -> anyhow::Result<Node> {
        let letter = self.letters.replace(self.letters.get() + 1);
        Node::create(self, &format!("{}-{}", self.name, char::from(letter)), state, &labels).await
    }

    /// A policy to be completed: Ready False or Unknown for 2 s, minHealthy 51 %, template `foo`.
    pub fn policy(self: &Rc<Self>) -> Draft {
        Draft::new(self)
    }

    pub(crate) fn remember_policy(&self, name: &str) {
        self.policies.borrow_mut().push(name.to_owned());
    }

    /// More kinds that remediations of this case may have.
    pub fn remember_kind(&self, kind: &str) {
        self.kinds.borrow_mut().insert(kind.to_owned());
    }

    /// A template; its remediations get `size: <name>`.
    pub async fn template(&self, kind: &str, name: &str) -> anyhow::Result<()> {
        self.template_with(kind, name, &json!({})).await
    }

    /// A template with these annotations.
    pub async fn template_with(&self, kind: &str, name: &str, annotations: &Value) -> anyhow::Result<()> {
        let object = json!({
            "apiVersion": API_VERSION, "kind": kind,
            "metadata": { "name": name, "namespace": self.name, "annotations": annotations },
            "spec": { "template": { "spec": { "size": name } } },
        });
        self.plane.ensure(&object).await
    }

    /// Changes an object by a merge patch.
    pub async fn patch(&self, kind: &str, namespace: &str, name: &str, patch: Value) -> anyhow::Result<Value> {
        let api = self.plane.api(kind, namespace)?;
        let changed = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(serde_json::to_value(changed)?)
    }

    /// Changes the status of an object by a merge patch.
    pub async fn patch_status(&self, kind: &str, namespace: &str, name: &str, status: Value) -> anyhow::Result<()> {
        let api = self.plane.api(kind, namespace)?;
        let patch = Patch::Merge(json!({ "status": status }));
        api.patch_status(name, &PatchParams::default(), &patch)
            .await
            .map(drop)
            .with_context(|| format!("{kind} {name}"))
    }

    /// Deletes an object; one that is gone is fine.
    pub async fn delete(&self, kind: &str, namespace: &str, name: &str) -> anyhow::Result<()> {
        match self.plane.api(kind, namespace)?.delete(name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads an object as the server has it now.
    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> anyhow::Result<Option<Value>> {
        let object = self.plane.api(kind, namespace)?.get_opt(name).await?;
        object.map(|object| Ok(serde_json::to_value(object)?)).transpose()
    }

    /// Waits until an object is there and `probe` is content with it.
    pub async fn until(
        &self,
        what: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        probe: impl Fn(&Value) -> Result<(), String>,
    ) -> anyhow::Result<Rc<Value>> {
        self.eyes()
            .until(what, SOON, || match self.eyes().get(kind, namespace, name) {
                None => Err(format!("{kind} {name} is not there")),
                Some(object) => probe(&object).map(|()| object),
            })
            .await
    }

    /// Remediations of this case that the server has now, of every kind.
    pub async fn remediations_now(&self) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        let kinds = self.kinds.borrow().clone();
        for kind in kinds {
            all.extend(self.plane.list(&kind, &self.name).await?);
        }
        Ok(all)
    }

    /// Fails if any remediation of this case was ever seen, or is there now.
    pub async fn never_remediated(&self) -> anyhow::Result<()> {
        let now = self.remediations_now().await?;
        anyhow::ensure!(now.is_empty(), "no remediation is expected, but there is {}", brief(&json!(now)));
        for kind in self.kinds.borrow().iter() {
            let ever = self.eyes().history(kind, |object| object["metadata"]["namespace"] == *self.name);
            anyhow::ensure!(ever.is_empty(), "no {kind} is expected, but there was {}", brief(&ever[0].object));
        }
        Ok(())
    }

    /// Starts a controller of this case's own; it ends when dropped.
    pub fn controller(&self) -> anyhow::Result<Process> {
        self.controller_with(Start::default())
    }

    /// The same with options.
    pub fn controller_with(&self, mut start: Start) -> anyhow::Result<Process> {
        if start.name.is_empty() {
            start.name = format!("controller-{}", self.name);
        }
        self.plane.controller(&start)
    }

    /// Takes away what would keep a shared controller busy: remediations and nodes first, then the policies, which may
    /// not be deleted while a remediation runs.
    pub async fn leave(&self) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for node in self.eyes().all("Node", |node| !node["metadata"]["labels"][self.label()].is_null()) {
            let _ = self.delete("Node", "", &text(&node["metadata"]["name"])).await;
        }
        for remediation in self.remediations_now().await.unwrap_or_default() {
            let (kind, name) = (text(&remediation["kind"]), text(&remediation["metadata"]["name"]));
            let _ = self.patch(&kind, &self.name, &name, json!({ "metadata": { "finalizers": null } })).await;
            let _ = self.delete(&kind, &self.name, &name).await;
        }
        let policies = self.policies.borrow().clone();
        for name in policies {
            for _ in 0..20 {
                if self.delete("NodeHealthCheck", "", &name).await.is_ok() {
                    break;
                }
                let _ = self.patch_status("NodeHealthCheck", "", &name, json!({ "unhealthyNodes": null })).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
