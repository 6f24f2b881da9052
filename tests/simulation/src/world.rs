//! A run: the cluster is built, becomes ready, is broken, is healed, and has to converge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use palisade_api::keys;
use palisade_controller::{Grade, Options, Parts};
use palisade_runtime::Host;
use palisade_sandbox::api::{ApiStore, Settings};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::chance::Chance;
use crate::control_plane::{ControlPlane, text};
use crate::machine::{Machine, Surroundings};
use crate::network::{Actor, Network};
use crate::oracle::Oracle;
use crate::peers::{Directory, SimulatedJurors};
use crate::report::Report;
use crate::scenario::Scenario;
use crate::trace::{Keep, Trace};
use crate::way::{Raw, Way};

/// What is broken on purpose, to see the oracle find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breakage {
    /// The controller's clock runs forty times too fast: it waits a fortieth of the time.
    ControllerDoesNotWait,
    /// Jurors promise nothing, but the controller believes they did.
    PromisesOfNobody,
    /// The agent's device is fed for ever, and its resets do nothing.
    AgentIgnoresItsEnd,
    /// The agent does not see intents.
    AgentIgnoresIntents,
    /// Every peer seems to say that the API is out of reach for it too.
    NoApiForEverybody,
    /// A restarted agent knows nothing of the process before.
    HostFileForgotten,
}

/// Parts of the program that all runs share.
#[derive(Clone)]
pub struct Shared {
    /// Engine of the components.
    pub engine: Arc<Host>,
    /// Folder of the built-in components.
    pub remediators: PathBuf,
    /// The CRDs, parsed.
    pub crds: Arc<Vec<Value>>,
}

/// The running cluster.
pub struct World {
    pub(crate) scenario: Scenario,
    pub(crate) shared: Shared,
    pub(crate) around: Surroundings,
    pub(crate) store: ApiStore,
    pub(crate) machines: Vec<Machine>,
    controllers: Mutex<BTreeMap<u16, JoinHandle<()>>>,
    pub(crate) seen: Mutex<Seen>,
}

/// What was read from the remediations before they went away.
#[derive(Default)]
pub(crate) struct Seen {
    /// By UID of the remediation.
    pub(crate) certificates: BTreeMap<String, Value>,
    /// UIDs of intents.
    pub(crate) contradicted: BTreeSet<String>,
}

/// How often it is looked whether everything is well.
const LOOK: Duration = Duration::from_secs(2);

/// Runs a scenario to its end.
pub async fn run(scenario: Scenario, shared: Shared, breakage: Option<Breakage>, keep: Keep) -> Report {
    let trace = Trace::new(keep);
    let seed = scenario.seed;
    let world = match World::build(scenario, shared, breakage, trace.clone()) {
        Ok(world) => Arc::new(world),
        Err(error) => {
            trace.say(&format!("FOUL the cluster cannot be built: {error:#}"));
            return Report::broken(seed, format!("{error:#}"));
        }
    };
    world.start();
    let life = world.scenario.life_bound();
    if world.settles(life * 2 + Duration::from_mins(10), "at first").await {
        // Jurors have to come of age.
        tokio::time::sleep(life + Duration::from_secs(5)).await;
        trace.say("READY");
        let mut plan = world.scenario.faults.clone();
        plan.sort_by_key(|planned| planned.at);
        let began = tokio::time::Instant::now();
        for planned in plan {
            world.wait_until(began + planned.at).await;
            trace.say(&format!("FAULT for {:?}: {:?}", planned.length, planned.fault));
            tokio::spawn(Arc::clone(&world).play(planned));
        }
        world.wait_until(began + world.scenario.healed_at).await;
        world.heal();
        world.settles(life * 4 + Duration::from_mins(20), "after healing").await;
    }
    world.judge_reboots();
    let report = world.report();
    world.stop();
    report
}

