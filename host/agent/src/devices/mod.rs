//! The two things that can end a boot: a watchdog that is not fed, and a reset by software.

mod facts;
mod feeder;
#[allow(unsafe_code)] // the only place: ioctls of the watchdog and the scheduling class of its feeder
mod linux;
mod machine;
mod reset;
mod sim;
mod softdog;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::future::BoxFuture;
use palisade_core::fencing::agent::ResetSteps;
use palisade_core::fencing::record;
use palisade_core::time::Mono;

pub use feeder::{Fed, Feeder};
pub use linux::LinuxWatchdog;
pub use machine::{Equipment, Machine, RebootBy, WatchdogBy};
pub use sim::SimWatchdog;

/// An open, and therefore armed, watchdog device. Dropping it without disarming leaves it armed.
pub trait Watchdog: Send {
    /// What it is and does.
    fn describe(&self) -> record::Watchdog;
    /// Feeds it once.
    fn ping(&mut self) -> io::Result<()>;
    /// Magic close. A device that refuses stays armed and comes back, to be fed on.
    fn disarm(self: Box<Self>) -> Result<(), NotDisarmed>;
}

/// The device is still armed.
pub struct NotDisarmed {
    /// It still has to be fed.
    pub device: Box<dyn Watchdog>,
    /// Why.
    pub why: String,
}

impl std::fmt::Debug for NotDisarmed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotDisarmed").field("why", &self.why).finish_non_exhaustive()
    }
}

/// What the feeder has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeederReport {
    /// The device does not take food any more.
    Failed(String),
    /// The machine was suspended since the device was fed last.
    TimeLost,
}

/// Where reports go.
pub type Report = Arc<dyn Fn(FeederReport) + Send + Sync>;

/// The machine's own means to end a boot.
pub trait Devices: Send + Sync + 'static {
    /// Opens (arms) the watchdog and feeds it as the leash permits.
    fn open_watchdog(&self, leash: Arc<Leash>, report: Report) -> BoxFuture<'_, Result<record::Watchdog, String>>;
    /// Disarms it, if the device allows it.
    fn disarm_watchdog(&self) -> BoxFuture<'_, Result<(), String>>;
    /// The leash changed: look at it now.
    fn nudge(&self);
    /// Ends this boot by software: sysrq, then `reboot(2)`, each within its limit. Returns if nothing happened.
    fn reset(&self, steps: ResetSteps) -> BoxFuture<'_, ()>;
}

/// How long the feeder may feed. Written by the loop, read by the feeder; nothing else decides about feeding.
#[derive(Debug, Default)]
pub struct Leash {
    until: AtomicU64,
    fenced: AtomicBool,
    /// Set by the feeder when it saw that time was lost, taken back when the loop knows.
    lost_time: AtomicBool,
}

impl Leash {
    /// Feeding is allowed while the clock is below this; `None`: not at all.
    pub fn permit(&self, until: Option<Mono>) {
        self.until.store(until.map_or(0, |until| until.0), Ordering::SeqCst);
    }

    /// Never again.
    pub fn fence(&self) {
        self.fenced.store(true, Ordering::SeqCst);
    }

    /// Whether the device may be fed at this instant.
    pub fn allows(&self, now: Mono) -> bool {
        !self.fenced.load(Ordering::SeqCst)
            && !self.lost_time.load(Ordering::SeqCst)
            && now.0 < self.until.load(Ordering::SeqCst)
    }

    fn lose_time(&self) {
        self.lost_time.store(true, Ordering::SeqCst);
    }

    /// The loop knows of the lost time; its permits count again.
    pub fn lost_time_is_known(&self) {
        self.lost_time.store(false, Ordering::SeqCst);
    }
}
