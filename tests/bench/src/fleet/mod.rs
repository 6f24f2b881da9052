//! A fleet of fake kubelets in one process: registered nodes with heartbeats, leases and pods, each able to fail.
//!
//! Every machine is one task; what it sends is what a kubelet sends: its lease every ten seconds, its status every five
//! minutes or when something changed. The first beats are spread over the period, as in a cluster that grew over time.
//! Large fleets renew less often ([`lease_period`]), or one small machine could not run them beside the control plane.

mod body;
mod ledger;
mod machine;
mod pods;
pub mod ready;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::Client;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use ledger::{Ledger, Overlap, Tenure};
pub use machine::{Fault, Machine};

/// Requests of the whole fleet that may be on their way at once: more would only queue up in the API server.
const IN_FLIGHT: usize = 64;

/// Pause between renewals of a lease that a control plane on two cores keeps up with: 100 renewals a second cost it
/// nearly half a core. Never longer than 40 s, the length of a node's lease.
pub fn lease_period(nodes: usize) -> Duration {
    Duration::from_secs((nodes as u64).div_ceil(100).clamp(10, 40))
}

/// Silence after which a node of such a fleet may be called Unknown; `None`: Kubernetes' own default fits.
pub fn node_grace(lease_period: Duration) -> Option<Duration> {
    (lease_period > Duration::from_secs(10)).then(|| lease_period + Duration::from_secs(50))
}

/// What the fleet is like.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Name of the fleet, in the label that policies select.
    pub name: String,
    /// How many nodes.
    pub nodes: usize,
    /// Zones over which they are spread.
    pub zones: usize,
    /// Pause between renewals of a node's lease.
    pub lease_period: Duration,
    /// Pause between reports of a status that did not change.
    pub status_period: Duration,
    /// Images in the status of a node: the bulk of a real one. Kubelets report up to 50.
    pub images: usize,
    /// Whether pods bound to the nodes run.
    pub pods: bool,
    /// More labels.
    pub labels: BTreeMap<String, String>,
}

impl Spec {
    /// Kubernetes' own periods, as far as one machine can keep them.
    pub fn new(name: &str, nodes: usize) -> Self {
        Self {
            name: name.to_owned(),
            nodes,
            zones: 3,
            lease_period: lease_period(nodes),
            status_period: Duration::from_mins(5),
            images: 25,
            pods: false,
            labels: BTreeMap::new(),
        }
    }
}

/// The API user of the fleet; heartbeats of this user are not audited.
pub const USER: &str = "palisade:fleet";
/// Its user agent.
pub const AGENT: &str = "palisade-bench-kubelet/1";

/// A running fleet; its machines stop beating when it is dropped.
pub struct Fleet {
    machines: Vec<Arc<Machine>>,
    ledger: Arc<Ledger>,
    _tasks: JoinSet<()>,
}

impl Fleet {
    /// Registers all nodes; each beats from its own registration on, for the last ones of a large fleet come minutes
    /// after the first. Returns when every node is registered.
    pub async fn start(client: Client, spec: Spec) -> anyhow::Result<Self> {
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
        let ledger = Arc::new(Ledger::default());
        let spec = Arc::new(spec);
        let machines: Vec<Arc<Machine>> = (0..spec.nodes)
            .map(|index| Arc::new(Machine::new(index, spec.clone(), client.clone(), &in_flight, ledger.clone())))
            .collect();
        let mut tasks = JoinSet::new();
        let mut registered = stream::iter(machines.clone())
            .map(|machine| async move { machine.register().await.map(|()| machine) })
            .buffer_unordered(IN_FLIGHT);
        while let Some(machine) = registered.next().await {
            tasks.spawn(machine::beat(machine?));
        }
        drop(registered);
        if spec.pods {
            tasks.spawn(pods::run(client, machines.clone()));
        }
        Ok(Self { machines, ledger, _tasks: tasks })
    }

    /// A machine.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn machine(&self, index: usize) -> &Arc<Machine> {
        &self.machines[index]
    }

    /// The machine of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Machine>> {
        self.machines.iter().find(|machine| machine.name() == name)
    }

    /// All of them.
    pub fn machines(&self) -> &[Arc<Machine>] {
        &self.machines
    }

    /// What the pods wrote, and when.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_fleets_renew_less_often_and_are_given_more_time() {
        let periods = [3, 1_000, 2_000, 5_000].map(|nodes| lease_period(nodes).as_secs());
        assert_eq!(periods, [10, 10, 20, 40]);
        assert_eq!(node_grace(lease_period(1_000)), None);
        // Two renewals may be lost.
        assert_eq!(node_grace(lease_period(5_000)), Some(Duration::from_secs(90)));
    }
}
