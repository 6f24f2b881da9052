//! Places for calls: as many as the pool has room for. Who finds none waits for one, because the pool itself answers
//! with an error, and a burst of remediations is nobody's fault.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The places of an engine.
#[derive(Debug)]
pub(crate) struct Places {
    free: Mutex<u32>,
    freed: Condvar,
}

impl Places {
    pub(crate) fn new(count: u32) -> Self {
        Self { free: Mutex::new(count.max(1)), freed: Condvar::new() }
    }

    /// Takes a place, waiting for one no longer than this.
    pub(crate) fn take(&self, patience: Duration) -> Option<Place<'_>> {
        let deadline = Instant::now() + patience;
        let mut free = self.lock();
        while *free == 0 {
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            free = self.freed.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Some(Place(self))
    }

    fn lock(&self) -> MutexGuard<'_, u32> {
        // A number cannot be left half written.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is taken; dropped it is free again.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a Places);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.lock() += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_once_and_waited_for() {
        let places = Places::new(1);
        let place = places.take(Duration::ZERO).unwrap();
        assert!(places.take(Duration::from_millis(5)).is_none(), "there is only one");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| places.take(Duration::from_mins(1)).is_some());
            drop(place);
            assert!(waiting.join().unwrap());
        });
        assert!(places.take(Duration::ZERO).is_some(), "whoever waited gave it back");
    }
}
