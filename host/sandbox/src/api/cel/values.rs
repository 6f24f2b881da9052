//! From JSON to what CEL rules see of it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use kube::core::cel::cel::objects::{Key, Map};
use kube::core::cel::cel::{Context, Program, Value as CelValue};
use serde_json::Value;

/// Words that CEL reserves; fields of these names are reached as `__name__`.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The value of a schema node. At the root, metadata shows only its name, as on the real server.
pub fn convert(schema: &Value, value: &Value, root: bool) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(b) => CelValue::Bool(*b),
        Value::Number(number) => convert_number(schema, number),
        Value::String(text) => convert_text(schema, text),
        Value::Array(list) => {
            let items = schema.get("items").unwrap_or(&Value::Null);
            CelValue::List(Arc::new(list.iter().map(|item| convert(items, item, false)).collect()))
        }
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let other = schema.get("additionalProperties").filter(|a| a.is_object());
            let object = root || schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true));
            let mut map = HashMap::with_capacity(fields.len());
            for (name, child) in fields {
                if object && name == "metadata" {
                    map.insert(key(name), identity(child));
                } else if let Some(known) = properties.and_then(|p| p.get(name)) {
                    map.insert(key(&escape(name)), convert(known, child, false));
                } else {
                    // Keys of maps are data, not names.
                    map.insert(key(name), convert(other.unwrap_or(&Value::Null), child, false));
                }
            }
            CelValue::Map(Map { map: Arc::new(map) })
        }
    }
}

/// The name that `type()` gives.
pub fn type_name(value: &CelValue) -> &'static str {
    match value {
        CelValue::List(_) => "list",
        CelValue::Map(_) => "map",
        CelValue::Int(_) => "int",
        CelValue::UInt(_) => "uint",
        CelValue::Float(_) => "double",
        CelValue::String(_) => "string",
        CelValue::Bytes(_) => "bytes",
        CelValue::Bool(_) => "bool",
        CelValue::Null => "null_type",
        CelValue::Duration(_) => "google.protobuf.Duration",
        CelValue::Timestamp(_) => "google.protobuf.Timestamp",
        CelValue::Opaque(_) | CelValue::Function(..) => "opaque",
    }
}

fn identity(metadata: &Value) -> CelValue {
    let visible = ["name", "generateName"].into_iter().filter_map(|name| {
        let text = metadata.get(name)?.as_str()?;
        Some((key(name), CelValue::String(Arc::new(text.to_owned()))))
    });
    CelValue::Map(Map { map: Arc::new(visible.collect()) })
}

fn convert_number(schema: &Value, number: &serde_json::Number) -> CelValue {
    let wants_double = schema.get("type").and_then(Value::as_str) == Some("number");
    match number.as_i64().filter(|_| !wants_double) {
        Some(integer) => CelValue::Int(integer),
        None => CelValue::Float(number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// Times and durations are parsed by CEL's own functions, so that they compare as CEL compares them.
fn convert_text(schema: &Value, text: &str) -> CelValue {
    static TIMESTAMP: LazyLock<Option<Program>> = LazyLock::new(|| Program::compile("timestamp(text)").ok());
    static DURATION: LazyLock<Option<Program>> = LazyLock::new(|| Program::compile("duration(text)").ok());
    let plain = CelValue::String(Arc::new(text.to_owned()));
    let parser = match schema.get("format").and_then(Value::as_str) {
        Some("date-time") => &*TIMESTAMP,
        Some("duration") => &*DURATION,
        _ => return plain,
    };
    let mut scope = Context::default();
    scope.add_variable_from_value("text", plain.clone());
    parser.as_ref().and_then(|program| program.execute(&scope).ok()).unwrap_or(plain)
}

fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

fn escape(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}
