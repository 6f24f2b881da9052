//! From a posted CustomResourceDefinition to a served resource.

use std::collections::HashMap;
use std::sync::Arc;

use kube::core::cel::compile_schema;
use regex::Regex;
use serde_json::{Map, Value, json};

use super::clock::{Clock, rfc3339};
use super::error::{FieldError, Segment};
use super::meta::at;
use super::resource::{Behaviour, Column, Resource, Schema, Version};

/// Fills in what the real server fills in: list kind, singular, status with both conditions true at once.
pub fn complete(definition: &mut Value, clock: &dyn Clock) {
    let kind = text(definition, &["spec", "names", "kind"]).to_owned();
    super::meta::default_at(definition, &["spec", "names", "listKind"], json!(format!("{kind}List")));
    super::meta::default_at(definition, &["spec", "names", "singular"], json!(kind.to_lowercase()));
    super::meta::default_at(definition, &["spec", "conversion"], json!({"strategy": "None"}));
    let now = rfc3339(clock.now());
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message});
    let names = at(definition, &["spec", "names"]).cloned().unwrap_or_default();
    let stored: Vec<Value> = versions(definition)
        .filter(|v| v.get("storage").and_then(Value::as_bool) == Some(true))
        .filter_map(|v| v.get("name").cloned())
        .collect();
    let status = json!({
        "acceptedNames": names,
        "storedVersions": stored,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
    });
    if let Some(map) = definition.as_object_mut() {
        map.entry("status").or_insert(status);
    }
}

/// The resource that a definition describes, or every field that is wrong with it.
pub fn resource(definition: &Value) -> Result<Resource, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut need = |path: &[&str]| {
        let value = text(definition, path).to_owned();
        if value.is_empty() {
            errors.push(FieldError::required(FieldError::at(&path.join(".")), ""));
        }
        value
    };
    let group = need(&["spec", "group"]);
    let plural = need(&["spec", "names", "plural"]);
    let kind = need(&["spec", "names", "kind"]);
    let name = need(&["metadata", "name"]);
    let scope = need(&["spec", "scope"]);
    if !scope.is_empty() && !matches!(scope.as_str(), "Namespaced" | "Cluster") {
        errors.push(FieldError {
            path: FieldError::at("spec.scope"),
            cause: "FieldValueNotSupported",
            message: format!("Unsupported value: \"{scope}\": supported values: \"Cluster\", \"Namespaced\""),
        });
    }
    if errors.is_empty() && name != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(FieldError::at("metadata.name"), &format!("\"{name}\""), detail));
    }
    let mut parsed = Vec::new();
    for (index, value) in versions(definition).enumerate() {
        match version(value, index) {
            Ok(version) => parsed.push(version),
            Err(mut more) => errors.append(&mut more),
        }
    }
    if parsed.iter().filter(|v| v.storage).count() != 1 && errors.is_empty() {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(FieldError::at("spec.versions"), "null", detail));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Resource {
        list_kind: text_or(definition, &["spec", "names", "listKind"], format!("{kind}List")),
        singular: text_or(definition, &["spec", "names", "singular"], kind.to_lowercase()),
        short_names: texts(definition, &["spec", "names", "shortNames"]),
        categories: texts(definition, &["spec", "names", "categories"]),
        namespaced: scope == "Namespaced",
        custom: true,
        behaviour: Behaviour { generation: true, conditional_update: true, create_on_update: false },
        versions: parsed,
        group,
        kind,
        plural,
    })
}

fn version(value: &Value, index: usize) -> Result<Version, Vec<FieldError>> {
    let path = |rest: &str| {
        let mut path =
            vec![Segment::Field("spec".to_owned()), Segment::Field("versions".to_owned()), Segment::Index(index)];
        path.extend(FieldError::at(rest));
        path
    };
    let flag = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or(false);
    let Some(json) = at(value, &["schema", "openAPIV3Schema"]).cloned() else {
        return Err(vec![FieldError::required(path("schema.openAPIV3Schema"), "schemas are required")]);
    };
    let mut errors = Vec::new();
    let mut patterns = HashMap::new();
    collect_patterns(&json, &mut |pattern| match Regex::new(pattern) {
        Ok(regex) => {
            patterns.insert(pattern.to_owned(), regex);
        }
        Err(error) => {
            let detail = format!("must be a valid regular expression, but isn't: {error}");
            errors.push(FieldError::invalid(path("schema.openAPIV3Schema"), &format!("\"{pattern}\""), &detail));
        }
    });
    let rules = compile_schema(&json);
    for error in rule_errors(&json) {
        errors.push(FieldError::invalid(path("schema.openAPIV3Schema"), "\"rule\"", &error));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Version {
        name: text(value, &["name"]).to_owned(),
        served: flag("served"),
        storage: flag("storage"),
        status: at(value, &["subresources", "status"]).is_some(),
        schema: Some(Arc::new(Schema { json, rules, patterns })),
        columns: list(value, "additionalPrinterColumns").map(column).collect(),
        selectable: list(value, "selectableFields").map(|f| text(f, &["jsonPath"]).to_owned()).collect(),
    })
}

/// Syntax errors of CEL rules anywhere in the schema.
fn rule_errors(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![schema];
    while let Some(node) = pending.pop() {
        if node.get("x-kubernetes-validations").is_some() {
            let only = json!({"x-kubernetes-validations": node.get("x-kubernetes-validations")});
            found.extend(compile_schema(&only).compilation_errors().iter().map(|e| format!("compilation failed: {e}")));
        }
        pending.extend(children(node));
    }
    found
}

/// Schemas directly below a schema.
fn children(node: &Value) -> Vec<&Value> {
    let mut out: Vec<&Value> = Vec::new();
    out.extend(node.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::values));
    for single in ["items", "additionalProperties", "not"] {
        out.extend(node.get(single).filter(|v| v.is_object()));
    }
    for many in ["allOf", "anyOf", "oneOf"] {
        out.extend(node.get(many).and_then(Value::as_array).into_iter().flatten());
    }
    out
}

fn collect_patterns(node: &Value, found: &mut impl FnMut(&str)) {
    let mut pending = vec![node];
    while let Some(node) = pending.pop() {
        if let Some(pattern) = node.get("pattern").and_then(Value::as_str) {
            found(pattern);
        }
        pending.extend(children(node));
    }
}

fn column(value: &Value) -> Column {
    Column {
        name: text(value, &["name"]).to_owned(),
        kind: text(value, &["type"]).to_owned(),
        json_path: text(value, &["jsonPath"]).to_owned(),
        priority: value.get("priority").and_then(Value::as_i64).unwrap_or(0),
        description: text(value, &["description"]).to_owned(),
    }
}

fn versions(definition: &Value) -> impl Iterator<Item = &Value> {
    at(definition, &["spec", "versions"]).and_then(Value::as_array).into_iter().flatten()
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or("")
}

fn text_or(value: &Value, path: &[&str], otherwise: String) -> String {
    let found = text(value, path);
    if found.is_empty() { otherwise } else { found.to_owned() }
}

fn texts(value: &Value, path: &[&str]) -> Vec<String> {
    at(value, path)
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default()
}
