//! Filling in of schema defaults.

use serde_json::Value;

use super::flag;

/// Sets absent fields that have a default. A null counts as absent where the schema does not allow null.
pub fn apply(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, known) in properties.into_iter().flatten() {
                let Some(default) = known.get("default") else { continue };
                let absent = match map.get(name) {
                    None => true,
                    Some(Value::Null) => !flag(known, "nullable"),
                    Some(_) => false,
                };
                if absent {
                    map.insert(name.clone(), default.clone());
                }
            }
            let additional = schema.get("additionalProperties").filter(|a| a.is_object());
            for (name, child) in map.iter_mut() {
                if let Some(known) = properties.and_then(|p| p.get(name)).or(additional) {
                    apply(known, child);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for item in list {
                    apply(items, item);
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
    fn defaults_fill_what_is_absent_and_apply_inside_defaults_lists_and_maps() {
        let schema = json!({"properties": {
            "a": {"default": 1},
            "b": {"default": {}, "properties": {"c": {"default": "deep"}}},
            "n": {"default": 5},
            "nullable": {"default": 5, "nullable": true},
            "l": {"items": {"properties": {"x": {"default": true}}}},
            "m": {"additionalProperties": {"properties": {"y": {"default": 0}}}},
            "none": {"properties": {"z": {"default": 1}}},
        }});
        let mut object = json!({"n": null, "nullable": null, "l": [{}, {"x": false}], "m": {"k": {}}});
        apply(&schema, &mut object);
        assert_eq!(
            object,
            json!({
                "a": 1, "b": {"c": "deep"}, "n": 5, "nullable": null,
                "l": [{"x": true}, {"x": false}], "m": {"k": {"y": 0}},
            })
        );
    }
}
