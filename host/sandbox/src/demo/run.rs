//! One scenario from a fresh lab to its outcome.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use palisade_api::Stage;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::backend::Backend;
use super::eyes::Eyes;
use super::options::{BackendKind, Parts, Scenario};
use super::outcome::Outcome;
use super::timeline::{Timeline, Word};
use super::world::{Shared, World};
use super::{controller, judge, setup};
use crate::lab::fault::{Expected, Fault};
use crate::lab::process::Launcher;
use crate::lab::{Lab, LabSpec, NAMESPACE, workload};

/// What scenarios share.
pub struct Stand {
    /// The back end.
    pub backend: Backend,
    /// Programs.
    pub parts: Parts,
    /// Starts them.
    pub launcher: Launcher,
    /// Folder of everything.
    pub dir: PathBuf,
}

/// A scenario in progress.
pub struct Running {
    /// What is shown.
    pub scenario: Scenario,
    /// The nodes.
    pub lab: Lab,
    /// What is seen.
    pub shared: Shared,
    /// What is said.
    pub timeline: Timeline,
    /// Who is hit.
    pub hit: Vec<String>,
    /// Where and on which boot the workload ran before the fault.
    pub before: std::collections::BTreeMap<String, crate::lab::oracle::Stamp>,
    _eyes: JoinSet<()>,
    _controller: JoinSet<()>,
}

/// Nodes, claims and workload have to be up by then.
const START_LIMIT: Duration = Duration::from_mins(3);
/// The release has to be seen by then, on top of what detection takes.
const RELEASE_LIMIT: Duration = Duration::from_mins(2);
/// Everything has to be as before by then.
const RECOVERY_LIMIT: Duration = Duration::from_mins(2);
/// After an outage of the API: how long nobody may reboot, once all nodes look well again.
const CALM: Duration = Duration::from_secs(12);

impl Stand {
    /// Starts nodes, controller and workload, and waits until all is well.
    pub async fn prepare(&self, scenario: Scenario, dir: &Path, timeline: Timeline) -> anyhow::Result<Running> {
        self.prepare_with(&self.launcher, scenario, dir, timeline).await
    }

    /// The same, with the logs of its processes elsewhere.
    pub async fn prepare_with(
        &self,
        launcher: &Launcher,
        scenario: Scenario,
        dir: &Path,
        timeline: Timeline,
    ) -> anyhow::Result<Running> {
        std::fs::create_dir_all(dir)?;
        let timings = scenario.effective_timings();
        let (happenings, happened) = mpsc::unbounded_channel();
        let spec = LabSpec {
            name: scenario.name.clone(),
            dir: dir.to_owned(),
            nodes: scenario.nodes,
            zones: 3,
            timings,
            agent: self.parts.agent.clone(),
            launcher: launcher.clone(),
            admin_kubeconfig: self.backend.admin()?,
            agent_kubeconfig: self.backend.service_account(NAMESPACE, setup::AGENT).await?,
            controller_kubeconfig: self.backend.service_account(NAMESPACE, setup::CONTROLLER).await?,
            standins: self.backend.kind == BackendKind::Sandbox,
            wiring: scenario.wiring.clone(),
        };
        let lab = Lab::start(spec, happenings).await?;
        let shared = Shared::default();
        let (stages, stage_receiver) = mpsc::unbounded_channel();
        let eyes = Eyes {
            shared: shared.clone(),
            timeline: timeline.clone(),
            nodes: lab.nodes().into_iter().collect(),
            namespace: scenario.namespace(),
            policy: scenario.policy(),
            stages,
        };
        let eyes = eyes.open(&lab.client, happened, lab.ledger.clone());
        let program = controller::program(&self.parts, &lab.controller_kubeconfig, dir).within(&lab.controller_enter);
        let keeper = controller::keep(
            program,
            launcher,
            scenario.kill_controller,
            stage_receiver,
            shared.clone(),
            timeline.clone(),
        )?;
        timeline.say(
            Word::Setup,
            format!("{} nodes, each with a real agent, and the controller start", scenario.nodes),
            None,
        );
        let running = Running {
            scenario,
            lab,
            shared,
            timeline,
            hit: Vec::new(),
            before: std::collections::BTreeMap::new(),
            _eyes: eyes,
            _controller: keeper,
        };
        running.settle().await?;
        Ok(running)
    }
}

