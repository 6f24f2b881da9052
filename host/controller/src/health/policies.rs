//! Watches the policies.

use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource};
use palisade_api::NodeHealthCheck;
use palisade_core::health::Selector;
use tokio::sync::mpsc::UnboundedSender;

use super::{Guarded, Observe, Wake};

/// Fills the store and wakes policies that changed.
pub(super) async fn watch(
    client: Client,
    writer: Writer<Guarded>,
    wake: UnboundedSender<Wake>,
    observers: Vec<Arc<dyn Observe>>,
    board: Option<Arc<palisade_page::Board>>,
) {
    let stream = watcher(Api::<Guarded>::all(client), watcher::Config::default())
        .modify(|policy| policy.meta_mut().managed_fields = None)
        .default_backoff()
        .reflect(writer);
    pin_mut!(stream);
    while let Some(event) = stream.next().await {
        if let (Some(board), Ok(event)) = (&board, &event) {
            board.policy(event);
        }
        if let Ok(event) = &event {
            for observer in &observers {
                observer.seen(event);
            }
        }
        let wakes = match event {
            Ok(Event::Apply(policy) | Event::Delete(policy)) => name(&policy).map(Wake::Policy),
            Ok(Event::InitDone) => Some(Wake::All),
            Ok(Event::Init | Event::InitApply(_)) => None,
            Err(error) => {
                tracing::warn!(%error, "cannot watch NodeHealthChecks");
                None
            }
        };
        // The receiver is gone only when the detector ends.
        if let Some(wakes) = wakes
            && wake.send(wakes).is_err()
        {
            return;
        }
    }
}

/// Name of a policy, decodable or not.
pub(super) fn name(policy: &Guarded) -> Option<String> {
    policy.meta().name.clone()
}

/// Whether the policy selects a node with these labels. One that cannot be understood selects nothing.
pub(super) fn selects(policy: &NodeHealthCheck, labels: &std::collections::BTreeMap<String, String>) -> bool {
    Selector::new(policy.spec.selector.as_ref()).is_ok_and(|selector| selector.matches(labels))
}
