//! One boot of a machine: what runs on it runs only while it lives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

#[derive(Debug)]
struct Gate {
    alive: bool,
    fires: Option<(Instant, Duration)>,
    /// Volumes of the running containers, by pod UID.
    containers: BTreeMap<String, Vec<String>>,
}

/// A boot, its watchdog and its containers.
#[derive(Debug)]
pub struct Boot {
    /// Name of the node.
    pub node: String,
    /// The boot id.
    pub id: String,
    /// When it began: the origin of its clock.
    pub since: Instant,
    gate: Mutex<Gate>,
    rearmed: Notify,
}

impl Boot {
    /// A living boot.
    pub fn new(node: &str, id: String) -> Arc<Self> {
        let gate = Mutex::new(Gate { alive: true, fires: None, containers: BTreeMap::new() });
        Arc::new(Self { node: node.to_owned(), id, since: Instant::now(), gate, rearmed: Notify::new() })
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it lives: a watchdog is hardware and never late.
    pub fn is_alive(&self) -> bool {
        let gate = self.gate();
        gate.alive && gate.fires.is_none_or(|(at, _)| Instant::now() < at)
    }

    /// Opens the watchdog, which also feeds it.
    pub fn arm(&self, timeout: Duration) -> bool {
        if !self.is_alive() {
            return false;
        }
        self.gate().fires = Some((Instant::now() + timeout, timeout));
        self.rearmed.notify_one();
        true
    }

    /// Feeds it, if it is open and has not fired.
    pub fn feed(&self) {
        if self.is_alive()
            && let Some((at, timeout)) = &mut self.gate().fires
        {
            *at = Instant::now() + *timeout;
        }
    }

    /// The magic close.
    pub fn disarm(&self) {
        if self.is_alive() {
            self.gate().fires = None;
        }
    }

    /// Returns when the watchdog fires.
    pub async fn fired(&self) {
        loop {
            let fires = self.gate().fires.map(|(at, _)| at);
            match fires {
                None => self.rearmed.notified().await,
                Some(at) if at <= Instant::now() => return,
                Some(at) => tokio::time::sleep_until(at).await,
            }
        }
    }

    /// Ends it. False if it had ended before.
    pub fn end(&self) -> bool {
        let mut gate = self.gate();
        gate.containers.clear();
        std::mem::replace(&mut gate.alive, false)
    }

    /// Pods that run here.
    pub fn running(&self) -> Vec<String> {
        self.gate().containers.keys().cloned().collect()
    }

    /// Volumes in use.
    pub fn volumes(&self) -> Vec<String> {
        self.gate().containers.values().flatten().cloned().collect()
    }

    /// A container starts. False if it cannot.
    pub fn start(&self, uid: &str, volumes: Vec<String>) -> bool {
        let alive = self.is_alive();
        alive && self.gate().containers.insert(uid.to_owned(), volumes).is_none()
    }

    /// A container stops. False if it did not run.
    pub fn stop(&self, uid: &str) -> bool {
        self.gate().containers.remove(uid).is_some()
    }
}
