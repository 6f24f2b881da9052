//! Sets of field paths, as `managedFields` keeps them (`FieldsV1`).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::shape::{ListKind, Shape};

/// One step: `f:name`, `k:{"key":"value"}` or `v:value`, kept in that text form.
pub type Path = Vec<String>;

/// The leaves that an applied configuration sets.
pub fn of(config: &Value, shape: &Shape<'_>) -> BTreeSet<Path> {
    let mut out = BTreeSet::new();
    walk(config, shape, true, &mut Vec::new(), &mut out);
    out
}

fn walk(value: &Value, shape: &Shape<'_>, root: bool, path: &mut Path, out: &mut BTreeSet<Path>) {
    match value {
        Value::Object(map) if !(map.is_empty() || shape.atomic_map()) || root => {
            for (name, child) in map {
                if root && matches!(name.as_str(), "apiVersion" | "kind") || ignored(path, name) {
                    continue;
                }
                path.push(format!("f:{name}"));
                let below = shape.child(name, root);
                match child {
                    Value::Array(items) => list(name, items, shape, &below, path, out),
                    other => walk(other, &below, false, path, out),
                }
                path.pop();
            }
        }
        _ => {
            out.insert(path.clone());
        }
    }
}

fn list(name: &str, items: &[Value], parent: &Shape<'_>, shape: &Shape<'_>, path: &mut Path, out: &mut BTreeSet<Path>) {
    match kind(name, items, parent, shape) {
        ListKind::Atomic => {
            out.insert(path.clone());
        }
        ListKind::Set => {
            for item in items {
                path.push(format!("v:{item}"));
                out.insert(path.clone());
                path.pop();
            }
        }
        ListKind::Map(keys) => {
            for item in items {
                path.push(item_key(item, &keys));
                walk(item, &shape.items(), false, path, out);
                path.pop();
            }
        }
    }
}

/// How a list merges, whether its own schema or the table of field names says so.
pub fn kind(name: &str, items: &[Value], parent: &Shape<'_>, own: &Shape<'_>) -> ListKind {
    match parent {
        Shape::BuiltIn => Shape::BuiltIn.list(name, items),
        _ => own.list(name, items),
    }
}

/// The step that names an item of a keyed list.
pub fn item_key(item: &Value, keys: &[String]) -> String {
    let key: Map<String, Value> = keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone()))).collect();
    format!("k:{}", Value::Object(key))
}

/// Identity and bookkeeping are nobody's.
fn ignored(path: &[String], name: &str) -> bool {
    path == ["f:metadata"]
        && matches!(
            name,
            "name"
                | "namespace"
                | "uid"
                | "resourceVersion"
                | "managedFields"
                | "creationTimestamp"
                | "generation"
                | "generateName"
                | "selfLink"
        )
}

/// The nested form of `FieldsV1`.
pub fn encode(paths: &BTreeSet<Path>) -> Value {
    let mut root = Map::new();
    for path in paths {
        let mut node = &mut root;
        for step in path {
            let child = node.entry(step.clone()).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(map) = child else { break };
            node = map;
        }
    }
    Value::Object(root)
}

/// Back from the nested form.
pub fn decode(value: &Value) -> BTreeSet<Path> {
    let mut out = BTreeSet::new();
    let mut pending = vec![(Vec::new(), value)];
    while let Some((path, node)) = pending.pop() {
        match node.as_object().filter(|map| !map.is_empty()) {
            None if path.is_empty() => {}
            None => {
                out.insert(path);
            }
            Some(map) => pending.extend(map.iter().filter(|(step, _)| *step != ".").map(|(step, child)| {
                let mut path = path.clone();
                path.push(step.clone());
                (path, child)
            })),
        }
    }
    out
}

/// How a conflict names the field: `.spec.replicas`.
pub fn display(path: &[String]) -> String {
    path.iter()
        .map(|step| match step.split_once(':') {
            Some(("f", name)) => format!(".{name}"),
            Some(("k", key)) => format!("[{}]", key.trim_matches(['{', '}']).replace("\":", "\"=").replace('"', "")),
            Some((_, value)) => format!("[={value}]"),
            None => step.clone(),
        })
        .collect()
}

/// The value at a path.
pub fn get<'a>(root: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(root, |node, step| match step.split_once(':')? {
        ("f", name) => node.get(name),
        ("k", key) => node.as_array()?.iter().find(|item| has_key(item, key)),
        (_, value) => node.as_array()?.iter().find(|item| is_value(item, value)),
    })
}

/// Whether the path ends in a field by which a list item is known.
pub fn names_key(path: &[String]) -> bool {
    let [.., item, field] = path else { return false };
    let (Some(key), Some(name)) = (item.strip_prefix("k:"), field.strip_prefix("f:")) else { return false };
    serde_json::from_str::<Value>(key).is_ok_and(|key| key.get(name).is_some())
}

/// Removes the value at a path, and containers that it leaves empty.
///
/// A key field goes only with its item, and only once nothing else is left in it; so remove other fields first.
pub fn remove(node: &mut Value, path: &[String]) {
    let Some((step, rest)) = path.split_first() else { return };
    match (step.split_once(':'), &mut *node) {
        (Some(("f", name)), Value::Object(map)) => {
            if rest.is_empty() {
                map.remove(name);
            } else if let Some(child) = map.get_mut(name) {
                remove(child, rest);
                if is_empty(child) {
                    map.remove(name);
                }
            }
        }
        (Some(("k", key)), Value::Array(list)) => {
            let Some(index) = list.iter().position(|item| has_key(item, key)) else { return };
            if !names_key(path) {
                if let Some(item) = list.get_mut(index) {
                    remove(item, rest);
                }
            } else if list.get(index).is_some_and(|item| only_key(item, key)) {
                list.remove(index);
            }
        }
        (Some((_, value)), Value::Array(list)) => list.retain(|item| !is_value(item, value)),
        _ => {}
    }
}

fn is_value(item: &Value, text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|value| value == *item)
}

fn has_key(item: &Value, key: &str) -> bool {
    let Ok(Value::Object(key)) = serde_json::from_str(key) else { return false };
    key.iter().all(|(name, value)| item.get(name) == Some(value))
}

fn only_key(item: &Value, key: &str) -> bool {
    serde_json::from_str::<Value>(key).is_ok_and(|key| key == *item)
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}
