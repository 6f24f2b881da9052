//! The objects, their versions and their history: everything behind one lock, one counter for all writes.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

use super::bell::{Bell, Listener};
use super::builtin;
use super::meta;
use super::resource::{Resource, ResourceKey};

/// Names one object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its resource.
    pub resource: ResourceKey,
    /// Its namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// One write, as watches see it.
#[derive(Debug)]
pub struct Change {
    /// The version that the write made.
    pub version: u64,
    /// The object before.
    pub before: Option<Arc<Value>>,
    /// The object after. A deletion shows the last state under the version of the deletion.
    pub after: Arc<Value>,
    /// Whether the write removed it.
    pub removed: bool,
}

/// Objects of one resource.
#[derive(Debug)]
pub struct Collection {
    objects: BTreeMap<(String, String), Arc<Value>>,
    history: VecDeque<Change>,
    /// Versions up to this one can no longer be watched from.
    forgotten: u64,
    wake: Bell,
}

/// Everything the store knows.
#[derive(Debug)]
pub struct State {
    version: u64,
    history_limit: usize,
    resources: BTreeMap<ResourceKey, Arc<Resource>>,
    collections: HashMap<ResourceKey, Collection>,
    by_uid: HashMap<String, ObjectKey>,
    dependents: HashMap<String, BTreeSet<ObjectKey>>,
}

impl State {
    /// An empty store that serves the compiled-in resources.
    pub fn new(history_limit: usize) -> Self {
        let mut state = Self {
            version: 0,
            history_limit,
            resources: BTreeMap::new(),
            collections: HashMap::new(),
            by_uid: HashMap::new(),
            dependents: HashMap::new(),
        };
        for resource in builtin::resources() {
            state.serve(resource);
        }
        state
    }

    /// The version of the newest write.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Starts to serve a resource, or serves its new definition; objects stay.
    pub fn serve(&mut self, resource: Resource) {
        let key = resource.key();
        let version = self.version;
        self.collections.entry(key.clone()).or_insert_with(|| Collection {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            // A client cannot have seen anything of a resource that did not exist yet.
            forgotten: version,
            wake: Bell::default(),
        });
        self.resources.insert(key, Arc::new(resource));
    }

    /// Stops serving a resource; its watches end.
    pub fn retire(&mut self, key: &ResourceKey) {
        self.resources.remove(key);
        self.collections.remove(key);
    }

    /// All served resources, ordered by group and name.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// A served resource.
    pub fn resource(&self, key: &ResourceKey) -> Option<&Arc<Resource>> {
        self.resources.get(key)
    }

    /// An object.
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Value>> {
        self.collections.get(&key.resource)?.objects.get(&(key.namespace.clone(), key.name.clone()))
    }

    /// Objects of a resource, of one namespace or of all, ordered by namespace and name.
    pub fn list<'a>(
        &'a self,
        resource: &ResourceKey,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Value>> {
        self.collections
            .get(resource)
            .into_iter()
            .flat_map(|collection| collection.objects.iter())
            .filter(move |((ns, _), _)| namespace.is_none_or(|wanted| wanted == ns))
            .map(|(_, object)| object)
    }

    /// Keys of everything in a namespace.
    pub fn keys_in_namespace(&self, namespace: &str) -> Vec<ObjectKey> {
        let mut keys = Vec::new();
        for (resource, collection) in &self.collections {
            keys.extend(collection.objects.keys().filter(|(ns, _)| ns == namespace).map(|(ns, name)| ObjectKey {
                resource: resource.clone(),
                namespace: ns.clone(),
                name: name.clone(),
            }));
        }
        keys.sort();
        keys
    }

    /// The object with a uid.
    pub fn by_uid(&self, uid: &str) -> Option<&ObjectKey> {
        self.by_uid.get(uid)
    }

    /// Objects that name this uid as an owner.
    pub fn dependents(&self, uid: &str) -> Vec<ObjectKey> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Writes an object under the next version and tells the watches.
    pub fn put(&mut self, key: &ObjectKey, mut object: Value) -> Arc<Value> {
        self.version += 1;
        meta::set(&mut object, "resourceVersion", json!(self.version.to_string()));
        let object = Arc::new(object);
        let before = self.get(key).cloned();
        self.index(key, before.as_deref(), Some(&object));
        if let Some(collection) = self.collections.get_mut(&key.resource) {
            collection.objects.insert((key.namespace.clone(), key.name.clone()), object.clone());
        }
        self.remember(key, Change { version: self.version, before, after: object.clone(), removed: false });
        object
    }

    /// Removes an object and tells the watches.
    pub fn remove(&mut self, key: &ObjectKey) -> Option<Arc<Value>> {
        let collection = self.collections.get_mut(&key.resource)?;
        let before = collection.objects.remove(&(key.namespace.clone(), key.name.clone()))?;
        self.version += 1;
        let mut last = Value::clone(&before);
        meta::set(&mut last, "resourceVersion", json!(self.version.to_string()));
        let after = Arc::new(last);
        self.index(key, Some(&before), None);
        let change = Change { version: self.version, before: Some(before), after: after.clone(), removed: true };
        self.remember(key, change);
        Some(after)
    }

    fn index(&mut self, key: &ObjectKey, before: Option<&Value>, after: Option<&Value>) {
        if let Some(before) = before {
            self.by_uid.remove(meta::text(before, "uid"));
            for owner in meta::owner_uids(before) {
                if let Some(set) = self.dependents.get_mut(&owner) {
                    set.remove(key);
                    if set.is_empty() {
                        self.dependents.remove(&owner);
                    }
                }
            }
        }
        if let Some(after) = after {
            self.by_uid.insert(meta::text(after, "uid").to_owned(), key.clone());
            for owner in meta::owner_uids(after) {
                self.dependents.entry(owner).or_default().insert(key.clone());
            }
        }
    }

    fn remember(&mut self, key: &ObjectKey, change: Change) {
        let limit = self.history_limit;
        let Some(collection) = self.collections.get_mut(&key.resource) else { return };
        collection.history.push_back(change);
        while collection.history.len() > limit {
            if let Some(oldest) = collection.history.pop_front() {
                collection.forgotten = oldest.version;
            }
        }
        collection.wake.ring();
    }

    /// Forgets all history: watches that resume from before now are told 410 Gone.
    pub fn compact(&mut self) {
        for collection in self.collections.values_mut() {
            collection.history.clear();
            collection.forgotten = self.version;
        }
    }

    /// Wakes when the resource changes, and ends when it is retired.
    pub fn subscribe(&self, resource: &ResourceKey) -> Option<Listener> {
        Some(self.collections.get(resource)?.wake.listen())
    }

    /// Changes after a version, or the oldest version that can still be asked for.
    pub fn changes_after(&self, resource: &ResourceKey, version: u64) -> Result<impl Iterator<Item = &Change>, u64> {
        let collection = self.collections.get(resource);
        if let Some(collection) = collection
            && version < collection.forgotten
        {
            return Err(collection.forgotten);
        }
        Ok(collection.into_iter().flat_map(move |collection| {
            let start = collection.history.partition_point(|change| change.version <= version);
            collection.history.range(start..)
        }))
    }
}
