//! `OpenAPI` v3, as much as `kubectl apply` and `kubectl explain` ask for: which kinds take which parameters, and the
//! schemas of custom resources.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::resource::{Resource, Version};
use super::store::State;

/// Answers `/openapi/v3` and `/openapi/v3/…`.
pub fn answer(state: &State, path: &[String]) -> Result<Value, ApiError> {
    if path.is_empty() {
        let groups: BTreeSet<String> = served(state).map(|(r, v)| document(r, v)).collect();
        let paths: BTreeMap<&String, Value> = groups
            .iter()
            .map(|path| {
                // Clients cache by the hash in the URL; the version changes whenever a definition may have.
                let url = format!("/openapi/v3/{path}?hash={}", state.version());
                (path, json!({"serverRelativeURL": url}))
            })
            .collect();
        return Ok(json!({"paths": paths}));
    }
    let wanted = path.join("/");
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for (resource, version) in served(state).filter(|(r, v)| document(r, v) == wanted) {
        let gvk = json!({"group": resource.group, "version": version.name, "kind": resource.kind});
        paths.insert(url(resource, version), operations(resource, &gvk));
        let mut schema = version.schema.as_ref().map_or_else(|| json!({"type": "object"}), |s| s.json.clone());
        if let Some(map) = schema.as_object_mut() {
            map.insert("x-kubernetes-group-version-kind".to_owned(), json!([gvk]));
        }
        let name = format!("{}.{}.{}", resource.group, version.name, resource.kind);
        schemas.insert(name.trim_start_matches('.').to_owned(), schema);
    }
    if paths.is_empty() {
        return Err(ApiError::no_such_path());
    }
    let info = json!({"title": "Kubernetes", "version": "palisade-sandbox"});
    Ok(json!({"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}))
}

fn served(state: &State) -> impl Iterator<Item = (&Resource, &Version)> {
    state.resources().flat_map(|r| r.versions.iter().filter(|v| v.served).map(move |v| (&**r, v)))
}

fn document(resource: &Resource, version: &Version) -> String {
    if resource.group.is_empty() {
        format!("api/{}", version.name)
    } else {
        format!("apis/{}/{}", resource.group, version.name)
    }
}

fn url(resource: &Resource, version: &Version) -> String {
    let namespace = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
    format!("/{}/{namespace}{}/{{name}}", document(resource, version), resource.plural)
}

fn operations(resource: &Resource, gvk: &Value) -> Value {
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
    let mut content = Map::new();
    let mut types = vec!["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
    if !resource.custom {
        types.push("application/strategic-merge-patch+json");
    }
    for media_type in types {
        content.insert(media_type.to_owned(), json!({"schema": {"type": "object"}}));
    }
    let patch = json!({
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": gvk,
        "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation"), parameter("force")],
        "requestBody": {"content": content},
        "responses": {"200": {"description": "OK"}},
    });
    json!({"patch": patch})
}
