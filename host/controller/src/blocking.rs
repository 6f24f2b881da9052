//! Work that takes CPU and answers to nobody meanwhile.

use std::sync::LazyLock;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// So many calls are worked on at least: one that hangs until its limit keeps only its own place.
const LEAST: usize = 8;

/// A thread for each of hundreds of calls would have all of them finish late; in turn, each is done within the time of
/// those before it (64 side by side: half the p99, `cargo xtask bench concurrent`).
static TURNS: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    Semaphore::new(LEAST.max(2 * cores))
});

/// Runs it on a thread of its own. A runtime that has only one thread was chosen to have everything happen in one
/// order (tests, the simulation): there it runs in place. `None` if it panicked or the process stops.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}

/// The same for short work of which much may come at once.
pub async fn in_turn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    // Never closed.
    let _turn = TURNS.acquire().await.ok()?;
    run(work).await
}