impl Running {
    fn replicas(&self) -> u8 {
        if self.scenario.fault.is_zonal() { self.scenario.nodes } else { 1 }
    }

    /// Waits for claims, creates the policy and the workload, waits until it runs.
    async fn settle(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        let nodes = self.lab.nodes();
        let all_well = |world: &World| nothing_left(&world.not_settled(&nodes));
        self.wait("the nodes do not come up", START_LIMIT, all_well).await?;
        self.timeline.say(
            Word::Setup,
            "all nodes are Ready and their agents claim to fence themselves",
            Some(format!("T = {:?}, Wd = {:?}", self.terms().tuning.time_to_live(), self.terms().watchdog)),
        );
        if let Some((name, spec)) = &self.scenario.remediator {
            let module = setup::remediator(&self.lab.client, name, spec).await?;
            let what = format!("remediator {name} {} is loaded and serves every remediation", module.version);
            self.timeline.say(Word::Setup, what, Some(module.digest));
        }
        setup::policy(&self.lab.client, &self.scenario).await?;
        let namespace = self.scenario.namespace();
        workload::create(&self.lab.client, &namespace, self.replicas(), &self.scenario.name).await?;
        let replicas = self.replicas();
        let ledger = self.lab.ledger.clone();
        let runs = |world: &World| {
            nothing_left(&world.not_running(replicas))?;
            let stamping = ledger.latest().len();
            if stamping < usize::from(replicas) { Err("waiting for the first stamps".to_owned()) } else { Ok(()) }
        };
        self.wait("the workload does not come up", START_LIMIT, runs).await?;
        self.gather().await?;
        let age = self.shared.read(World::coming_of_age);
        while let Some(left) = age.checked_sub(started.elapsed()) {
            let seconds = left.as_secs() + 1;
            self.timeline.progress(&format!("agents answer as jurors {age:?} after their start, {seconds} s more"));
            tokio::time::sleep(left.min(Duration::from_millis(500))).await;
        }
        let what = "the workload runs, and all agents are old enough to answer as jurors";
        self.timeline.say(Word::Setup, what, Some(format!("{age:?} after their start")));
        Ok(())
    }

    /// Puts others beside the pod with the volume.
    async fn gather(&self) -> anyhow::Result<()> {
        let others = self.scenario.pods.saturating_sub(1);
        if others == 0 {
            return Ok(());
        }
        let node = self.node_of_workload()?;
        workload::crowd(&self.lab.client, &self.scenario.namespace(), &node, others).await?;
        let run = |world: &World| nothing_left(&world.not_all_running(workload::CROWD, others));
        self.wait("the other pods do not come up", START_LIMIT, run).await?;
        self.timeline.say(Word::Setup, format!("{others} other pods run on {node}"), None);
        Ok(())
    }

    fn node_of_workload(&self) -> anyhow::Result<String> {
        let node = self.shared.read(|world| world.pods.get("ledger-0").map(|pod| pod.node.clone()));
        node.ok_or_else(|| anyhow::anyhow!("the pod ledger-0 is gone"))
    }

    fn terms(&self) -> crate::lab::timings::Timings {
        self.scenario.effective_timings()
    }

    async fn wait<R>(
        &self,
        failure: &str,
        limit: Duration,
        done: impl FnMut(&World) -> Result<R, String>,
    ) -> anyhow::Result<R> {
        let waited = self.shared.wait(limit, done, |waiting| self.timeline.progress(waiting)).await;
        waited.map_err(|complaint| anyhow::anyhow!("{failure} within {limit:?}: {complaint}"))
    }

