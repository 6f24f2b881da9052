//! Applies one action. Each is safe to repeat: it names the object by UID or has a name that follows from its cause.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, TypeMeta};
use kube::{Resource, ResourceExt};
use palisade_api::NodeHealthCheck;
use palisade_api::keys::remediation as keys;
use palisade_api::reasons::event;
use palisade_core::health::{Action, NodeView, ObjectKey, RemediationView, Selector, Step, Verdict, evaluate};
use serde_json::{Value, json};

use super::kinds::Kind;
use super::report::Kind as Weight;
use super::template::Templates;
use super::{Guarded, World, views};

mod make;

/// What the actions of one pass need.
pub(super) struct Pass<'a> {
    pub world: &'a World,
    pub guarded: &'a Guarded,
    pub policy: &'a NodeHealthCheck,
    pub selector: &'a Selector,
    pub nodes: &'a [NodeView],
    pub steps: &'a [Step],
    pub templates: &'a Templates,
    pub openshift: bool,
    /// Nodes with a condition `Terminating` are somebody else's.
    pub spare_terminating: bool,
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
    /// Something that the status does not show.
    Done,
    /// It is not its turn yet: look again after this time.
    Wait(Duration),
    /// Nothing: somebody else was faster, or it is not necessary any more.
    None,
}

/// Which version of an object may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// Whichever there is of this UID.
    Any,
    /// One that is known to lack the annotation: what is counted must not be counted again, neither because the watch
    /// shows the mark late, nor because it shows it between the decision and the write.
    Unmarked,
}

/// An action that failed; the text names the object.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(super) struct Failure {
    what: String,
    why: String,
}

impl Failure {
    fn new(what: impl Into<String>, why: &dyn std::fmt::Display) -> Self {
        Self { what: what.into(), why: why.to_string() }
    }
}

