//! Watches: from now, from a version, with bookmarks, after history is gone, and through kube's own watcher.

// Helpers of tests may panic like the tests that call them.
#![allow(clippy::expect_used, clippy::panic)]

use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use palisade_sandbox::api::{ApiServer, ApiStore, Settings};
use serde_json::json;

fn config(name: &str, label: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"l": label}}})).expect("a config map")
}

async fn put(api: &Api<ConfigMap>, name: &str, label: &str) -> ConfigMap {
    api.create(&PostParams::default(), &config(name, label)).await.expect("created")
}

async fn relabel(api: &Api<ConfigMap>, name: &str, label: &str) {
    let patch = Patch::Merge(json!({"metadata": {"labels": {"l": label}}}));
    api.patch(name, &PatchParams::default(), &patch).await.expect("patched");
}

/// What came, in one word and a name.
async fn next(events: &mut (impl Stream<Item = kube::Result<WatchEvent<ConfigMap>>> + Unpin)) -> String {
    let event = tokio::time::timeout(Duration::from_mins(1), events.try_next()).await.expect("in time");
    match event.expect("the stream works") {
        None => "end".to_owned(),
        Some(WatchEvent::Added(o)) => format!("added {}", o.name_any()),
        Some(WatchEvent::Modified(o)) => format!("modified {}", o.name_any()),
        Some(WatchEvent::Deleted(o)) => format!("deleted {}", o.name_any()),
        Some(WatchEvent::Bookmark(b)) => format!("bookmark {}", b.metadata.annotations.len()),
        Some(WatchEvent::Error(status)) => format!("error {}", status.code),
    }
}

#[tokio::test]
async fn a_watch_resumes_after_the_version_of_a_list() {
    let api: Api<ConfigMap> = Api::namespaced(ApiStore::default().client(), "default");
    put(&api, "before", "x").await;
    let seen = api.list(&ListParams::default()).await.expect("listed").metadata.resource_version.expect("a version");
    put(&api, "after", "x").await;

    let mut events = pin!(api.watch(&WatchParams::default(), &seen).await.expect("watching"));
    assert_eq!(next(&mut events).await, "added after");
    relabel(&api, "before", "y").await;
    api.delete("after", &DeleteParams::default()).await.expect("deleted");
    assert_eq!(next(&mut events).await, "modified before");
    assert_eq!(next(&mut events).await, "deleted after");
}

#[tokio::test]
async fn a_selector_turns_changes_into_arrivals_and_departures() {
    let api: Api<ConfigMap> = Api::namespaced(ApiStore::default().client(), "default");
    let mut events = pin!(api.watch(&WatchParams::default().labels("l=in"), "0").await.expect("watching"));
    put(&api, "a", "out").await;
    relabel(&api, "a", "in").await;
    relabel(&api, "a", "out").await;
    api.delete("a", &DeleteParams::default()).await.expect("deleted");
    put(&api, "b", "in").await;
    assert_eq!(next(&mut events).await, "added a");
    assert_eq!(next(&mut events).await, "deleted a");
    assert_eq!(next(&mut events).await, "added b");
}

