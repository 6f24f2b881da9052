//! What a pod does: it stamps its workload's file for as long as its boot lives, whoever may have forgotten it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::boot::Boot;
use super::oracle::Ledger;

/// Pause between two stamps.
const PACE: Duration = Duration::from_millis(100);

/// A running pod.
#[derive(Debug)]
struct Writer {
    workload: String,
    number: u64,
    volumes: Vec<String>,
    stopped: Arc<Mutex<bool>>,
}

/// The containers of one boot. They are the machine's, not the kubelet's: they go on when it dies.
#[derive(Clone)]
pub struct Containers {
    boot: Arc<Boot>,
    ledger: Ledger,
    running: Arc<Mutex<BTreeMap<String, Writer>>>,
}

impl Containers {
    /// No containers yet.
    pub fn new(boot: Arc<Boot>, ledger: Ledger) -> Self {
        Self { boot, ledger, running: Arc::default() }
    }

    fn with<R>(&self, act: impl FnOnce(&mut BTreeMap<String, Writer>) -> R) -> R {
        act(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// UIDs of the pods that run here.
    pub fn running(&self) -> Vec<String> {
        self.with(|running| running.keys().cloned().collect())
    }

    /// Volumes that are mounted here, in the form of `volumesInUse`.
    pub fn volumes(&self) -> Vec<String> {
        self.with(|running| running.values().flat_map(|writer| writer.volumes.iter().cloned()).collect())
    }

    /// Starts the writer of a pod, unless it runs already. False if it could not be started.
    pub fn start(&self, uid: &str, workload: &str, volumes: Vec<String>) -> bool {
        self.with(|running| {
            if running.contains_key(uid) {
                return true;
            }
            let Some(Ok(number)) = self.boot.while_alive(|| ()).map(|()| self.ledger.open(workload, &self.boot)) else {
                return false;
            };
            let stopped = Arc::new(Mutex::new(false));
            tokio::spawn(write(
                Arc::clone(&self.boot),
                self.ledger.clone(),
                workload.to_owned(),
                uid.to_owned(),
                Arc::clone(&stopped),
            ));
            running.insert(uid.to_owned(), Writer { workload: workload.to_owned(), number, volumes, stopped });
            true
        })
    }

    /// Stops a pod; no stamp of it follows once this returns.
    pub fn stop(&self, uid: &str) {
        if let Some(writer) = self.with(|running| running.remove(uid)) {
            *writer.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.ledger.close(&writer.workload, writer.number);
        }
    }
}

async fn write(boot: Arc<Boot>, ledger: Ledger, workload: String, uid: String, stopped: Arc<Mutex<bool>>) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        pace.tick().await;
        let stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if *stopped {
            return;
        }
        match boot.while_alive(|| ledger.stamp(&workload, &uid, &boot)) {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!(%workload, %error, "cannot stamp"),
            None => return,
        }
    }
}
