//! Follows the objects of one kind through relists and lost connections.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;

use futures::StreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// A change of an object.
pub enum Change<K> {
    /// This is how it looks now.
    Now(K),
    /// It is gone; this is how it looked last.
    Gone(K),
}

/// Calls `tell` for every change until aborted.
pub async fn follow<K, F>(api: Api<K>, mut tell: F)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    F: FnMut(Change<K>),
{
    let mut known: BTreeMap<String, K> = BTreeMap::new();
    let mut listed: Option<BTreeMap<String, K>> = None;
    let mut events = pin!(watcher::watcher(api, watcher::Config::default()));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed = Some(BTreeMap::new()),
            Ok(Event::InitApply(object)) => {
                if let Some(listed) = &mut listed {
                    listed.insert(object.uid().unwrap_or_default(), object);
                }
            }
            Ok(Event::InitDone) => {
                let now = listed.take().unwrap_or_default();
                let gone: Vec<String> = known.keys().filter(|uid| !now.contains_key(*uid)).cloned().collect();
                for uid in gone {
                    if let Some(object) = known.remove(&uid) {
                        tell(Change::Gone(object));
                    }
                }
                for (uid, object) in now {
                    known.insert(uid, object.clone());
                    tell(Change::Now(object));
                }
            }
            Ok(Event::Apply(object)) => {
                known.insert(object.uid().unwrap_or_default(), object.clone());
                tell(Change::Now(object));
            }
            Ok(Event::Delete(object)) => {
                known.remove(&object.uid().unwrap_or_default());
                tell(Change::Gone(object));
            }
            // The watcher itself tries again; the pause keeps a server that is still starting from being hammered.
            Err(error) => {
                tracing::debug!(%error, kind = std::any::type_name::<K>(), "watch");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}
