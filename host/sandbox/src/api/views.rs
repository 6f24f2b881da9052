//! One stored object, several API versions: conversion between what clients speak and what is kept.
//!
//! Custom resources convert by renaming `apiVersion` (strategy `None`). Events exist in two groups with different field
//! names over the same objects; they are kept in the core form.

use serde_json::{Value, json};

use super::error::ApiError;
use super::meta;
use super::write::Target;

/// Fields of an event: in the core group, in `events.k8s.io`.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("source", "deprecatedSource"),
    ("reportingComponent", "reportingController"),
];

/// The group and version of the newer form of events.
pub const NEW_EVENTS: &str = "events.k8s.io/v1";

/// From a request body to the stored form; refuses bodies that are about something else.
pub fn store(target: &Target, mut body: Value) -> Result<Value, ApiError> {
    if !body.is_object() {
        return Err(ApiError::bad_request("the body of the request is not an object"));
    }
    if body.get("metadata").is_some_and(|m| !m.is_object() && !m.is_null()) {
        return Err(ApiError::bad_request("metadata is not an object"));
    }
    expect(&mut body, "apiVersion", &target.api_version, "API version")?;
    expect(&mut body, "kind", &target.resource.kind, "kind")?;
    let name = meta::text(&body, "name");
    if !target.name.is_empty() && !name.is_empty() && name != target.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    let namespace = meta::text(&body, "namespace");
    if !namespace.is_empty() && namespace != target.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let owned = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    meta::set(&mut body, "namespace", owned(&target.namespace));
    if !target.name.is_empty() {
        meta::set(&mut body, "name", json!(target.name));
    }
    if target.api_version == NEW_EVENTS {
        rename(&mut body, |(old, new)| (new, old));
        put(&mut body, "apiVersion", json!("v1"));
    } else if let Some(storage) = target.resource.storage_version() {
        put(&mut body, "apiVersion", json!(target.resource.api_version(&storage.name)));
    }
    Ok(body)
}

/// From the stored form to what the client of this target speaks.
pub fn show(target: &Target, object: &Value) -> Value {
    show_as(&target.api_version, object)
}

/// The same with just the group and version.
pub fn show_as(api_version: &str, object: &Value) -> Value {
    let mut shown = object.clone();
    if api_version == NEW_EVENTS {
        rename(&mut shown, |(old, new)| (old, new));
    }
    put(&mut shown, "apiVersion", json!(api_version));
    shown
}

fn expect(body: &mut Value, field: &str, wanted: &str, what: &str) -> Result<(), ApiError> {
    match body.get(field).and_then(Value::as_str) {
        // Typed clients leave both out of bodies whose type the path already says.
        None | Some("") => put(body, field, json!(wanted)),
        Some(given) if given == wanted => {}
        Some(given) => {
            let message = format!("the {what} in the data ({given}) does not match the expected {what} ({wanted})");
            return Err(ApiError::bad_request(message));
        }
    }
    Ok(())
}

fn put(object: &mut Value, field: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(field.to_owned(), value);
    }
}

fn rename(object: &mut Value, direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str)) {
    let Some(map) = object.as_object_mut() else { return };
    for pair in EVENT_FIELDS {
        let (from, to) = direction(*pair);
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}
