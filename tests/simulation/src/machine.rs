//! A machine: power, boots, watchdog, and what starts on it by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use palisade_core::fencing::timing::Tuning;
use palisade_sandbox::api::Service;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::agent::{Agent, Folder};
use crate::boot::Boot;
use crate::chance::Chance;
use crate::kubelet::Kubelet;
use crate::network::{Actor, Network};
use crate::oracle::Oracle;
use crate::peers::Directory;
use crate::trace::Trace;
use crate::way::{Raw, Way};
use crate::world::Breakage;

/// What part of the cluster a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It ends itself like every other.
    Worker,
    /// Its agent is that of a control-plane node under `controlPlanePolicy: Diagnose`: it may exempt itself (R4).
    ControlPlane {
        /// The Node object says so too; without that the health check treats it like a worker.
        labelled: bool,
    },
}

impl Role {
    /// Whether its agent may exempt itself.
    pub fn diagnoses(self) -> bool {
        self != Self::Worker
    }
}

/// How a machine is built.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// Number of the node, from 0.
    pub number: u16,
    /// Name of the node.
    pub name: String,
    /// Zone label.
    pub zone: String,
    /// Whether an agent runs on it; without one it is only a node.
    pub has_agent: bool,
    /// What part of the cluster it is.
    pub role: Role,
    /// Watchdog timeout, if there is a watchdog.
    pub watchdog: Option<Duration>,
    /// `isSoftwareRebootEnabled`.
    pub software_reboot: bool,
    /// Whether a reset by software has an effect.
    pub reset_works: bool,
    /// `minPeersForRemediation`.
    pub min_peers: u32,
    /// Timings of the agent.
    pub tuning: Tuning,
    /// Parts in a thousand by which the node's clock runs fast (negative: slow).
    pub clock_per_mille: i64,
    /// From a reset to a running kubelet.
    pub boot_time: Duration,
    /// Pause between heartbeats of the kubelet.
    pub heartbeat: Duration,
    /// Pause between two looks of the kubelet at its pods.
    pub pace: Duration,
}

/// What all machines share.
#[derive(Clone)]
pub struct Surroundings {
    /// The network.
    pub network: Network,
    /// The API server.
    pub api: Service,
    /// The agents by address.
    pub directory: Directory,
    /// The judge.
    pub oracle: Oracle,
    /// The trace.
    pub trace: Trace,
    /// What is broken on purpose.
    pub breakage: Option<Breakage>,
}

impl Surroundings {
    /// A client for a program.
    pub fn client(&self, actor: Actor) -> Client {
        let Self { network, api, trace, .. } = self.clone();
        Way { actor, network, api, trace, watcher: None }.client()
    }
}

/// The clock of one boot.
#[derive(Debug)]
struct State {
    boot: Option<Arc<Boot>>,
    boots: u32,
    agent: Option<Agent>,
    tasks: Vec<AbortHandle>,
    folder: Arc<Folder>,
    chance: Chance,
    /// Powered on again by nobody but `power_on`.
    off: bool,
    /// For how long in this boot the machine was suspended.
    suspended: Duration,
    /// When the running suspension began.
    asleep: Option<Instant>,
}

/// A machine; clones are the same one.
#[derive(Clone)]
pub struct Machine {
    /// How it is built.
    pub spec: Arc<MachineSpec>,
    /// Where it stands.
    pub around: Surroundings,
    state: Arc<Mutex<State>>,
}

