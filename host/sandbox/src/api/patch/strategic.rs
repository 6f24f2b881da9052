//! Strategic merge patch for compiled-in kinds.
//!
//! Understood are merge keys, `null` as removal, `$patch: delete|replace|merge`, `$deleteFromPrimitiveList`, `$retainKeys`
//! and, for order, `$setElementOrder`. Merge keys come from the table in [`super::shape`].

use serde_json::{Map, Value};

use super::super::error::ApiError;
use super::shape::{ListKind, Shape};

/// Merges the patch into the object.
pub fn merge(target: &mut Value, patch: &Value, shape: &Shape<'_>) -> Result<(), ApiError> {
    let (Value::Object(map), Some(patch)) = (&mut *target, patch.as_object()) else {
        *target = clean(patch);
        return Ok(());
    };
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = clean(&Value::Object(patch.clone()));
            return Ok(());
        }
        Some("delete") => {
            map.clear();
            return Ok(());
        }
        None | Some("merge") => {}
        Some(other) => return Err(ApiError::bad_request(format!("unrecognised $patch directive \"{other}\""))),
    }
    if let Some(keep) = patch.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|name, _| keep.iter().any(|k| k == name));
    }
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(items)), Some(gone)) = (map.get_mut(list), value.as_array()) {
                items.retain(|item| !gone.contains(item));
            }
        } else if !name.starts_with('$') {
            field(map, name, value, shape)?;
        }
    }
    for (name, order) in patch {
        if let Some(list) = name.strip_prefix("$setElementOrder/")
            && let (Some(Value::Array(items)), Some(order)) = (map.get_mut(list), order.as_array())
        {
            reorder(items, order, &shape.list(list, order));
        }
    }
    Ok(())
}

fn field(map: &mut Map<String, Value>, name: &str, value: &Value, shape: &Shape<'_>) -> Result<(), ApiError> {
    match value {
        Value::Null => {
            map.remove(name);
        }
        Value::Object(_) => {
            let child = map.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if !child.is_object() {
                *child = Value::Object(Map::new());
            }
            merge(child, value, &shape.child(name, false))?;
        }
        Value::Array(items) => match shape.list(name, items) {
            ListKind::Map(keys) if map.get(name).is_some_and(Value::is_array) => {
                if let Some(Value::Array(current)) = map.get_mut(name) {
                    by_key(current, items, &keys, shape)?;
                }
            }
            ListKind::Set => {
                let current = map.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                if !current.is_array() {
                    *current = Value::Array(Vec::new());
                }
                if let Some(current) = current.as_array_mut() {
                    for item in items {
                        if !current.contains(item) {
                            current.push(item.clone());
                        }
                    }
                }
            }
            _ => {
                map.insert(name.to_owned(), clean(value));
            }
        },
        scalar => {
            map.insert(name.to_owned(), scalar.clone());
        }
    }
    Ok(())
}

fn by_key(current: &mut Vec<Value>, items: &[Value], keys: &[String], shape: &Shape<'_>) -> Result<(), ApiError> {
    if items.iter().any(|item| item.get("$patch").and_then(Value::as_str) == Some("replace")) {
        *current = items.iter().filter(|i| i.get("$patch").is_none()).map(clean).collect();
        return Ok(());
    }
    for item in items {
        let same = |other: &Value| keys.iter().all(|key| other.get(key) == item.get(key));
        if keys.iter().any(|key| item.get(key).is_none()) {
            let message = format!("map: {item} does not contain declared merge key: {}", keys.join(", "));
            return Err(ApiError::bad_request(message));
        }
        if item.get("$patch").and_then(Value::as_str) == Some("delete") {
            current.retain(|other| !same(other));
        } else if let Some(found) = current.iter_mut().find(|other| same(other)) {
            merge(found, item, &shape.items())?;
        } else {
            current.push(clean(item));
        }
    }
    Ok(())
}

/// Sorts items as the directive lists them; items it does not name stay behind them in their own order.
fn reorder(items: &mut [Value], order: &[Value], kind: &ListKind) {
    let position = |item: &Value| {
        order
            .iter()
            .position(|wanted| match kind {
                ListKind::Map(keys) => keys.iter().all(|key| wanted.get(key) == item.get(key)),
                _ => wanted == item,
            })
            .unwrap_or(usize::MAX)
    };
    items.sort_by_key(position);
}

/// A patch value as it is stored: without nulls and directives.
fn clean(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(name, value)| !name.starts_with('$') && !value.is_null())
                .map(|(name, value)| (name.clone(), clean(value)))
                .collect(),
        ),
        Value::Array(list) => Value::Array(
            list.iter()
                .filter(|item| item.get("$patch").and_then(Value::as_str) != Some("delete"))
                .map(clean)
                .collect(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(mut object: Value, patch: &Value) -> Value {
        merge(&mut object, patch, &Shape::BuiltIn).expect("patch applies");
        object
    }

    #[test]
    fn lists_with_a_key_merge_by_it_and_others_are_replaced() {
        let node = json!({
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "x"}, {"type": "Disk", "status": "False"}]},
            "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]},
        });
        let patch = json!({
            "status": {"conditions": [{"type": "Ready", "status": "Unknown"}, {"type": "New", "status": "True"}]},
            "spec": {"taints": [{"key": "b", "effect": "NoExecute"}]},
        });
        assert_eq!(
            merged(node, &patch),
            json!({
                "status": {"conditions": [
                    {"type": "Ready", "status": "Unknown", "reason": "x"},
                    {"type": "Disk", "status": "False"},
                    {"type": "New", "status": "True"},
                ]},
                "spec": {"taints": [{"key": "b", "effect": "NoExecute"}]},
            })
        );
    }

    #[test]
    fn directives_delete_replace_and_order() {
        let pod =
            json!({"metadata": {"finalizers": ["a", "b"]}, "spec": {"containers": [{"name": "x"}, {"name": "y"}]}});
        let patch = json!({
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "labels": {"k": null}},
            "spec": {
                "containers": [{"name": "x", "$patch": "delete"}, {"name": "z", "image": "i"}],
                "$setElementOrder/containers": [{"name": "z"}, {"name": "y"}],
                "securityContext": {"$patch": "replace", "runAsUser": 1},
            },
        });
        assert_eq!(
            merged(pod, &patch),
            json!({
                "metadata": {"finalizers": ["b"], "labels": {}},
                "spec": {
                    "containers": [{"name": "z", "image": "i"}, {"name": "y"}],
                    "securityContext": {"runAsUser": 1},
                },
            })
        );
    }

    #[test]
    fn an_item_without_its_key_is_refused() {
        let mut pod = json!({"spec": {"containers": [{"name": "x"}]}});
        let refused = merge(&mut pod, &json!({"spec": {"containers": [{"image": "i"}]}}), &Shape::BuiltIn);
        assert_eq!(refused.expect_err("no key").code, 400);
    }
}
