//! A cluster and what goes wrong with it, all from a seed.

use std::time::Duration;

use palisade_core::fencing::timing::{Tuning, life_bound};

use crate::chance::Chance;
use crate::control_plane::{Sort, Workload};
use crate::machine::MachineSpec;
use crate::network::{Cut, FailedWrite, Weather};

/// Something that goes wrong, for the length given beside it where that means anything.
#[derive(Debug, Clone)]
pub enum Fault {
    /// These nodes reach nobody, and nobody them.
    Isolate(Vec<u16>, Cut),
    /// These nodes lose the API server.
    ApiCut(Vec<u16>, Cut),
    /// These nodes lose all peers.
    PeerCut(Vec<u16>),
    /// What this node sends does not arrive (true), or what is sent to it (false).
    OneWay(u16, bool),
    /// All nodes of one zone lose the API, the controllers and the other zones.
    ZoneCut(String),
    /// A node is isolated and not, again and again, with this period.
    Flap(u16, Duration),
    /// Writes fail for everybody, or for one node.
    Writes(Option<u16>, FailedWrite),
    /// The API server answers nobody.
    Outage(Cut),
    /// The same; when it is back these nodes stay cut from it for the given time.
    OutageThenCut(Cut, Vec<u16>, Duration),
    /// The kubelet is dead for the time.
    Kubelet(u16),
    /// The agent is dead for the time.
    Agent(u16),
    /// SIGSTOP for the agent.
    PauseAgent(u16),
    /// SIGTERM for the agent; started again after the time.
    StopAgent(u16),
    /// Agent and kubelet frozen.
    Hang(u16),
    /// The whole machine suspended.
    Suspend(u16),
    /// Power off for the time.
    Power(u16),
    /// A reboot by itself.
    Reboot(u16),
    /// The Node object is deleted while the machine is off.
    DeleteNode(u16),
    /// All watches of a node's agent, or of a controller, break.
    WatchDrop(Option<u16>),
    /// Bad weather for the time.
    Weather(Weather),
    /// A controller is dead for the time.
    ControllerCrash(u16),
    /// SIGSTOP for a controller.
    ControllerPause(u16),
    /// A controller loses the agents, or the API.
    ControllerCut(u16, bool),
    /// Somebody asks for the remediation of a node, whatever its state, and takes it back after the time.
    Remediate(u16),
}

/// A fault, when it begins and for how long it lasts.
#[derive(Debug, Clone)]
pub struct Planned {
    /// After the cluster was ready.
    pub at: Duration,
    /// For so long.
    pub length: Duration,
    /// What.
    pub fault: Fault,
}

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

