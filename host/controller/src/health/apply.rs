//! Applies one action. Each is safe to repeat: it names the object by UID or has a name that follows from its cause.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions, TypeMeta,
};
use palisade_api::NodeHealthCheck;
use palisade_api::keys::remediation as keys;
use palisade_api::reasons::event;
use palisade_core::health::{Action, NodeView, ObjectKey, RemediationView, Selector, Step, Verdict, evaluate};
use serde_json::{Value, json};

use super::kinds::Kind;
use super::report::Kind as Weight;
use super::template::Templates;
use super::{Guarded, World, create, views};

/// What the actions of one pass need.
pub(super) struct Pass<'a> {
    pub world: &'a World,
    pub guarded: &'a Guarded,
    pub policy: &'a NodeHealthCheck,
    pub selector: &'a Selector,
    pub nodes: &'a [NodeView],
    pub steps: &'a [Step],
    pub templates: &'a Templates,
}

/// What an action made of the remediations that the pass knows.
#[derive(Debug)]
pub(super) enum Change {
    /// There is a new one.
    Made(Box<RemediationView>),
    /// This one is going away.
    Ending(ObjectKey),
    /// This one was told that its time is over.
    TimedOut(ObjectKey),
    /// Nothing that the status shows.
    None,
}

/// An action that failed; the text names the object.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(super) struct Failure {
    what: String,
    why: String,
}

