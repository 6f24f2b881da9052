//! What is read of the cluster: nodes, policies, remediations; each in one list.

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, ObjectReference};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Client, ResourceExt};
use palisade_api::keys::palisade::WATCH_ONLY;
use palisade_api::{NodeHealthCheck, SelfNodeRemediation, WasmRemediation};
use palisade_explain::history::{self, History};
use palisade_explain::{Remediation, Snapshot};

use crate::connect::{Connection, Refused, answer, list};

/// Reads everything; what is thought of policies, from the report of a controller in this namespace that only watches.
pub async fn read(connection: &Connection, watcher: Option<&str>) -> anyhow::Result<Snapshot> {
    let client = connection.client().await?;
    let (nodes, policies, own, wasm) = tokio::join!(
        list(Api::<Node>::all(client.clone())),
        list(Api::<NodeHealthCheck>::all(client.clone())),
        list(Api::<SelfNodeRemediation>::all(client.clone())),
        list(Api::<WasmRemediation>::all(client.clone())),
    );
    let mut all = Snapshot { now: Timestamp::now(), ..Snapshot::default() };
    all.nodes = nodes.context("nodes cannot be listed")?;
    all.policies = policies.context("NodeHealthChecks cannot be listed; is Palisade installed?")?;
    if let Some(namespace) = watcher {
        watched(&client, namespace, &mut all).await?;
    }
    all.add(installed(own), "SelfNodeRemediations", |object| object.status.as_ref().map(serde_json::to_value));
    all.add(installed(wasm), "WasmRemediations", |object| object.status.as_ref().map(serde_json::to_value));
    for reference in all.elsewhere() {
        match one(&client, &reference).await {
            Ok(Some(found)) => all.remediations.push(found),
            Ok(None) => {}
            Err(error) => {
                let (kind, name) = (reference.kind.unwrap_or_default(), reference.name.unwrap_or_default());
                all.gaps.push(format!("{kind} {name} cannot be read: {error}"));
            }
        }
    }
    Ok(all)
}

/// Reads everything, and the events about a node or a remediation.
pub async fn history(connection: &Connection, name: &str) -> anyhow::Result<History> {
    let mut all = read(connection, None).await?;
    let api: Api<Event> = Api::all(connection.client().await?);
    let mut events = Vec::new();
    for subject in history::subjects(&all, name) {
        let about = ListParams::default().fields(&format!("involvedObject.name={subject}"));
        match answer(api.list(&about)).await {
            Ok(found) => events.extend(found.items),
            Err(error) => all.gaps.push(format!("events about {subject} cannot be listed: {error}")),
        }
    }
    history::of(&all, &events, name)
}

/// A kind that is not installed has no objects: beside another operator, or with an older installation.
fn installed<K>(listed: anyhow::Result<Vec<K>>) -> anyhow::Result<Vec<K>> {
    match listed {
        Err(error) if matches!(error.downcast_ref(), Some(Refused(kube::Error::Api(status))) if status.code == 404) => {
            Ok(Vec::new())
        }
        other => other,
    }
}

/// Puts what the watching controller thinks in the place of what the acting one wrote.
async fn watched(client: &Client, namespace: &str, all: &mut Snapshot) -> anyhow::Result<()> {
    let about = || format!("ConfigMap {namespace}/{WATCH_ONLY}");
    let report = answer(Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(WATCH_ONLY)).await;
    let report = report.with_context(about)?.with_context(|| {
        format!("{} does not exist: no controller runs there with --run watch, or it has not looked yet", about())
    })?;
    for policy in &mut all.policies {
        let said = report.data.as_ref().and_then(|data| data.get(&policy.name_any()));
        policy.status = said.map(|said| serde_json::from_str(said)).transpose().with_context(about)?;
    }
    Ok(())
}

async fn one(client: &Client, reference: &ObjectReference) -> anyhow::Result<Option<Remediation>> {
    let (kind, name) = (reference.kind.as_deref().unwrap_or_default(), reference.name.as_deref().unwrap_or_default());
    let version = reference.api_version.as_deref().unwrap_or_default();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = match reference.namespace.as_deref() {
        Some(namespace) if !namespace.is_empty() => Api::namespaced_with(client.clone(), namespace, &resource),
        _ => Api::all_with(client.clone(), &resource),
    };
    Ok(answer(api.get_opt(name)).await?.map(|object| {
        let status = object.data.get("status").cloned().unwrap_or_default();
        Remediation::new(kind, &object.metadata, status)
    }))
}
