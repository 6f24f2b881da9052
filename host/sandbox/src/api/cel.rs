//! CEL rules of a custom resource, evaluated by the `kube-cel` crate.

use kube::core::cel::{ErrorKind, validate_compiled};
use serde_json::Value;

use super::error::{FieldError, Segment};
use super::meta;
use super::resource::Schema;

/// Rules that the object breaks. With an old object, transition rules run too.
///
/// A rule that the crate cannot evaluate refuses the object, as the real server refuses a rule that fails.
pub fn validate(schema: &Schema, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let Err(errors) = validate_compiled(&schema.rules, object, old) else { return Vec::new() };
    errors
        .into_vec()
        .into_iter()
        .map(|error| {
            let path = parse_path(&error.field_path);
            let kind = node_type(object, &path);
            let message = match error.kind {
                ErrorKind::ValidationFailure => error.message,
                _ => format!("{} evaluating rule: {}", error.message, error.rule),
            };
            match error.reason.as_deref() {
                Some("FieldValueRequired") => FieldError::required(path, &message),
                Some("FieldValueForbidden") => FieldError::forbidden(path, &message),
                Some("FieldValueDuplicate") => FieldError {
                    path,
                    cause: "FieldValueDuplicate",
                    message: format!("Duplicate value: \"{kind}\": {message}"),
                },
                _ => FieldError::invalid(path, &format!("\"{kind}\""), &message),
            }
        })
        .collect()
}

fn parse_path(text: &str) -> Vec<Segment> {
    let mut out = Vec::new();
    for part in text.split('.').filter(|p| !p.is_empty()) {
        let (name, indexes) = part.split_once('[').map_or((part, ""), |(name, rest)| (name, rest));
        if !name.is_empty() {
            out.push(Segment::Field(name.to_owned()));
        }
        for index in indexes.split(['[', ']']).filter(|i| !i.is_empty()) {
            out.push(match index.parse() {
                Ok(number) => Segment::Index(number),
                Err(_) => Segment::Field(index.trim_matches(['\'', '"']).to_owned()),
            });
        }
    }
    out
}

fn node_type(object: &Value, path: &[Segment]) -> &'static str {
    let node = path.iter().try_fold(object, |value, segment| match segment {
        Segment::Field(name) => meta::at(value, &[name]),
        Segment::Index(index) => value.get(index),
    });
    match node {
        Some(Value::String(_)) => "string",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(n)) if n.is_f64() => "number",
        Some(Value::Number(_)) => "integer",
        Some(Value::Array(_)) => "array",
        _ => "object",
    }
}
