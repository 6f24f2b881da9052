//! The heartbeats of the kubelets, read now and then instead of with every message.
//!
//! Each message of a watch wakes the process: an event of the socket, a read from the kernel, tasks and timers. For a
//! thousand kubelets that is a hundred times a second, for something that nobody waits for: it only tells since when a
//! kubelet is silent. So they have a thread and a connection of their own, and both sleep most of the time: what arrives
//! meanwhile waits in the buffers of the kernel, and is read in one go.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::fence::read::KUBELET_LEASES;
use crate::lean::{self, Lean};

/// So long the thread sleeps. Silence is counted in seconds.
const PACE: Duration = Duration::from_millis(250);
/// A source that had nothing for so long has been read: what is in the buffers comes in pieces.
const LULL: Duration = Duration::from_millis(2);
/// The pages of a list are asked for one after the other.
const PAGE: Duration = Duration::from_millis(100);

/// Makes a client in the runtime of the caller.
pub type MakeClient = Arc<dyn Fn() -> anyhow::Result<Client> + Send + Sync>;

/// Follows the leases of the kubelets in a thread of its own, which ends when this is dropped; ends itself only if that
/// thread cannot go on.
pub async fn follow(client: MakeClient, see: impl Fn(&Lease) + Send + 'static) {
    let wanted = Arc::new(());
    let (running, ended) = oneshot::channel::<()>();
    let still = Arc::downgrade(&wanted);
    let thread = thread::Builder::new().name("palisade-beats".to_owned()).spawn(move || {
        let _running = running;
        if let Err(error) = run(&client, see, &still) {
            tracing::error!(error = format!("{error:#}"), "heartbeats of the kubelets");
        }
    });
    match thread {
        // It never sends; that it is dropped says that the thread has ended.
        Ok(_) => drop(ended.await),
        Err(error) => tracing::error!(%error, "no thread for the heartbeats of the kubelets"),
    }
    drop(wanted);
}

fn run(client: &MakeClient, see: impl Fn(&Lease), wanted: &Weak<()>) -> anyhow::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let leases = lean::watch(Api::<Lean<Lease>>::namespaced(client()?, KUBELET_LEASES));
        let rest = || {
            // The connection rests with it: that is what the thread is for.
            thread::sleep(PACE);
            wanted.strong_count() > 0
        };
        read(leases, see, rest).await;
        Ok(())
    })
}

/// Reads what there is, then rests, over and over; until the source ends or `rest` says that it is enough.
async fn read(
    source: impl Stream<Item = watcher::Result<Event<Lease>>>,
    see: impl Fn(&Lease),
    mut rest: impl FnMut() -> bool,
) {
    let mut source = pin!(source);
    let mut patience = PAGE;
    loop {
        match timeout(patience, source.next()).await {
            Ok(Some(Ok(event))) => match event {
                Event::Init => patience = PAGE,
                Event::InitDone => patience = LULL,
                Event::Apply(lease) | Event::InitApply(lease) => see(&lease),
                Event::Delete(_) => {}
            },
            // The watcher behind it starts over when it is polled again.
            Ok(Some(Err(error))) => tracing::debug!(%error, "watch interrupted"),
            Err(_) if rest() => {}
            Ok(None) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use kube::ResourceExt;
    use palisade_sandbox::api::ApiStore;
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    use super::*;

    fn lease(name: &str) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.name = Some(name.to_owned());
        lease
    }

    #[tokio::test(start_paused = true)]
    async fn it_rests_only_when_there_is_nothing_more() {
        // Given a list whose pages come with pauses, then heartbeats in pieces
        let (sender, mut receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let events = [Event::Init, Event::InitApply(lease("a")), Event::InitApply(lease("b")), Event::InitDone];
            for event in events {
                sleep(Duration::from_millis(50)).await;
                sender.send(Ok(event)).unwrap();
            }
            for name in ["c", "d", "e"] {
                sleep(Duration::from_millis(1)).await;
                sender.send(Ok(Event::Apply(lease(name)))).unwrap();
            }
            sleep(Duration::from_millis(10)).await;
            sender.send(Ok(Event::Apply(lease("f")))).unwrap();
            std::future::pending::<()>().await;
        });
        let source = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        // When they are read until it has rested ten times
        let (seen, rests) = (RefCell::new(String::new()), Cell::new(0));
        let see = |lease: &Lease| seen.borrow_mut().push_str(&lease.name_any());
        let rest = || {
            rests.set(rests.get() + 1);
            seen.borrow_mut().push('.');
            rests.get() < 10
        };
        read(source, see, rest).await;
        // Then it did so neither between the pages nor between the pieces
        let seen = seen.into_inner();
        assert!(seen.starts_with("abcde.") && seen.contains(".f."), "{seen}");
    }

    #[tokio::test]
    async fn the_thread_goes_with_its_task() {
        // Given a lease that is followed in a thread
        let store = ApiStore::default();
        let object = serde_json::json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": "n1", "namespace": KUBELET_LEASES }, "spec": { "holderIdentity": "n1" } });
        let namespace =
            serde_json::json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": KUBELET_LEASES } });
        store.apply_value(&namespace).unwrap();
        store.apply_value(&object).unwrap();
        let (sender, mut seen) = mpsc::unbounded_channel();
        let client: MakeClient = Arc::new(move || Ok(store.client()));
        let task = tokio::spawn(follow(client, move |lease| drop(sender.send(lease.name_any()))));
        assert_eq!(seen.recv().await.as_deref(), Some("n1"));
        // When the task is dropped, then the thread lets go of everything
        task.abort();
        assert_eq!(timeout(Duration::from_secs(30), seen.recv()).await, Ok(None));
    }
}
