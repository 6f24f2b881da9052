//! Discovery, plain and aggregated: which groups, versions and resources there are.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::error::ApiError;
use super::resource::Resource;
use super::store::State;

/// Group, then version, then what it serves.
type Groups = BTreeMap<String, BTreeMap<Reverse<Priority>, Vec<Arc<Resource>>>>;

/// Orders versions as Kubernetes does: stable before beta before alpha, then newest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Priority(u8, u32, u32, String);

impl Priority {
    fn of(version: &str) -> Self {
        let parsed = version.strip_prefix('v').and_then(|rest| {
            let (major, stage) = match rest.find(|c: char| !c.is_ascii_digit()) {
                Some(end) => rest.split_at(end),
                None => (rest, ""),
            };
            let major = major.parse().ok()?;
            match stage {
                "" => Some((3, major, 0)),
                _ if stage.starts_with("beta") => Some((2, major, stage[4..].parse().ok()?)),
                _ if stage.starts_with("alpha") => Some((1, major, stage[5..].parse().ok()?)),
                _ => None,
            }
        });
        let (stage, major, minor) = parsed.unwrap_or((0, 0, 0));
        Self(stage, major, minor, version.to_owned())
    }
}

fn groups(state: &State) -> Groups {
    let mut groups = Groups::new();
    for resource in state.resources() {
        for version in resource.versions.iter().filter(|v| v.served) {
            groups
                .entry(resource.group.clone())
                .or_default()
                .entry(Reverse(Priority::of(&version.name)))
                .or_default()
                .push(resource.clone());
        }
    }
    // The newer events group shows the core events.
    if let Some(events) = state.resources().find(|r| r.group.is_empty() && r.plural == "events") {
        let view = groups.entry("events.k8s.io".to_owned()).or_default();
        view.entry(Reverse(Priority::of("v1"))).or_default().push(events.clone());
    }
    groups
}

/// Answers `/api`, `/apis` and what is below them.
pub fn answer(state: &State, path: &[String], aggregated: bool) -> Result<Value, ApiError> {
    let groups = groups(state);
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    match words.as_slice() {
        [root @ ("api" | "apis")] if aggregated => {
            let wanted = |group: &str| group.is_empty() == (*root == "api");
            let items: Vec<Value> =
                groups.iter().filter(|(group, _)| wanted(group)).map(|(g, v)| aggregate(g, v)).collect();
            Ok(
                json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}),
            )
        }
        ["api"] => Ok(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        })),
        ["apis"] => {
            let list: Vec<Value> = groups.iter().filter(|(g, _)| !g.is_empty()).map(|(g, v)| group(g, v)).collect();
            Ok(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list}))
        }
        ["apis", name] => {
            let versions = groups.get(*name).ok_or_else(ApiError::no_such_path)?;
            let mut answer = group(name, versions);
            if let Some(map) = answer.as_object_mut() {
                map.insert("kind".to_owned(), json!("APIGroup"));
                map.insert("apiVersion".to_owned(), json!("v1"));
            }
            Ok(answer)
        }
        ["api", version] => resources(&groups, "", version),
        ["apis", name, version] => resources(&groups, name, version),
        _ => Err(ApiError::no_such_path()),
    }
}

fn group(name: &str, versions: &BTreeMap<Reverse<Priority>, Vec<Arc<Resource>>>) -> Value {
    let list: Vec<Value> =
        versions.keys().map(|Reverse(v)| json!({"groupVersion": format!("{name}/{}", v.3), "version": v.3})).collect();
    json!({"name": name, "versions": list, "preferredVersion": list.first()})
}

fn resources(groups: &Groups, group: &str, version: &str) -> Result<Value, ApiError> {
    let list = groups
        .get(group)
        .and_then(|versions| versions.get(&Reverse(Priority::of(version))))
        .ok_or_else(ApiError::no_such_path)?;
    let mut out = Vec::new();
    for resource in list {
        out.push(json!({
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": VERBS, "shortNames": resource.short_names,
            "categories": resource.categories,
        }));
        if has_status(resource, version) {
            out.push(json!({
                "name": format!("{}/status", resource.plural), "singularName": "",
                "namespaced": resource.namespaced, "kind": resource.kind, "verbs": STATUS_VERBS,
            }));
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Ok(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": out}))
}

fn aggregate(name: &str, versions: &BTreeMap<Reverse<Priority>, Vec<Arc<Resource>>>) -> Value {
    let list: Vec<Value> = versions
        .iter()
        .map(|(Reverse(version), resources)| {
            let resources: Vec<Value> = resources.iter().map(|r| aggregate_resource(name, &version.3, r)).collect();
            json!({"version": version.3, "freshness": "Current", "resources": resources})
        })
        .collect();
    json!({"metadata": {"name": name, "creationTimestamp": null}, "versions": list})
}

fn aggregate_resource(group: &str, version: &str, resource: &Resource) -> Value {
    let kind = json!({"group": group, "version": version, "kind": resource.kind});
    let mut out = json!({
        "resource": resource.plural, "responseKind": kind, "singularResource": resource.singular,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "verbs": VERBS, "shortNames": resource.short_names, "categories": resource.categories,
    });
    if let (true, Some(map)) = (has_status(resource, version), out.as_object_mut()) {
        let status = json!([{"subresource": "status", "responseKind": kind, "verbs": STATUS_VERBS}]);
        map.insert("subresources".to_owned(), status);
    }
    out
}

fn has_status(resource: &Resource, version: &str) -> bool {
    resource.served(version).is_some_and(|v| v.status)
}

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const STATUS_VERBS: &[&str] = &["get", "patch", "update"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_stability_then_age() {
        let mut versions = ["v1alpha1", "v2beta1", "v1", "v10", "v1beta2", "foo"].map(Priority::of);
        versions.sort_by(|a, b| b.cmp(a));
        let names: Vec<&str> = versions.iter().map(|p| p.3.as_str()).collect();
        assert_eq!(names, ["v10", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]);
    }
}
