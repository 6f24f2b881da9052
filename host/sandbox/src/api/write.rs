//! Create, update, patch: what happens between a request body and a stored object.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::clock::{Clock, rfc3339};
use super::error::{ApiError, FieldError};
use super::meta;
use super::patch::{self, Patch, Shape};
use super::resource::{Resource, Version};
use super::store::{ObjectKey, State};
use super::{strategy, views};

/// Where a request goes.
#[derive(Debug, Clone)]
pub struct Target {
    /// The resource.
    pub resource: Arc<Resource>,
    /// Group and version that the client speaks.
    pub api_version: String,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Object name, empty for the collection.
    pub name: String,
    /// Subresource, empty for the object itself.
    pub subresource: String,
}

impl Target {
    /// The object's key in the store.
    pub fn key(&self) -> ObjectKey {
        ObjectKey { resource: self.resource.key(), namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// The version the client speaks.
    pub fn version(&self) -> Option<&Version> {
        let name = self.api_version.rsplit('/').next().unwrap_or("");
        self.resource.served(name).or_else(|| self.resource.storage_version())
    }

    /// Whether it is about the status.
    pub fn status(&self) -> bool {
        self.subresource == "status"
    }
}

/// What to do with fields the schema does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Drop them.
    Ignore,
    /// Drop them and say so.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// Query parameters of a write.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Check and answer, but keep nothing.
    pub dry_run: bool,
    /// Field manager, for server-side apply.
    pub manager: String,
    /// Take fields from other appliers.
    pub force: bool,
    /// Unknown fields.
    pub fields: FieldValidation,
}

/// The answer to a write.
#[derive(Debug, Clone)]
pub struct Written {
    /// The object as it is now.
    pub object: Arc<Value>,
    /// Whether the request made it.
    pub created: bool,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

/// One request's access to the state.
pub struct Writer<'a> {
    pub(super) state: &'a mut State,
    pub(super) clock: &'a dyn Clock,
    pub(super) collect_garbage: bool,
}

impl Writer<'_> {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// POST.
    pub fn create(&mut self, target: &Target, body: Value, options: &WriteOptions) -> Result<Written, ApiError> {
        let mut object = views::store(target, body)?;
        if !meta::text(&object, "resourceVersion").is_empty() {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        Self::name(target, &mut object)?;
        let key = ObjectKey { name: meta::text(&object, "name").to_owned(), ..target.key() };
        let now = rfc3339(self.now());
        meta::set(&mut object, "uid", json!(uuid::Uuid::new_v4().to_string()));
        meta::set(&mut object, "creationTimestamp", json!(now));
        for server_side in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"] {
            meta::set(&mut object, server_side, Value::Null);
        }
        if target.resource.behaviour.generation {
            meta::set(&mut object, "generation", json!(1));
        }
        if target.resource.custom && target.version().is_some_and(|v| v.status) {
            meta::copy_top(&Value::Null, &mut object, "status");
        }
        strategy::prepare_create(&target.resource, &mut object);
        let warnings = Self::admit(target, &mut object, None, options.fields)?;
        self.namespace_accepts(target, &key)?;
        if self.state.get(&key).is_some() {
            return Err(ApiError::already_exists(&target.resource, &key.name));
        }
        let definition = self.definition(target, &mut object)?;
        if options.dry_run {
            return Ok(Written { object: Arc::new(object), created: true, warnings });
        }
        let object = self.state.put(&key, object);
        if let Some(resource) = definition {
            self.state.serve(resource);
        }
        self.orphan_check(&key, &object);
        Ok(Written { object, created: true, warnings })
    }

    /// PUT.
    pub fn update(&mut self, target: &Target, body: Value, options: &WriteOptions) -> Result<Written, ApiError> {
        let body = views::store(target, body)?;
        let behaviour = target.resource.behaviour;
        let Some(old) = self.state.get(&target.key()).cloned() else {
            if behaviour.create_on_update && !target.status() {
                // The uid says that the caller means an object that is gone; a stale version alone does not.
                let uid = meta::text(&body, "uid");
                if !uid.is_empty() {
                    let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: ");
                    return Err(ApiError::conflict(&target.resource, &target.name, &why));
                }
                let mut body = body;
                meta::set(&mut body, "resourceVersion", Value::Null);
                return self.create(target, views::show(target, &body), options);
            }
            return Err(ApiError::not_found(&target.resource, &target.name));
        };
        if behaviour.conditional_update && meta::text(&body, "resourceVersion").is_empty() {
            let path = FieldError::at("metadata.resourceVersion");
            let error = FieldError::invalid(path, "0", "must be specified for an update");
            return Err(ApiError::invalid(&target.resource, &target.name, &[error]));
        }
        self.replace(target, &old, body, options)
    }

    /// PATCH.
    pub fn patch(&mut self, target: &Target, patch: Patch, options: &WriteOptions) -> Result<Written, ApiError> {
        let old = self.state.get(&target.key()).cloned();
        if let Patch::Apply(config) = patch {
            return self.apply(target, old.as_ref(), config, options);
        }
        let Some(old) = old else { return Err(ApiError::not_found(&target.resource, &target.name)) };
        let shown = views::show(target, &old);
        let changed = patch::patched(&target.resource, &patch, &shown)?;
        let new = views::store(target, changed)?;
        self.replace(target, &old, new, options)
    }

    fn apply(
        &mut self,
        target: &Target,
        old: Option<&Arc<Value>>,
        config: Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let config = views::store(target, config)?;
        let schema = target.version().and_then(|v| v.schema.clone());
        let time = rfc3339(self.now());
        let by = patch::Applier {
            manager: &options.manager,
            subresource: &target.subresource,
            force: options.force,
            time: &time,
        };
        let shape = Shape::root(schema.as_ref().map(|s| &s.json));
        if let Some(old) = old {
            let new = patch::apply(old, &config, &shape, &by)?;
            return self.replace(target, old, new, options);
        }
        if !target.subresource.is_empty() {
            return Err(ApiError::not_found(&target.resource, &target.name));
        }
        let mut fresh = json!({"apiVersion": config.get("apiVersion"), "kind": config.get("kind")});
        meta::set(&mut fresh, "name", json!(target.name));
        let new = patch::apply(&fresh, &config, &shape, &by)?;
        self.create(target, views::show(target, &new), options)
    }

    /// Binds a pod to a node.
    pub fn bind(&mut self, target: &Target, binding: &Value) -> Result<Value, ApiError> {
        let key = target.key();
        let Some(old) = self.state.get(&key).cloned() else {
            return Err(ApiError::not_found(&target.resource, &target.name));
        };
        let node = meta::at(binding, &["target", "name"]).and_then(Value::as_str).unwrap_or("");
        let bound = meta::at(&old, &["spec", "nodeName"]).and_then(Value::as_str).unwrap_or("");
        if !bound.is_empty() {
            let why = format!("pod {} is already assigned to node \"{bound}\"", target.name);
            return Err(ApiError::conflict(&target.resource, &target.name, &why));
        }
        if meta::deleting(&old) {
            let why = format!("pod {} is being deleted, cannot be assigned to a host", target.name);
            return Err(ApiError::conflict(&target.resource, &target.name, &why));
        }
        let mut new = Value::clone(&old);
        meta::default_at(&mut new, &["spec", "nodeName"], json!(node));
        self.state.put(&key, new);
        Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
    }
}
