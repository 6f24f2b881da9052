//! What the checks look at, read once.

use std::collections::BTreeSet;

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde_json::Value;

use super::operators::OPERATORS;
use crate::connect::{answer, list};

/// The cluster at one moment.
#[derive(Debug, Default)]
pub struct Seen {
    /// When.
    pub now: Timestamp,
    /// Namespace of Palisade.
    pub namespace: String,
    /// Every node.
    pub nodes: Vec<Node>,
    /// Every Deployment that belongs to one of their operators.
    pub deployments: Vec<Deployment>,
    /// Daemon sets named as that of the agents.
    pub agents: Vec<DaemonSet>,
    /// OLM's Subscriptions and `ClusterServiceVersions`.
    pub olm: Vec<Object>,
    /// Webhook configurations: name, and for each hook its groups and whether its failure refuses the request.
    pub webhooks: Vec<Webhook>,
    /// Definitions of all remediation kinds, theirs as they are installed.
    pub definitions: Vec<CustomResourceDefinition>,
    /// Objects of all those kinds.
    pub objects: Vec<Object>,
    /// Machine health checks, of OpenShift and of Cluster API.
    pub machine_health_checks: Vec<Object>,
    /// Shared node leases.
    pub node_leases: Vec<Lease>,
    /// Leases by which their operators elect a leader.
    pub leader_leases: Vec<Lease>,
    /// Cluster roles that give rights to detectors.
    pub roles: Vec<ClusterRole>,
    /// The binding of those rights.
    pub binding: Option<ClusterRoleBinding>,
    /// What could not be looked at.
    pub gaps: Vec<String>,
}

/// An object of any kind.
#[derive(Debug, Clone)]
pub struct Object {
    /// Group of its API.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for none.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The whole of it.
    pub value: Value,
}

impl Object {
    fn new(resource: &ApiResource, object: &DynamicObject) -> Self {
        let mut value = serde_json::to_value(object).unwrap_or_default();
        value["apiVersion"] = resource.api_version.clone().into();
        value["kind"] = resource.kind.clone().into();
        Self {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            value,
        }
    }

    /// `Kind namespace/name`.
    pub fn title(&self) -> String {
        if self.namespace.is_empty() {
            format!("{} {}", self.kind, self.name)
        } else {
            format!("{} {}/{}", self.kind, self.namespace, self.name)
        }
    }

    /// How kubectl is told which one.
    pub fn kubectl(&self) -> String {
        let kind = format!("{}.{}", self.kind.to_lowercase(), self.group);
        if self.namespace.is_empty() {
            format!("{kind} {}", self.name)
        } else {
            format!("--namespace {} {kind} {}", self.namespace, self.name)
        }
    }

