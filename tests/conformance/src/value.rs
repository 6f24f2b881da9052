//! Comparing what is there with what was expected.

use serde_json::Value;

/// Whether `seen` says at least what `expected` says: every key of an object, every element of a list. `null` expects
/// nothing to be there, an empty list, object or text included; zero may be left out.
pub fn shows(seen: &Value, expected: &Value) -> Result<(), String> {
    at("", seen, expected)
}

fn at(path: &str, seen: &Value, expected: &Value) -> Result<(), String> {
    let here = if path.is_empty() { "it" } else { path };
    match (expected, seen) {
        (Value::Null, seen) if is_empty(seen) => Ok(()),
        (Value::Number(number), Value::Null) if number.as_i64() == Some(0) => Ok(()),
        (Value::Object(expected), Value::Object(_) | Value::Null) => {
            expected.iter().try_for_each(|(key, expected)| at(&format!("{path}.{key}"), &seen[key], expected))
        }
        (Value::Array(expected), Value::Array(seen)) if expected.len() == seen.len() => expected
            .iter()
            .zip(seen)
            .enumerate()
            .try_for_each(|(index, (expected, seen))| at(&format!("{path}[{index}]"), seen, expected)),
        (expected, seen) if expected == seen => Ok(()),
        (expected, seen) => Err(format!("{here} is {}, expected {expected}", brief(seen))),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// For messages.
pub fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= 600 { text } else { format!("{}…", text.chars().take(600).collect::<String>()) }
}

/// Merges as a JSON merge patch does.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(target) = target {
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

/// The element of a list of conditions with this type.
pub fn condition<'a>(status: &'a Value, type_: &str) -> &'a Value {
    const NONE: &Value = &Value::Null;
    status["conditions"].as_array().and_then(|all| all.iter().find(|one| one["type"] == type_)).unwrap_or(NONE)
}

/// A stamp of the API as seconds since 1970.
pub fn seconds(stamp: &Value) -> anyhow::Result<i64> {
    let text = stamp.as_str().ok_or_else(|| anyhow::anyhow!("{stamp} is no time stamp"))?;
    let time: jiff::Timestamp = text.parse().map_err(|error| anyhow::anyhow!("{text}: {error}"))?;
    Ok(time.as_second())
}

/// Now plus or minus seconds, as the API prints it.
pub fn stamp(offset: i64) -> String {
    let now = jiff::Timestamp::now().as_second();
    jiff::Timestamp::from_second(now + offset)
        .map_or_else(|_| "1970-01-01T00:00:00Z".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_subset_is_enough_but_lists_are_whole() {
        let seen = json!({ "a": 1, "list": [{ "name": "x", "more": true }], "empty": [] });
        assert_eq!(shows(&seen, &json!({ "a": 1, "list": [{ "name": "x" }] })), Ok(()));
        assert_eq!(shows(&seen, &json!({ "empty": null, "missing": null, "count": 0 })), Ok(()));
        assert!(shows(&seen, &json!({ "list": [] })).is_err());
        assert!(shows(&seen, &json!({ "list": null })).is_err());
        assert_eq!(shows(&seen, &json!({ "a": 2 })), Err(".a is 1, expected 2".to_owned()));
    }
}
