//! Makes a remediation: lease, owner, object.

use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::{Resource, ResourceExt};
use palisade_api::reasons::event;
use palisade_core::health::{Elsewhere, METAL3_TEMPLATE, NodeView, Step, lease_name};
use serde_json::Value;
use tokio::time::timeout;

use super::super::create::{self, Machine};
use super::super::leases::Obtained;
use super::super::report::Kind as Weight;
use super::super::turn::{self, Turn};
use super::{Change, Failure, Pass};

/// A creation takes milliseconds; one that takes longer may have happened all the same, which the next pass finds out.
const LIMIT: Duration = Duration::from_secs(30);
/// Machines of OpenShift; one version ever.
const OPENSHIFT_MACHINES: (&str, &str) = ("machine.openshift.io", "machines.machine.openshift.io");
/// Machines of Cluster API.
const CAPI_MACHINES: (&str, &str) = ("cluster.x-k8s.io", "machines.cluster.x-k8s.io");

impl Pass<'_> {
    /// Obtains the node's lease and makes the remediation. Its name follows from its cause, so that of two controllers,
    /// or two passes of one whose watch lags behind, only the first makes it.
    pub(super) async fn create(&self, node: &str, position: usize) -> Result<Change, Failure> {
        let (Some(step), Some(template)) = (self.steps.get(position), self.templates.usable.get(&position)) else {
            return Ok(Change::None);
        };
        let (Some(node), Some(kind)) = (self.node(node), self.kind(&step.api_version, &step.kind)) else {
            return Ok(Change::None);
        };
        let failure = |error: &dyn std::fmt::Display| {
            let (kind, template) = (&step.kind, &step.template);
            Failure::new(format!("cannot create {kind} for node {} from template {template}", node.name), error)
        };
        let policy = self.policy.name_any();
        let obtained = self.world.leases.obtain(node, &policy, step.lease_duration()).await;
        let obtained = obtained.map_err(|error| failure(&format!("its lease cannot be obtained: {error}")))?;
        if let Obtained::Held(holder) = &obtained {
            // The next pass sees it too, and says so.
            tracing::info!(node = node.name, holder, "somebody else was faster to take the lease");
            return Ok(Change::None);
        }
        let made = match self.turn(node).await {
            Ok(None) => self.make(node, step, kind, create::remediation(self.policy, node, step, template)).await,
            Ok(Some(wait)) => Ok(wait),
            Err(error) => Err(error),
        };
        if let Ok(Change::Made(view)) = &made {
            self.end_turn(node, kind, view).await;
        } else if obtained == Obtained::Got
            && !matches!(made, Ok(Change::None))
            && let Err(error) = self.world.leases.release(&lease_name(&node.name), &policy).await
        {
            // Nothing is being done to the node, so others must not wait for it.
            tracing::warn!(%error, node = node.name, "the lease stays until it expires");
        }
        made.map_err(|error| failure(&error))
    }

    async fn end_turn(&self, node: &NodeView, kind: &super::Kind, view: &super::RemediationView) {
        if !node.may_run_etcd() {
            return;
        }
        let namespace = self.world.leases.namespace();
        let api = kind.api(&self.world.client, &view.key.namespace);
        let path = format!("{}/{}", api.resource_url(), view.key.name);
        if let Err(error) = turn::made(&self.world.client, namespace, &path, &view.key.uid).await {
            tracing::warn!(%error, node = node.name, "the next control-plane node has to wait until this turn expires");
        }
    }

    /// Whether a control-plane node has to wait, because another controller has just made a remediation of another one
    /// or is about to.
    async fn turn(&self, node: &NodeView) -> Result<Option<Change>, kube::Error> {
        if !node.may_run_etcd() {
            return Ok(None);
        }
        let policy = self.policy.name_any();
        match turn::take(&self.world.client, self.world.leases.namespace(), node, &policy).await? {
            Turn::Ours => Ok(None),
            Turn::Taken { holder, left } => {
                tracing::info!(node = node.name, holder, "it is the turn of another control-plane node");
                Ok(Some(Change::Wait(left)))
            }
        }
    }

    async fn make(
        &self,
        node: &NodeView,
        step: &Step,
        kind: &super::Kind,
        mut body: Value,
    ) -> Result<Change, kube::Error> {
        if !kind.namespaced
            && let Some(metadata) = body["metadata"].as_object_mut()
        {
            // The reference of a cluster-scoped template may name one all the same.
            metadata.remove("namespace");
        }
        if let Some(machine) = self.machine(node, step).await? {
            create::add_owner(&mut body, &machine);
        }
        let object: DynamicObject = serde_json::from_value(body).map_err(kube::Error::SerdeError)?;
        let api = kind.api(&self.world.client, &step.namespace);
        let limit = if node.may_run_etcd() { turn::MAKE } else { LIMIT };
        let Ok(made) = timeout(limit, api.create(&PostParams::default(), &object)).await else {
            return Err(kube::Error::Service("the API server did not answer in time".into()));
        };
        let made = match made {
            Ok(made) => made,
            // Made by another controller or an earlier pass, or an old one that is still being deleted.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let Some(found) = api.get_opt(&object.name_any()).await? else { return Ok(Change::None) };
                let view = self.view(kind, found);
                let is_it = view.owned && !view.terminating && view.node == node.name && step.made(&view);
                return Ok(if is_it { Change::Made(Box::new(view)) } else { Change::None });
            }
            Err(error) => return Err(error),
        };
        let view = self.view(kind, made);
        let is_shown = kind
            .get(&view.key.namespace, &view.key.name)
            .is_some_and(|known| known.uid().as_ref() == Some(&view.key.uid));
        if node.may_run_etcd() && !is_shown {
            self.world.recent.note(Elsewhere { node: node.name.clone(), key: view.key.clone() });
        }
        let message = format!("created {} {} for node {}", step.kind, view.key.name, node.name);
        self.tell(Weight::Normal, event::CREATED, &message, &node.name);
        Ok(Change::Made(Box::new(view)))
    }

    /// The machine of the node, if it is of a kind that remediators of this cluster look for and lives beside the
    /// template. One that does not exist any more is no owner, and no reason to leave the node alone.
    async fn machine(&self, node: &NodeView, step: &Step) -> Result<Option<Machine>, kube::Error> {
        let (machine, (group, definition)) = match node.openshift_machine() {
            Some(machine) => (machine, OPENSHIFT_MACHINES),
            None if step.template_kind == METAL3_TEMPLATE && !self.openshift => match node.cluster_api_machine() {
                Some(machine) => (machine, CAPI_MACHINES),
                None => return Ok(None),
            },
            None => return Ok(None),
        };
        let (namespace, name) = machine;
        if namespace != step.namespace || !self.world.definitions.has(definition) {
            return Ok(None);
        }
        let resource = self.machines(group).await?;
        let found = Api::<DynamicObject>::namespaced_with(self.world.client.clone(), namespace, &resource);
        let Some(found) = found.get_opt(name).await? else {
            tracing::warn!(node = node.name, machine = format!("{namespace}/{name}"), "the node's Machine is gone");
            return Ok(None);
        };
        Ok(Some(Machine {
            api_version: resource.api_version,
            name: name.to_owned(),
            uid: found.meta().uid.clone().unwrap_or_default(),
        }))
    }

    async fn machines(&self, group: &str) -> Result<ApiResource, kube::Error> {
        let group = kube::discovery::group(&self.world.client, group).await?;
        let found = group.recommended_kind("Machine").map(|(resource, _)| resource);
        found.ok_or_else(|| kube::Error::Discovery(kube::error::DiscoveryError::MissingKind("Machine".to_owned())))
    }
}
