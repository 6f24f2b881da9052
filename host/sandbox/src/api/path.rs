//! From a request path to what it is about.

use std::sync::Arc;

use serde_json::Value;

use super::error::ApiError;
use super::meta;
use super::resource::{Resource, ResourceKey};
use super::store::State;
use super::views::NEW_EVENTS;
use super::write::Target;

/// What a path means.
#[derive(Debug)]
pub enum Route {
    /// `/api`, `/apis` and below, up to the group version.
    Discovery(Vec<String>),
    /// `/openapi/v3` and below.
    OpenApi(Vec<String>),
    /// `/version`.
    Version,
    /// `/healthz` and relatives.
    Health,
    /// Objects.
    Objects(Target),
    /// Objects of all namespaces.
    AllNamespaces(Target),
}

/// Reads a path.
pub fn route(state: &State, path: &str) -> Result<Route, ApiError> {
    let parts: Vec<String> = path.split('/').filter(|p| !p.is_empty()).map(decode).collect();
    let words: Vec<&str> = parts.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["version"] => Ok(Route::Version),
        ["healthz" | "readyz" | "livez", ..] => Ok(Route::Health),
        ["openapi", "v3", rest @ ..] => Ok(Route::OpenApi(owned(rest))),
        ["api" | "apis"] | ["api" | "apis", _] | ["apis", _, _] => Ok(Route::Discovery(parts)),
        ["api", version, rest @ ..] => objects(state, "", version, rest),
        ["apis", group, version, rest @ ..] => objects(state, group, version, rest),
        _ => Err(ApiError::no_such_path()),
    }
}

fn objects(state: &State, group: &str, version: &str, rest: &[&str]) -> Result<Route, ApiError> {
    let (namespace, rest) = match rest {
        // `/namespaces/x/status` is about the namespace, `/namespaces/x/pods` about what is in it.
        ["namespaces", namespace, tail @ ..] if !matches!(tail, [] | ["status" | "finalize"]) => {
            (Some(*namespace), tail)
        }
        _ => (None, rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, "", ""),
        [plural, name] => (*plural, *name, ""),
        [plural, name, subresource] => (*plural, *name, *subresource),
        _ => return Err(ApiError::no_such_path()),
    };
    let (resource, api_version) = find(state, group, version, plural).ok_or_else(ApiError::no_such_path)?;
    let fits = match namespace {
        Some(_) => resource.namespaced,
        None => !resource.namespaced || name.is_empty(),
    };
    if !fits {
        return Err(ApiError::no_such_path());
    }
    let target = Target {
        api_version,
        namespace: namespace.unwrap_or("").to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
        resource,
    };
    if !subresource.is_empty() && !has_subresource(&target) {
        return Err(ApiError::no_such_path());
    }
    let everywhere = namespace.is_none() && target.resource.namespaced;
    Ok(if everywhere { Route::AllNamespaces(target) } else { Route::Objects(target) })
}

fn has_subresource(target: &Target) -> bool {
    match target.subresource.as_str() {
        "status" => target.version().is_some_and(|v| v.status),
        "binding" => !target.resource.custom && target.resource.plural == "pods",
        _ => false,
    }
}

fn find(state: &State, group: &str, version: &str, plural: &str) -> Option<(Arc<Resource>, String)> {
    // The newer events group is a view of the core events.
    let alias = group == "events.k8s.io" && version == "v1" && plural == "events";
    let key = ResourceKey { group: if alias { "" } else { group }.to_owned(), plural: plural.to_owned() };
    let resource = state.resource(&key)?.clone();
    if alias {
        return Some((resource, NEW_EVENTS.to_owned()));
    }
    resource.served(version)?;
    let api_version = resource.api_version(version);
    Some((resource, api_version))
}

/// The target of an object that says itself what it is.
pub fn target_of(state: &State, object: &Value) -> Result<Target, ApiError> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or("");
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = state
        .resources()
        .find(|r| r.kind == kind && r.group == group && r.served(version).is_some())
        .ok_or_else(|| ApiError::bad_request(format!("no matches for kind \"{kind}\" in version \"{api_version}\"")))?;
    let namespace = match meta::text(object, "namespace") {
        _ if !resource.namespaced => "",
        "" => "default",
        given => given,
    };
    Ok(Target {
        resource: resource.clone(),
        api_version: api_version.to_owned(),
        namespace: namespace.to_owned(),
        name: meta::text(object, "name").to_owned(),
        subresource: String::new(),
    })
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Percent-decodes a path segment or query value.
pub fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let ahead = bytes.clone().take(2).collect::<Vec<u8>>();
        let code = std::str::from_utf8(&ahead).ok().filter(|hex| hex.len() == 2);
        match (byte, code.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                bytes.next();
                bytes.next();
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
