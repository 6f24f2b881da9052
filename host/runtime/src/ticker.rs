//! Ticks the engine's epoch from an OS thread while calls run.
//!
//! A thread of its own, because an async runtime may be just what a guest is blocking. It sleeps while nothing runs:
//! an idle controller is not woken a hundred times a second. It holds the engine weakly and ends with its owner.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use wasmtime::EngineWeak;

/// Length of a tick: the precision of deadlines.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The owner's handle; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Ticker(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, and two numbers cannot be left half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticker {
    pub(crate) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        thread::Builder::new().name("palisade-epoch".into()).spawn(move || run(&theirs, &engine))?;
        Ok(Self(shared))
    }

    /// Keeps the ticks coming until the guard is dropped.
    pub(crate) fn during_call(&self) -> Ticking<'_> {
        self.0.lock().running += 1;
        self.0.changed.notify_all();
        Ticking(self)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

/// A call is running.
pub(crate) struct Ticking<'a>(&'a Ticker);

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.0.lock().running -= 1;
    }
}

fn run(shared: &Shared, engine: &EngineWeak) {
    let mut state = shared.lock();
    loop {
        while state.running == 0 && !state.closed {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return;
        }
        drop(state);
        thread::sleep(TICK);
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
        drop(engine);
        state = shared.lock();
    }
}
