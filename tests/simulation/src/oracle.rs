//! The judge: never two of what may be only one, never a release without an end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::boot::Boot;
use crate::trace::Trace;

#[derive(Default)]
struct State {
    /// Identity (pod name or volume) to the containers that use it.
    users: BTreeMap<String, BTreeMap<String, Arc<Boot>>>,
    fouls: Vec<String>,
    boots_ended: Vec<(String, String, String)>,
    released: usize,
    diagnosed: usize,
}

/// Sees every start and end; clones share it.
#[derive(Clone)]
pub struct Oracle {
    state: Arc<Mutex<State>>,
    trace: Trace,
}

impl Oracle {
    /// Nothing runs.
    pub fn new(trace: Trace) -> Self {
        Self { state: Arc::default(), trace }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A run ends at the first foul anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that must not be.
    pub fn foul(&self, what: String) {
        self.trace.say(&format!("FOUL {what}"));
        self.state().fouls.push(what);
    }

    /// A container starts to write under these identities.
    pub fn starts(&self, uid: &str, identities: &[String], boot: &Arc<Boot>) {
        let mut overlaps = Vec::new();
        {
            let mut state = self.state();
            for identity in identities {
                let users = state.users.entry(identity.clone()).or_default();
                users.retain(|_, other| other.is_alive());
                for (other, at) in users.iter().filter(|(other, _)| *other != uid) {
                    overlaps.push(format!(
                        "{identity} runs twice: {other} on {} (boot {}) while {uid} starts on {} (boot {})",
                        at.node, at.id, boot.node, boot.id
                    ));
                }
                users.insert(uid.to_owned(), Arc::clone(boot));
            }
        }
        for overlap in overlaps {
            self.foul(overlap);
        }
    }

    /// A container stopped.
    pub fn stops(&self, uid: &str) {
        for users in self.state().users.values_mut() {
            users.remove(uid);
        }
    }

    /// A controller took something away by force.
    pub fn release(&self) {
        self.state().released += 1;
    }

    /// The diagnostics of a control-plane node passed: it may exempt itself (R4).
    pub fn diagnosed(&self) {
        self.state().diagnosed += 1;
    }

    /// How often they did.
    pub fn diagnoses(&self) -> usize {
        self.state().diagnosed
    }

    /// How often that happened.
    pub fn released(&self) -> usize {
        self.state().released
    }

    /// A boot ended.
    pub fn boot_ended(&self, boot: &Boot, why: &str) {
        self.state().boots_ended.push((boot.node.clone(), boot.id.clone(), why.to_owned()));
    }

    /// Pods by UID that run on boots that live: nothing may be released of them by force.
    pub fn alive(&self) -> BTreeMap<String, Arc<Boot>> {
        let state = self.state();
        let users = state.users.values().flatten().filter(|(_, boot)| boot.is_alive());
        users.map(|(uid, boot)| (uid.clone(), Arc::clone(boot))).collect()
    }

    /// What was wrong so far.
    pub fn fouls(&self) -> Vec<String> {
        self.state().fouls.clone()
    }

    /// Node, boot and reason of every boot that ended.
    pub fn boots_ended(&self) -> Vec<(String, String, String)> {
        self.state().boots_ended.clone()
    }
}
