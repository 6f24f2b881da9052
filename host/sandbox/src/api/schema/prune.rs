//! Removal of fields that the schema does not know.

use serde_json::Value;

use super::{flag, is_object_field};

/// Removes unknown fields and returns their paths.
pub fn apply(schema: &Value, object: &mut Value) -> Vec<String> {
    let mut removed = Vec::new();
    walk(schema, object, true, "", &mut removed);
    removed
}

fn walk(schema: &Value, value: &mut Value, embedded: bool, path: &str, removed: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let preserve = flag(schema, "x-kubernetes-preserve-unknown-fields");
            let properties = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties");
            let open = additional.is_some_and(|a| a.is_object() || a.as_bool() == Some(true));
            map.retain(|name, child| {
                // The schema of metadata restricts it, but its fields are those of every object.
                if embedded && is_object_field(name) {
                    return true;
                }
                let here = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                if let Some(known) = properties.and_then(|p| p.get(name)) {
                    walk(known, child, flag(known, "x-kubernetes-embedded-resource"), &here, removed);
                } else if let Some(known) = additional.filter(|a| a.is_object()) {
                    walk(known, child, flag(known, "x-kubernetes-embedded-resource"), &here, removed);
                } else if !open && !preserve {
                    removed.push(here);
                    return false;
                }
                true
            });
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                let embedded = flag(items, "x-kubernetes-embedded-resource");
                for (index, item) in list.iter_mut().enumerate() {
                    walk(items, item, embedded, &format!("{path}[{index}]"), removed);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_go_and_are_named_while_metadata_and_preserved_trees_stay() {
        let schema = json!({"type": "object", "properties": {
            "metadata": {"type": "object"},
            "spec": {"type": "object", "properties": {
                "known": {"type": "string"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {}}}},
                "list": {"type": "array", "items": {"type": "object", "properties": {"a": {}}}},
            }},
        }});
        let mut object = json!({
            "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a", "labels": {"k": "v"}},
            "spec": {"known": "k", "unknown": 1, "free": {"any": [1]}, "map": {"k": {"a": 1, "b": 2}}, "list": [{"b": 1}]},
        });
        let removed = apply(&schema, &mut object);
        assert_eq!(removed, ["spec.list[0].b", "spec.map.k.b", "spec.unknown"]);
        assert_eq!(object["spec"], json!({"known": "k", "free": {"any": [1]}, "map": {"k": {"a": 1}}, "list": [{}]}));
        assert_eq!(object["metadata"]["labels"]["k"], "v");
    }
}
