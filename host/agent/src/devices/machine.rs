//! The devices of this machine, and the thread that feeds.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use palisade_core::fencing::agent::ResetSteps;
use palisade_core::fencing::record;
use tokio::sync::oneshot;

use super::{
    Devices, Fed, Feeder, FeederReport, Leash, LinuxWatchdog, Report, SimWatchdog, Watchdog, linux, reset, softdog,
};
use crate::clock::Clock;

/// Which watchdog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchdogBy {
    /// A character device.
    Device(PathBuf),
    /// The machine double of the lab.
    Sim(PathBuf),
    /// None.
    None,
}

/// How to reset by software.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebootBy {
    /// sysrq, then `reboot(2)`.
    Sysrq,
    /// The machine double of the lab.
    Sim(PathBuf),
    /// Not at all (`isSoftwareRebootEnabled: false`).
    None,
}

/// What a machine has, and how it may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equipment {
    /// The watchdog.
    pub watchdog: WatchdogBy,
    /// A timeout to ask the device for; without it the device keeps its own.
    pub timeout: Option<Duration>,
    /// Whether softdog may be loaded when the device is missing.
    pub load_softdog: bool,
    /// Reset by software.
    pub reboot: RebootBy,
    /// Real-time priority and locked memory for the feeder, as far as permitted.
    pub realtime: bool,
}

/// Orders to the feeder thread.
enum Order {
    Look,
    Disarm(oneshot::Sender<Result<(), String>>),
}

/// The real devices.
pub struct Machine {
    equipment: Equipment,
    clock: Arc<dyn Clock>,
    orders: Mutex<Option<mpsc::Sender<Order>>>,
}

impl Machine {
    /// Nothing is opened yet.
    pub fn new(equipment: Equipment, clock: Arc<dyn Clock>) -> Self {
        Self { equipment, clock, orders: Mutex::new(None) }
    }

    fn order(&self, order: Order) -> bool {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.as_ref().is_some_and(|orders| orders.send(order).is_ok())
    }
}

fn open(equipment: &Equipment) -> Result<Box<dyn Watchdog>, String> {
    match &equipment.watchdog {
        WatchdogBy::Device(path) => {
            let path = softdog::device(path, equipment.load_softdog)?;
            Ok(Box::new(LinuxWatchdog::open(&path, equipment.timeout)?))
        }
        WatchdogBy::Sim(socket) => Ok(Box::new(SimWatchdog::open(Path::new(socket))?)),
        WatchdogBy::None => Err("no watchdog is configured".into()),
    }
}

impl Devices for Machine {
    fn open_watchdog(&self, leash: Arc<Leash>, report: Report) -> BoxFuture<'_, Result<record::Watchdog, String>> {
        let (ready, opened) = oneshot::channel();
        let (orders, received) = mpsc::channel();
        let (equipment, clock) = (self.equipment.clone(), Arc::clone(&self.clock));
        *self.orders.lock().unwrap_or_else(PoisonError::into_inner) = Some(orders);
        let spawned = std::thread::Builder::new().name("watchdog".into()).spawn(move || {
            if equipment.realtime {
                linux::prefer_this_thread();
            }
            match open(&equipment) {
                Ok(device) => {
                    let description = device.describe();
                    let feeder = Feeder::new(device, clock, leash);
                    if ready.send(Ok(description)).is_ok() {
                        feed(feeder, &received, &report);
                    }
                }
                Err(why) => drop(ready.send(Err(why))),
            }
        });
        async move {
            spawned.map_err(|error| format!("no thread for the feeder: {error}"))?;
            opened.await.unwrap_or_else(|_| Err("the feeder ended".into()))
        }
        .boxed()
    }

    fn disarm_watchdog(&self) -> BoxFuture<'_, Result<(), String>> {
        let (reply, replied) = oneshot::channel();
        let asked = self.order(Order::Disarm(reply));
        async move {
            if !asked {
                return Err("the feeder is not running".into());
            }
            replied.await.unwrap_or_else(|_| Err("the feeder ended".into()))
        }
        .boxed()
    }

    fn nudge(&self) {
        self.order(Order::Look);
    }

    fn reset(&self, steps: ResetSteps) -> BoxFuture<'_, ()> {
        async move { reset::run(&self.equipment.reboot, steps).await }.boxed()
    }
}

/// The feeder's whole life. When it ends without disarming, the device stays armed and fires.
fn feed(mut feeder: Feeder, orders: &mpsc::Receiver<Order>, report: &Report) {
    let period = feeder.period();
    let mut withheld = false;
    loop {
        match feeder.step() {
            Fed::Yes => withheld = false,
            Fed::Withheld => {
                if !std::mem::replace(&mut withheld, true) {
                    tracing::warn!("the watchdog is not fed: no right to live");
                }
            }
            Fed::TimeLost => report(FeederReport::TimeLost),
            Fed::Failed(why) => {
                report(FeederReport::Failed(why));
                return;
            }
        }
        match orders.recv_timeout(period) {
            Ok(Order::Look) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Order::Disarm(reply)) => match feeder.disarm() {
                Ok(()) => {
                    let _ = reply.send(Ok(()));
                    return;
                }
                Err((still_armed, why)) => {
                    feeder = still_armed;
                    let _ = reply.send(Err(why));
                }
            },
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests;
