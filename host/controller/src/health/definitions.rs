//! Which custom resources exist: a policy that names one which does not is woken when it appears, and clusters that are
//! more than plain Kubernetes are known by theirs. Only metadata is read; schemas would be megabytes.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use futures::{StreamExt, pin_mut};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use super::Wake;

/// Names of the definitions: `plural.group`.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    known: RwLock<Option<BTreeSet<String>>>,
    filled: Notify,
}

impl Definitions {
    /// Waits for the first complete list: what the cluster is must be known before anything is decided.
    pub async fn ready(&self) {
        loop {
            let filled = self.filled.notified();
            if self.read().is_some() {
                return;
            }
            filled.await;
        }
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.read().as_ref().is_some_and(|known| known.contains(name))
    }

    /// Whether there is one of this group.
    pub fn has_group(&self, group: &str) -> bool {
        let of_group = |name: &String| name.split_once('.').is_some_and(|(_, found)| found == group);
        self.read().as_ref().is_some_and(|known| known.iter().any(of_group))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Option<BTreeSet<String>>> {
        // Nothing panics while it holds the lock; if something did, the set is still a set.
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<String>)) {
        change(self.known.write().unwrap_or_else(PoisonError::into_inner).get_or_insert_default());
    }
}

/// Follows the definitions and wakes every policy when one changes, which is rare.
pub(super) async fn watch(client: Client, definitions: std::sync::Arc<Definitions>, wake: UnboundedSender<Wake>) {
    let api = Api::<PartialObjectMeta<CustomResourceDefinition>>::all(client);
    let stream = watcher(api, watcher::Config::default()).default_backoff();
    pin_mut!(stream);
    let mut listed = BTreeSet::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(definition)) => {
                listed.insert(definition.name_any());
            }
            Ok(Event::InitDone) => {
                definitions.change(|known| *known = std::mem::take(&mut listed));
                definitions.filled.notify_waiters();
                if wake.send(Wake::All).is_err() {
                    return;
                }
            }
            // Also one that is known: it may have become established just now.
            Ok(Event::Apply(definition)) => {
                definitions.change(|known| {
                    known.insert(definition.name_any());
                });
                if wake.send(Wake::All).is_err() {
                    return;
                }
            }
            Ok(Event::Delete(definition)) => {
                definitions.change(|known| {
                    known.remove(&definition.name_any());
                });
                if wake.send(Wake::All).is_err() {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "cannot watch CustomResourceDefinitions"),
        }
    }
}
