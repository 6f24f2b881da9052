//! The guard of etcd's quorum on any distribution.
//!
//! Who is asked, in this order: the endpoints that the policy names (etcd itself, over its JSON gateway with a client
//! certificate), static pods labelled `component=etcd` in `kube-system` (kubeadm, RKE2 and others), nodes labelled
//! `node-role.kubernetes.io/etcd` (k3s). The decision is made in [`palisade_core::health::quorum`].

mod cluster;
mod members;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::Client;
use palisade_api::NodeHealthCheck;
use palisade_api::node_health_check::{EtcdGuard, EtcdGuardMode};
use palisade_core::health::quorum::{Member, without};
use palisade_core::health::{GuardAnswer, NodeView, Refusal};

use crate::health::ControlPlaneGuard;

/// Asks etcd, or what the cluster shows of it.
pub struct Guard {
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the etcd guard")
    }
}

impl Guard {
    /// A guard that reads Secrets in this namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    async fn look(&self, node: &NodeView, policy: &NodeHealthCheck) -> Option<GuardAnswer> {
        let spec = policy.spec.etcd.clone().unwrap_or_default();
        if spec.guard == EtcdGuardMode::Off {
            return None;
        }
        match self.members(node, &spec).await {
            Ok(Some((source, members))) => Some(answer(node, source, &members)),
            Ok(None) if spec.guard == EtcdGuardMode::Required => Some(refusal(
                "etcd.guard is Required, but the policy names no endpoints, and there are neither pods labelled component=etcd in kube-system nor nodes labelled node-role.kubernetes.io/etcd".to_owned(),
                "name the client URLs of etcd in spec.etcd.endpoints, or set etcd.guard to Auto".to_owned(),
            )),
            Ok(None) => None,
            Err(error) => Some(refusal(
                format!("whether etcd keeps its quorum without node {} is not known: {error:#}", node.name),
                "it is asked again in a minute; correct spec.etcd, or set etcd.guard to Off to go on without asking".to_owned(),
            )),
        }
    }

    async fn members(&self, node: &NodeView, spec: &EtcdGuard) -> anyhow::Result<Option<(&'static str, Vec<Member>)>> {
        if !spec.endpoints.is_empty() {
            let identity = match spec.client_secret.as_deref().filter(|name| !name.is_empty()) {
                Some(secret) => Some(cluster::identity(&self.client, &self.namespace, secret).await?),
                None => None,
            };
            let places = cluster::places(&self.client).await?;
            let members = members::ask(&spec.endpoints, identity.as_ref(), &places).await?;
            return Ok(Some(("etcd itself", members)));
        }
        cluster::shown(&self.client, node).await
    }
}

impl ControlPlaneGuard for Guard {
    fn ask<'a>(&'a self, node: &'a NodeView, policy: &'a NodeHealthCheck) -> BoxFuture<'a, Option<GuardAnswer>> {
        self.look(node, policy).boxed()
    }
}

fn answer(node: &NodeView, source: &str, members: &[Member]) -> GuardAnswer {
    let decision = without(&node.name, members);
    let counted = format!("{} (asked: {source})", decision.counted);
    let refused = decision.refused.then(|| Refusal {
        why: format!("the quorum of etcd would be at risk: {counted}"),
        unblock: decision.unblock.clone(),
    });
    GuardAnswer { refused, counted }
}

fn refusal(why: String, unblock: String) -> GuardAnswer {
    GuardAnswer { counted: why.clone(), refused: Some(Refusal { why, unblock }) }
}
