//! Work that takes CPU and answers to nobody meanwhile.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs it on a thread of its own. A runtime that has only one thread was chosen to have everything happen in one
/// order (tests, the simulation): there it runs in place. `None` if it panicked or the process stops.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}