impl World {
    fn build(scenario: Scenario, shared: Shared, breakage: Option<Breakage>, trace: Trace) -> anyhow::Result<Self> {
        let store = ApiStore::new(Settings::default());
        let put = |object: &Value| store.apply_value(object).map_err(|error| anyhow::anyhow!("{error:?}"));
        for crd in shared.crds.iter() {
            put(crd)?;
        }
        put(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": keys::palisade::NAMESPACE } }))?;
        let group = "self-node-remediation.medik8s.io/v1alpha1";
        put(&json!({ "apiVersion": group, "kind": "SelfNodeRemediationTemplate",
            "metadata": { "name": "simulation", "namespace": keys::palisade::NAMESPACE },
            "spec": { "template": { "spec": { "remediationStrategy": scenario.strategy } } } }))?;
        let min_healthy =
            scenario.min_healthy.parse::<u32>().map_or_else(|_| json!(scenario.min_healthy), |n| json!(n));
        let lasting = format!("{}s", scenario.unhealthy_for.as_secs());
        put(&json!({ "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
            "metadata": { "name": "simulation" }, "spec": {
                "selector": { "matchLabels": { "node-role.kubernetes.io/worker": "" } },
                "minHealthy": min_healthy,
                "unhealthyConditions": [
                    { "type": "Ready", "status": "False", "duration": lasting },
                    { "type": "Ready", "status": "Unknown", "duration": lasting } ],
                "remediationTemplate": { "apiVersion": group, "kind": "SelfNodeRemediationTemplate",
                    "name": "simulation", "namespace": keys::palisade::NAMESPACE } } }))?;
        let network = Network::new(scenario.seed);
        let oracle = Oracle::new(trace.clone());
        let around =
            Surroundings { network, api: store.service(), directory: Directory::default(), oracle, trace, breakage };
        let machines =
            scenario.nodes.iter().map(|spec| Machine::new(spec.clone(), around.clone(), scenario.seed)).collect();
        let (controllers, seen) = (Mutex::default(), Mutex::default());
        Ok(Self { scenario, shared, around, store, machines, controllers, seen })
    }

    fn start(self: &Arc<Self>) {
        for machine in &self.machines {
            machine.power_on();
        }
        for number in 0..self.scenario.controllers {
            self.start_controller(number);
        }
        let plane = ControlPlane {
            store: self.store.clone(),
            api: Raw(self.store.client()),
            network: self.around.network.clone(),
            workloads: self.scenario.workloads.clone(),
            grace: self.scenario.grace,
            beats: BTreeMap::new(),
            made: 0,
        };
        if let Err(error) = plane.install() {
            self.around.oracle.foul(format!("the workloads cannot be installed: {error:#}"));
        }
        tokio::spawn(plane.run());
    }

    /// A controller's way to the API, under the eyes of the judge.
    pub(crate) fn controllers_way(self: &Arc<Self>, number: u16) -> Way {
        let Surroundings { network, api, trace, .. } = self.around.clone();
        // The watcher must not keep the world alive.
        let world = Arc::downgrade(self);
        let watcher: crate::way::Watcher = Arc::new(move |actor, method, path| {
            if let Some(world) = world.upgrade() {
                world.judge_controller(actor, method, path);
            }
        });
        Way { actor: Actor::Controller(number), network, api, trace, watcher: Some(watcher) }
    }

    /// Starts a controller that does not run.
    pub(crate) fn start_controller(self: &Arc<Self>, number: u16) {
        let actor = Actor::Controller(number);
        let Surroundings { network, trace, directory, breakage, .. } = self.around.clone();
        let way = self.controllers_way(number);
        let jurors = SimulatedJurors { from: actor, network, directory, trace: trace.clone(), breakage };
        let options = Options {
            remediators: self.shared.remediators.clone(),
            require: Grade::Assumed,
            observer: format!("controller-{number}"),
            ..Options::default()
        };
        let parts =
            Parts { jurors: Some(Arc::new(jurors)), engine: Some(Arc::clone(&self.shared.engine)), ..Parts::default() };
        trace.say(&format!("{actor} starts"));
        let oracle = self.around.oracle.clone();
        let task = tokio::spawn(async move {
            let ended = palisade_controller::run_parts(way.client(), options, parts, std::future::pending()).await;
            oracle.foul(format!("{actor} ended by itself: {ended:?}"));
        });
        self.controllers.lock().unwrap_or_else(PoisonError::into_inner).insert(number, task);
    }

    /// Kills a controller at whatever line it is.
    pub(crate) fn kill_controller(&self, number: u16) {
        if let Some(task) = self.controllers.lock().unwrap_or_else(PoisonError::into_inner).remove(&number) {
            task.abort();
            self.around.trace.say(&format!("controller-{number} is killed"));
        }
    }

    pub(crate) fn controller_runs(&self, number: u16) -> bool {
        self.controllers.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&number)
    }