impl Machine {
    /// Powered off.
    pub fn new(spec: MachineSpec, around: Surroundings, seed: u64) -> Self {
        let chance = Chance::new(seed, 100 + u64::from(spec.number));
        let state = State {
            boot: None,
            boots: 0,
            agent: None,
            tasks: Vec::new(),
            folder: Arc::default(),
            chance,
            off: true,
            suspended: Duration::ZERO,
            asleep: None,
        };
        Self { spec: Arc::new(spec), around, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, text: &str) {
        self.around.trace.say(&format!("{} {text}", self.spec.name));
    }

    /// The agent of this machine on the network.
    pub fn agent_actor(&self) -> Actor {
        Actor::Agent(self.spec.number)
    }

    /// The kubelet of this machine on the network.
    pub fn kubelet_actor(&self) -> Actor {
        Actor::Kubelet(self.spec.number)
    }

    /// The present boot.
    pub fn boot(&self) -> Option<Arc<Boot>> {
        self.state().boot.clone()
    }

    /// Total suspension of the present boot.
    pub fn suspended(&self) -> Duration {
        let state = self.state();
        state.suspended + state.asleep.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Starts it now, if it is off.
    pub fn power_on(&self) {
        {
            let mut state = self.state();
            state.off = false;
            if state.boot.is_some() {
                return;
            }
        }
        self.start();
    }

    fn start(&self) {
        let (boot, agent_after) = {
            let mut state = self.state();
            if state.off || state.boot.is_some() {
                return;
            }
            state.boots += 1;
            let boot = Boot::new(&self.spec.name, format!("{}-boot-{}", self.spec.name, state.boots));
            state.boot = Some(Arc::clone(&boot));
            state.folder = Arc::default();
            (state.suspended, state.asleep) = (Duration::ZERO, None);
            (boot, state.chance.length(Duration::from_secs(1), Duration::from_secs(6)))
        };
        self.around.network.freeze(self.agent_actor(), false);
        self.around.network.freeze(self.kubelet_actor(), false);
        self.say(&format!("boots: {}", boot.id));
        let watchdog = {
            let (machine, boot) = (self.clone(), Arc::clone(&boot));
            tokio::spawn(async move {
                boot.fired().await;
                machine.ends(&boot, "its watchdog was not fed", true);
            })
        };
        let agent = {
            let (machine, boot) = (self.clone(), Arc::clone(&boot));
            tokio::spawn(async move {
                tokio::time::sleep(agent_after).await;
                machine.start_agent(&boot);
            })
        };
        let kubelet = self.start_kubelet(&boot);
        self.state().tasks.extend([watchdog.abort_handle(), agent.abort_handle(), kubelet]);
    }

    fn start_kubelet(&self, boot: &Arc<Boot>) -> AbortHandle {
        let kubelet = Kubelet {
            node: self.spec.name.clone(),
            zone: self.spec.zone.clone(),
            control_plane: self.spec.role == Role::ControlPlane { labelled: true },
            api: Raw(self.around.client(self.kubelet_actor())),
            boot: Arc::clone(boot),
            oracle: self.around.oracle.clone(),
            trace: self.around.trace.clone(),
            heartbeat: self.spec.heartbeat,
            pace: self.spec.pace,
        };
        tokio::spawn(kubelet.run()).abort_handle()
    }

    /// Whether the kubelet of this boot runs and answers.
    pub fn kubelet_answers(&self, boot: &Boot) -> bool {
        let state = self.state();
        let runs = state.tasks.get(2).is_some_and(|kubelet| !kubelet.is_finished());
        runs && state.boot.as_ref().is_some_and(|now| now.id == boot.id)
            && boot.is_alive()
            && !self.around.network.is_frozen(self.kubelet_actor())
    }

    /// Starts the agent, unless it runs or the boot is over.
    pub fn start_agent(&self, boot: &Arc<Boot>) {
        let folder = {
            let state = self.state();
            if !self.spec.has_agent
                || state.agent.is_some()
                || !boot.is_alive()
                || state.boot.as_ref().is_none_or(|now| now.id != boot.id)
            {
                return;
            }
            Arc::clone(&state.folder)
        };
        let agent = Agent::start(self, boot, folder);
        self.state().agent = Some(agent);
    }

    /// Kills the agent. The kernel closes its device, which feeds it once more.
    pub fn kill_agent(&self) {
        let (agent, boot) = {
            let mut state = self.state();
            (state.agent.take(), state.boot.clone())
        };
        if let Some(agent) = agent {
            agent.kill();
            self.say("its agent is killed");
            if let Some(boot) = boot {
                boot.feed();
            }
        }
    }

    /// Kills the agent and starts it again after a while.
    pub fn restart_agent(&self, after: Duration) {
        let Some(boot) = self.boot() else { return };
        self.kill_agent();
        let machine = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            machine.start_agent(&boot);
        });
    }

