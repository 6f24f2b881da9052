//! A cluster and what is to happen with it.

use std::time::Duration;

use palisade_core::fencing::timing::{Tuning, life_bound};

use crate::control_plane::{Sort, Workload};
use crate::fault::Planned;
use crate::machine::{MachineSpec, Role};

/// A whole run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The seed; network and identifiers use it, too.
    pub seed: u64,
    /// The nodes.
    pub nodes: Vec<MachineSpec>,
    /// The workloads.
    pub workloads: Vec<Workload>,
    /// Strategy of the template.
    pub strategy: &'static str,
    /// `minHealthy` of the health check.
    pub min_healthy: &'static str,
    /// How long a condition has to last.
    pub unhealthy_for: Duration,
    /// Silence after which a node is Unknown.
    pub grace: Duration,
    /// Number of controllers.
    pub controllers: u16,
    /// What goes wrong.
    pub faults: Vec<Planned>,
    /// After this time everything is mended.
    pub healed_at: Duration,
    /// Nobody may reboot.
    pub nobody_reboots: bool,
    /// Only these nodes may reboot, and every one of them has to.
    pub exactly: Option<Vec<u16>>,
}

/// The defaults of the configuration kind: `T` is 72 s.
pub const DEFAULT_TUNING: Tuning = Tuning {
    api_check_interval: Duration::from_secs(15),
    api_server_timeout: Duration::from_secs(5),
    max_api_error_threshold: 3,
    peer_dial_timeout: Duration::from_secs(5),
    peer_request_timeout: Duration::from_secs(7),
};

pub(crate) const fn tuning(interval: u64, timeout: u64, threshold: u32, dial: u64, request: u64) -> Tuning {
    Tuning {
        api_check_interval: Duration::from_secs(interval),
        api_server_timeout: Duration::from_secs(timeout),
        max_api_error_threshold: threshold,
        peer_dial_timeout: Duration::from_secs(dial),
        peer_request_timeout: Duration::from_secs(request),
    }
}

/// `T` is 27 s.
pub(crate) const TUNED: Tuning = tuning(5, 2, 3, 2, 4);

impl Scenario {
    /// A quiet cluster: the base of named scenarios.
    pub fn quiet(seed: u64, nodes: u16) -> Self {
        let nodes = (0..nodes).map(|number| node(number, 3)).collect();
        Self {
            seed,
            nodes,
            workloads: vec![
                Workload { name: "ledger".into(), sort: Sort::StatefulSet },
                Workload { name: "web".into(), sort: Sort::ReplicaSet },
                Workload { name: "queue".into(), sort: Sort::StatefulSetWithoutVolume },
            ],
            strategy: "ResourceDeletion",
            min_healthy: "51%",
            unhealthy_for: Duration::from_secs(30),
            grace: Duration::from_secs(40),
            controllers: 1,
            faults: Vec::new(),
            healed_at: Duration::from_mins(1),
            nobody_reboots: false,
            exactly: None,
        }
    }

    /// The largest `T + 2 Wd + margin` of the cluster.
    pub fn life_bound(&self) -> Duration {
        let bound = |node: &MachineSpec| {
            life_bound(node.tuning.time_to_live(), node.watchdog.map_or(Duration::from_secs(7), |timeout| timeout * 2))
        };
        self.nodes.iter().map(bound).max().unwrap_or_default()
    }
}

/// A node with a watchdog of ten seconds and a tuned agent.
fn node(number: u16, zones: u16) -> MachineSpec {
    MachineSpec {
        number,
        name: format!("node-{number}"),
        zone: format!("zone-{}", number % zones),
        has_agent: true,
        role: Role::Worker,
        watchdog: Some(Duration::from_secs(10)),
        software_reboot: true,
        reset_works: true,
        min_peers: 1,
        tuning: TUNED,
        clock_per_mille: 0,
        boot_time: Duration::from_secs(30),
        heartbeat: Duration::from_secs(10),
        pace: Duration::from_secs(4),
    }
}
