//! Garbage collection by owner references, done with the write that makes the garbage.
//!
//! The real collector is a controller that lags; here nothing is ever seen between cause and effect.

use serde_json::{Value, json};

use super::delete::DeleteOptions;
use super::meta;
use super::store::ObjectKey;
use super::write::Writer;

impl Writer<'_> {
    /// After an owner is gone: dependents without another owner go, others lose the reference.
    pub(super) fn collect_dependents(&mut self, owner: &str) {
        for key in self.state.dependents(owner) {
            let Some(object) = self.state.get(&key).cloned() else { continue };
            if self.has_owner(&key, &object) {
                self.drop_reference(&key, &object, owner);
            } else {
                self.begin_deletion(&key, &DeleteOptions::default());
            }
        }
    }

    /// A new object all of whose owners are already gone goes too.
    pub(super) fn orphan_check(&mut self, key: &ObjectKey, object: &Value) {
        let owned = meta::owners(object).next().is_some();
        if self.collect_garbage && owned && !self.has_owner(key, object) {
            self.begin_deletion(key, &DeleteOptions::default());
        }
    }

    /// Takes an owner's references out of its dependents.
    pub(super) fn orphan_dependents(&mut self, owner: &str) {
        for key in self.state.dependents(owner) {
            if let Some(object) = self.state.get(&key).cloned() {
                self.drop_reference(&key, &object, owner);
            }
        }
    }

    /// Whether a dependent asks its owner to wait for it.
    pub(super) fn blocked_by_dependents(&self, owner: &str) -> bool {
        self.state.dependents(owner).iter().filter_map(|key| self.state.get(key)).any(|object| {
            meta::owners(object).any(|reference| {
                reference.get("uid").and_then(Value::as_str) == Some(owner)
                    && reference.get("blockOwnerDeletion").and_then(Value::as_bool) == Some(true)
            })
        })
    }

    /// An owner counts if it exists where the dependent may refer to it: cluster-wide or in the same namespace.
    fn has_owner(&self, key: &ObjectKey, object: &Value) -> bool {
        meta::owner_uids(object).iter().any(|uid| {
            self.state.by_uid(uid).is_some_and(|owner| owner.namespace.is_empty() || owner.namespace == key.namespace)
        })
    }

    fn drop_reference(&mut self, key: &ObjectKey, object: &Value, owner: &str) {
        let kept: Vec<&Value> = meta::owners(object)
            .filter(|reference| reference.get("uid").and_then(Value::as_str) != Some(owner))
            .collect();
        let mut new = object.clone();
        meta::set(&mut new, "ownerReferences", if kept.is_empty() { Value::Null } else { json!(kept) });
        self.state.put(key, new);
    }
}
