//! Pieces of structural schema that derived ones do not give: Kubernetes types, list types, CEL rules.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::duration::SIGNED_PATTERN;

/// One CEL rule of a schema (`x-kubernetes-validations`).
#[derive(Debug, Clone, Copy, Default)]
pub struct Rule {
    /// The expression; true means valid.
    pub rule: &'static str,
    /// What the user reads when it is not. Names field and remedy.
    pub message: &'static str,
    /// Expression that gives the message with the offending value; `message` is the fallback.
    pub message_expression: Option<&'static str>,
    /// Field to blame, relative to the place of the rule.
    pub field_path: Option<&'static str>,
    /// Machine-readable cause.
    pub reason: Option<&'static str>,
    /// Evaluate on creation too, with `oldSelf` as an optional.
    pub optional_old_self: bool,
}

impl Rule {
    /// A rule with a fixed message.
    pub const fn new(rule: &'static str, message: &'static str) -> Self {
        Self { rule, message, message_expression: None, field_path: None, reason: None, optional_old_self: false }
    }

    /// Says the offending value too.
    #[must_use]
    pub const fn saying(mut self, expression: &'static str) -> Self {
        self.message_expression = Some(expression);
        self
    }

    /// Blames a field below the rule's place.
    #[must_use]
    pub const fn at(mut self, path: &'static str) -> Self {
        self.field_path = Some(path);
        self
    }

    /// Sets the machine-readable cause.
    #[must_use]
    pub const fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Evaluates a rule with `oldSelf` on creation too.
    #[must_use]
    pub const fn with_optional_old_self(mut self) -> Self {
        self.optional_old_self = true;
        self
    }

    /// As the schema wants it.
    pub fn to_json(&self) -> Value {
        let mut rule = json!({ "rule": self.rule, "message": self.message });
        if let Some(expression) = self.message_expression {
            rule["messageExpression"] = expression.into();
        }
        if let Some(path) = self.field_path {
            rule["fieldPath"] = path.into();
        }
        if let Some(reason) = self.reason {
            rule["reason"] = reason.into();
        }
        if self.optional_old_self {
            rule["optionalOldSelf"] = true.into();
        }
        rule
    }
}

/// Several rules, for `#[schemars(extend("x-kubernetes-validations" = ...))]`.
pub fn rules(rules: &[Rule]) -> Value {
    rules.iter().map(Rule::to_json).collect()
}

/// Type of a schema function, as `schema_with` wants it.
pub type SchemaFn = fn(&mut SchemaGenerator) -> Schema;

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

/// Label selector, replaced as a whole.
pub fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels with exactly these values; all must match.",
                "additionalProperties": { "type": "string" },
            },
            "matchExpressions": {
                "type": "array",
                "description": "Requirements on labels; all must match.",
                "x-kubernetes-list-type": "atomic",
                "items": requirement("In, NotIn, Exists or DoesNotExist."),
            },
        },
    })
}

/// Requirements on node labels, as node affinity has them.
pub fn node_selector_requirements(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": requirement("In, NotIn, Exists, DoesNotExist, Gt or Lt.") })
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

/// Tolerations of pods.
pub fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "effect": { "type": "string", "description": "NoSchedule, PreferNoSchedule or NoExecute; empty: all." },
                "key": { "type": "string", "description": "Taint key; empty: all." },
                "operator": { "type": "string", "description": "Exists or Equal (default)." },
                "tolerationSeconds": {
                    "type": "integer",
                    "format": "int64",
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
/// titles, no defaults that say nothing.
pub(crate) fn clean(value: &mut Value) {
    clean_schema(value);
}

fn clean_schema(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    for key in ["nullable", "title", "$schema"] {
        map.remove(key);
    }
    let rust_width = map.get("format").and_then(Value::as_str).is_some_and(|format| {
        matches!(format, "uint" | "uint8" | "uint16" | "uint32" | "uint64" | "int32" | "double" | "float" | "int")
    });
    if rust_width {
        map.remove("format");
    }
    if map.get("default").is_some_and(Value::is_null) {
        map.remove("default");
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(clean_schema);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            clean_schema(inner);
        }
    }
}