#[tokio::test]
async fn history_that_is_gone_is_answered_410() {
    let store = ApiStore::new(Settings { history: 3, ..Settings::default() });
    let api: Api<ConfigMap> = Api::namespaced(store.client(), "default");
    let first = put(&api, "a", "0").await.resource_version().expect("a version");
    for label in ["1", "2", "3", "4"] {
        relabel(&api, "a", label).await;
    }
    let mut events = pin!(api.watch(&WatchParams::default(), &first).await.expect("watching"));
    assert_eq!(next(&mut events).await, "error 410");
    assert_eq!(next(&mut events).await, "end");

    let mut future = pin!(api.watch(&WatchParams::default(), "999999").await.expect("watching"));
    assert_eq!(next(&mut future).await, "error 410", "a version of another store");
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark_that_says_so() {
    let api: Api<ConfigMap> = Api::namespaced(ApiStore::default().client(), "default");
    put(&api, "a", "x").await;
    let params = WatchParams::default().initial_events();
    let mut events = pin!(api.watch(&params, "0").await.expect("watching"));
    assert_eq!(next(&mut events).await, "added a");
    assert_eq!(next(&mut events).await, "bookmark 1");
    put(&api, "b", "x").await;
    assert_eq!(next(&mut events).await, "added b");
}

#[tokio::test(start_paused = true)]
async fn an_idle_watch_gets_bookmarks_until_its_time_is_over() {
    let api: Api<ConfigMap> = Api::namespaced(ApiStore::default().client(), "default");
    let mut events = pin!(api.watch(&WatchParams::default().timeout(150), "0").await.expect("watching"));
    // 60 s, 120 s, and the last one at the end: paused time jumps there, so the helper's deadline must not.
    for expected in ["bookmark", "bookmark", "bookmark"] {
        match events.try_next().await.expect("the stream works") {
            Some(WatchEvent::Bookmark(_)) => {}
            other => panic!("expected {expected}, got {other:?}"),
        }
    }
    assert!(events.try_next().await.expect("the stream works").is_none());
}

/// Follows kube's watcher until the names are as wanted.
async fn until(
    events: &mut (impl Stream<Item = Result<Event<ConfigMap>, watcher::Error>> + Unpin),
    names: &mut std::collections::BTreeSet<String>,
    wanted: &[&str],
) {
    let reached = async {
        while names.iter().map(String::as_str).ne(wanted.iter().copied()) {
            match events.next().await.expect("watchers never end") {
                Ok(Event::Init) => names.clear(),
                Ok(Event::InitApply(object) | Event::Apply(object)) => {
                    names.insert(object.name_any());
                }
                Ok(Event::Delete(object)) => {
                    names.remove(&object.name_any());
                }
                // An error is what makes the watcher list again.
                Ok(Event::InitDone) | Err(_) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), reached).await.expect("the watcher catches up");
}

#[tokio::test]
async fn the_watcher_catches_up_after_a_lost_server_and_a_lost_history() {
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        // Given a watcher over HTTP
        let store = ApiStore::default();
        let server = ApiServer::start(store.clone(), ([127, 0, 0, 1], 0).into()).await.expect("listens");
        let address = server.address();
        let url = server.url().parse().expect("a URL");
        let api: Api<ConfigMap> =
            Api::namespaced(Client::try_from(kube::Config::new(url)).expect("a client"), "default");
        let inside: Api<ConfigMap> = Api::namespaced(store.client(), "default");
        put(&inside, "a", "x").await;
        let mut events = pin!(watcher(api, config));
        let mut names = std::collections::BTreeSet::new();
        until(&mut events, &mut names, &["a"]).await;

        // When the server goes away, things happen, history is forgotten, and it comes back
        drop(server);
        put(&inside, "b", "x").await;
        inside.delete("a", &DeleteParams::default()).await.expect("deleted");
        store.compact();
        let _server = restart(store.clone(), address).await;

        // Then the watcher lists again and is up to date
        until(&mut events, &mut names, &["b"]).await;
        put(&inside, "c", "x").await;
        until(&mut events, &mut names, &["b", "c"]).await;
    }
}

/// The port of a server that just stopped may take a moment to be free.
async fn restart(store: ApiStore, address: std::net::SocketAddr) -> ApiServer {
    let started = async {
        loop {
            if let Ok(server) = ApiServer::start(store.clone(), address).await {
                return server;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), started).await.expect("the port is free again")
}

#[tokio::test]
async fn metadata_can_be_listed_and_watched_alone() {
    let client = ApiStore::default().client();
    let api: Api<ConfigMap> = Api::namespaced(client, "default");
    put(&api, "a", "x").await;
    let list = api.list_metadata(&ListParams::default()).await.expect("listed");
    assert_eq!(list.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["a"]);
    let mut events = pin!(api.watch_metadata(&WatchParams::default(), "0").await.expect("watching"));
    let first: Option<WatchEvent<PartialObjectMeta<ConfigMap>>> = events.try_next().await.expect("the stream works");
    assert!(matches!(first, Some(WatchEvent::Added(object)) if object.name_any() == "a"));
}

#[tokio::test]
async fn an_outage_holds_events_back() {
    let store = ApiStore::default();
    let api: Api<ConfigMap> = Api::namespaced(store.client(), "default");
    let mut events = pin!(api.watch(&WatchParams::default(), "0").await.expect("watching"));
    put(&api, "a", "x").await;
    assert_eq!(next(&mut events).await, "added a");

    store.switches().set_outage(true);
    store
        .apply_value(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}))
        .expect("written behind the server's back");
    for _ in 0..100 {
        assert!(futures::poll!(events.next()).is_pending());
        tokio::task::yield_now().await;
    }
    store.switches().set_outage(false);
    assert_eq!(next(&mut events).await, "added b");
}
