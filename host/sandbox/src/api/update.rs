//! Replacing an object: what a client may change, and what that does to generation and deletion.

use std::sync::Arc;

use serde_json::{Value, json};

use super::error::{ApiError, FieldError};
use super::meta;
use super::strategy;
use super::write::{Target, WriteOptions, Writer, Written};

impl Writer<'_> {
    /// The part that updates and patches share.
    pub(super) fn replace(
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
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "selfLink",
            "generateName",
            "resourceVersion",
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
        let warnings = Self::admit(target, &mut new, Some(old), options.fields)?;
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
    let empty = |v: &Value| {
        v.is_null() || v.as_array().is_some_and(Vec::is_empty) || v.as_object().is_some_and(serde_json::Map::is_empty)
    };
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
