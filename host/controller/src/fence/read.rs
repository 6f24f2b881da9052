//! The consistent read of Node, kubelet lease and agent lease, and what the watches saw before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use kube::{Client, ResourceExt};
use palisade_core::fencing::prover::{Beat, Heartbeat, LeaseRead, NodeRead, Snapshot};
use palisade_core::fencing::record::{BootId, LeaseView, RECORD};
use palisade_core::fencing::sightings::Sightings;
use palisade_core::time::Mono;
use palisade_rpc::Trust;

use super::lease;
use crate::clock;
use crate::error::Error;

/// Namespace of the kubelets' heartbeats.
pub const KUBELET_LEASES: &str = "kube-node-lease";
/// No single request of a consistent read takes longer.
const LIMIT: Duration = Duration::from_secs(5);
/// For this long a consistent read of a node stands for another one, where nothing is forced by it.
const JUST_READ: Duration = Duration::from_millis(500);

/// When this process first saw what. Filled by watches and reads; empty after a restart, on purpose.
#[derive(Debug, Default)]
pub struct Seen {
    leases: Mutex<Sightings>,
    heartbeats: Mutex<Sightings>,
    /// Nodes as the last consistent reads found them, and when those began.
    nodes: Mutex<HashMap<String, (Mono, Node)>>,
}

impl Seen {
    /// An agent lease as the watch showed it.
    pub fn lease(&self, lease: &Lease) -> Mono {
        let (uid, version) = (lease.uid().unwrap_or_default(), lease.resource_version().unwrap_or_default());
        self.leases().see(&lease.name_any(), &uid, &version, clock::now())
    }

    /// An agent lease is gone.
    pub fn lease_gone(&self, node: &str) {
        self.leases().forget(node);
    }

    /// A kubelet's lease, by watch or read.
    pub fn kubelet(&self, lease: &Lease) -> Option<(Timestamp, Mono)> {
        let renewed = lease.spec.as_ref()?.renew_time.as_ref()?.0;
        Some((renewed, self.heartbeat(&lease.name_any(), "lease", renewed)))
    }

    /// A Node's Ready heartbeat, by watch or read.
    pub fn node(&self, node: &Node) -> Option<(Timestamp, Mono)> {
        let beat = ready_condition(node)?.last_heartbeat_time.as_ref()?.0;
        Some((beat, self.heartbeat(&node.name_any(), "node", beat)))
    }

    /// The newest heartbeats of a node's kubelet, by status and lease, that anybody here has seen.
    pub fn shown(&self, node: &str) -> (Option<String>, Option<String>) {
        let heartbeats = self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = |source: &str| heartbeats.version(&format!("{source}/{node}")).map(str::to_owned);
        (newest("node"), newest("lease"))
    }

    /// A node as a consistent read found it a moment ago, unless it was changed here since.
    pub fn just_read(&self, node: &str) -> Option<Node> {
        let nodes = self.nodes();
        let (begun, found) = nodes.get(node)?;
        (clock::now().since(*begun) <= JUST_READ).then(|| found.clone())
    }

    /// What was read of a node does not count any more: it is being changed.
    pub fn forget_read(&self, node: &str) {
        self.nodes().remove(node);
    }

    /// The watch shows this of a node: whoever looks because of it must not find what was there before, but may find it
    /// where it was read already.
    pub fn shows(&self, node: &Node) {
        let version = node.resource_version();
        let mut nodes = self.nodes();
        if nodes.get(&node.name_any()).is_some_and(|(_, read)| version.is_none() || read.resource_version() != version)
        {
            nodes.remove(&node.name_any());
        }
    }

    /// A consistent read of a node that began then.
    pub fn note_read(&self, begun: Mono, node: &Node) {
        let mut nodes = self.nodes();
        nodes.retain(|_, (then, _)| begun.since(*then) <= JUST_READ);
        nodes.insert(node.name_any(), (begun, node.clone()));
    }

    fn nodes(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Mono, Node)>> {
        // Nothing panics while it holds the lock.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The base of an intent about to be written.
    pub fn attempt(&self, node: &str, lease_uid: &str, intent_uid: &str, base: Mono) {
        self.leases().attempt(node, lease_uid, intent_uid, base);
    }

    fn heartbeat(&self, node: &str, source: &str, beat: Timestamp) -> Mono {
        let mut heartbeats = self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner);
        heartbeats.see(&format!("{source}/{node}"), "", &beat.to_string(), clock::now())
    }

