//! Work that takes CPU and answers to nobody meanwhile.

use std::sync::LazyLock;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Calls of components that have a thread at the same time: one for each CPU, and so many at least that a few that use up
/// their time do not keep the others waiting. When hundreds of remediations are due at once, further threads would only
/// queue up for the CPUs, each with its memory.
const FEWEST: usize = 8;

static CALLS: LazyLock<Semaphore> = LazyLock::new(|| {
    Semaphore::new(std::thread::available_parallelism().map_or(FEWEST, |cpus| cpus.get().max(FEWEST)))
});

/// Runs it on a thread of its own. A runtime that has only one thread was chosen to have everything happen in one
/// order (tests, the simulation): there it runs in place. `None` if it panicked or the process stops.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if in_order() {
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}

fn in_order() -> bool {
    Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread
}

/// The same for a call of a component, which takes its turn among the others.
pub async fn call<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if in_order() {
        return Some(work());
    }
    // Nobody closes it.
    let _turn = CALLS.acquire().await.ok()?;
    tokio::task::spawn_blocking(work).await.ok()
}
