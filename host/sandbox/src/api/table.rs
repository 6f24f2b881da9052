//! Tables for `kubectl get`.

mod age;
mod columns;
mod json_path;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::meta;
use super::write::Target;

/// A `meta.k8s.io/v1` table of objects.
pub fn table(target: &Target, objects: &[Value], version: &Value, include: &str, now: Timestamp) -> Value {
    let columns = columns::of(target);
    let definitions: Vec<Value> = columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name, "type": column.shown_type(), "format": column.format(),
                "description": column.description, "priority": column.priority,
            })
        })
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells: Vec<Value> = columns.iter().map(|column| column.cell(object, now)).collect();
            let shown = match include {
                "None" => Value::Null,
                "Object" => object.clone(),
                _ => json!({
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                    "metadata": meta::at(object, &["metadata"]),
                }),
            };
            json!({"cells": cells, "object": shown})
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": version},
        "columnDefinitions": definitions, "rows": rows,
    })
}