    fn stop(&self) {
        for number in 0..self.scenario.controllers {
            self.kill_controller(number);
        }
        for machine in &self.machines {
            machine.power_off();
        }
    }

    /// Ends early when something is wrong already.
    async fn wait_until(&self, instant: tokio::time::Instant) {
        while tokio::time::Instant::now() < instant && self.around.oracle.fouls().is_empty() {
            self.collect_certificates();
            tokio::time::sleep_until(instant.min(tokio::time::Instant::now() + LOOK)).await;
        }
    }

    /// Waits until everything is as it should be. False, and a foul, if that does not come about.
    async fn settles(&self, limit: Duration, when: &str) -> bool {
        let deadline = tokio::time::Instant::now() + limit;
        let mut calm = 0;
        loop {
            if !self.around.oracle.fouls().is_empty() {
                return false;
            }
            self.collect_certificates();
            match self.unsettled() {
                None if calm >= 3 => return true,
                None => calm += 1,
                Some(why) if tokio::time::Instant::now() >= deadline => {
                    self.around.oracle.foul(format!("not settled {when} within {limit:?}: {why}"));
                    return false;
                }
                Some(_) => calm = 0,
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) fn remediations(&self) -> Vec<Arc<Value>> {
        self.store.objects("self-node-remediation.medik8s.io", "selfnoderemediations")
    }

    fn collect_certificates(&self) {
        for remediation in self.remediations() {
            let contradicted = remediation.pointer("/status/palisade/contradicted").and_then(Value::as_array);
            for intent in contradicted.into_iter().flatten().filter_map(Value::as_str) {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                if seen.contradicted.insert(intent.to_owned()) {
                    self.around.trace.say(&format!("CONTRADICTED {}", text(&remediation, "/metadata/name")));
                }
            }
            if let Some(certificate) = remediation.pointer("/status/palisade/certificate").filter(|c| c.is_object()) {
                let uid = text(&remediation, "/metadata/uid").to_owned();
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                if seen.certificates.insert(uid, certificate.clone()).is_none() {
                    let word = |field: &str| certificate[field].as_str().unwrap_or("?").to_owned();
                    self.around.trace.say(&format!("PROOF {} {} {}", word("node"), word("proof"), word("bootId")));
                }
            }
        }
    }

    /// Everything is mended.
    fn heal(self: &Arc<Self>) {
        self.around.trace.say("HEALED");
        self.around.network.heal();
        let mut chance = Chance::new(self.scenario.seed, 3);
        for machine in &self.machines {
            machine.power_on();
            // Some connections that stood still go on, others break.
            if chance.percent(50) {
                self.around.network.reset(machine.agent_actor());
            }
        }
        for number in 0..self.scenario.controllers {
            self.around.network.freeze(Actor::Controller(number), false);
            self.around.network.reset(Actor::Controller(number));
            if !self.controller_runs(number) {
                self.start_controller(number);
            }
        }
    }
}
