//! Server-side apply.
//!
//! Kept are the fields of *appliers*: an applier that stops naming a field loses it, and two appliers that disagree
//! conflict unless forced. Writes by update or other patches are not recorded as owners, so they never conflict; the
//! real server has that. List keys come from the schema or, for compiled-in kinds, from a table.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::error::ApiError;
use super::super::meta;
use super::fields::{self, Path};
use super::shape::{ListKind, Shape};

/// Who applies, and how.
#[derive(Debug, Clone)]
pub struct Applier<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// `status` or empty.
    pub subresource: &'a str,
    /// Take fields from other appliers.
    pub force: bool,
    /// The time for the record, RFC 3339.
    pub time: &'a str,
}

type Identity = (String, String);

/// The object after applying; `live` is empty when the object is new.
pub fn apply(live: &Value, config: &Value, shape: &Shape<'_>, by: &Applier<'_>) -> Result<Value, ApiError> {
    if by.manager.is_empty() {
        return Err(ApiError::bad_request(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    if meta::field(config, "managedFields").is_some() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let me: Identity = (by.manager.to_owned(), by.subresource.to_owned());
    let mut owners = owners(live);
    let wanted = fields::of(config, shape);
    let conflicts = conflicts(live, config, &wanted, &owners, &me);
    if !conflicts.is_empty() && !by.force {
        return Err(conflict_error(&conflicts));
    }
    for (identity, path) in &conflicts {
        if let Some(paths) = owners.get_mut(identity) {
            paths.remove(path);
        }
    }
    let mut result = live.clone();
    merge(&mut result, config, shape, true);
    let before = owners.remove(&me).unwrap_or_default();
    let mut dropped: Vec<&Path> = before.difference(&wanted).collect();
    dropped.sort_by_key(|path| fields::names_key(path));
    for path in dropped {
        let kept_by_other = owners.values().any(|paths| paths.contains(path));
        // A leaf above it took its place as a whole, unless that leaf is just an empty map.
        let whole = |leaf: &Path| fields::get(config, leaf).is_none_or(|v| !v.is_object());
        let replaced = wanted.iter().any(|w| w.starts_with(path) || (path.starts_with(w) && whole(w)));
        if !kept_by_other && !replaced {
            fields::remove(&mut result, path);
        }
    }
    owners.insert(me, wanted);
    record(&mut result, live, &owners, by, config);
    Ok(result)
}

/// Merges a configuration into an object by list keys; also used when there is no ownership to keep.
fn merge(target: &mut Value, config: &Value, shape: &Shape<'_>, root: bool) {
    let (Value::Object(map), Value::Object(config)) = (&mut *target, config) else {
        *target = config.clone();
        return;
    };
    if shape.atomic_map() && !root {
        map.clone_from(config);
        return;
    }
    for (name, value) in config {
        if root && matches!(name.as_str(), "apiVersion" | "kind") {
            continue;
        }
        let below = shape.child(name, root);
        match (map.get_mut(name), value) {
            (Some(Value::Array(current)), Value::Array(items)) => {
                merge_list(current, items, &fields::kind(name, items, shape, &below), &below);
            }
            (Some(current @ Value::Object(_)), Value::Object(_)) => merge(current, value, &below, false),
            _ => {
                map.insert(name.clone(), value.clone());
            }
        }
    }
}

fn merge_list(current: &mut Vec<Value>, items: &[Value], kind: &ListKind, shape: &Shape<'_>) {
    match kind {
        ListKind::Atomic => *current = items.to_vec(),
        ListKind::Set => {
            for item in items {
                if !current.contains(item) {
                    current.push(item.clone());
                }
            }
        }
        ListKind::Map(keys) => {
            for item in items {
                let same = |other: &Value| keys.iter().all(|key| other.get(key) == item.get(key));
                match current.iter_mut().find(|other| same(other)) {
                    Some(found) => merge(found, item, &shape.items(), false),
                    None => current.push(item.clone()),
                }
            }
        }
    }
}

fn owners(live: &Value) -> BTreeMap<Identity, BTreeSet<Path>> {
    applied_entries(live)
        .map(|entry| {
            let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
            let paths = entry.get("fieldsV1").map(fields::decode).unwrap_or_default();
            ((text("manager"), text("subresource")), paths)
        })
        .collect()
}

fn applied_entries(live: &Value) -> impl Iterator<Item = &Value> {
    meta::field(live, "managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("operation").and_then(Value::as_str) == Some("Apply"))
}

fn conflicts(
    live: &Value,
    config: &Value,
    wanted: &BTreeSet<Path>,
    owners: &BTreeMap<Identity, BTreeSet<Path>>,
    me: &Identity,
) -> Vec<(Identity, Path)> {
    let mut found = Vec::new();
    for (identity, paths) in owners.iter().filter(|(identity, _)| *identity != me) {
        for path in wanted.intersection(paths) {
            if fields::get(live, path) != fields::get(config, path) {
                found.push((identity.clone(), path.clone()));
            }
        }
    }
    found
}

fn conflict_error(conflicts: &[(Identity, Path)]) -> ApiError {
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|((manager, _), path)| {
            let message = format!("conflict with \"{manager}\"");
            json!({"reason": "FieldManagerConflict", "message": message, "field": fields::display(path)})
        })
        .collect();
    let plural = if conflicts.len() == 1 { "" } else { "s" };
    let texts: Vec<String> = conflicts
        .iter()
        .map(|((manager, _), path)| format!("conflict with \"{manager}\": {}", fields::display(path)))
        .collect();
    let message = format!("Apply failed with {} conflict{plural}: {}", conflicts.len(), texts.join("; "));
    let mut error = ApiError::new(409, "Conflict", message);
    error.details = Some(json!({"causes": causes}));
    error
}

fn record(
    result: &mut Value,
    live: &Value,
    owners: &BTreeMap<Identity, BTreeSet<Path>>,
    by: &Applier<'_>,
    config: &Value,
) {
    let mut entries = Vec::new();
    for ((manager, subresource), paths) in owners {
        if paths.is_empty() {
            continue;
        }
        let old = applied_entries(live).find(|entry| {
            entry.get("manager").and_then(Value::as_str) == Some(manager)
                && entry.get("subresource").and_then(Value::as_str).unwrap_or("") == subresource
        });
        let encoded = fields::encode(paths);
        if let Some(old) = old.filter(|entry| entry.get("fieldsV1") == Some(&encoded)) {
            entries.push(old.clone());
            continue;
        }
        let mut entry = Map::from_iter([
            ("manager".to_owned(), json!(manager)),
            ("operation".to_owned(), json!("Apply")),
            ("apiVersion".to_owned(), config.get("apiVersion").cloned().unwrap_or_default()),
            ("time".to_owned(), json!(by.time)),
            ("fieldsType".to_owned(), json!("FieldsV1")),
            ("fieldsV1".to_owned(), encoded),
        ]);
        if !subresource.is_empty() {
            entry.insert("subresource".to_owned(), json!(subresource));
        }
        entries.push(Value::Object(entry));
    }
    meta::set(result, "managedFields", Value::Array(entries));
}