fn tunings() -> [Tuning; 3] {
    let tuning = |interval, timeout, threshold, dial, request| Tuning {
        api_check_interval: Duration::from_secs(interval),
        api_server_timeout: Duration::from_secs(timeout),
        max_api_error_threshold: threshold,
        peer_dial_timeout: Duration::from_secs(dial),
        peer_request_timeout: Duration::from_secs(request),
    };
    [DEFAULT_TUNING, tuning(5, 2, 3, 2, 4), tuning(8, 3, 1, 1, 5)]
}

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

    /// Everything from a seed.
    pub fn generate(seed: u64) -> Self {
        let mut chance = Chance::new(seed, 2);
        let count = if chance.percent(8) { chance.between(12, 20) } else { chance.between(3, 8) } as u16;
        let mut scenario = Self::quiet(seed, count);
        let zones = chance.between(1, 3);
        let tuning = chance.pick(&tunings());
        let mixed = chance.percent(15);
        let watchdogs = chance.between(0, 9);
        for node in &mut scenario.nodes {
            node.zone = format!("zone-{}", u64::from(node.number) % zones);
            node.tuning = if mixed { chance.pick(&tunings()) } else { tuning };
            node.watchdog = match watchdogs {
                0 => None,
                1 if node.number % 2 == 0 => None,
                _ => Some(chance.length(Duration::from_secs(4), Duration::from_mins(1))),
            };
            node.reset_works = node.watchdog.is_none() || chance.percent(80);
            node.software_reboot = node.watchdog.is_none() || chance.percent(85);
            node.min_peers = chance.pick(&[0, 1, 1, 1, 2]);
            // Rates differ by one part in a hundred at the most.
            node.clock_per_mille = chance.between(0, 8).cast_signed() - 4;
            node.boot_time = chance.length(Duration::from_secs(10), Duration::from_mins(2));
            node.pace = chance.pick(&[4, 5, 5, 15]).map_secs();
        }
        let sorts = [Sort::StatefulSet, Sort::StatefulSetWithoutVolume, Sort::ReplicaSet, Sort::PatientJob, Sort::Bare];
        scenario.workloads = (0..chance.between(2, 6))
            .map(|number| Workload { name: format!("w{number}"), sort: chance.pick(&sorts) })
            .collect();
        scenario.strategy = chance.pick(&["ResourceDeletion", "OutOfServiceTaint", "Automatic"]);
        scenario.min_healthy = chance.pick(&["51%", "51%", "1", "30%", "80%"]);
        scenario.unhealthy_for = chance.length(Duration::from_secs(10), Duration::from_secs(200));
        scenario.grace = chance.pick(&[40, 40, 50, 60]).map_secs();
        scenario.controllers = chance.between(1, 2) as u16;
        let life = scenario.life_bound();
        let span = life * 2 + Duration::from_mins(3);
        if seed.is_multiple_of(10) {
            scenario.outage(&mut chance, life);
        } else {
            let faults = chance.between(1, 5);
            scenario.faults = (0..faults).map(|_| scenario.fault(&mut chance, span, life)).collect();
            // The first one comes soon: otherwise much of the run is spent waiting.
            scenario.faults[0].at = Duration::from_secs(1);
            scenario.healed_at = scenario.faults.iter().map(|fault| fault.at + fault.length).max().unwrap_or_default();
        }
        scenario
    }

    /// Nothing but whole-API outages: nobody may reboot.
    fn outage(&mut self, chance: &mut Chance, life: Duration) {
        self.nobody_reboots = true;
        let mut at = Duration::from_secs(1);
        for _ in 0..chance.between(1, 2) {
            let length = chance.length(Duration::from_secs(20), life * 3 + Duration::from_mins(2));
            let fault = match chance.below(4) {
                0 => Fault::Writes(None, FailedWrite::Refused),
                1 => Fault::Writes(None, FailedWrite::TimeOut),
                2 => Fault::Outage(Cut::Refused),
                _ => Fault::Outage(Cut::Silent),
            };
            self.faults.push(Planned { at, length, fault });
            at += length + chance.length(Duration::from_secs(5), life);
        }
        self.healed_at = at;
    }

    fn fault(&self, chance: &mut Chance, span: Duration, life: Duration) -> Planned {
        let numbers: Vec<u16> = self.nodes.iter().map(|node| node.number).collect();
        let one = chance.pick(&numbers);
        let guarded = self.nodes[usize::from(one)].watchdog.is_some();
        let several = |chance: &mut Chance| {
            let count = if chance.percent(70) { 1 } else { chance.between(1, numbers.len() as u64) as usize };
            chance.some(count, &numbers)
        };
        let how = chance.pick(&[Cut::Silent, Cut::Silent, Cut::Refused]);
        let at = chance.length(Duration::ZERO, span);
        let mut length = chance.length(Duration::from_secs(3), life * 2);
        let controller = chance.below(u64::from(self.controllers)) as u16;
        let fault = match chance.below(30) {
            0..=3 => Fault::Isolate(several(chance), how),
            4..=5 => Fault::ApiCut(several(chance), how),
            6 => Fault::PeerCut(several(chance)),
            7..=8 => Fault::OneWay(one, chance.percent(50)),
            9..=10 => Fault::ZoneCut(self.nodes[usize::from(one)].zone.clone()),
            11 => Fault::Flap(one, chance.length(Duration::from_secs(2), Duration::from_mins(1))),
            12 => {
                let how = chance.pick(&[FailedWrite::Refused, FailedWrite::TimeOut, FailedWrite::Lost]);
                Fault::Writes(chance.percent(50).then_some(one), how)
            }
            13 => Fault::Outage(how),
            14..=15 => {
                let share = (numbers.len() * 2 / 5).max(1);
                let stay = chance.length(Duration::from_secs(10), life * 2);
                Fault::OutageThenCut(how, chance.some(share, &numbers), stay)
            }
            16 => Fault::Kubelet(one),
            // Without a watchdog a dead agent ends nothing; that is what "assumed" means.
            17 if guarded => Fault::Agent(one),
            18 if guarded => Fault::PauseAgent(one),
            19 => {
                length = length.min(Duration::from_secs(20));
                Fault::StopAgent(one)
            }
            20 if guarded => Fault::Hang(one),
            21 if guarded => Fault::Suspend(one),
            22 => Fault::Power(one),
            23 => Fault::Reboot(one),
            24 => Fault::DeleteNode(one),
            25 => Fault::WatchDrop(chance.percent(60).then_some(one)),
            26 => Fault::Weather(Weather {
                latency: (Duration::from_millis(1), chance.length(Duration::from_millis(5), Duration::from_secs(2))),
                late: chance.below(60),
                late_by: chance.length(Duration::from_secs(1), life),
                lost: chance.below(200),
                twice: chance.below(200),
            }),
            27 => Fault::ControllerCrash(controller),
            28 if chance.percent(50) => Fault::ControllerPause(controller),
            28 => Fault::ControllerCut(controller, chance.percent(50)),
            29 => Fault::Remediate(one),
            _ => Fault::Isolate(vec![one], how),
        };
        Planned { at, length, fault }
    }
}

trait MapSecs {
    fn map_secs(self) -> Duration;
}

impl MapSecs for u64 {
    fn map_secs(self) -> Duration {
        Duration::from_secs(self)
    }
}

/// A node with a watchdog of ten seconds and a tuned agent.
fn node(number: u16, zones: u16) -> MachineSpec {
    MachineSpec {
        number,
        name: format!("node-{number}"),
        zone: format!("zone-{}", number % zones),
        has_agent: true,
        watchdog: Some(Duration::from_secs(10)),
        software_reboot: true,
        reset_works: true,
        min_peers: 1,
        tuning: tunings()[1],
        clock_per_mille: 0,
        boot_time: Duration::from_secs(30),
        heartbeat: Duration::from_secs(10),
        pace: Duration::from_secs(4),
    }
}
