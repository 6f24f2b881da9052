//! What guards and report look at, read once.

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::{Client, ResourceExt};
use palisade_api::NodeHealthCheck;
use palisade_api::keys::{node_health_check, remediation, self_node};
use palisade_core::health::{Selector, lease_name, steps};
use serde_json::Value;

use crate::connect::{answer, list, resource};
use crate::doctor::look::{Agent, Seen};

/// The cluster, as far as a drill of one node is concerned.
#[derive(Debug, Default)]
pub struct Scene {
    /// Nodes, policies, agents, remediations.
    pub seen: Seen,
    /// Name of the node.
    pub node: String,
    /// Pods on the node.
    pub pods: Vec<Pod>,
    /// Every disruption budget.
    pub budgets: Vec<PodDisruptionBudget>,
    /// The lease by which programs that work on the node keep out of each other's way.
    pub node_lease: Option<Lease>,
    /// The template.
    pub template: Template,
}

/// What the remediation is made from.
#[derive(Debug, Clone, Default)]
pub struct Template {
    /// Kind of the template.
    pub kind: String,
    /// Its namespace, and that of the remediation.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Specification of the remediation; none if the template does not exist.
    pub spec: Option<Value>,
    /// Kind of the remediation; none if Palisade carries none of that kind out.
    pub makes: Option<ApiResource>,
}

impl Template {
    /// `Kind namespace/name`.
    pub fn title(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace, self.name)
    }
}

impl Scene {
    /// Reads everything that is needed; all of it is indispensable.
    pub async fn read(client: &Client, namespace: &str, node: &str, template: Option<&str>) -> anyhow::Result<Self> {
        let seen = Seen::read(client, namespace).await?;
        ensure!(
            seen.gaps.is_empty(),
            "a drill is guarded by what it sees, and not all can be seen: {}",
            seen.gaps.join("; ")
        );
        let pods = pods_of(client, node).await?;
        let budgets = list(Api::<PodDisruptionBudget>::all(client.clone())).await.context("PodDisruptionBudgets")?;
        let leases: Api<Lease> = Api::namespaced(client.clone(), node_health_check::LEASE_NAMESPACE);
        let node_lease = answer(leases.get_opt(&lease_name(node))).await.context("the lease of the node")?;
        let mut scene = Self { seen, node: node.to_owned(), pods, budgets, node_lease, template: Template::default() };
        scene.template = scene.chosen(template, namespace)?;
        let made = &mut scene.template;
        let Some(definition) =
            palisade_api::all_crds().into_iter().find(|definition| definition.spec.names.kind == made.kind)
        else {
            return Ok(scene);
        };
        let templates = Api::<DynamicObject>::namespaced_with(client.clone(), &made.namespace, &resource(&definition));
        let found = answer(templates.get_opt(&made.name)).await.with_context(|| made.title())?;
        made.spec = found.map(|found| found.data.pointer("/spec/template/spec").cloned().unwrap_or_default());
        let kind = made.kind.trim_end_matches(remediation::TEMPLATE_SUFFIX);
        made.makes = palisade_api::all_crds().iter().find(|one| one.spec.names.kind == kind).map(resource);
        Ok(scene)
    }

    /// The template that was asked for, or the first of the policy that selects the node, or the one that comes along.
    fn chosen(&self, asked: Option<&str>, namespace: &str) -> anyhow::Result<Template> {
        let template = |kind: &str, namespace: &str, name: &str| Template {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Template::default()
        };
        if let Some(asked) = asked {
            let [kind, namespace, name] = asked.split('/').collect::<Vec<_>>()[..] else {
                bail!(
                    "--template {asked:?} is not KIND/NAMESPACE/NAME, such as SelfNodeRemediationTemplate/{namespace}/NAME"
                );
            };
            return Ok(template(kind, namespace, name));
        }
        let first = self.policies().into_iter().find_map(|policy| steps(&policy.spec).into_iter().next());
        Ok(match first {
            Some(step) => template(&step.template_kind, &step.namespace, &step.template),
            None => template("SelfNodeRemediationTemplate", namespace, self_node::DEFAULT_TEMPLATE_NAME),
        })
    }

    /// The node, if it exists.
    pub fn target(&self) -> Option<&Node> {
        self.seen.nodes.iter().find(|node| node.name_any() == self.node)
    }

    /// Policies that select the node.
    pub fn policies(&self) -> Vec<&NodeHealthCheck> {
        let Some(node) = self.target() else { return Vec::new() };
        let selects = |policy: &&NodeHealthCheck| {
            Selector::new(policy.spec.selector.as_ref()).is_ok_and(|selector| selector.matches(node.labels()))
        };
        self.seen.policies.iter().flatten().filter(selects).collect()
    }

    /// What its agent publishes.
    pub fn agent(&self) -> Option<&Agent> {
        self.seen.agents.iter().flatten().find(|agent| agent.node == self.node)
    }
}

/// Pods on a node.
async fn pods_of(client: &Client, node: &str) -> anyhow::Result<Vec<Pod>> {
    let on_it = ListParams::default().fields(&format!("spec.nodeName={node}"));
    Ok(answer(Api::<Pod>::all(client.clone()).list(&on_it)).await.context("pods")?.items)
}
