//! Deletion: preconditions, finalizers, grace, what a namespace or a definition holds, and the garbage that owners leave.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::clock::rfc3339;
use super::error::ApiError;
use super::meta::{self, at};
use super::resource::ResourceKey;
use super::store::ObjectKey;
use super::write::{Target, Writer};

/// What happens to dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// They go after the owner.
    #[default]
    Background,
    /// They go before the owner.
    Foreground,
    /// They stay.
    Orphan,
}

/// `metav1.DeleteOptions`.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Seconds to wait for pods; zero removes at once.
    pub grace: Option<i64>,
    /// Only this incarnation.
    pub uid: Option<String>,
    /// Only this version.
    pub resource_version: Option<String>,
    /// Dependents.
    pub propagation: Propagation,
    /// Check and answer only.
    pub dry_run: bool,
}

/// The outcome of a deletion.
#[derive(Debug, Clone)]
pub enum Deleted {
    /// It is gone; its last state.
    Gone(Arc<Value>),
    /// It is marked and waits for finalizers, grace or its content.
    Pending(Arc<Value>),
}

const FOREGROUND: &str = "foregroundDeletion";

impl DeleteOptions {
    /// Reads the body of a DELETE; absent fields stay.
    pub fn merge(&mut self, body: &Value) {
        let text = |path: &[&str]| at(body, path).and_then(Value::as_str).map(str::to_owned);
        if let Some(seconds) = body.get("gracePeriodSeconds").and_then(Value::as_i64) {
            self.grace = Some(seconds);
        }
        self.uid = text(&["preconditions", "uid"]).or(self.uid.take());
        self.resource_version = text(&["preconditions", "resourceVersion"]).or(self.resource_version.take());
        if let Some(policy) = text(&["propagationPolicy"]) {
            self.propagation = Propagation::parse(&policy);
        }
        self.dry_run |= body.get("dryRun").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    }
}

impl Propagation {
    /// By its name in the API; anything else is background.
    pub fn parse(text: &str) -> Self {
        match text {
            "Foreground" => Self::Foreground,
            "Orphan" => Self::Orphan,
            _ => Self::Background,
        }
    }
}

