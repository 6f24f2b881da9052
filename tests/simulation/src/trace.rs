//! What happened, in order: a hash over everything, and the lines if somebody wants to read them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How much is kept as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    /// Only the hash.
    Nothing,
    /// What happened to machines, containers and faults.
    Happenings,
    /// Every request too.
    Requests,
}

#[derive(Debug)]
struct Inner {
    start: Instant,
    keep: Keep,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    hash: u64,
    events: u64,
    lines: Vec<String>,
}

/// The trace of one run; clones share it.
#[derive(Debug, Clone)]
pub struct Trace(Arc<Inner>);

impl Trace {
    /// An empty one; time counts from now.
    pub fn new(keep: Keep) -> Self {
        let state = State { hash: 0xcbf2_9ce4_8422_2325, events: 0, lines: Vec::new() };
        Self(Arc::new(Inner { start: Instant::now(), keep, state: Mutex::new(state) }))
    }

    /// Virtual time since the start.
    pub fn now(&self) -> Duration {
        self.0.start.elapsed()
    }

    /// A happening.
    pub fn say(&self, text: &str) {
        self.note(Keep::Happenings, text);
    }

    /// A request.
    pub fn request(&self, text: &str) {
        self.note(Keep::Requests, text);
    }

    fn note(&self, level: Keep, text: &str) {
        let line = format!("{:>9.3} {text}", self.now().as_secs_f64());
        // Plain numbers and lines: never left half changed.
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in line.bytes() {
            state.hash = (state.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        state.events += 1;
        if self.0.keep >= level {
            state.lines.push(line);
        }
    }

    /// Hash and number of events so far.
    pub fn hash(&self) -> (u64, u64) {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.hash, state.events)
    }

    /// The kept lines.
    pub fn lines(&self) -> Vec<String> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }
}
