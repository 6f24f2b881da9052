//! Faults of the API server itself.

use tokio::sync::watch;

/// How the server treats writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writes {
    /// As it should.
    #[default]
    Work,
    /// Refused at once, as when etcd is out of space.
    Fail,
    /// Answered with 504, as when etcd has no quorum. The write does not happen.
    TimeOut,
}

/// The switches of one store.
#[derive(Debug)]
pub struct Switches {
    outage: watch::Sender<bool>,
    writes: watch::Sender<Writes>,
}

impl Default for Switches {
    fn default() -> Self {
        Self { outage: watch::Sender::new(false), writes: watch::Sender::new(Writes::Work) }
    }
}

impl Switches {
    /// During an outage requests and open watches get no answer; connections stay open.
    pub fn set_outage(&self, on: bool) {
        self.outage.send_replace(on);
    }

    /// Whether an outage is on.
    pub fn outage(&self) -> bool {
        *self.outage.borrow()
    }

    /// Chooses what happens to writes.
    pub fn set_writes(&self, writes: Writes) {
        self.writes.send_replace(writes);
    }

    /// What happens to writes now.
    pub fn writes(&self) -> Writes {
        *self.writes.borrow()
    }

    /// Returns when there is no outage.
    pub async fn wait_until_up(&self) {
        let mut outage = self.outage.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = outage.wait_for(|on| !on).await;
    }
}
