//! Parameters against the schema of a manifest: the keywords that parameters of remediators need. An unknown keyword
//! refuses nothing, so a richer schema still loads.

use serde_json::Value;

/// Checks a value; the error names the field.
pub fn check(schema: &Value, value: &Value) -> Result<(), String> {
    at(schema, value, "")
}

fn at(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let name = if path.is_empty() { "the whole" } else { path };
    if let Some(kind) = schema.get("type") {
        let allowed: Vec<&str> = match kind {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => vec![],
        };
        if !allowed.is_empty() && !allowed.iter().any(|kind| is(value, kind)) {
            return Err(format!("{name} must be of type {}", allowed.join(" or ")));
        }
    }
    if let Some(Value::Array(choices)) = schema.get("enum")
        && !choices.contains(value)
    {
        return Err(format!("{name} must be one of {}", Value::Array(choices.clone())));
    }
    if let Some(number) = value.as_f64() {
        if schema.get("minimum").and_then(Value::as_f64).is_some_and(|least| number < least) {
            return Err(format!("{name} must be at least {}", schema["minimum"]));
        }
        if schema.get("maximum").and_then(Value::as_f64).is_some_and(|most| number > most) {
            return Err(format!("{name} must be at most {}", schema["maximum"]));
        }
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as u64;
        if schema.get("minLength").and_then(Value::as_u64).is_some_and(|least| length < least) {
            return Err(format!("{name} must have at least {} characters", schema["minLength"]));
        }
        if schema.get("maxLength").and_then(Value::as_u64).is_some_and(|most| length > most) {
            return Err(format!("{name} must have at most {} characters", schema["maxLength"]));
        }
    }
    if let (Some(items), Value::Array(values)) = (schema.get("items"), value) {
        for (index, value) in values.iter().enumerate() {
            at(items, value, &format!("{path}[{index}]"))?;
        }
    }
    let Value::Object(fields) = value else { return Ok(()) };
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(required) {
            return Err(format!("{} is missing", join(path, required)));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (key, value) in fields {
        match properties.and_then(|properties| properties.get(key)) {
            Some(schema) => at(schema, value, &join(path, key))?,
            None if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                return Err(format!("{} is not a parameter", join(path, key)));
            }
            None => {}
        }
    }
    Ok(())
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_name_the_field() {
        let schema = json!({
            "type": "object", "required": ["mode"], "additionalProperties": false,
            "properties": {
                "mode": { "enum": ["soft", "hard"] },
                "wait": { "type": "integer", "minimum": 1, "maximum": 60 },
                "tags": { "type": "array", "items": { "type": "string", "maxLength": 3 } }
            }
        });
        assert_eq!(check(&schema, &json!({ "mode": "soft", "wait": 5, "tags": ["a"] })), Ok(()));
        for (value, field) in [
            (json!({}), "mode is missing"),
            (json!({ "mode": "warm" }), "mode must be one of"),
            (json!({ "mode": "soft", "wait": 0 }), "wait must be at least"),
            (json!({ "mode": "soft", "wait": "5" }), "wait must be of type integer"),
            (json!({ "mode": "soft", "tags": ["long"] }), "tags[0] must have at most"),
            (json!({ "mode": "soft", "colour": 1 }), "colour is not a parameter"),
            (json!([]), "the whole must be of type object"),
        ] {
            assert!(check(&schema, &value).unwrap_err().contains(field), "{value}");
        }
        assert_eq!(check(&json!({}), &json!({ "anything": true })), Ok(()));
    }
}
