//! Create, update, patch: what happens between a request body and a stored object.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::clock::{Clock, rfc3339};
use super::error::{ApiError, FieldError};
use super::meta;
use super::patch::{self, Patch, Shape};
use super::resource::{Resource, ResourceKey, Version};
use super::store::{ObjectKey, State};
use super::{cel, crd, schema, strategy, views};

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
        ObjectKey {
            resource: self.resource.key(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// The version the client speaks.
    pub fn version(&self) -> Option<&Version> {
        let name = self.api_version.rsplit('/').next().unwrap_or("");
        self.resource.served(name).or_else(|| self.resource.storage_version())
    }

    fn status(&self) -> bool {
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
    pub fn create(
        &mut self,
        target: &Target,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let mut object = views::store(target, body)?;
        if !meta::text(&object, "resourceVersion").is_empty() {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        self.name(target, &mut object)?;
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
        let warnings = self.admit(target, &mut object, None, options.fields)?;
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
    pub fn update(
        &mut self,
        target: &Target,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let body = views::store(target, body)?;
        let behaviour = target.resource.behaviour;
        let Some(old) = self.state.get(&target.key()).cloned() else {
            if behaviour.create_on_update && !target.status() {
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

    /// The part that updates and patches share.
    fn replace(
        &mut self,
        target: &Target,
        old: &Arc<Value>,
        mut new: Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let resource = &target.resource;
        let asked = meta::text(&new, "resourceVersion");
        if !asked.is_empty() && asked != meta::text(old, "resourceVersion") {
            return Err(ApiError::modified(resource, &target.name));
        }
        let uid = meta::text(&new, "uid");
        if !uid.is_empty() && uid != meta::text(old, "uid") {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                meta::text(old, "uid")
            );
            return Err(ApiError::conflict(resource, &target.name, &why));
        }
        if target.status() {
            new = with_status_of(old, &new, resource.custom);
        } else if target.version().is_some_and(|v| v.status) {
            meta::copy_top(old, &mut new, "status");
        }
        for fixed in [
            "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
            "generation", "selfLink", "generateName", "resourceVersion",
        ] {
            meta::copy(old, &mut new, fixed);
        }
        if meta::field(&new, "managedFields").is_none() {
            meta::copy(old, &mut new, "managedFields");
        }
        drop_empty_metadata(&mut new);
        let mut errors = new_finalizers_while_deleting(old, &new);
        if !target.status() {
            errors.extend(strategy::prepare_update(resource, &mut new, old));
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(resource, &target.name, &errors));
        }
        let warnings = self.admit(target, &mut new, Some(old), options.fields)?;
        if resource.behaviour.generation && spec_differs(old, &new, target) {
            let generation = meta::field(old, "generation").and_then(Value::as_i64).unwrap_or(0);
            meta::set(&mut new, "generation", json!(generation + 1));
        }
        let definition = self.definition(target, &mut new)?;
        if new == **old {
            return Ok(Written { object: old.clone(), created: false, warnings });
        }
        if options.dry_run {
            return Ok(Written { object: Arc::new(new), created: false, warnings });
        }
        let object = self.state.put(&target.key(), new);
        if let Some(resource) = definition {
            self.state.serve(resource);
        }
        let object = self.finish_deletion(&target.key()).unwrap_or(object);
        Ok(Written { object, created: false, warnings })
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

    /// Schema, CEL and names. Returns warnings.
    fn admit(
        &mut self,
        target: &Target,
        object: &mut Value,
        old: Option<&Value>,
        fields: FieldValidation,
    ) -> Result<Vec<String>, ApiError> {
        let mut warnings = Vec::new();
        let mut errors = strategy::validate(&target.resource, object);
        if let Some(schema) = target.version().and_then(|v| v.schema.clone()) {
            let unknown = schema::prune(&schema.json, object);
            if !unknown.is_empty() && fields == FieldValidation::Strict {
                let list: Vec<String> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
                let message = format!(
                    "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                    target.resource.kind,
                    target.api_version.rsplit('/').next().unwrap_or(""),
                    target.resource.kind,
                    list.join(", ")
                );
                return Err(ApiError::bad_request(message));
            }
            if fields == FieldValidation::Warn {
                warnings.extend(unknown.iter().map(|path| format!("unknown field \"{path}\"")));
            }
            schema::default(&schema.json, object);
            errors.extend(schema::validate(&schema, object, old));
            if errors.is_empty() {
                errors.extend(cel::validate(&schema, object, old));
            }
        }
        let name = meta::text(object, "name");
        if errors.is_empty() { Ok(warnings) } else { Err(ApiError::invalid(&target.resource, name, &errors)) }
    }

    fn name(&mut self, target: &Target, object: &mut Value) -> Result<(), ApiError> {
        let prefix = meta::text(object, "generateName").to_owned();
        if !meta::text(object, "name").is_empty() {
            return Ok(());
        }
        if prefix.is_empty() {
            let error = FieldError::required(FieldError::at("metadata.name"), "name or generateName is required");
            return Err(ApiError::invalid(&target.resource, "", &[error]));
        }
        let kept: String = prefix.chars().take(58).collect();
        let random: String = uuid::Uuid::new_v4().simple().to_string().chars().take(5).collect();
        meta::set(object, "name", json!(format!("{kept}{random}")));
        Ok(())
    }

    fn namespace_accepts(&self, target: &Target, key: &ObjectKey) -> Result<(), ApiError> {
        if !target.resource.namespaced {
            return Ok(());
        }
        let namespaces = ResourceKey { group: String::new(), plural: "namespaces".to_owned() };
        let namespace =
            ObjectKey { resource: namespaces.clone(), namespace: String::new(), name: key.namespace.clone() };
        match (self.state.get(&namespace), self.state.resource(&namespaces)) {
            (None, Some(resource)) => Err(ApiError::not_found(resource, &key.namespace)),
            (Some(found), _) if meta::deleting(found) => {
                let why = format!(
                    "unable to create new content in namespace {} because it is being terminated",
                    key.namespace
                );
                Err(ApiError::forbidden(&target.resource, &key.name, &why))
            }
            _ => Ok(()),
        }
    }

    /// For a CustomResourceDefinition: the resource it defines.
    fn definition(&self, target: &Target, object: &mut Value) -> Result<Option<Resource>, ApiError> {
        if target.resource.plural != "customresourcedefinitions" || target.resource.custom {
            return Ok(None);
        }
        crd::complete(object, self.clock);
        match crd::resource(object) {
            Ok(resource) => Ok(Some(resource)),
            Err(errors) => Err(ApiError::invalid(&target.resource, meta::text(object, "name"), &errors)),
        }
    }
}

/// A status write takes only the status; compiled-in kinds also take labels and annotations with it.
fn with_status_of(old: &Value, new: &Value, custom: bool) -> Value {
    let mut result = old.clone();
    meta::copy_top(new, &mut result, "status");
    meta::copy(new, &mut result, "managedFields");
    if !custom {
        for field in ["labels", "annotations", "finalizers"] {
            meta::copy(new, &mut result, field);
        }
    }
    result
}

fn drop_empty_metadata(object: &mut Value) {
    let empty = |v: &Value| v.is_null() || v.as_array().is_some_and(Vec::is_empty) || v.as_object().is_some_and(serde_json::Map::is_empty);
    if let Some(metadata) = meta::metadata_mut(object) {
        for field in ["finalizers", "ownerReferences", "labels", "annotations", "managedFields"] {
            if metadata.get(field).is_some_and(empty) {
                metadata.remove(field);
            }
        }
    }
}

fn new_finalizers_while_deleting(old: &Value, new: &Value) -> Vec<FieldError> {
    if !meta::deleting(old) {
        return Vec::new();
    }
    let before = meta::finalizers(old);
    let added: Vec<String> =
        meta::finalizers(new).into_iter().filter(|f| !before.contains(f)).map(|f| format!("\"{f}\"")).collect();
    if added.is_empty() {
        return Vec::new();
    }
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    vec![FieldError::forbidden(FieldError::at("metadata.finalizers"), &detail)]
}

/// Whether anything but metadata and (where it is apart) status changed.
fn spec_differs(old: &Value, new: &Value, target: &Target) -> bool {
    let apart = target.version().is_some_and(|v| v.status);
    let counted = |object: &Value| {
        let mut copy = object.clone();
        if let Some(map) = copy.as_object_mut() {
            map.remove("metadata");
            map.remove("apiVersion");
            if apart {
                map.remove("status");
            }
        }
        copy
    };
    counted(old) != counted(new)
}