impl Writer<'_> {
    /// DELETE of one object.
    pub fn delete(&mut self, target: &Target, options: &DeleteOptions) -> Result<Deleted, ApiError> {
        let key = target.key();
        let Some(old) = self.state.get(&key).cloned() else {
            return Err(ApiError::not_found(&target.resource, &target.name));
        };
        let (uid, version) = (meta::text(&old, "uid"), meta::text(&old, "resourceVersion"));
        if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
            let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}");
            return Err(ApiError::conflict(&target.resource, &target.name, &why));
        }
        if let Some(wanted) = options.resource_version.as_deref().filter(|wanted| *wanted != version) {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {version}"
            );
            return Err(ApiError::conflict(&target.resource, &target.name, &why));
        }
        if options.dry_run {
            return Ok(Deleted::Gone(old));
        }
        Ok(self.begin_deletion(&key, options).unwrap_or(Deleted::Gone(old)))
    }

    /// Marks or removes. None if there is nothing to delete.
    pub(super) fn begin_deletion(&mut self, key: &ObjectKey, options: &DeleteOptions) -> Option<Deleted> {
        let old = self.state.get(key)?.clone();
        let uid = meta::text(&old, "uid").to_owned();
        let grace = grace(key, &old, options.grace);
        let mut new = Value::clone(&old);
        match options.propagation {
            Propagation::Orphan => self.orphan_dependents(&uid),
            Propagation::Foreground if !self.state.dependents(&uid).is_empty() => {
                let mut finalizers = meta::finalizers(&new);
                if !finalizers.iter().any(|f| f == FOREGROUND) {
                    finalizers.push(FOREGROUND.to_owned());
                    meta::set(&mut new, "finalizers", json!(finalizers));
                }
            }
            _ => {}
        }
        let waits = grace > 0 || !meta::finalizers(&new).is_empty() || self.has_content(key);
        if !waits {
            return self.remove(key).map(Deleted::Gone);
        }
        self.mark(key, &mut new, grace);
        if new != *old {
            self.state.put(key, new);
        }
        self.delete_content(key);
        if options.propagation == Propagation::Foreground {
            for dependent in self.state.dependents(&uid) {
                let options = DeleteOptions { propagation: Propagation::Foreground, ..DeleteOptions::default() };
                self.begin_deletion(&dependent, &options);
            }
        }
        match self.finish_deletion(key) {
            Some(last) => Some(Deleted::Gone(last)),
            None => self.state.get(key).cloned().map(Deleted::Pending).or(Some(Deleted::Gone(old))),
        }
    }

    fn mark(&self, key: &ObjectKey, object: &mut Value, grace: i64) {
        let now = self.now();
        let due = rfc3339(now.saturating_add(SignedDuration::from_secs(grace)).unwrap_or(now));
        let previous = meta::field(object, "deletionGracePeriodSeconds").and_then(Value::as_i64);
        if meta::deleting(object) && previous.is_some_and(|previous| previous <= grace) {
            return;
        }
        meta::set(object, "deletionTimestamp", json!(due));
        meta::set(object, "deletionGracePeriodSeconds", json!(grace));
        if let Some(generation) = meta::field(object, "generation").and_then(Value::as_i64) {
            meta::set(object, "generation", json!(generation + 1));
        }
        if is(key, "", "namespaces")
            && let Some(map) = object.as_object_mut()
        {
            map.insert("status".to_owned(), json!({"phase": "Terminating"}));
        }
    }

    /// Removes a marked object that nothing holds any more; returns its last state if it went.
    pub(super) fn finish_deletion(&mut self, key: &ObjectKey) -> Option<Arc<Value>> {
        let object = self.state.get(key)?.clone();
        let grace = meta::field(&object, "deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
        let mut finalizers = meta::finalizers(&object);
        if !meta::deleting(&object) || grace > 0 {
            return None;
        }
        let uid = meta::text(&object, "uid");
        if finalizers.iter().any(|f| f == FOREGROUND) && !self.blocked_by_dependents(uid) {
            finalizers.retain(|f| f != FOREGROUND);
            let mut new = Value::clone(&object);
            let list = if finalizers.is_empty() { Value::Null } else { json!(finalizers) };
            meta::set(&mut new, "finalizers", list);
            self.state.put(key, new);
        }
        if finalizers.is_empty() && !self.has_content(key) { self.remove(key) } else { None }
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<Arc<Value>> {
        let last = self.state.remove(key)?;
        if is(key, "apiextensions.k8s.io", "customresourcedefinitions") {
            self.state.retire(&defined(&last));
        }
        if self.collect_garbage {
            self.collect_dependents(meta::text(&last, "uid"));
        }
        for owner in meta::owner_uids(&last) {
            if let Some(owner) = self.state.by_uid(&owner).cloned() {
                self.finish_deletion(&owner);
            }
        }
        if !key.namespace.is_empty() {
            let namespaces = ResourceKey { group: String::new(), plural: "namespaces".to_owned() };
            let namespace = ObjectKey { resource: namespaces, namespace: String::new(), name: key.namespace.clone() };
            self.finish_deletion(&namespace);
        }
        self.finish_definition(&key.resource);
        Some(last)
    }

    fn finish_definition(&mut self, resource: &ResourceKey) {
        let definition = ObjectKey {
            resource: ResourceKey {
                group: "apiextensions.k8s.io".to_owned(),
                plural: "customresourcedefinitions".to_owned(),
            },
            namespace: String::new(),
            name: format!("{}.{}", resource.plural, resource.group),
        };
        self.finish_deletion(&definition);
    }

    fn has_content(&self, key: &ObjectKey) -> bool {
        if is(key, "", "namespaces") {
            return !self.state.keys_in_namespace(&key.name).is_empty();
        }
        if is(key, "apiextensions.k8s.io", "customresourcedefinitions")
            && let Some(definition) = self.state.get(key)
        {
            return self.state.list(&defined(definition), None).next().is_some();
        }
        false
    }

    fn delete_content(&mut self, key: &ObjectKey) {
        let inside = if is(key, "", "namespaces") {
            self.state.keys_in_namespace(&key.name)
        } else if is(key, "apiextensions.k8s.io", "customresourcedefinitions") {
            let Some(definition) = self.state.get(key) else { return };
            let resource = defined(definition);
            self.state
                .list(&resource, None)
                .map(|object| ObjectKey {
                    resource: resource.clone(),
                    namespace: meta::text(object, "namespace").to_owned(),
                    name: meta::text(object, "name").to_owned(),
                })
                .collect()
        } else {
            return;
        };
        for inner in inside {
            self.begin_deletion(&inner, &DeleteOptions::default());
        }
    }
}

/// Only bound pods that are not finished wait for a kubelet.
fn grace(key: &ObjectKey, object: &Value, asked: Option<i64>) -> i64 {
    if !is(key, "", "pods") {
        return 0;
    }
    let text = |path: &[&str]| at(object, path).and_then(Value::as_str).unwrap_or("");
    if text(&["spec", "nodeName"]).is_empty() || matches!(text(&["status", "phase"]), "Succeeded" | "Failed") {
        return 0;
    }
    let spec = at(object, &["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
    asked.or(spec).unwrap_or(30).max(0)
}

fn is(key: &ObjectKey, group: &str, plural: &str) -> bool {
    key.resource.group == group && key.resource.plural == plural
}

fn defined(definition: &Value) -> ResourceKey {
    let text = |path: &[&str]| at(definition, path).and_then(Value::as_str).unwrap_or("").to_owned();
    ResourceKey { group: text(&["spec", "group"]), plural: text(&["spec", "names", "plural"]) }
}