    /// The fault, and everything that follows from it. An error means that an expectation was not met in time.
    pub async fn play(&mut self) -> anyhow::Result<()> {
        self.choose_victims()?;
        let fault = self.scenario.fault;
        // What is bound to one node runs again when that is back, and is no part of this.
        let moves = format!("{}/{}-", self.scenario.namespace(), workload::NAME);
        self.before = self.lab.ledger.latest();
        self.before.retain(|workload, _| workload.starts_with(&moves));
        let hit = self.hit.clone();
        // The workload's own steps until now are set-up, not part of what is measured.
        self.shared.write(|world| {
            world.hit.clear();
            world.boots_ended.clear();
            world.milestones.clear();
            world.count_pods_of(&hit);
        });
        self.timeline.restart_clock();
        self.timeline.say(Word::Fault, fault.describe(&self.hit.join(", ")), Some("the clock starts".to_owned()));
        self.lab.inject(fault, &self.hit).await?;
        self.shared.write(|world| world.hit.clone_from(&self.hit));
        match fault.expected() {
            Expected::Remediation => self.remediation().await,
            Expected::Nothing => self.calm().await,
            Expected::Standoff => self.standoff().await,
            Expected::Either => self.flapping().await,
        }
    }

    fn choose_victims(&mut self) -> anyhow::Result<()> {
        let fault = self.scenario.fault;
        if fault.expected() == Expected::Nothing {
            self.hit = self.lab.nodes();
            return Ok(());
        }
        let node = self.node_of_workload()?;
        self.hit = match fault {
            Fault::ZoneCut => self.lab.zone_of(&node),
            Fault::MajorityCut => self.lab.all_but_one_zone(&node),
            _ => vec![node],
        };
        Ok(())
    }