impl Pass<'_> {
    /// Applies an action.
    pub async fn apply(&self, action: &Action) -> Result<Change, Failure> {
        let change = match action {
            Action::Create { node, step } => self.create(node, *step).await,
            Action::Delete { remediation, node, orphaned } => self.delete(remediation, node, *orphaned).await,
            Action::GiveUp { remediation, node, tell, failed } => self.give_up(remediation, node, *tell, *failed).await,
            Action::StartHealthyDelay { remediation } => {
                self.annotate(remediation, keys::HEALTHY_DELAY, now(), Version::Any).await
            }
            Action::ClearHealthyDelay { remediation } => {
                self.annotate(remediation, keys::HEALTHY_DELAY, Value::Null, Version::Any).await
            }
            Action::FlagOld { remediation, .. } => {
                self.annotate(remediation, keys::OLD_FLAG, keys::OLD_FLAG_VALUE.into(), Version::Unmarked).await
            }
            Action::ForgetConfirmation { node } => self.forget_confirmation(node).await,
            Action::RenewLease { node, duration } => self.renew_lease(node, *duration).await,
            Action::ReleaseLease { lease } => {
                let released = self.world.leases.release(lease, &self.policy.name_any()).await;
                released
                    .map(|()| Change::Done)
                    .map_err(|error| Failure::new(format!("cannot release lease {lease}"), &error))
            }
        }?;
        if !matches!(change, Change::None | Change::Wait(_)) {
            self.world.observers.iter().for_each(|observer| observer.applied(self.policy, action));
        }
        Ok(change)
    }

    async fn renew_lease(&self, node: &str, duration: Duration) -> Result<Change, Failure> {
        let Some(node) = self.node(node) else { return Ok(Change::None) };
        // Taken over meanwhile: the remediation goes on without it.
        let renewed = self.world.leases.obtain(node, &self.policy.name_any(), duration).await;
        let failure = |error| Failure::new(format!("cannot renew the lease of node {}", node.name), &error);
        renewed.map(|_| Change::Done).map_err(failure)
    }

    async fn delete(&self, key: &ObjectKey, node: &str, orphaned: bool) -> Result<Change, Failure> {
        let failure = |error: &kube::Error| Failure::new(format!("cannot delete {key}"), error);
        let Some(kind) = self.kind(&key.api_version, &key.kind) else { return Ok(Change::None) };
        if !self.may_let_go(kind, key, node, orphaned).await.map_err(|error| failure(&error))? {
            return Ok(Change::None);
        }
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
        let why = if orphaned { "is not selected any more, or is another one by now" } else { "is healthy" };
        self.tell(Weight::Normal, event::REMOVED, &format!("deleted {key}: node {node} {why}"), node);
        Ok(Change::Ending(key.clone()))
    }

    /// Asks the API server, not the watch: another detector may have acted on a change of the node that this one has
    /// not seen yet, and deleting what a node still needs cannot be undone.
    async fn may_let_go(&self, kind: &Kind, key: &ObjectKey, node: &str, orphaned: bool) -> Result<bool, kube::Error> {
        let Some(node) = Api::<Node>::all(self.world.client.clone()).get_opt(node).await? else { return Ok(true) };
        let node = views::node(&node);
        let made_for = kind.get(&key.namespace, &key.name).and_then(|object| {
            let view = views::remediation(&object, &self.policy.name_any());
            (view.key.uid == key.uid).then_some(view.node_uid).flatten()
        });
        let is_another = made_for.is_some_and(|uid| uid != node.uid);
        let is_spared = self.spare_terminating && node.condition("Terminating").is_some();
        if is_another || is_spared || !self.selector.matches(&node.labels) {
            return Ok(true);
        }
        let unhealthy = &self.policy.spec.unhealthy_conditions;
        Ok(!orphaned && evaluate(&node.conditions, unhealthy, crate::clock::timestamp()) == Verdict::NotMatching)
    }

    async fn give_up(&self, key: &ObjectKey, node: &str, tell: bool, failed: bool) -> Result<Change, Failure> {
        if tell && matches!(self.annotate(key, keys::TIMED_OUT, now(), Version::Any).await?, Change::None) {
            return Ok(Change::None);
        }
        let message = if failed { format!("{key} failed") } else { format!("{key} ran out of time") };
        self.tell(Weight::Warning, if failed { event::FAILED } else { event::TIMED_OUT }, &message, node);
        Ok(Change::TimedOut(key.clone()))
    }

    async fn annotate(
        &self,
        key: &ObjectKey,
        annotation: &str,
        value: Value,
        version: Version,
    ) -> Result<Change, Failure> {
        let Some(kind) = self.kind(&key.api_version, &key.kind) else { return Ok(Change::None) };
        let mut body = json!({ "metadata": { "uid": key.uid, "annotations": { annotation: value } } });
        if version == Version::Unmarked {
            let seen = kind.get(&key.namespace, &key.name);
            let Some(version) = seen.and_then(|seen| unmarked(&seen, &key.uid, annotation)) else {
                return Ok(Change::None);
            };
            body["metadata"]["resourceVersion"] = version.into();
        }
        let api = kind.api(&self.world.client, &key.namespace);
        match api.patch(&key.name, &PatchParams::default(), &Patch::Merge(body)).await {
            Ok(_) => Ok(Change::Done),
            // Gone, or changed meanwhile: the watch shows how, and wakes the policy.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(Change::None),
            Err(error) => Err(Failure::new(format!("cannot annotate {key}"), &error)),
        }
    }

    async fn forget_confirmation(&self, node: &str) -> Result<Change, Failure> {
        let body = json!({ "metadata": { "annotations": { keys::CONFIRMED_HEALTHY: null } } });
        let nodes = Api::<Node>::all(self.world.client.clone());
        match nodes.patch(node, &PatchParams::default(), &Patch::Merge(body)).await {
            Ok(_) => Ok(Change::None),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Change::None),
            Err(error) => {
                let what = format!("cannot remove annotation {} of node {node}", keys::CONFIRMED_HEALTHY);
                Err(Failure::new(what, &error))
            }
        }
    }

    /// Nodes are sorted by name.
    fn node(&self, name: &str) -> Option<&NodeView> {
        let position = self.nodes.binary_search_by(|node| node.name.as_str().cmp(name)).ok()?;
        self.nodes.get(position)
    }

    fn kind(&self, api_version: &str, name: &str) -> Option<&Kind> {
        let is_it = |kind: &&Arc<Kind>| kind.resource.kind == name && kind.resource.api_version == api_version;
        self.templates.kinds.iter().find(is_it).map(AsRef::as_ref)
    }

    fn view(&self, kind: &Kind, mut object: DynamicObject) -> RemediationView {
        // An answer may carry no type of its own.
        object.types =
            Some(TypeMeta { api_version: kind.resource.api_version.clone(), kind: kind.resource.kind.clone() });
        object.meta_mut().managed_fields = None;
        views::remediation(&object, &self.policy.name_any())
    }

    fn tell(&self, weight: Weight, reason: &str, message: &str, node: &str) {
        self.world.reporter.happened(self.guarded, weight, reason, message, Some(node));
    }
}

/// The version to be written over, if the object is the one of this UID and does not have the annotation yet.
fn unmarked(seen: &DynamicObject, uid: &str, annotation: &str) -> Option<String> {
    let is_it = seen.uid().as_deref() == Some(uid) && !seen.annotations().contains_key(annotation);
    is_it.then(|| seen.resource_version()).flatten()
}

fn now() -> Value {
    // Whole seconds, as every other stamp of the API.
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(annotations: &Value) -> DynamicObject {
        let metadata = json!({ "name": "a", "uid": "u1", "resourceVersion": "7", "annotations": annotations });
        serde_json::from_value(json!({ "apiVersion": "x/v1", "kind": "X", "metadata": metadata })).unwrap()
    }

    /// Found by conformance case M04: the watch showed the mark of the last pass after this one had decided, and the
    /// remediation was counted twice.
    #[test]
    fn what_was_marked_meanwhile_is_not_marked_and_counted_again() {
        let version = |annotations: Value, uid: &str| unmarked(&seen(&annotations), uid, keys::OLD_FLAG);
        assert_eq!(version(json!({ "other": "x" }), "u1").as_deref(), Some("7"));
        assert_eq!(version(json!({ keys::OLD_FLAG: keys::OLD_FLAG_VALUE }), "u1"), None, "marked meanwhile");
        assert_eq!(version(json!({}), "u2"), None, "another object of that name");
    }
}
