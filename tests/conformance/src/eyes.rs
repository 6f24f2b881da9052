//! Everything that the API server told: what is there now, and what was ever there.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use serde_json::Value;
use tokio::sync::watch;

/// How the first list of a kind may take on a machine that is busy.
const FIRST_LIST: Duration = Duration::from_mins(1);

/// Kind, namespace, name.
type Key = (String, String, String);

/// One message of a watch.
#[derive(Debug, Clone)]
pub struct Sight {
    /// When it arrived.
    pub at: Instant,
    /// Kind of the object.
    pub kind: String,
    /// Whether the object is gone now.
    pub deleted: bool,
    /// The object as it was last.
    pub object: Rc<Value>,
}

#[derive(Default)]
struct Seen {
    now: BTreeMap<Key, Rc<Value>>,
    history: Vec<Sight>,
    ready: HashSet<String>,
    watched: HashSet<String>,
}

/// What was seen on one control plane. Lives on one thread.
pub struct Eyes {
    client: Client,
    seen: RefCell<Seen>,
    changed: watch::Sender<u64>,
    patience: Cell<Duration>,
}

impl Eyes {
    /// Sees nothing yet.
    pub fn new(client: Client) -> Rc<Self> {
        let patience = Cell::new(Duration::ZERO);
        Rc::new(Self { client, seen: RefCell::default(), changed: watch::Sender::new(0), patience })
    }

    /// From now on, every wait takes at least so long before it fails. For suites whose result must not depend on what
    /// else the machine does.
    pub fn be_patient(&self, least: Duration) {
        self.patience.set(least);
    }

    /// How long a wait takes that would take `limit` otherwise.
    pub fn limit(&self, limit: Duration) -> Duration {
        limit.max(self.patience.get())
    }

    /// Watches a kind from now on; returns when its objects are known. Once is enough.
    pub async fn watch(self: &Rc<Self>, resource: &ApiResource) -> anyhow::Result<()> {
        let kind = resource.kind.clone();
        if self.seen.borrow_mut().watched.insert(kind.clone()) {
            tokio::task::spawn_local(Rc::clone(self).follow(resource.clone()));
        }
        self.until(&format!("the first list of {kind}"), FIRST_LIST, || {
            if self.seen.borrow().ready.contains(&kind) { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await
    }

    async fn follow(self: Rc<Self>, resource: ApiResource) {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let mut stream = Box::pin(watcher(api, watcher::Config::default()).default_backoff());
        let mut listed: HashSet<Key> = HashSet::new();
        while let Some(event) = stream.next().await {
            // The watcher starts over by itself when it is polled again.
            let Ok(event) = event else { continue };
            match event {
                Event::Init => listed.clear(),
                Event::InitApply(object) => {
                    listed.insert(key(&resource.kind, &object));
                    self.note(&resource, &object, false);
                }
                Event::InitDone => {
                    let gone: Vec<_> = {
                        let seen = self.seen.borrow();
                        let of_kind = seen.now.iter().filter(|(key, _)| key.0 == resource.kind);
                        of_kind.filter(|(key, _)| !listed.contains(*key)).map(|(key, _)| key.clone()).collect()
                    };
                    for key in gone {
                        self.seen.borrow_mut().now.remove(&key);
                    }
                    self.seen.borrow_mut().ready.insert(resource.kind.clone());
                }
                Event::Apply(object) => self.note(&resource, &object, false),
                Event::Delete(object) => self.note(&resource, &object, true),
            }
            self.changed.send_modify(|count| *count += 1);
        }
    }

    fn note(&self, resource: &ApiResource, object: &DynamicObject, deleted: bool) {
        let key = key(&resource.kind, object);
        // An object that came from JSON goes back to it.
        let value = Rc::new(serde_json::to_value(object).unwrap_or_default());
        let mut seen = self.seen.borrow_mut();
        if deleted {
            seen.now.remove(&key);
        } else {
            seen.now.insert(key, Rc::clone(&value));
        }
        seen.history.push(Sight { at: Instant::now(), kind: resource.kind.clone(), deleted, object: value });
    }

    /// One object, if it is there.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Rc<Value>> {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.seen.borrow().now.get(&key).cloned()
    }

    /// Every object of a kind that is there and that `wanted` accepts.
    pub fn all(&self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Vec<Rc<Value>> {
        let seen = self.seen.borrow();
        let of_kind = seen.now.iter().filter(|(key, _)| key.0 == kind);
        of_kind.filter(|(_, object)| wanted(object)).map(|(_, object)| Rc::clone(object)).collect()
    }

    /// Every message about objects of a kind that `wanted` accepts, oldest first.
    pub fn history(&self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Vec<Sight> {
        let seen = self.seen.borrow();
        seen.history.iter().filter(|sight| sight.kind == kind && wanted(&sight.object)).cloned().collect()
    }

    /// Tells that something changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until `probe` succeeds, looking again whenever anything changed. Fails with what it said last.
    pub async fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut probe: impl FnMut() -> Result<T, String>,
    ) -> anyhow::Result<T> {
        let limit = self.limit(limit);
        let mut changed = self.changed.subscribe();
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            changed.borrow_and_update();
            let last = match probe() {
                Ok(value) => return Ok(value),
                Err(why) => why,
            };
            // The sender lives as long as `self`: only the deadline ends the wait.
            if tokio::time::timeout_at(deadline, changed.changed()).await.is_err() {
                anyhow::bail!("{what}: not within {:.0} s; {last}", limit.as_secs_f64());
            }
        }
    }
}

fn key(kind: &str, object: &DynamicObject) -> Key {
    (kind.to_owned(), object.namespace().unwrap_or_default(), object.name_any())
}