    fn leases(&self) -> std::sync::MutexGuard<'_, Sightings> {
        // The maps hold plain values and are never left half written.
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A snapshot for the prover, and the Node for whoever wants more of it.
#[derive(Debug, Clone)]
pub struct Read {
    /// What the prover gets.
    pub snapshot: Snapshot,
    /// The Node.
    pub node: Option<Node>,
}

/// Reads with no resource version, one after the other; the lease last, because the intent is swapped over it.
pub async fn read(
    client: &Client,
    namespace: &str,
    node_name: &str,
    seen: &Seen,
    trust: &Trust,
) -> Result<Read, Error> {
    let begun = clock::now();
    let nodes: Api<Node> = Api::all(client.clone());
    let node = limited("node", nodes.get_opt(node_name)).await?;
    if let Some(node) = &node {
        seen.note_read(begun, node);
    }
    let kubelet = limited("kubelet lease", lease::api(client, KUBELET_LEASES).get_opt(node_name)).await?;
    let agent = limited("agent lease", lease::api(client, namespace).get_opt(node_name)).await?;

    let heartbeat = heartbeat(seen, node.as_ref(), kubelet.as_ref(), agent.as_ref());
    let lease = match &agent {
        None => {
            seen.lease_gone(node_name);
            None
        }
        Some(agent) => Some(lease_read(agent, seen, trust)),
    };
    let snapshot = Snapshot {
        begun,
        node: node.as_ref().map(|node| NodeRead {
            uid: node.uid().unwrap_or_default(),
            boot: boot_of(node),
            heartbeat,
        }),
        lease,
        fresh_uid: uuid::Uuid::new_v4().to_string(),
    };
    Ok(Read { snapshot, node })
}

fn lease_read(agent: &Lease, seen: &Seen, trust: &Trust) -> LeaseRead {
    let first_seen = seen.lease(agent);
    let uid = agent.uid().unwrap_or_default();
    let (record, mut unverified) = match lease::verified(agent, trust) {
        Ok(record) => (Some(record), None),
        // A lease without a record is one of a node without agent, not one that cannot be trusted.
        Err(_) if !agent.annotations().contains_key(RECORD) => (None, None),
        Err(why) => (None, Some(why)),
    };
    let intent = match LeaseView::from_annotations(agent.annotations()) {
        Ok(view) => view.intent,
        Err(error) => {
            unverified = Some(error.to_string());
            None
        }
    };
    let intent_first_seen =
        intent.as_ref().map(|intent| seen.leases().intent(&agent.name_any(), &uid, &intent.uid, clock::now()));
    LeaseRead {
        uid,
        version: agent.resource_version().unwrap_or_default(),
        // With an intent that cannot be read nothing may be decided.
        record: if unverified.is_some() { None } else { record },
        unverified,
        intent,
        first_seen,
        intent_first_seen,
    }
}

pub async fn limited<T>(what: &str, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(LIMIT, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::Busy(format!("the API server did not answer within {LIMIT:?} ({what})"))),
    }
}

/// The kubelet's newest sign of life: its lease or its Ready condition, whichever is later by its own clock.
fn heartbeat(seen: &Seen, node: Option<&Node>, kubelet: Option<&Lease>, agent: Option<&Lease>) -> Option<Heartbeat> {
    let (lease, status) = (kubelet.and_then(|lease| seen.kubelet(lease)), node.and_then(|node| seen.node(node)));
    let latest = [lease, status].into_iter().flatten().map(|(beat, _)| beat).max()?;
    // Agent and kubelet stamp by the same machine's clock; only the difference is used.
    let renewed = agent.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0));
    let after_agent = renewed.map(|renewed| {
        let millis = latest.as_millisecond().saturating_sub(renewed.as_millisecond());
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    });
    let beat = |(beat, first_seen): (Timestamp, Mono)| Beat { token: beat.to_string(), first_seen };
    Some(Heartbeat { status: status.map(beat), lease: lease.map(beat), after_agent })
}

/// The boot that a Node names.
pub fn boot_of(node: &Node) -> Option<BootId> {
    BootId::new(node.status.as_ref()?.node_info.as_ref()?.boot_id.clone())
}

/// Whether the node is reported ready.
pub fn is_ready(node: &Node) -> bool {
    ready_condition(node).is_some_and(|condition| condition.status == "True")
}

fn ready_condition(node: &Node) -> Option<&k8s_openapi::api::core::v1::NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == "Ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_of_the_last_moment_stands_for_another_one_until_the_node_changes() {
        // Given a node that was read just now
        let seen = Seen::default();
        let mut node = Node::default();
        node.metadata.name = Some("n1".to_owned());
        seen.note_read(clock::now(), &node);
        assert_eq!(seen.just_read("n1"), Some(node.clone()));
        assert_eq!(seen.just_read("n2"), None);
        // When it changes, or time passes, then it has to be read anew
        seen.forget_read("n1");
        assert_eq!(seen.just_read("n1"), None);
        node.metadata.resource_version = Some("7".to_owned());
        seen.note_read(clock::now(), &node);
        seen.shows(&node);
        assert_eq!(seen.just_read("n1"), Some(node.clone()), "the watch shows what was read");
        let mut newer = node.clone();
        newer.metadata.resource_version = Some("8".to_owned());
        seen.shows(&newer);
        assert_eq!(seen.just_read("n1"), None);
        let millis = palisade_core::time::millis(JUST_READ);
        seen.note_read(Mono(clock::now().0.saturating_sub(millis + 1)), &node);
        assert_eq!(seen.just_read("n1"), None);
    }
}
