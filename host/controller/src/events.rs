//! Events on remediations and nodes.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Resource, ResourceExt};
use palisade_api::keys::remediation::EVENT_PREFIX;
use palisade_core::time::Mono;

use crate::clock;

/// The same event about the same object is not repeated within this time: a retry is not news.
const REPEAT: Duration = Duration::from_mins(10);

/// Nobody waits longer for an event to be recorded.
const LIMIT: Duration = Duration::from_secs(5);

/// Normal or Warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something happened as intended.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Writes events; failures are logged and never stop the work.
#[derive(Debug)]
pub struct Recorder {
    recent: Mutex<HashMap<String, Mono>>,
    instance: String,
}

impl Recorder {
    /// A recorder that names this process.
    pub fn new(instance: String) -> Self {
        Self { recent: Mutex::default(), instance }
    }

    /// Records an event about an object.
    pub async fn post(&self, client: &Client, about: ObjectReference, kind: Kind, reason: &str, message: &str) {
        let message = format!("{EVENT_PREFIX}{message}");
        if !self.is_news(&about, reason, &message) {
            return;
        }
        // Events about cluster-scoped objects live in the namespace "default".
        let namespace = about.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let now = clock::wall();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{}", about.name.as_deref().unwrap_or("unknown"), uuid::Uuid::new_v4().simple())),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: about,
            type_: Some(if kind == Kind::Normal { "Normal" } else { "Warning" }.to_owned()),
            reason: Some(reason.to_owned()),
            message: Some(message.chars().take(1_000).collect()),
            source: Some(EventSource { component: Some("SelfNodeRemediation".to_owned()), host: None }),
            reporting_component: Some("SelfNodeRemediation".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            count: Some(1),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        match tokio::time::timeout(LIMIT, api.create(&PostParams::default(), &event)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, reason, object = event.involved_object.name, "event not recorded");
            }
            Err(_) => tracing::debug!(reason, object = event.involved_object.name, "event not recorded in time"),
        }
    }

    fn is_news(&self, about: &ObjectReference, reason: &str, message: &str) -> bool {
        let now = clock::now();
        let key = format!("{:?}/{:?}/{:?}/{reason}/{message}", about.kind, about.name, about.uid);
        // A poisoned lock means another thread panicked while counting events: the map is still a map.
        let mut recent = self.recent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        recent.retain(|_, at| now.since(*at) < REPEAT);
        recent.insert(key, now).is_none()
    }
}

/// Name of an object for messages: `namespace/name` or `name`.
pub fn name_of<K: Resource>(object: &K) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}
