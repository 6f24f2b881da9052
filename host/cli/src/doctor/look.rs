//! What the checks look at, read once.

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DynamicObject};
use kube::{Client, ResourceExt};
use palisade_api::NodeHealthCheck;
use palisade_controller::leader;
use palisade_core::fencing::record::LeaseView;

use crate::connect::{list, resource};
use crate::explain::Remediation;

/// The cluster at one moment.
#[derive(Debug, Default)]
pub struct Seen {
    /// When.
    pub now: Timestamp,
    /// Every node.
    pub nodes: Vec<Node>,
    /// Every policy; none if they could not be listed.
    pub policies: Option<Vec<NodeHealthCheck>>,
    /// The remediations of all our kinds, with UID and finalizers; none if one kind could not be listed, because then
    /// nothing is known to be nobody's.
    pub remediations: Option<Vec<Object>>,
    /// Leases of agents.
    pub agents: Option<Vec<Agent>>,
    /// When the acting controller last renewed its lease.
    pub leader: Option<Timestamp>,
    /// What could not be looked at.
    pub gaps: Vec<String>,
}

/// A remediation.
#[derive(Debug, Clone)]
pub struct Object {
    /// What it says of itself.
    pub said: Remediation,
    /// UID.
    pub uid: String,
    /// When it was deleted, if it is being deleted.
    pub deleted: Option<Timestamp>,
    /// Who wants to clean up first.
    pub finalizers: Vec<String>,
}

/// The lease of a node's agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Name of the lease, which is the node's.
    pub node: String,
    /// Last renewal.
    pub renewed: Option<Timestamp>,
    /// What its annotations say, or why that cannot be understood.
    pub view: Result<LeaseView, String>,
}

impl Seen {
    /// Reads everything; only nodes are indispensable.
    pub async fn read(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let nodes = list(Api::<Node>::all(client.clone())).await.context("nodes cannot be listed")?;
        let mut seen = Self { now: Timestamp::now(), nodes, ..Self::default() };
        seen.policies = seen.known("NodeHealthChecks", list(Api::all(client.clone())).await);
        let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
        if let Some(leases) = seen.known(&format!("leases in {namespace}"), list(leases).await) {
            let renewed = |lease: &Lease| lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0);
            seen.leader = leases.iter().find(|lease| lease.name_any() == leader::LEASE).and_then(renewed);
            seen.agents = Some(leases.iter().filter_map(agent).collect());
        }
        // Last: a remediation comes before its taints and its intent, so that none of those seen above is nobody's only
        // because its remediation was looked for too early.
        seen.remediations = seen.known("remediations", remediations(client).await);
        Ok(seen)
    }

    fn known<T>(&mut self, what: &str, read: anyhow::Result<T>) -> Option<T> {
        read.map_err(|error| self.gaps.push(format!("{what} cannot be listed: {error:#}"))).ok()
    }

    /// Whether a remediation is about this node; `None` if that is not known.
    pub fn is_remediated(&self, node: &str) -> Option<bool> {
        Some(self.remediations.as_ref()?.iter().any(|one| one.said.node == node))
    }
}

/// Other leases live in the same namespace: of the election, of the control plane's turn.
fn agent(lease: &Lease) -> Option<Agent> {
    let view = LeaseView::from_annotations(lease.annotations());
    let of_an_agent = view.as_ref().map_or(true, |view| view.record.is_some() || view.intent.is_some());
    of_an_agent.then(|| Agent {
        node: lease.name_any(),
        renewed: lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0),
        view: view.map_err(|error| error.to_string()),
    })
}

async fn remediations(client: &Client) -> anyhow::Result<Vec<Object>> {
    let mut all = Vec::new();
    for definition in palisade_api::all_crds() {
        let names = &definition.spec.names;
        if !names.kind.ends_with("Remediation") {
            continue;
        }
        let listed = list(Api::<DynamicObject>::all_with(client.clone(), &resource(&definition))).await;
        all.extend(listed.context(names.kind.clone())?.iter().map(|object| Object {
            said: Remediation::new(
                &names.kind,
                &object.metadata,
                object.data.get("status").cloned().unwrap_or_default(),
            ),
            uid: object.uid().unwrap_or_default(),
            deleted: object.metadata.deletion_timestamp.as_ref().map(|time| time.0),
            finalizers: object.finalizers().to_vec(),
        }));
    }
    Ok(all)
}
