//! The parts of a bundle. One that cannot be read leaves a note and does not stop the others.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{Api, ListParams, LogParams};
use kube::{Client, ResourceExt};
use palisade_api::keys::node_health_check::LEASE_NAMESPACE;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Arguments;
use super::bundle::Bundle;
use crate::connect::{answer, list, resource};
use crate::explain::ready;

/// A kubelet that does not answer holds its logs back for longer than anybody wants to wait.
const LOG_LIMIT: Duration = Duration::from_secs(8);
/// Bytes of one log.
const LOG_BYTES: i64 = 4 << 20;
/// So many events are asked for.
const EVENTS: u32 = 5_000;

/// Reads and writes all of them.
pub async fn everything<W: Write>(
    client: &Client,
    arguments: &Arguments,
    bundle: &mut Bundle<W>,
) -> anyhow::Result<()> {
    let namespace = &arguments.namespace;
    let server = answer(client.apiserver_version()).await;
    let version = server.map(|server| json!({ "palisade": env!("CARGO_PKG_VERSION"), "kubernetes": server }));
    bundle.value("versions.json", version)?;
    bundle.value("status.json", crate::explain::overview(&arguments.connection).await)?;
    bundle.value("doctor.json", crate::doctor::report(client, namespace).await)?;
    let mut kinds = Vec::new();
    for definition in palisade_api::all_crds() {
        let names = &definition.spec.names;
        let objects = list(Api::<kube::api::DynamicObject>::all_with(client.clone(), &resource(&definition))).await;
        bundle.objects(&format!("objects/{}.{}.json", names.plural, definition.spec.group), values(objects))?;
        kinds.push(names.kind.clone());
    }
    let mut nodes = list(Api::<Node>::all(client.clone())).await;
    let mut sick = Vec::new();
    for node in nodes.iter_mut().flatten() {
        if let Some(status) = &mut node.status {
            // Names of images: long, and never the cause.
            status.images = None;
        }
        if ready(node).is_none_or(|(status, ..)| status != "True") {
            sick.push(node.name_any());
        }
    }
    // Should there not be room for all, those that matter come first.
    if let Ok(nodes) = &mut nodes {
        nodes.sort_by_key(|node| !sick.contains(&node.name_any()));
    }
    bundle.objects("nodes.json", values(nodes))?;
    for place in [namespace.as_str(), LEASE_NAMESPACE, "kube-node-lease"] {
        let leases = list(Api::<Lease>::namespaced(client.clone(), place)).await;
        bundle.objects(&format!("leases/{place}.json"), values(leases))?;
    }
    bundle.objects("events.json", events(client, namespace, &kinds).await)?;
    let deployments = list(Api::<Deployment>::namespaced(client.clone(), namespace)).await;
    bundle.objects("installation/deployments.json", values(deployments))?;
    let sets = list(Api::<DaemonSet>::namespaced(client.clone(), namespace)).await;
    bundle.objects("installation/daemonsets.json", values(sets))?;
    let pods = list(Api::<Pod>::namespaced(client.clone(), namespace)).await;
    let found = pods.as_ref().map(|pods| chosen(pods, &sick, arguments.agents)).unwrap_or_default();
    bundle.objects("installation/pods.json", values(pods))?;
    logs(client, arguments, found, bundle).await
}

fn values<T: Serialize>(found: anyhow::Result<Vec<T>>) -> anyhow::Result<Vec<Value>> {
    found?.iter().map(|one| serde_json::to_value(one).context("JSON")).collect()
}

/// Those about nodes, about our kinds, and of our namespace; the newest first.
async fn events(client: &Client, namespace: &str, kinds: &[String]) -> anyhow::Result<Vec<Value>> {
    let api: Api<Event> = Api::all(client.clone());
    let mut found = answer(api.list(&ListParams::default().limit(EVENTS))).await?.items;
    found.retain(|event| {
        let about = event.involved_object.kind.as_deref().unwrap_or_default();
        about == "Node"
            || kinds.iter().any(|kind| kind == about)
            || event.metadata.namespace.as_deref() == Some(namespace)
    });
    let at = |event: &Event| {
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        last.or(event.event_time.as_ref().map(|time| time.0)).or(event
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0))
    };
    found.sort_by_key(|event| std::cmp::Reverse(at(event)));
    values(Ok(found))
}

/// Pod and container: all that are no agents, and some agents.
fn chosen(pods: &[Pod], sick: &[String], agents: usize) -> Vec<(String, String)> {
    let on = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    let is_agent = |pod: &&Pod| pod.labels().get("app.kubernetes.io/component").is_some_and(|part| part == "agent");
    let (mut guards, others): (Vec<&Pod>, Vec<&Pod>) = pods.iter().partition(is_agent);
    guards.sort_by_key(|pod| (!sick.contains(&on(pod)), pod.name_any()));
    guards.truncate(agents);
    let containers = |pod: &Pod| {
        let name = pod.name_any();
        let spec = pod.spec.clone().unwrap_or_default();
        spec.containers.into_iter().map(move |container| (name.clone(), container.name))
    };
    others.into_iter().chain(guards).flat_map(containers).collect()
}

async fn logs<W: Write>(
    client: &Client,
    arguments: &Arguments,
    of: Vec<(String, String)>,
    bundle: &mut Bundle<W>,
) -> anyhow::Result<()> {
    let mut asked = JoinSet::new();
    for (pod, container) in of {
        for previous in [false, true] {
            let api: Api<Pod> = Api::namespaced(client.clone(), &arguments.namespace);
            let (pod, container) = (pod.clone(), container.clone());
            let wanted = LogParams {
                container: Some(container.clone()),
                previous,
                tail_lines: Some(arguments.lines),
                limit_bytes: Some(LOG_BYTES),
                timestamps: true,
                ..LogParams::default()
            };
            asked.spawn(async move {
                let text = tokio::time::timeout(LOG_LIMIT, api.logs(&pod, &wanted)).await;
                let text = match text {
                    Ok(text) => text.map_err(anyhow::Error::from),
                    Err(_) => Err(anyhow::anyhow!("no answer within {LOG_LIMIT:?}")),
                };
                let before = if previous { ".previous" } else { "" };
                (format!("logs/{pod}.{container}{before}.log"), previous, text)
            });
        }
    }
    let mut found: Vec<(String, bool, anyhow::Result<String>)> = asked.join_all().await;
    found.sort_by(|one, other| one.0.cmp(&other.0));
    for (file, previous, text) in found {
        // A container that was never restarted has no earlier log.
        if !(previous && text.is_err()) {
            bundle.text(&file, text)?;
        }
    }
    Ok(())
}
