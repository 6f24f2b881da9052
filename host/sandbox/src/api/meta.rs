//! Reading and writing `metadata` of untyped objects without panics.

use serde_json::{Map, Value};

/// A text field of `metadata`, empty when absent.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or("")
}

/// A field of `metadata`.
pub fn field<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.get("metadata").and_then(|m| m.get(field)).filter(|v| !v.is_null())
}

/// `metadata`, made if absent. None if the object is not a map.
pub fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let map = object.as_object_mut()?;
    let metadata = map.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut()
}

/// Sets a field of `metadata`, or removes it when the value is null.
pub fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(metadata) = metadata_mut(object) {
        if value.is_null() {
            metadata.remove(field);
        } else {
            metadata.insert(field.to_owned(), value);
        }
    }
}

/// Makes a `metadata` field what it is in another object, absence included.
pub fn copy(from: &Value, to: &mut Value, name: &str) {
    set(to, name, field(from, name).cloned().unwrap_or(Value::Null));
}

/// The finalizers.
pub fn finalizers(object: &Value) -> Vec<String> {
    field(object, "finalizers")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default()
}

/// Whether deletion was asked for.
pub fn deleting(object: &Value) -> bool {
    field(object, "deletionTimestamp").is_some()
}

/// UIDs of the owners.
pub fn owner_uids(object: &Value) -> Vec<String> {
    owners(object).filter_map(|owner| owner.get("uid").and_then(Value::as_str)).map(str::to_owned).collect()
}

/// The owner references.
pub fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    field(object, "ownerReferences").and_then(Value::as_array).into_iter().flatten()
}

/// Follows field names from the root.
pub fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, name| value.get(*name))
}

/// Sets a top-level field to what it is in another object, absence included.
pub fn copy_top(from: &Value, to: &mut Value, name: &str) {
    if let Some(map) = to.as_object_mut() {
        match from.get(name) {
            Some(value) => map.insert(name.to_owned(), value.clone()),
            None => map.remove(name),
        };
    }
}

/// Sets a value under field names from the root if nothing is there, making objects on the way.
pub fn default_at(object: &mut Value, path: &[&str], value: Value) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut node = object;
    for name in parents {
        let Some(map) = node.as_object_mut() else { return };
        node = map.entry(*name).or_insert_with(|| Value::Object(Map::new()));
    }
    if let Some(map) = node.as_object_mut() {
        map.entry(*last).or_insert(value);
    }
}
