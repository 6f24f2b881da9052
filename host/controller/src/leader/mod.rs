//! Leader election: of several controllers one acts, so that nothing is asked or tried twice.
//!
//! Only an optimisation. Two leaders at once, a leader that hangs in the middle of a write, clocks that differ: all of
//! that is safe, because every write is guarded by names and resource versions. So the election may be simple: a
//! `coordination.k8s.io` Lease, renewed by its holder and watched by everybody. A follower asks for nothing, keeps its
//! stores warm, and takes over within milliseconds of a release, or when the holder was silent for the lease's duration.

mod campaign;
mod decide;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use tokio::sync::{Notify, watch};

pub use campaign::Candidate;

/// Silence after which a holder is taken for gone.
pub const DURATION: Duration = Duration::from_secs(15);
/// Pause between renewals.
const RENEWAL: Duration = Duration::from_secs(5);
/// A holder that could not renew for so long stops acting: before anybody else may start.
const DEADLINE: Duration = Duration::from_secs(10);

/// Name of the Lease, in the controller's namespace.
pub const LEASE: &str = "palisade-controller";

/// Whether this process is the one that acts. By default it is alone.
#[derive(Debug, Clone)]
pub struct Leadership {
    state: watch::Receiver<bool>,
    /// Keeps the state open where nobody campaigns.
    always: Option<Arc<watch::Sender<bool>>>,
    handed_over: Arc<HandedOver>,
}

/// What asks the candidate to step back, and for which causes it was asked.
#[derive(Debug, Default)]
struct HandedOver {
    asked: Notify,
    causes: Mutex<HashSet<String>>,
}

impl HandedOver {
    fn causes(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // A set is never left half changed.
        self.causes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Leadership {
    fn default() -> Self {
        Self::always()
    }
}

impl Leadership {
    /// Of a process that is alone.
    pub fn always() -> Self {
        let (sender, state) = watch::channel(true);
        Self { state, always: Some(Arc::new(sender)), handed_over: Arc::default() }
    }

    /// Of a process that stands for election, and what campaigns for it.
    pub fn elected(client: Client, namespace: &str, identity: &str) -> (Self, Candidate) {
        let (sender, state) = watch::channel(false);
        let handed_over = Arc::<HandedOver>::default();
        let candidate = Candidate::new(client, namespace, identity.to_owned(), sender, handed_over.clone());
        (Self { state, always: None, handed_over }, candidate)
    }

    /// Whether it acts now.
    pub fn leads(&self) -> bool {
        *self.state.borrow()
    }

    /// Waits until it acts.
    pub async fn gained(&self) {
        self.becomes(true).await;
    }

    /// Waits until it does not act any more.
    pub async fn lost(&self) {
        self.becomes(false).await;
    }

    /// Whether the lead may be given up for a cause: not by a process that is alone, and only once. One that got the lead
    /// back, because nobody else wanted it, has to go on itself.
    pub fn may_hand_over(&self, cause: &str) -> bool {
        self.always.is_none() && !self.handed_over.causes().contains(cause)
    }

    /// Gives the lead up for a cause, so that another process can take it at once.
    pub fn hand_over(&self, cause: &str) {
        if self.may_hand_over(cause) {
            self.handed_over.causes().insert(cause.to_owned());
            self.handed_over.asked.notify_one();
        }
    }

    async fn becomes(&self, wanted: bool) {
        if self.state.clone().wait_for(|leads| *leads == wanted).await.is_err() {
            // The candidate is gone, so the process ends: nothing changes any more.
            std::future::pending::<()>().await;
        }
    }

    /// Does this while it leads; `None` if the lead was lost before it was done, or was not there to begin with. What was
    /// begun is dropped at its next pause.
    pub async fn only_leading<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.lost() => None,
            done = work => Some(done),
        }
    }

    /// Does this for as long as it leads, and begins again each time the lead comes back.
    pub async fn whenever_leading<F: Future<Output = ()>>(&self, mut work: impl FnMut() -> F) {
        loop {
            self.gained().await;
            self.only_leading(work()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn pair(leads: bool) -> (watch::Sender<bool>, Leadership) {
        let (sender, state) = watch::channel(leads);
        (sender, Leadership { state, always: None, handed_over: Arc::default() })
    }

    #[tokio::test]
    async fn work_is_dropped_when_the_lead_is_lost_and_begins_again_with_it() {
        let (sender, leadership) = pair(true);
        let begun = Arc::new(AtomicUsize::new(0));
        let counter = begun.clone();
        let task = tokio::spawn(async move {
            let work = || {
                counter.fetch_add(1, Ordering::SeqCst);
                std::future::pending()
            };
            leadership.whenever_leading(work).await;
        });
        for expected in 1..=3 {
            sender.send(true).unwrap();
            while begun.load(Ordering::SeqCst) < expected {
                tokio::task::yield_now().await;
            }
            sender.send(false).unwrap();
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert_eq!(begun.load(Ordering::SeqCst), expected);
        }
        task.abort();
    }

    #[tokio::test]
    async fn nothing_begins_without_the_lead() {
        let (_sender, leadership) = pair(false);
        assert_eq!(leadership.only_leading(async { 1 }).await, None);
        assert_eq!(Leadership::always().only_leading(async { 1 }).await, Some(1));
    }

    #[tokio::test]
    async fn the_lead_is_handed_over_once_for_a_cause_and_never_by_a_process_that_is_alone() {
        let (_sender, leadership) = pair(true);
        leadership.hand_over("a");
        leadership.handed_over.asked.notified().await;
        assert!(!leadership.may_hand_over("a"), "it came back: there is nobody else");
        assert!(leadership.may_hand_over("b"));
        assert!(!Leadership::always().may_hand_over("a"));
    }
}