    /// Asks the agent to stop in order.
    pub fn stop_agent(&self, limit: Duration) {
        if let Some(agent) = &self.state().agent {
            agent.stop(limit);
        }
    }

    /// Kills the kubelet; containers go on. It comes back after a while.
    pub fn restart_kubelet(&self, after: Duration) {
        let Some(boot) = self.boot() else { return };
        let kubelet = self.state().tasks.get(2).cloned();
        if let Some(kubelet) = kubelet {
            kubelet.abort();
        }
        self.say("its kubelet is killed");
        let machine = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if boot.is_alive() && machine.boot().is_some_and(|now| now.id == boot.id) {
                let kubelet = machine.start_kubelet(&boot);
                if let Some(slot) = machine.state().tasks.get_mut(2) {
                    *slot = kubelet;
                }
            }
        });
    }

    /// Freezes agent and kubelet for a while; containers and watchdog go on.
    pub fn hang(&self, length: Duration) {
        let Some(boot) = self.boot() else { return };
        self.say(&format!("hangs for {length:?}"));
        self.freeze(true);
        let machine = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            if machine.boot().is_some_and(|now| now.id == boot.id) {
                machine.freeze(false);
            }
        });
    }

    /// Suspends the whole machine for a while; only a hardware watchdog goes on.
    pub fn suspend(&self, length: Duration) {
        let Some(boot) = self.boot() else { return };
        self.say(&format!("is suspended for {length:?}"));
        self.freeze(true);
        self.state().asleep = Some(Instant::now());
        let machine = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            if machine.boot().is_some_and(|now| now.id == boot.id) {
                {
                    let mut state = machine.state();
                    if let Some(since) = state.asleep.take() {
                        state.suspended += since.elapsed();
                    }
                }
                machine.freeze(false);
            }
        });
    }

    fn freeze(&self, frozen: bool) {
        self.around.network.freeze(self.agent_actor(), frozen);
        self.around.network.freeze(self.kubelet_actor(), frozen);
    }

    /// Freezes only the agent for a while.
    pub fn pause_agent(&self, length: Duration) {
        let Some(boot) = self.boot() else { return };
        self.say(&format!("its agent is stopped for {length:?}"));
        self.around.network.freeze(self.agent_actor(), true);
        let machine = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            if machine.boot().is_some_and(|now| now.id == boot.id) {
                machine.around.network.freeze(machine.agent_actor(), false);
            }
        });
    }

    /// Pulls the plug.
    pub fn power_off(&self) {
        self.state().off = true;
        if let Some(boot) = self.boot() {
            self.ends(&boot, "power was cut", false);
        }
    }

    /// A reset from inside or outside; it boots again.
    pub fn reset(&self, boot: &Arc<Boot>, why: &str) {
        self.ends(boot, why, true);
    }

    fn ends(&self, boot: &Arc<Boot>, why: &str, again: bool) {
        if !boot.end() {
            return;
        }
        self.say(&format!("boot {} ended: {why}", boot.id));
        self.around.oracle.boot_ended(boot, why);
        let (agent, tasks, after) = {
            let mut state = self.state();
            state.boot = None;
            let jitter = state.chance.length(Duration::ZERO, Duration::from_secs(5));
            (state.agent.take(), std::mem::take(&mut state.tasks), self.spec.boot_time + jitter)
        };
        if again {
            let machine = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                machine.start();
            });
        }
        if let Some(agent) = agent {
            agent.kill();
        }
        // Perhaps one of them is running this very line: it ends at its next wait.
        for task in tasks {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("spec", &self.spec).finish_non_exhaustive()
    }
}
