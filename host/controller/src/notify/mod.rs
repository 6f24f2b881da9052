//! Tells webhooks what happens, as `CloudEvents` 1.0 (structured mode: one JSON object per POST).
//!
//! The [`Notifier`] only puts an event into a queue in memory and returns: a webhook that is slow, wrong or gone never
//! delays or fails a pass. Each webhook has a queue of its own, of at most [`QUEUE`] events, and a task that empties it in
//! order and tries again with growing pauses. What is lost because the queue was full is counted, and the next event that
//! arrives says how many were. What waits when the process stops is lost: the events of the API and the status have it.

mod deliver;
mod event;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;
use palisade_api::NodeHealthCheck;
use palisade_api::node_health_check::Notification;

use event::CloudEvent;

use crate::health::{News, Observe};

/// Events that wait for one webhook.
pub const QUEUE: usize = 256;

/// Takes news and sends them on.
pub struct Notifier {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    namespace: String,
    pauses: Pauses,
    queues: Mutex<HashMap<Notification, Queue>>,
}

/// What waits for one webhook. The entry exists exactly while its task does.
#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<CloudEvent>,
    lost: u64,
}

/// Pauses between attempts.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    /// The first.
    pub first: std::time::Duration,
    /// The longest; each is twice the one before.
    pub longest: std::time::Duration,
    /// An event that is older is given up.
    pub give_up: std::time::Duration,
}

impl Default for Pauses {
    /// A second, a minute, an hour: a webhook that is deployed anew misses nothing, and nobody is paged for yesterday.
    fn default() -> Self {
        use std::time::Duration;
        Self { first: Duration::from_secs(1), longest: Duration::from_mins(1), give_up: Duration::from_hours(1) }
    }
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notifier")
    }
}

impl Notifier {
    /// Reads the Secrets of headers in this namespace.
    pub fn new(client: Client, namespace: &str, pauses: Pauses) -> Self {
        let shared = Shared { client, namespace: namespace.to_owned(), pauses, queues: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }
}

impl Observe for Notifier {
    /// Queues news for every webhook of the policy that wants them. Never waits.
    fn happened(&self, policy: &NodeHealthCheck, news: &News<'_>) {
        for webhook in &policy.spec.notifications {
            let wanted = webhook.reasons.is_empty() || webhook.reasons.iter().any(|reason| reason == news.reason);
            if wanted {
                self.shared.put(webhook, CloudEvent::new(policy, news));
            }
        }
    }
}

impl Shared {
    fn put(self: &Arc<Self>, webhook: &Notification, event: CloudEvent) {
        let mut queues = self.lock();
        if let Some(queue) = queues.get_mut(webhook) {
            if queue.events.len() >= QUEUE {
                queue.events.pop_front();
                queue.lost += 1;
            }
            queue.events.push_back(event);
            return;
        }
        queues.insert(webhook.clone(), Queue { events: VecDeque::from([event]), lost: 0 });
        drop(queues);
        // Ends when its queue is empty, so nothing stays of a webhook that is no longer named.
        tokio::spawn(deliver::run(Arc::clone(self), webhook.clone()));
    }

    /// The next event; without one the queue is removed and the task must end.
    fn next(&self, webhook: &Notification) -> Option<CloudEvent> {
        let mut queues = self.lock();
        let queue = queues.get_mut(webhook)?;
        let Some(mut event) = queue.events.pop_front() else {
            queues.remove(webhook);
            return None;
        };
        event.lost = std::mem::take(&mut queue.lost);
        Some(event)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Notification, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