    /// A text somewhere in it.
    pub fn said(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Texts of a list.
    pub fn list(&self, pointer: &str) -> Vec<&str> {
        let list = self.value.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

/// A webhook configuration.
#[derive(Debug, Clone, Default)]
pub struct Webhook {
    /// Kind of the configuration.
    pub kind: String,
    /// Name of the configuration.
    pub name: String,
    /// Resources with their groups that it is asked about, and refuses without an answer.
    pub strict: BTreeSet<String>,
    /// Those it is asked about, and that pass without an answer.
    pub lenient: BTreeSet<String>,
    /// Service that answers.
    pub service: String,
}

impl Seen {
    /// Reads everything; only nodes are indispensable.
    pub async fn read(client: &Client, namespace: &str, lease_namespace: &str) -> anyhow::Result<Self> {
        let nodes = list(Api::<Node>::all(client.clone())).await.context("nodes cannot be listed")?;
        let mut seen = Self { now: Timestamp::now(), namespace: namespace.to_owned(), nodes, ..Self::default() };
        let deployments = seen.known("Deployments", list(Api::<Deployment>::all(client.clone())).await);
        seen.deployments = deployments.into_iter().filter(|one| super::operators::of(one).is_some()).collect();
        let sets = seen.known("DaemonSets", list(Api::<DaemonSet>::all(client.clone())).await);
        seen.agents = sets.into_iter().filter(|set| set.name_any() == super::operators::AGENTS).collect();
        let validating = list(Api::<ValidatingWebhookConfiguration>::all(client.clone())).await;
        let validating = seen.known("ValidatingWebhookConfigurations", validating);
        let mutating = list(Api::<MutatingWebhookConfiguration>::all(client.clone())).await;
        let mutating = seen.known("MutatingWebhookConfigurations", mutating);
        seen.webhooks = validating.iter().map(super::operators::webhook).collect();
        seen.webhooks.extend(mutating.iter().map(super::operators::webhook));
        let roles = seen.known("ClusterRoles", list(Api::<ClusterRole>::all(client.clone())).await);
        let label = palisade_api::keys::remediation::AGGREGATE_ROLE;
        seen.roles = roles.into_iter().filter(|role| role.labels().contains_key(label)).collect();
        let bindings = list(Api::<ClusterRoleBinding>::all(client.clone())).await;
        let bindings = seen.known("ClusterRoleBindings", bindings);
        seen.binding = bindings.into_iter().find(|one| one.name_any() == super::operators::AGGREGATION);
        seen.leases(client, lease_namespace).await;
        seen.kinds(client).await;
        Ok(seen)
    }

    fn known<T>(&mut self, what: &str, read: anyhow::Result<Vec<T>>) -> Vec<T> {
        read.unwrap_or_else(|error| {
            self.gaps.push(format!("{what} cannot be listed: {error:#}"));
            Vec::new()
        })
    }

    async fn leases(&mut self, client: &Client, shared: &str) {
        let leases = list(Api::<Lease>::namespaced(client.clone(), shared)).await;
        self.node_leases = self.known(&format!("leases in {shared}"), leases);
        let places = self.deployments.iter().filter_map(ResourceExt::namespace);
        let places: BTreeSet<String> = places.chain(self.agents.iter().filter_map(ResourceExt::namespace)).collect();
        for place in places {
            let api: Api<Lease> = Api::namespaced(client.clone(), &place);
            for operator in OPERATORS.iter().filter(|operator| operator.replaced) {
                match answer(api.get_opt(operator.leader)).await {
                    Ok(found) => self.leader_leases.extend(found),
                    Err(error) => self.gaps.push(format!("lease {place}/{}: {error:#}", operator.leader)),
                }
            }
        }
    }

    async fn kinds(&mut self, client: &Client) {
        let all = list(Api::<CustomResourceDefinition>::all(client.clone())).await;
        let all = self.known("CustomResourceDefinitions", all);
        let ours: BTreeSet<_> = palisade_api::all_crds().into_iter().map(|one| one.metadata.name).collect();
        for definition in all {
            let kind = definition.spec.names.kind.as_str();
            let group = definition.spec.group.as_str();
            let about_machines = kind == "MachineHealthCheck";
            let olm = group == "operators.coreos.com" && matches!(kind, "Subscription" | "ClusterServiceVersion");
            let remediates = ours.contains(&definition.metadata.name)
                || kind.ends_with("Remediation")
                || kind.ends_with("RemediationTemplate")
                || group.ends_with("medik8s.io");
            if !(about_machines || olm || remediates) {
                continue;
            }
            let Some(version) = definition.spec.versions.iter().find(|version| version.served && version.storage)
            else {
                self.gaps.push(format!("{kind} is not served in the version that is stored"));
                continue;
            };
            let gvk = GroupVersionKind::gvk(group, &version.name, kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, &definition.spec.names.plural);
            let objects = list(Api::<DynamicObject>::all_with(client.clone(), &resource)).await;
            let objects = self.known(&format!("{kind}s of {group}"), objects);
            let objects = objects.iter().map(|object| Object::new(&resource, object));
            if about_machines {
                self.machine_health_checks.extend(objects);
            } else if olm {
                self.olm.extend(objects);
            } else {
                self.objects.extend(objects);
                self.definitions.push(definition);
            }
        }
    }

    /// The policies.
    pub fn policies(&self) -> impl Iterator<Item = &Object> {
        let group = palisade_api::keys::node_health_check::GROUP;
        self.objects.iter().filter(move |object| object.group == group && object.kind == "NodeHealthCheck")
    }
}
