//! The remediator modules: what is loaded, what it may do, how it does.

use kube::ResourceExt;
use palisade_api::Remediator;
use palisade_api::remediator::{LoadedModule, Source};
use serde::Serialize;

use crate::board::Seen;

/// A module.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Module {
    /// Name of the Remediator.
    pub name: String,
    /// Where it comes from.
    pub source: String,
    /// The kinds it serves.
    pub serves: Vec<String>,
    /// Whether it is loaded: status of its condition Ready.
    pub ready: String,
    /// Why it is as it is.
    pub message: String,
    /// What is loaded.
    #[serde(rename = "module", skip_serializing_if = "Option::is_none")]
    pub loaded: Option<LoadedModule>,
    /// Calls since the controller leads.
    pub calls: Option<i64>,
    /// How many of these failed.
    pub failures: Option<i64>,
    /// 99 of 100 calls took no longer, in microseconds.
    pub p99_micros: Option<i64>,
    /// Why loading failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// By name.
pub fn modules(seen: &Seen) -> Vec<Module> {
    seen.modules.all().map(|module| shown(module)).collect()
}

fn shown(remediator: &Remediator) -> Module {
    let status = remediator.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().find(|one| one.type_ == "Ready");
    let serves = remediator.spec.serves.iter().map(|one| match one.strategies.as_slice() {
        [] => one.kind.clone(),
        strategies => format!("{} ({})", one.kind, strategies.join(", ")),
    });
    Module {
        name: remediator.name_any(),
        source: source(&remediator.spec.source),
        serves: serves.collect(),
        ready: ready.map_or_else(|| "Unknown".to_owned(), |ready| ready.status.clone()),
        message: ready.map(|ready| ready.message.clone()).unwrap_or_default(),
        loaded: status.module,
        calls: status.calls,
        failures: status.failures,
        p99_micros: status.p99_micros,
        last_error: status.last_error,
    }
}

fn source(source: &Source) -> String {
    // The field that is given, as the manifest names it.
    let value = serde_json::to_value(source).unwrap_or_default();
    let given = value.as_object().into_iter().flatten().find(|(key, value)| *key != "digest" && !value.is_null());
    given.map_or_else(String::new, |(key, value)| {
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let inner = value
            .as_object()
            .and_then(|all| all.get("reference").or_else(|| all.get("image")).or_else(|| all.get("name")));
        format!("{key} {}", text(inner.unwrap_or(value)))
    })
}
