//! Fencing: one session per remediation runs the pure prover against the real API and the real agents.
//!
//! A session holds nothing that matters: killed at any line and started again, it marks, reads and attaches to its own
//! intent, and counts from its own first sight.

pub mod lease;
mod owner;
pub mod read;
mod session;
mod state;
#[cfg(test)]
pub mod testing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use palisade_core::fencing::proof::{Grade, Proof};
use palisade_core::fencing::prover::{Event, Evidence};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tracing::Instrument;

pub use state::{FenceState, Happened, Spans};

use crate::context::{Context, Target};

/// What a remediation wants fenced.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The remediation and its node.
    pub target: Target,
    /// Policy.
    pub require: Grade,
    /// The user's floor.
    pub floor: Duration,
    /// The release is done, by this proof: the session only looks for a sign of the ended boot.
    pub released: Option<Proof>,
    /// Something from outside ends the boot: the node need not have an agent.
    pub external: bool,
}

/// The running sessions, by UID of the remediation.
#[derive(Debug, Default)]
pub struct Fences {
    sessions: Mutex<HashMap<String, Session>>,
}

/// What makes a session look.
#[derive(Debug, Default)]
struct Wake {
    /// Something about the node changed.
    changed: Notify,
    /// Its agent lease was shown.
    lease: Notify,
}

#[derive(Debug)]
struct Session {
    node: String,
    state: Arc<Mutex<FenceState>>,
    wake: Arc<Wake>,
    task: JoinHandle<()>,
    events: mpsc::UnboundedSender<Event>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fences {
    /// Starts a session unless one runs for this remediation.
    pub fn ensure(&self, context: &Arc<Context>, wanted: Wanted) {
        let mut sessions = self.lock();
        let uid = wanted.target.uid.clone();
        if sessions.get(&uid).is_some_and(|session| !session.task.is_finished()) {
            return;
        }
        let state = Arc::new(Mutex::new(FenceState::default()));
        let wake = Arc::new(Wake::default());
        let node = wanted.target.node.clone();
        let leadership = context.leadership.clone();
        let (events, inbox) = mpsc::unbounded_channel();
        let inbox = (events.clone(), inbox);
        let span = wanted.target.span();
        let session = session::run(context.clone(), wanted, state.clone(), wake.clone(), inbox).instrument(span);
        // Who loses the lead stops at once; the next leader attaches to the intent.
        let task = tokio::spawn(async move { leadership.only_leading(session).await.unwrap_or_default() });
        sessions.insert(uid, Session { node, state, wake, task, events });
    }

    /// Whether a session runs for this remediation.
    pub fn runs(&self, uid: &str) -> bool {
        self.lock().get(uid).is_some_and(|session| !session.task.is_finished())
    }

    /// Ends the session of a remediation.
    pub fn stop(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Ends all sessions: a controller that stops leaves nothing running behind.
    pub fn stop_all(&self) {
        self.lock().clear();
    }

    /// Where the fencing of a remediation stands, if a session runs.
    pub fn state(&self, uid: &str) -> Option<FenceState> {
        let sessions = self.lock();
        let session = sessions.get(uid)?;
        let state = session.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(state)
    }

    /// Whether the session still holds this very proof, at this moment.
    pub fn holds(&self, uid: &str, proof: &Proof) -> bool {
        let sessions = self.lock();
        let Some(session) = sessions.get(uid) else { return false };
        let state = session.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.usable_proof() == Some(proof)
    }

    /// Something was seen outside that may prove the end of the boot (P4 to P6). The session decides.
    pub fn evidence(&self, uid: &str, evidence: Evidence) {
        if let Some(session) = self.lock().get(uid) {
            // A session that has ended wants no evidence.
            let _ = session.events.send(Event::Evidence(evidence));
        }
    }

    /// Something about a node changed: its sessions read again.
    pub fn wake(&self, node: &str) {
        for session in self.lock().values().filter(|session| session.node == node) {
            session.wake.changed.notify_one();
        }
    }

    /// The watch has shown a version of a node's agent lease: its sessions read again, unless they know that one.
    pub fn lease_shown(&self, node: &str) {
        for session in self.lock().values().filter(|session| session.node == node) {
            session.wake.lease.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
