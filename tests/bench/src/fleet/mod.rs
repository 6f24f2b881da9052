//! A fleet of fake kubelets in one process: registered nodes with heartbeats, leases and pods, each able to fail.
//!
//! Every machine is one task; what it sends is what a kubelet sends: its lease every ten seconds, its status every five
//! minutes or when something changed. The first beats are spread over the period, as in a cluster that grew over time.

mod body;
mod ledger;
mod machine;
mod pods;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use ledger::{Ledger, Overlap, Tenure};
pub use machine::{Fault, Machine};

/// Requests of the whole fleet that may be on their way at once: more would only queue up in the API server.
const IN_FLIGHT: usize = 64;

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
    /// Kubernetes' own periods.
    pub fn new(name: &str, nodes: usize) -> Self {
        Self {
            name: name.to_owned(),
            nodes,
            zones: 3,
            lease_period: Duration::from_secs(10),
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
    /// Registers all nodes and starts their heartbeats; returns when every node is ready.
    pub async fn start(client: Client, spec: Spec) -> anyhow::Result<Self> {
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
        let ledger = Arc::new(Ledger::default());
        let spec = Arc::new(spec);
        let machines: Vec<Arc<Machine>> = (0..spec.nodes)
            .map(|index| Arc::new(Machine::new(index, spec.clone(), client.clone(), &in_flight, ledger.clone())))
            .collect();
        stream::iter(machines.clone())
            .map(|machine| async move { machine.register().await })
            .buffer_unordered(IN_FLIGHT)
            .try_collect::<Vec<()>>()
            .await?;
        let mut tasks = JoinSet::new();
        for machine in &machines {
            tasks.spawn(machine::beat(machine.clone()));
        }
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
