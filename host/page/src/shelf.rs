//! What a watch showed last, trimmed to what somebody wants to know of it.

use std::collections::BTreeMap;

use kube::Resource;
use kube::runtime::watcher::Event;

/// Objects by name; a list takes effect once it is whole.
#[derive(Debug)]
pub struct Shelf<T> {
    items: BTreeMap<String, T>,
    listing: Option<BTreeMap<String, T>>,
    known: bool,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { items: BTreeMap::new(), listing: None, known: false }
    }
}

impl<T> Shelf<T> {
    /// All of them, by name.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &T> {
        self.items.values()
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.items.get(name)
    }

    /// Whether there ever was a whole list.
    pub fn known(&self) -> bool {
        self.known
    }

    /// With their names: `namespace/name`, or the name alone.
    pub fn named(&self) -> impl ExactSizeIterator<Item = (&str, &T)> {
        self.items.iter().map(|(name, item)| (name.as_str(), item))
    }

    /// Takes in what a watch says; whether anything changed that is not alike.
    pub fn take<K: Resource>(
        &mut self,
        event: &Event<K>,
        make: impl Fn(&K) -> T,
        alike: impl Fn(&T, &T) -> bool,
    ) -> bool {
        let key = |object: &K| {
            let meta = object.meta();
            let name = meta.name.as_deref().unwrap_or_default();
            meta.namespace.as_deref().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
        };
        match event {
            Event::Init => {
                self.listing = Some(BTreeMap::new());
                false
            }
            Event::InitApply(object) => {
                self.listing.get_or_insert_default().insert(key(object), make(object));
                false
            }
            Event::InitDone => {
                self.items = self.listing.take().unwrap_or_default();
                self.known = true;
                true
            }
            Event::Apply(object) => {
                let new = make(object);
                let changed = self.items.get(&key(object)).is_none_or(|known| !alike(known, &new));
                self.items.insert(key(object), new);
                changed
            }
            Event::Delete(object) => self.items.remove(&key(object)).is_some(),
        }
    }
}
