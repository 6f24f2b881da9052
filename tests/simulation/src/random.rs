//! Scenarios from a seed.

use std::time::Duration;

use palisade_core::fencing::timing::Tuning;

use crate::chance::Chance;
use crate::control_plane::{Sort, Workload};
use crate::fault::{Fault, Planned};
use crate::machine::Role;
use crate::network::{Cut, FailedWrite, Weather};
use crate::scenario::{DEFAULT_TUNING, Scenario, TUNED, tuning};

/// The lengths of everything in a cluster. What matters is how they compare with each other, so most seeds take short
/// ones: they come to the same decisions in a fraction of the requests.
struct Pace {
    tunings: &'static [Tuning],
    watchdog: (u64, u64),
    boot: (u64, u64),
    /// Seconds between heartbeats and between two looks of a kubelet, with the silence after which a node is Unknown.
    kubelets: &'static [(u64, u64, u64)],
    unhealthy: (u64, u64),
    /// Faults begin within so many lives and seconds.
    span: (u32, u64),
}

const BRISK: Pace = Pace {
    tunings: &[tuning(2, 1, 1, 1, 3), tuning(3, 1, 2, 1, 3), tuning(4, 2, 1, 1, 4), tuning(6, 2, 1, 1, 4)],
    watchdog: (2, 9),
    boot: (3, 20),
    kubelets: &[(4, 3, 12), (6, 3, 18), (6, 5, 25), (8, 4, 20)],
    unhealthy: (1, 25),
    span: (2, 20),
};

const USUAL: Pace = Pace {
    tunings: &[DEFAULT_TUNING, TUNED, tuning(8, 3, 1, 1, 5)],
    watchdog: (4, 60),
    boot: (10, 120),
    kubelets: &[(10, 4, 40), (10, 5, 40), (10, 5, 50), (10, 15, 60)],
    unhealthy: (10, 200),
    span: (2, 180),
};

impl Scenario {
    /// Everything from a seed.
    pub fn generate(seed: u64) -> Self {
        let mut chance = Chance::new(seed, 2);
        let pace = if chance.percent(5) { USUAL } else { BRISK };
        let count = match chance.below(100) {
            0..1 => chance.between(12, 20),
            1..10 => chance.between(6, 8),
            _ => chance.between(3, 5),
        } as u16;
        let mut scenario = Self::quiet(seed, count);
        let zones = chance.between(1, 3);
        let tuning = chance.pick(pace.tunings);
        let (heartbeat, look, grace) = chance.pick(pace.kubelets);
        let seconds = |(low, high): (u64, u64)| (Duration::from_secs(low), Duration::from_secs(high));
        let mixed = chance.percent(15);
        let watchdogs = chance.between(0, 9);
        for node in &mut scenario.nodes {
            node.zone = format!("zone-{}", u64::from(node.number) % zones);
            node.tuning = if mixed { chance.pick(pace.tunings) } else { tuning };
            node.watchdog = match watchdogs {
                0 => None,
                1 if node.number % 2 == 0 => None,
                _ => Some(chance.length(seconds(pace.watchdog).0, seconds(pace.watchdog).1)),
            };
            node.reset_works = node.watchdog.is_none() || chance.percent(80);
            node.software_reboot = node.watchdog.is_none() || chance.percent(85);
            node.min_peers = chance.pick(&[0, 1, 1, 1, 2]);
            // Rates differ by one part in a hundred at the most.
            node.clock_per_mille = chance.between(0, 8).cast_signed() - 4;
            node.boot_time = chance.length(seconds(pace.boot).0, seconds(pace.boot).1);
            (node.heartbeat, node.pace) = (Duration::from_secs(heartbeat), Duration::from_secs(look));
        }
        let sorts = [Sort::StatefulSet, Sort::StatefulSetWithoutVolume, Sort::ReplicaSet, Sort::PatientJob, Sort::Bare];
        scenario.control_plane(seed);
        scenario.workloads = (0..chance.between(2, 4))
            .map(|number| Workload { name: format!("w{number}"), sort: chance.pick(&sorts) })
            .collect();
        scenario.strategy = chance.pick(&["ResourceDeletion", "OutOfServiceTaint", "Automatic"]);
        scenario.min_healthy = chance.pick(&["51%", "51%", "1", "30%", "80%"]);
        scenario.unhealthy_for = chance.length(seconds(pace.unhealthy).0, seconds(pace.unhealthy).1);
        scenario.grace = Duration::from_secs(grace);
        scenario.controllers = chance.between(1, 2) as u16;
        let life = scenario.life_bound();
        let span = life * pace.span.0 + Duration::from_secs(pace.span.1);
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

    /// Some clusters have control-plane nodes under `controlPlanePolicy: Diagnose`. Drawn from numbers of its own, so that
    /// all other seeds stay what they were.
    fn control_plane(&mut self, seed: u64) {
        let mut chance = Chance::new(seed, 4);
        if !chance.percent(30) {
            return;
        }
        let count = chance.between(1, 3).min(self.nodes.len() as u64 - 1) as usize;
        // Without the label the health check treats them like all others, and they are fenced more often.
        let labelled = chance.percent(30);
        for node in &mut self.nodes[..count] {
            node.role = Role::ControlPlane { labelled };
        }
    }

    /// Nothing but whole-API outages: nobody may reboot.
    fn outage(&mut self, chance: &mut Chance, life: Duration) {
        self.nobody_reboots = true;
        let mut at = Duration::from_secs(1);
        for _ in 0..chance.between(1, 2) {
            let length = chance.length(Duration::from_secs(20), life * 3 + Duration::from_secs(20));
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
