//! A small Kubernetes API in this process: enough for our controllers, agents and `kubectl`, with nothing to install.
//!
//! [`ApiStore`] keeps the objects; [`ApiStore::client`] gives a [`kube::Client`] without sockets, and [`ApiServer`] puts
//! the same store behind HTTP for real processes.
//!
//! It imitates what our programs rely on: optimistic concurrency, watches with bookmarks and 410, the patch types we
//! send, status as its own endpoint, finalizers and graceful deletion, schemas and CEL rules of our CRDs, owner
//! references. It does **not** imitate what the real control plane is there for: authentication, RBAC, admission policies
//! (both stored, never enforced), quotas, paging (lists are always whole), validation of compiled-in kinds beyond what a
//! mistake of ours would hit, conversion webhooks, protobuf bodies (so `kubectl create -f` works and
//! `kubectl create configmap` does not), and the controllers behind the objects.

mod admit;
mod audit;
mod bell;
mod builtin;
mod cel;
mod clock;
mod crd;
mod delete;
mod discovery;
mod error;
mod gc;
mod http;
mod judge;
mod kubeconfig;
mod meta;
mod openapi;
mod patch;
mod path;
mod request;
mod resource;
mod respond;
mod schema;
mod selectors;
mod server;
mod store;
mod strategy;
mod switches;
mod table;
mod update;
mod views;
mod watch;
mod write;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

pub use audit::{Audit, AuditEntry};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::ApiError;
pub use http::Service;
pub use judge::{Judge, Judged};
pub use kubeconfig::kubeconfig;
pub use server::ApiServer;
pub use switches::{Switches, Writes};

use store::State;
use write::Writer;

/// Choices made when a store is created.
#[derive(Clone)]
pub struct Settings {
    /// Where time stamps come from.
    pub clock: Arc<dyn Clock>,
    /// Writes per resource that a watch may resume over; older ones are answered 410 Gone.
    pub history: usize,
    /// How often an idle watch that asked for bookmarks gets one.
    pub bookmark_interval: Duration,
    /// How many requests the audit log keeps; zero switches it off.
    pub audit: usize,
    /// Whether owner references are acted on.
    pub collect_garbage: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            history: 10_000,
            bookmark_interval: Duration::from_mins(1),
            audit: 0,
            collect_garbage: true,
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("history", &self.history).field("audit", &self.audit).finish_non_exhaustive()
    }
}

/// The API server's state; clones share it.
#[derive(Clone, Debug)]
pub struct ApiStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    settings: Settings,
    switches: Switches,
    audit: Audit,
}

impl Default for ApiStore {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl ApiStore {
    /// An empty cluster: the usual four namespaces and nothing else.
    pub fn new(settings: Settings) -> Self {
        let inner = Inner {
            state: Mutex::new(State::new(settings.history)),
            audit: Audit::new(settings.audit),
            settings,
            switches: Switches::default(),
        };
        let store = Self { inner: Arc::new(inner) };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            // A plain namespace is always valid and the names are free in an empty store.
            let _ = store.apply_value(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        }
        store
    }

    /// A client in this process, without sockets. Must be called inside a tokio runtime.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(http::Service::new(self.clone()), "default")
    }

    /// The store as a tower service, for whoever puts something between it and its clients.
    pub fn service(&self) -> Service {
        Service::new(self.clone())
    }

    /// All objects of a kind as they are now, without a request: for judges that must not disturb what they watch.
    pub fn objects(&self, group: &str, plural: &str) -> Vec<Arc<Value>> {
        let resource = resource::ResourceKey { group: group.to_owned(), plural: plural.to_owned() };
        self.state().list(&resource, None).cloned().collect()
    }

    /// Faults of the API server itself.
    pub fn switches(&self) -> &Switches {
        &self.inner.switches
    }

    /// The log of requests; empty unless [`Settings::audit`] is set.
    pub fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// Forgets the history of writes: watches that resume from before now get 410 Gone.
    pub fn compact(&self) {
        self.state().compact();
    }

    /// Creates or merges every object of a YAML stream, as `kubectl apply` would: for CRDs and fixtures.
    pub fn apply_yaml(&self, yaml: &str) -> Result<usize, ApiError> {
        let mut count = 0;
        for document in serde_yaml_ng::Deserializer::from_str(yaml) {
            let value = Value::deserialize(document)
                .map_err(|error| ApiError::bad_request(format!("the YAML does not parse: {error}")))?;
            if !value.is_null() {
                self.apply_value(&value)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Creates or merges one object, whatever served kind it is.
    pub fn apply_value(&self, object: &Value) -> Result<Value, ApiError> {
        let mut state = self.state();
        let target = path::target_of(&state, object)?;
        let mut writer = self.writer(&mut state);
        let options = write::WriteOptions::default();
        let exists = writer.state.get(&target.key()).is_some();
        let written = if exists {
            writer.patch(&target, patch::Patch::Merge(object.clone()), &options)?
        } else {
            let collection = write::Target { name: String::new(), ..target.clone() };
            writer.create(&collection, object.clone(), &options)?
        };
        Ok(views::show(&target, &written.object))
    }

    fn now(&self) -> jiff::Timestamp {
        self.inner.settings.clock.now()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while holding the lock is a bug that some test reports; the state itself is never left half-written.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer<'a>(&'a self, state: &'a mut State) -> Writer<'a> {
        Writer { state, clock: &*self.inner.settings.clock, collect_garbage: self.inner.settings.collect_garbage }
    }
}