impl Pass<'_> {
    /// Applies an action.
    pub async fn apply(&self, action: &Action) -> Result<Change, Failure> {
        match action {
            Action::Create { node, step } => self.create(node, *step).await,
            Action::Delete { remediation, node, orphaned } => self.delete(remediation, node, *orphaned).await,
            Action::GiveUp { remediation, tell, failed, .. } => self.give_up(remediation, *tell, *failed).await,
            Action::StartHealthyDelay { remediation } => {
                self.annotate(remediation, keys::HEALTHY_DELAY, now().into()).await.map(|()| Change::None)
            }
            Action::ClearHealthyDelay { remediation } => {
                self.annotate(remediation, keys::HEALTHY_DELAY, Value::Null).await.map(|()| Change::None)
            }
            Action::FlagOld { .. } | Action::RenewLease { .. } | Action::ReleaseLease { .. } => Ok(Change::None),
            Action::ForgetConfirmation { node } => self.forget_confirmation(node).await,
        }
    }

    async fn create(&self, node: &str, index: usize) -> Result<Change, Failure> {
        let (Some(step), Some(template)) = (self.steps.get(index), self.templates.usable.get(&index)) else {
            return Ok(Change::None);
        };
        let (Some(node), Some(kind)) =
            (self.nodes.iter().find(|known| known.name == node), self.kind(&step.api_version, &step.kind))
        else {
            return Ok(Change::None);
        };
        let failure = |error: &dyn std::fmt::Display| Failure {
            what: format!("cannot create {} for node {} from template {}", step.kind, node.name, step.template),
            why: error.to_string(),
        };
        let api = kind.api(&self.world.client, &step.namespace);
        // The watch may lag behind, and somebody may have made one under another name.
        let existing = api.list(&ListParams::default()).await.map_err(|error| failure(&error))?;
        for object in existing.items {
            let view = self.view(kind, object);
            if view.node == node.name && step.made(&view) && !view.terminating {
                return Ok(Change::Made(Box::new(view)));
            }
        }
        let object: DynamicObject = serde_json::from_value(create::remediation(self.policy, node, step, template))
            .map_err(|error| failure(&error))?;
        let made = match api.create(&PostParams::default(), &object).await {
            Ok(made) => made,
            // Another controller was faster, or an old one is still being deleted: the next pass sees which.
            Err(kube::Error::Api(status)) if status.is_already_exists() => return Ok(Change::None),
            Err(error) => return Err(failure(&error)),
        };
        let message = format!("created {} {} for node {}", step.kind, made.name_any(), node.name);
        self.tell(Weight::Normal, event::CREATED, &message).await;
        Ok(Change::Made(Box::new(self.view(kind, made))))
    }

    async fn delete(&self, key: &ObjectKey, node: &str, orphaned: bool) -> Result<Change, Failure> {
        let failure = |error: &kube::Error| Failure { what: format!("cannot delete {key}"), why: error.to_string() };
        if !self.may_let_go(node, orphaned).await.map_err(|error| failure(&error))? {
            return Ok(Change::None);
        }
        let Some(kind) = self.kind(&key.api_version, &key.kind) else { return Ok(Change::None) };
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(key.uid.clone()), ..Preconditions::default() }),
            ..DeleteParams::default()
        };
        match kind.api(&self.world.client, &key.namespace).delete(&key.name, &params).await {
            Ok(_) => {}
            // Gone already, or followed by another of the same name.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => return Ok(Change::None),
            Err(error) => return Err(failure(&error)),
        }
        let why = if orphaned { "is not selected any more" } else { "is healthy" };
        self.tell(Weight::Normal, event::REMOVED, &format!("deleted {key}: node {node} {why}")).await;
        Ok(Change::Ending(key.clone()))
    }

    /// Asks the API server, not the watch: another detector may have acted on a change of the node that this one has
    /// not seen yet, and deleting what a node still needs cannot be undone.
    async fn may_let_go(&self, node: &str, orphaned: bool) -> Result<bool, kube::Error> {
        let Some(node) = Api::<Node>::all(self.world.client.clone()).get_opt(node).await? else { return Ok(true) };
        let node = views::node(&node);
        if !self.selector.matches(&node.labels) {
            return Ok(true);
        }
        let unhealthy = &self.policy.spec.unhealthy_conditions;
        Ok(!orphaned && evaluate(&node.conditions, unhealthy, Timestamp::now()) == Verdict::NotMatching)
    }

    async fn give_up(&self, key: &ObjectKey, tell: bool, failed: bool) -> Result<Change, Failure> {
        if tell {
            self.annotate(key, keys::TIMED_OUT, now().into()).await?;
        }
        let message = if failed { format!("{key} failed") } else { format!("{key} ran out of time") };
        self.tell(Weight::Warning, if failed { event::FAILED } else { event::TIMED_OUT }, &message).await;
        Ok(Change::TimedOut(key.clone()))
    }

    async fn annotate(&self, key: &ObjectKey, annotation: &str, value: Value) -> Result<(), Failure> {
        let Some(kind) = self.kind(&key.api_version, &key.kind) else { return Ok(()) };
        let body = json!({ "metadata": { "uid": key.uid, "annotations": { annotation: value } } });
        let api = kind.api(&self.world.client, &key.namespace);
        match api.patch(&key.name, &PatchParams::default(), &Patch::Merge(body)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
            Err(error) => Err(Failure { what: format!("cannot annotate {key}"), why: error.to_string() }),
        }
    }

    async fn forget_confirmation(&self, node: &str) -> Result<Change, Failure> {
        let body = json!({ "metadata": { "annotations": { keys::CONFIRMED_HEALTHY: null } } });
        let nodes = Api::<Node>::all(self.world.client.clone());
        match nodes.patch(node, &PatchParams::default(), &Patch::Merge(body)).await {
            Ok(_) => Ok(Change::None),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Change::None),
            Err(error) => Err(Failure {
                what: format!("cannot remove annotation {} of node {node}", keys::CONFIRMED_HEALTHY),
                why: error.to_string(),
            }),
        }
    }

    fn kind(&self, api_version: &str, name: &str) -> Option<&Kind> {
        let is_it =
            |kind: &&std::sync::Arc<Kind>| kind.resource.kind == name && kind.resource.api_version == api_version;
        self.templates.kinds.iter().find(is_it).map(AsRef::as_ref)
    }

    fn view(&self, kind: &Kind, mut object: DynamicObject) -> RemediationView {
        // Objects of a list carry no type of their own.
        object.types =
            Some(TypeMeta { api_version: kind.resource.api_version.clone(), kind: kind.resource.kind.clone() });
        views::remediation(&object, &self.policy.name_any())
    }

    async fn tell(&self, weight: Weight, reason: &str, message: &str) {
        self.world.reporter.happened(self.guarded, weight, reason, message).await;
    }
}

fn now() -> String {
    // Whole seconds, as every other stamp of the API.
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}
