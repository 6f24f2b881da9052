//! A machine that remembers what was done to it.

use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use palisade_agent::devices::{Devices, Leash, Report};
use palisade_core::fencing::agent::ResetSteps;
use palisade_core::fencing::record::Watchdog;
use palisade_core::time::Mono;

#[derive(Default)]
struct Memory {
    leash: Option<Arc<Leash>>,
    opened: usize,
    disarmed: usize,
    resets: usize,
    broken: Option<String>,
}

#[derive(Default)]
pub struct TestMachine(Mutex<Memory>);

impl TestMachine {
    /// Whether a feeder would feed at this instant.
    pub fn feeds(&self, now: Mono) -> bool {
        self.0.lock().unwrap().leash.as_ref().is_some_and(|leash| leash.allows(now))
    }
    pub fn opened(&self) -> usize {
        self.0.lock().unwrap().opened
    }
    pub fn disarmed(&self) -> usize {
        self.0.lock().unwrap().disarmed
    }
    pub fn resets(&self) -> usize {
        self.0.lock().unwrap().resets
    }
    /// From now on the device cannot be opened, for this reason.
    pub fn refuse_the_device(&self, why: &str) {
        self.0.lock().unwrap().broken = Some(why.into());
    }
    pub fn process_died(&self) {
        self.0.lock().unwrap().leash = None;
    }
}

impl Devices for TestMachine {
    fn open_watchdog(&self, leash: Arc<Leash>, _report: Report) -> BoxFuture<'_, Result<Watchdog, String>> {
        let mut memory = self.0.lock().unwrap();
        if let Some(why) = memory.broken.clone() {
            return async move { Err(why) }.boxed();
        }
        memory.opened += 1;
        memory.leash = Some(leash);
        async { Ok(Watchdog { identity: "test".into(), timeout_millis: 10_000, resets: true }) }.boxed()
    }
    fn disarm_watchdog(&self) -> BoxFuture<'_, Result<(), String>> {
        let mut memory = self.0.lock().unwrap();
        memory.disarmed += 1;
        memory.leash = None;
        async { Ok(()) }.boxed()
    }
    fn nudge(&self) {}
    fn reset(&self, _steps: ResetSteps) -> BoxFuture<'_, ()> {
        self.0.lock().unwrap().resets += 1;
        async {}.boxed()
    }
}
