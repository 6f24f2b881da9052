//! Wakes everybody who waits for a change, in the order in which they began to wait.
//!
//! tokio's `watch` channel wakes its receivers in random order. Here two runs of a simulation have to be the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Inner {
    rung: Notify,
    count: AtomicU64,
    gone: AtomicBool,
}

/// Rings for its listeners; dropping it tells them that it never will again.
#[derive(Debug, Default)]
pub struct Bell(Arc<Inner>);

/// Hears every ring since it was made, several at once as one.
#[derive(Debug)]
pub struct Listener {
    inner: Arc<Inner>,
    heard: u64,
}

/// The bell is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl Bell {
    /// Something changed.
    pub fn ring(&self) {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        self.0.rung.notify_waiters();
    }

    /// Listens from now on.
    pub fn listen(&self) -> Listener {
        Listener { heard: self.0.count.load(Ordering::SeqCst), inner: Arc::clone(&self.0) }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::SeqCst);
        self.0.rung.notify_waiters();
    }
}

impl Listener {
    /// Returns after the next ring that was not heard yet.
    pub async fn changed(&mut self) -> Result<(), Gone> {
        loop {
            let mut rung = std::pin::pin!(self.inner.rung.notified());
            // From here on no ring is missed.
            rung.as_mut().enable();
            let count = self.inner.count.load(Ordering::SeqCst);
            if count != self.heard {
                self.heard = count;
                return Ok(());
            }
            if self.inner.gone.load(Ordering::SeqCst) {
                return Err(Gone);
            }
            rung.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ring_is_heard_once_and_the_end_too() {
        let bell = Bell::default();
        let mut listener = bell.listen();
        bell.ring();
        bell.ring();
        assert_eq!(listener.changed().await, Ok(()));
        drop(bell);
        assert_eq!(listener.changed().await, Err(Gone));
    }
}
