//! Watches: from a version, or from now with everything that is there.

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use futures::stream::unfold;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::ApiStore;
use super::bell::Listener;
use super::error::ApiError;
use super::meta;
use super::selectors::Selector;
use super::views;
use super::write::Target;

/// What a client asked for.
#[derive(Debug)]
pub struct WatchRequest {
    /// What to watch; an empty name means all of it.
    pub target: Target,
    /// One namespace, or all.
    pub namespace: Option<String>,
    /// Which objects.
    pub selector: Selector,
    /// The version to resume after; none or zero starts with what is there.
    pub resource_version: Option<u64>,
    /// `allowWatchBookmarks`.
    pub bookmarks: bool,
    /// `sendInitialEvents`: what is there, then a bookmark that says so, then changes.
    pub send_initial: bool,
    /// When the server ends the watch.
    pub timeout: Duration,
}

struct Watching {
    store: ApiStore,
    request: WatchRequest,
    cursor: u64,
    pending: VecDeque<Value>,
    wake: Option<Listener>,
    deadline: Instant,
    ended: bool,
}

/// The events, as `{"type": …, "object": …}`.
pub fn watch(store: ApiStore, request: WatchRequest) -> impl Stream<Item = Value> + Send {
    let watching = Watching::start(store, request);
    unfold(watching, |mut watching| async move {
        let event = watching.next().await?;
        // An outage holds events back; the connection stays open.
        watching.store.inner.switches.wait_until_up().await;
        Some((event, watching))
    })
}

impl Watching {
    fn start(store: ApiStore, request: WatchRequest) -> Self {
        let mut pending = VecDeque::new();
        let state = store.state();
        let resource = request.target.resource.key();
        let from_now = request.send_initial || matches!(request.resource_version, None | Some(0));
        let mut ended = false;
        let cursor = match request.resource_version {
            Some(version) if !from_now => version,
            _ => state.version(),
        };
        if cursor > state.version() {
            // Only a client of an earlier store knows such a version: it has to list again.
            pending.push_back(event("ERROR", ApiError::expired(cursor, state.version()).status()));
            ended = true;
        }
        if from_now {
            for object in state.list(&resource, request.namespace.as_deref()) {
                if request.selector.matches(object) {
                    pending.push_back(event("ADDED", views::show(&request.target, object)));
                }
            }
            if request.send_initial && request.bookmarks {
                pending.push_back(bookmark(&request.target, cursor, true));
            }
        }
        let wake = state.subscribe(&resource);
        drop(state);
        let deadline = Instant::now() + request.timeout;
        Self { store, request, cursor, pending, wake, deadline, ended }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            self.collect();
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            let interval = self.store.inner.settings.bookmark_interval;
            let idle_until = self.deadline.min(Instant::now() + interval);
            let Some(wake) = self.wake.as_mut() else {
                self.ended = true;
                continue;
            };
            tokio::select! {
                biased;
                changed = wake.changed() => {
                    // The resource is no longer served.
                    self.ended = changed.is_err();
                }
                () = tokio::time::sleep_until(idle_until) => {
                    self.collect();
                    if self.request.bookmarks {
                        self.pending.push_back(bookmark(&self.request.target, self.cursor, false));
                    }
                    self.ended = Instant::now() >= self.deadline;
                }
            }
        }
    }

    /// Takes over everything that happened since the last look.
    fn collect(&mut self) {
        if self.ended {
            return;
        }
        let state = self.store.state();
        match state.changes_after(&self.request.target.resource.key(), self.cursor) {
            Err(oldest) => {
                self.pending.push_back(event("ERROR", ApiError::expired(self.cursor, oldest).status()));
                self.ended = true;
            }
            Ok(changes) => {
                for change in changes {
                    let wanted = |object: &Value| {
                        let namespace = self.request.namespace.as_deref();
                        namespace.is_none_or(|ns| ns == meta::text(object, "namespace"))
                            && self.request.selector.matches(object)
                    };
                    let before = change.before.as_deref().is_some_and(wanted);
                    let after = !change.removed && wanted(&change.after);
                    let kind = match (before, after) {
                        (false, true) => "ADDED",
                        (true, true) => "MODIFIED",
                        (true, false) => "DELETED",
                        (false, false) => continue,
                    };
                    // What left the selection is shown as it last was in it, under the new version.
                    let mut shown = match (&change.before, kind) {
                        (Some(before), "DELETED") => views::show(&self.request.target, before),
                        _ => views::show(&self.request.target, &change.after),
                    };
                    meta::set(&mut shown, "resourceVersion", json!(change.version.to_string()));
                    self.pending.push_back(event(kind, shown));
                }
                self.cursor = state.version();
            }
        }
    }
}

fn event(kind: &str, object: Value) -> Value {
    Value::Object(Map::from_iter([("type".to_owned(), json!(kind)), ("object".to_owned(), object)]))
}

fn bookmark(target: &Target, version: u64, initial: bool) -> Value {
    let mut object = json!({
        "apiVersion": target.api_version,
        "kind": target.resource.kind,
        "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
    });
    if initial {
        meta::set(&mut object, "annotations", json!({"k8s.io/initial-events-end": "true"}));
    }
    event("BOOKMARK", object)
}
