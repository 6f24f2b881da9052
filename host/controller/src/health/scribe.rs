//! Writes events behind the work: what is said about a remediation never delays it.
//!
//! Events wait in memory while a pass makes its changes, then they are written in order, a few at once. What waits when the
//! process is killed is lost: events are news, and the status says what is so.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};

/// So many events wait at most: those of a burst of a thousand nodes. Further ones are only logged.
const QUEUE: usize = 4_096;
/// So many are written side by side.
const SIDE_BY_SIDE: usize = 8;
/// One that takes longer is given up.
const LIMIT: Duration = Duration::from_secs(10);
/// So long a process that ends in order waits for what is still to be written.
const FAREWELL: Duration = Duration::from_secs(1);

/// Takes events.
pub(super) struct Scribe {
    queue: mpsc::Sender<Event>,
    busy: watch::Sender<usize>,
}

/// Writes them; ends when nobody can bring new ones.
pub(super) struct Writing(JoinHandle<()>);

/// While it exists nothing is written.
#[must_use]
pub(super) struct Silence(watch::Sender<usize>);

impl Drop for Silence {
    fn drop(&mut self) {
        self.0.send_modify(|busy| *busy -= 1);
    }
}

impl Scribe {
    /// Begins to write to this API.
    pub fn start(client: Client) -> (Self, Writing) {
        let (queue, events) = mpsc::channel(QUEUE);
        let (busy, is_busy) = watch::channel(0);
        (Self { queue, busy }, Writing(tokio::spawn(write(client, events, is_busy))))
    }

    /// Has an event written when there is time.
    pub fn write(&self, event: Event) {
        if let Err(lost) = self.queue.try_send(event) {
            let (mpsc::error::TrySendError::Full(event) | mpsc::error::TrySendError::Closed(event)) = lost;
            let about = event.involved_object.name.unwrap_or_default();
            tracing::warn!(about, message = event.message, "more than {QUEUE} events wait: not recorded");
        }
    }

    /// Nothing is written until this is dropped.
    pub fn silence(&self) -> Silence {
        self.busy.send_modify(|busy| *busy += 1);
        Silence(self.busy.clone())
    }
}

impl Writing {
    /// Waits for the rest, if that takes no time; the [`Scribe`] must be gone.
    pub async fn end(self) {
        // What is not written by now is lost with the process.
        let _ = timeout(FAREWELL, self.0).await;
    }
}

async fn write(client: Client, mut events: mpsc::Receiver<Event>, busy: watch::Receiver<usize>) {
    let written = futures::stream::poll_fn(|context| events.poll_recv(context)).map(|event| {
        let (client, mut busy) = (client.clone(), busy.clone());
        async move {
            // An error means that nobody works any more.
            let _ = busy.wait_for(|busy| *busy == 0).await;
            record(client, event).await;
        }
    });
    written.buffered(SIDE_BY_SIDE).collect::<()>().await;
}

/// One that cannot be written is logged and never stops the work.
async fn record(client: Client, event: Event) {
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client, &namespace);
    let (reason, about) = (event.reason.as_deref(), event.involved_object.name.as_deref());
    match timeout(LIMIT, api.create(&PostParams::default(), &event)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, reason, about, "event not recorded"),
        Err(_) => tracing::debug!(reason, about, "event not recorded in time"),
    }
}

#[cfg(test)]
mod tests {
    use kube::api::{ListParams, ObjectMeta};
    use palisade_sandbox::api::ApiStore;

    use super::*;

    #[tokio::test]
    async fn events_wait_for_the_end_of_the_work_and_lose_nothing_when_the_process_ends_in_order() {
        // Given work under way
        let client = ApiStore::default().client();
        let (scribe, writing) = Scribe::start(client.clone());
        let silence = scribe.silence();
        // When something is said meanwhile
        for number in 0..20 {
            let metadata = ObjectMeta {
                name: Some(format!("e{number}")),
                namespace: Some("default".to_owned()),
                ..ObjectMeta::default()
            };
            scribe.write(Event { metadata, ..Event::default() });
        }
        tokio::task::yield_now().await;
        let api: Api<Event> = Api::namespaced(client, "default");
        let written = async || api.list(&ListParams::default()).await.unwrap().items.len();
        assert_eq!(written().await, 0, "the work comes first");
        // Then it is written after the work, also by a process that ends
        drop(silence);
        drop(scribe);
        writing.end().await;
        assert_eq!(written().await, 20);
    }
}
