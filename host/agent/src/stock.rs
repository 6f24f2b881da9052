//! What the agents of the stock self node remediation are answered, during a rollout from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use palisade_api::SelfNodeRemediation;
use palisade_api::keys::remediation::NODE_NAME;
use palisade_rpc::{Health, PeerHealthHandler, SharedPair, StockAgents};
use rustls::ServerConfig;
use tokio::sync::watch;

/// How often the files of the shared key pair are looked at.
const LOOK: Duration = Duration::from_mins(5);
/// Phases in which the end of the old boot is proven: what runs since then is another boot, and nobody's concern.
const PROVEN: [&str; 2] = ["Reboot-Completed", "Fencing-Completed"];

/// Answers from the remediations of the agents' namespace, as the API server has them at that moment.
pub struct Remediations {
    remediations: Api<SelfNodeRemediation>,
    limit: Duration,
}

impl Remediations {
    /// `limit` is `apiServerTimeout`.
    pub fn new(client: Client, namespace: &str, limit: Duration) -> Self {
        Self { remediations: Api::namespaced(client, namespace), limit }
    }
}

/// Whether a remediation is about this node, and still wants its boot to end.
fn wants(remediation: &SelfNodeRemediation, node: &str, machine: &str) -> bool {
    let phase = remediation.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    if remediation.metadata.deletion_timestamp.is_some() || PROVEN.contains(&phase) {
        return false;
    }
    let owned_by = |kind: &str| remediation.owner_references().iter().find(|owner| owner.kind == kind);
    if !machine.is_empty() && owned_by("Machine").is_some_and(|owner| owner.name == machine) {
        return true;
    }
    let about = match remediation.annotations().get(NODE_NAME) {
        Some(name) => name.clone(),
        // Named after its machine, which is not the one that asks.
        None if owned_by("Machine").is_some() && owned_by("NodeHealthCheck").is_none() => return false,
        None => remediation.name_any(),
    };
    about == node
}

#[tonic::async_trait]
impl PeerHealthHandler for Remediations {
    async fn is_healthy(&self, node: &str, machine: &str) -> Health {
        let all = ListParams::default();
        let listed = tokio::time::timeout(self.limit, self.remediations.list(&all)).await;
        match listed {
            Ok(Ok(list)) if list.items.iter().any(|one| wants(one, node, machine)) => Health::Unhealthy,
            Ok(Ok(_)) => Health::Healthy,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the remediations cannot be listed");
                Health::ApiError
            }
            Err(_) => Health::ApiError,
        }
    }
}

/// The shared key pair in this folder, as it changes; the task that follows it ends with the receiver.
pub fn follow(folder: PathBuf, client: Client, namespace: &str, limit: Duration) -> StockAgents {
    let (found, config) = watch::channel(read(&folder));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = found.closed() => return,
                () = tokio::time::sleep(LOOK) => drop(found.send_replace(read(&folder))),
            }
        }
    });
    StockAgents { config, handler: Arc::new(Remediations::new(client, namespace, limit)) }
}

/// None if there is no such Secret, as in every cluster that never ran the stock product.
fn read(folder: &Path) -> Option<Arc<ServerConfig>> {
    let file = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let pair = SharedPair { authority: file("caPem")?, certificate: file("certPem")?, key: file("keyPem")? };
    match pair.server_config() {
        Ok(config) => Some(config),
        Err(error) => {
            tracing::warn!(%error, folder = %folder.display(), "agents of the stock product are not answered");
            None
        }
    }
}

#[cfg(test)]
mod tests;