    /// Lets a fault last, while `watch` looks at every half second of it.
    async fn last(&self, length: Duration, watch: impl Fn(&World) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let until = Instant::now() + length;
        while Instant::now() < until {
            self.shared.read(&watch)?;
            let left = until.saturating_duration_since(Instant::now()).as_secs();
            self.timeline.progress(&format!("it lasts {left} s more"));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    /// A fault that nobody may be remediated or rebooted for.
    async fn calm(&self) -> anyhow::Result<()> {
        let outage = self.scenario.timings.outage;
        self.last(outage, |_| Ok(())).await?;
        let what = match self.scenario.fault {
            Fault::ApiOutage => "the API server is back",
            _ => "the lab heals the network",
        };
        self.timeline.say(Word::Fault, what, Some(format!("after {outage:?}, longer than any T + 2 Wd")));
        self.lab.heal().await;
        let nodes = self.lab.nodes();
        self.wait("the nodes do not come back", RECOVERY_LIMIT, |world| nothing_left(&world.not_settled(&nodes)))
            .await?;
        let calm = Instant::now() + CALM;
        while Instant::now() < calm {
            self.timeline.progress("nobody may reboot now either");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        self.recovered().await
    }

    /// Most nodes are out of reach: the jury cannot promise, so nothing may be released, and nobody need end.
    async fn standoff(&self) -> anyhow::Result<()> {
        let length = self.scenario.timings.outage + self.terms().node_grace + self.terms().unhealthy_for;
        let hit = self.hit.clone();
        self.last(length, |world| {
            for node in &hit {
                anyhow::ensure!(!world.reached(node, Stage::Released), "{node} was released without a jury");
                anyhow::ensure!(!world.boots_ended.contains_key(node), "{node} rebooted although it had a majority");
            }
            Ok(())
        })
        .await?;
        self.shared.read(|world| {
            let fenced: Vec<_> = hit.iter().filter(|node| world.reached(node, Stage::Intended)).collect();
            anyhow::ensure!(!fenced.is_empty(), "nobody tried to fence the nodes: this shows nothing");
            Ok(())
        })?;
        self.timeline.say(Word::Fault, "the lab heals the network", Some(format!("after {length:?}")));
        self.lab.heal().await;
        self.recovered().await
    }

    /// Cut and heal with growing lengths, around the limits at which nodes are judged and lives run out.
    async fn flapping(&self) -> anyhow::Result<()> {
        let life = self.terms().tuning.time_to_live();
        for cut in [life / 4, life / 2, life * 3 / 4, life, life * 5 / 4] {
            self.last(cut, |_| Ok(())).await?;
            self.lab.heal().await;
            self.last(Duration::from_millis(1500), |_| Ok(())).await?;
            self.lab.inject(Fault::Isolate, &self.hit).await?;
        }
        self.timeline.say(Word::Fault, "the lab heals the network for good", None);
        self.lab.heal().await;
        self.recovered().await
    }

    async fn remediation(&self) -> anyhow::Result<()> {
        let hit = self.hit.clone();
        let terms = self.terms();
        let life = terms.tuning.time_to_live() + 2 * terms.watchdog;
        let limit = RELEASE_LIMIT + terms.node_grace + terms.unhealthy_for + life;
        let released = |world: &World| {
            let missing: Vec<String> = hit.iter().filter_map(|node| not_released(world, node)).collect();
            nothing_left(&missing)
        };
        self.wait("the workload is not released", limit, released).await?;
        let empty = |world: &World| match world.left.len() {
            0 => Ok(()),
            left => Err(format!("{left} pods of {} are still there", hit.join(", "))),
        };
        self.wait("the pods of the failed node stay", RECOVERY_LIMIT, empty).await?;
        let replicas = self.replicas();
        let (ledger, hit, before) = (self.lab.ledger.clone(), &self.hit, &self.before);
        let moved = |world: &World| {
            nothing_left(&world.not_running(replicas))?;
            // Running is what the API says; the stamps are what is.
            let latest = ledger.latest();
            let stale = before
                .iter()
                .filter(|(_, stamp)| hit.contains(&stamp.node))
                .find(|(workload, stamp)| latest.get(*workload).is_none_or(|now| now.boot == stamp.boot));
            stale.map_or(Ok(()), |(workload, _)| Err(format!("{workload} has not stamped since")))
        };
        self.wait("the workload does not run again", RECOVERY_LIMIT, moved).await?;
        let now = self.timeline.seconds();
        self.shared.write(|world| {
            for node in hit {
                world.milestones.entry(node.clone()).or_default().moved = Some(now);
            }
        });
        for (workload, stamp) in self.lab.ledger.latest() {
            if before.get(&workload).is_some_and(|old| old.boot != stamp.boot) {
                let what = format!("{workload} stamps again, on {}", stamp.node);
                self.timeline.say(Word::Release, what, None);
            }
        }
        match self.scenario.fault {
            Fault::Power => self.timeline.say(Word::Fault, "the lab powers the machine on again", None),
            fault if fault.is_connectivity() => self.timeline.say(Word::Fault, "the lab heals the network", None),
            _ => {}
        }
        self.lab.heal().await;
        self.recovered().await
    }

    async fn recovered(&self) -> anyhow::Result<()> {
        let nodes = self.lab.nodes();
        let replicas = self.replicas();
        let well = |world: &World| {
            let mut left = world.not_settled(&nodes);
            left.extend(world.not_running(replicas));
            nothing_left(&left)
        };
        self.wait("the cluster is not as before", RECOVERY_LIMIT, well).await?;
        // What changed last is told before the end is.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = self.timeline.seconds();
        self.shared.write(|world| {
            for node in &self.hit {
                world.milestones.entry(node.clone()).or_default().recovered = Some(now);
            }
        });
        self.timeline.say(
            Word::Recover,
            "everything is as before: all nodes Ready, no remediation, taint or intent left",
            None,
        );
        Ok(())
    }

    /// Judges what happened.
    pub fn outcome(&self, played: Result<(), String>, seconds: f64) -> Outcome {
        judge::outcome(self, played, seconds)
    }

    /// Ends nodes and controller, and removes what would disturb the next scenario on the same cluster.
    pub async fn stop(self, shared_cluster: bool) {
        let Self { scenario, lab, _controller: mut keeper, _eyes: mut eyes, .. } = self;
        eyes.shutdown().await;
        keeper.shutdown().await;
        let (client, nodes) = (lab.client.clone(), lab.nodes());
        lab.stop().await;
        if shared_cluster {
            super::cleanup::remove(&client, &scenario, &nodes).await;
        }
    }
}

fn nothing_left(left: &[String]) -> Result<(), String> {
    if left.is_empty() { Ok(()) } else { Err(format!("waiting for {}", left.join("; "))) }
}

fn not_released(world: &World, node: &str) -> Option<String> {
    if world.reached(node, Stage::Released) {
        return None;
    }
    let remediation = world.remediations_of(node).next();
    let text = match remediation {
        None if world.milestones.get(node).is_some_and(|milestones| milestones.detected.is_some()) => return None,
        None => format!("the NodeHealthCheck to judge {node}"),
        Some(remediation) => match &remediation.waiting_for {
            Some(waiting) => format!("{node}: {waiting}"),
            None => format!("the remediation of {node}"),
        },
    };
    Some(text)
}
