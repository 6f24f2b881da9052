//! Pieces of structural schema that derived ones do not give: Kubernetes types, list types, the cleaning of the rest.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::duration::SIGNED_PATTERN;

/// A duration that may be negative.
pub fn signed_duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": SIGNED_PATTERN })
}

/// RFC 3339 time.
pub fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// Map from names to times.
pub fn time_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": { "type": "string", "format": "date-time" } })
}

/// A number of nodes: an integer of at least zero, or a percentage.
pub fn threshold(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [{ "type": "integer" }, { "type": "string" }],
        "pattern": "^((100|[0-9]{1,2})%|[0-9]+)$",
        "x-kubernetes-int-or-string": true,
    })
}

/// A number of nodes, or a percentage.
pub fn amount(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [{ "type": "integer" }, { "type": "string" }],
        "pattern": "^((100|[0-9]{1,2})%|[0-9]{1,9})$",
        "maxLength": 10,
        "x-kubernetes-int-or-string": true,
    })
}

/// RFC 3339 times.
pub fn times(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "format": "date-time" } })
}

/// A few short texts, with the limits that the cost budget of the rules on them needs.
pub fn urls(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": 32, "items": { "type": "string", "maxLength": 512 } })
}

/// An integer or a string.
pub fn int_or_string(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [{ "type": "integer" }, { "type": "string" }],
        "x-kubernetes-int-or-string": true,
    })
}

/// Any JSON.
pub fn any(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// Any JSON object.
pub fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// Reference to one object, replaced as a whole.
pub fn object_reference(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "apiVersion": { "type": "string", "description": "Group and version of the referent." },
            "kind": { "type": "string", "description": "Kind of the referent." },
            "namespace": { "type": "string", "description": "Namespace of the referent; empty for cluster scope." },
            "name": { "type": "string", "description": "Name of the referent." },
            "uid": { "type": "string", "description": "UID of the referent." },
            "resourceVersion": { "type": "string", "description": "Version of the referent, if one is meant." },
            "fieldPath": { "type": "string", "description": "Part of the referent, if only one is meant." },
        },
    })
}

/// Label selector, replaced as a whole. Its limits are what the cost budget of the rules on it needs; label keys and
/// values cannot be longer anyway.
pub fn label_selector(_: &mut SchemaGenerator) -> Schema {
    let mut expressions = requirement("In, NotIn, Exists or DoesNotExist.");
    expressions["properties"]["key"]["maxLength"] = 317.into();
    expressions["properties"]["values"]["maxItems"] = 128.into();
    expressions["properties"]["values"]["items"]["maxLength"] = 63.into();
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels with exactly these values; all must match.",
                "maxProperties": 64,
                "additionalProperties": { "type": "string", "maxLength": 63 },
            },
            "matchExpressions": {
                "type": "array",
                "description": "Requirements on labels; all must match.",
                "x-kubernetes-list-type": "atomic",
                "maxItems": 64,
                "items": expressions,
            },
        },
    })
}

/// Requirements on node labels, as node affinity has them, with the limits that the cost budget of the rules needs.
pub fn node_selector_requirements(_: &mut SchemaGenerator) -> Schema {
    let mut items = requirement("In, NotIn, Exists, DoesNotExist, Gt or Lt.");
    items["properties"]["values"]["items"]["maxLength"] = 63.into();
    json_schema!({ "type": "array", "maxItems": 64, "items": items })
}

fn requirement(operators: &str) -> Value {
    json!({
        "type": "object",
        "required": ["key", "operator"],
        "properties": {
            "key": { "type": "string", "description": "Label key." },
            "operator": { "type": "string", "description": operators },
            "values": {
                "type": "array",
                "description": "Values to compare with, as the operator wants them.",
                "x-kubernetes-list-type": "atomic",
                "items": { "type": "string" },
            },
        },
    })
}

/// Tolerations of pods, with the limit that the cost budget of the rules needs.
pub fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": {
            "type": "object",
            "properties": {
                "effect": { "type": "string", "description": "NoSchedule, PreferNoSchedule or NoExecute; empty: all." },
                "key": { "type": "string", "description": "Taint key; empty: all." },
                "operator": { "type": "string", "description": "Exists or Equal (default)." },
                "tolerationSeconds": {
                    "type": "integer",
                    "format": "int64",
                    KEEP_WIDTH: true,
                    "description": "How long a NoExecute taint is tolerated; absent: for ever.",
                },
                "value": { "type": "string", "description": "Taint value." },
            },
        },
    })
}

/// Standard conditions, one per type.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When the status last changed.",
                },
                "message": { "type": "string", "maxLength": 32768, "description": "Explanation for people." },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    KEEP_WIDTH: true,
                    "minimum": 0,
                    "description": "Generation of the object that this condition speaks of.",
                },
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Reason for programs.",
                },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "The status." },
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                    "description": "Type of the condition.",
                },
            },
        },
    })
}

/// Turns a generated schema into what a CRD takes: no `null`, no formats that only name Rust's integer widths, no
/// titles, no defaults that say nothing, enumerations as one list, descriptions as running text.
pub(crate) fn clean(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    for key in ["nullable", "title", "$schema"] {
        map.remove(key);
    }
    let rust_width = map.get("format").and_then(Value::as_str).is_some_and(|format| {
        matches!(format, "uint" | "uint8" | "uint16" | "uint32" | "uint64" | "int32" | "double" | "float" | "int")
    });
    // The stock schemas give their integers no width; only Kubernetes' own types below do.
    let own_int64 = map.get("format").is_some_and(|format| format == "int64") && !map.contains_key(KEEP_WIDTH);
    map.remove(KEEP_WIDTH);
    if rust_width || own_int64 {
        map.remove("format");
    }
    if map.get("default").is_some_and(Value::is_null) {
        map.remove("default");
    }
    if let Some(Value::Array(variants)) = map.remove("oneOf") {
        let words = variants.iter().flat_map(|variant| variant["enum"].as_array().into_iter().flatten()).cloned();
        map.insert("enum".to_owned(), words.collect());
        map.insert("type".to_owned(), "string".into());
    }
    if let Some(Value::String(description)) = map.get_mut("description") {
        *description = description.split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(clean);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            clean(inner);
        }
    }
}

/// Marks an integer of a Kubernetes type, whose width belongs to the schema.
const KEEP_WIDTH: &str = "x-palisade-keep-width";

/// Nobody defaults a status.
pub(crate) fn without_defaults(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    map.remove("default");
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(without_defaults);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            without_defaults(inner);
        }
    }
}
