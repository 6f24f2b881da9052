//! Work on one machine, outside of passes: a run of an agent takes longer than a pass may.
//!
//! A session works only as long as passes ask for it. When they stop (the remediation was given up, this process lost
//! the lead), it switches nothing more and ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use palisade_core::time::Mono;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::agent::{Agents, Machine};
use super::bare_metal::Seen;
use super::fault::{Fault, Goal, Reading};
use super::hosts::HostOf;
use super::plan::{Bounds, Plan, Progress, Step};
use crate::clock;

/// Passes come every ten seconds at least. A session that was not asked for so long is not wanted any more.
const KEPT: Duration = Duration::from_secs(30);

/// What is switched.
#[derive(Debug, Clone, PartialEq)]
pub enum Device {
    /// Behind a fence agent.
    Agent(Box<Machine>),
    /// Behind a `BareMetalHost`.
    Host(HostOf),
}

impl Device {
    /// For people.
    pub fn name(&self) -> String {
        match self {
            Self::Agent(machine) => format!("{} for node {}", machine.spec.agent, machine.node),
            Self::Host(host) => format!("BareMetalHost {}/{}", host.namespace, host.name),
        }
    }

    /// How often it may be tried.
    pub fn bounds(&self) -> Result<Bounds, Fault> {
        match self {
            Self::Agent(machine) => Bounds::new(machine.spec.retry_count, machine.spec.retry_interval.to_std()),
            Self::Host(host) => Bounds::new(host.attempts, Duration::from_secs(5)),
        }
    }
}

/// What a session shows.
#[derive(Debug, Clone)]
pub struct Shown {
    /// How far it is.
    pub progress: Progress,
    /// Attempts so far.
    pub attempts: u32,
    /// Last reading, and when it was asked for.
    pub last: Option<(Reading, Mono)>,
    /// Why the last attempt failed.
    pub fault: Option<Fault>,
}

struct Shared {
    shown: Mutex<Shown>,
    kept: Mutex<Mono>,
    /// Somebody wants a reading now.
    poke: Notify,
    /// Something is shown that was not before.
    news: Notify,
}

/// A session.
pub struct Session {
    device: Device,
    goal: Goal,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // What runs is dropped with it, and dies.
        self.task.abort();
    }
}

impl Session {
    /// Begins to work on a goal. `wake` is called when there is something that a pass should know.
    pub fn begin(
        client: Client,
        agents: Arc<Agents>,
        device: Device,
        goal: Goal,
        bounds: Bounds,
        wake: impl Fn() + Send + 'static,
    ) -> Self {
        let plan = Plan::new(goal, bounds);
        let shared = Arc::new(Shared {
            shown: Mutex::new(shown(&plan)),
            kept: Mutex::new(clock::now()),
            poke: Notify::new(),
            news: Notify::new(),
        });
        let driver = Driver { client, agents, device: device.clone(), seen: Seen::default() };
        let task = tokio::spawn(work(driver, plan, shared.clone(), wake));
        Self { device, goal, shared, task }
    }

    /// Whether it works on this, and goes on.
    pub fn serves(&self, device: &Device, goal: Goal) -> bool {
        self.goal == goal && self.device == *device && !self.task.is_finished()
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The goal.
    pub fn goal(&self) -> Goal {
        self.goal
    }

    /// Whether it goes on.
    pub fn runs(&self) -> bool {
        !self.task.is_finished()
    }

    /// It is still wanted.
    pub fn keep(&self) {
        *lock(&self.shared.kept) = clock::now();
    }

    /// What it shows now.
    pub fn shown(&self) -> Shown {
        lock(&self.shared.shown).clone()
    }

    /// A question that is answered once there is a reading asked for after `since`, or after `limit`.
    pub fn reading_after(&self, since: Mono, limit: Duration) -> impl Future<Output = Option<(Reading, Mono)>> + use<> {
        let shared = self.shared.clone();
        async move {
            let wait = async {
                loop {
                    let news = shared.news.notified();
                    let shown = lock(&shared.shown).clone();
                    match shown.last {
                        Some((reading, asked)) if asked >= since && shown.progress == Progress::Done => {
                            return Some((reading, asked));
                        }
                        // It did not get there, or lost it.
                        _ if shown.progress != Progress::Done => return None,
                        _ => {}
                    }
                    shared.poke.notify_one();
                    news.await;
                }
            };
            tokio::time::timeout(limit, wait).await.unwrap_or(None)
        }
    }
}

struct Driver {
    client: Client,
    agents: Arc<Agents>,
    device: Device,
    seen: Seen,
}

impl Driver {
    async fn read(&mut self, goal: Goal) -> Result<Reading, Fault> {
        match &self.device {
            Device::Agent(machine) => self.agents.read(&self.client, machine).await,
            Device::Host(host) => host.read(&self.client, goal, &mut self.seen).await,
        }
    }

    async fn switch(&mut self, goal: Goal) -> Result<(), Fault> {
        match &self.device {
            Device::Agent(machine) => self.agents.switch(&self.client, machine, goal).await,
            Device::Host(host) => host.switch(&self.client, goal, &mut self.seen).await,
        }
    }
}

async fn work(mut driver: Driver, mut plan: Plan, shared: Arc<Shared>, wake: impl Fn() + Send + 'static) {
    loop {
        let wanted = clock::now().since(*lock(&shared.kept)) < KEPT;
        if !wanted {
            return;
        }
        let now = clock::now();
        match plan.next(now) {
            Step::Read => match driver.read(plan.goal()).await {
                Ok(reading) => plan.read(reading, now, clock::now()),
                Err(fault) => plan.failed(fault, clock::now()),
            },
            Step::Switch => {
                plan.switching();
                publish(&shared, &plan, &wake);
                tracing::info!(device = driver.device.name(), goal = ?plan.goal(), attempt = plan.attempts(), "switching");
                match driver.switch(plan.goal()).await {
                    Ok(()) => plan.switched(),
                    Err(fault) => plan.failed(fault, clock::now()),
                }
            }
            Step::Wait(until) => {
                tokio::select! {
                    () = tokio::time::sleep(until.since(now)) => {}
                    () = shared.poke.notified() => plan.look_again(),
                }
                continue;
            }
            Step::Rest => {
                publish(&shared, &plan, &wake);
                tokio::time::sleep(KEPT).await;
                continue;
            }
        }
        publish(&shared, &plan, &wake);
    }
}

fn shown(plan: &Plan) -> Shown {
    Shown { progress: plan.progress(), attempts: plan.attempts(), last: plan.last(), fault: plan.fault().cloned() }
}

fn publish(shared: &Shared, plan: &Plan, wake: &impl Fn()) {
    let new = shown(plan);
    let worth_a_look = {
        let mut old = lock(&shared.shown);
        let differs = (old.progress, old.attempts, &old.fault) != (new.progress, new.attempts, &new.fault);
        *old = new;
        differs
    };
    shared.news.notify_waiters();
    if worth_a_look {
        wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Values are replaced in one piece.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
