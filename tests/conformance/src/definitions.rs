//! Definitions that the suite brings: kinds of an imaginary remediator, and ours with some rules taken out.

use serde_json::{Value, json};

/// Group of the imaginary remediators.
pub const GROUP: &str = "test.example";
/// Its version.
pub const API_VERSION: &str = "test.example/v1";

/// Whether objects of a kind live in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// They do.
    Namespaced,
    /// They do not.
    Cluster,
}

/// Plural of a kind, as the suite forms it.
pub fn plural(kind: &str) -> String {
    format!("{}s", kind.to_lowercase())
}

/// A kind that stores whatever it is given, with a status of its own.
pub fn anything(group: &str, version: &str, kind: &str, plural: &str, scope: Scope) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "scope": if scope == Scope::Namespaced { "Namespaced" } else { "Cluster" },
            "names": { "kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase() },
            "versions": [{
                "name": version, "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    })
}

/// Takes the rules out of a definition for which `remove` says so.
pub fn without_rules(definition: &mut Value, remove: &dyn Fn(&str) -> bool) {
    match definition {
        Value::Object(map) => {
            if let Some(Value::Array(rules)) = map.get_mut("x-kubernetes-validations") {
                rules.retain(|rule| !rule["rule"].as_str().is_some_and(remove));
            }
            if map.get("x-kubernetes-validations").is_some_and(|rules| rules.as_array().is_some_and(Vec::is_empty)) {
                map.remove("x-kubernetes-validations");
            }
            map.values_mut().for_each(|value| without_rules(value, remove));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| without_rules(value, remove)),
        _ => {}
    }
}
