//! Work that takes CPU and answers to nobody meanwhile.

use std::sync::LazyLock;

use palisade_runtime::EngineSettings;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Calls of components that have a thread at the same time: as many as the engine has room for. When hundreds of
/// remediations are due at once, further threads would only wait there, each with its memory.
static CALLS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(EngineSettings::default().concurrent_calls as usize));

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
