//! Pods as writers: one watch for the whole fleet tells every machine which pods are bound to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::body::seconds;
use super::machine::Machine;

/// Shows machines their pods, until aborted.
pub(super) async fn run(client: Client, machines: Vec<Arc<Machine>>) {
    let by_name: BTreeMap<String, Arc<Machine>> =
        machines.into_iter().map(|machine| (machine.name().to_owned(), machine)).collect();
    let config = watcher::Config::default().fields("spec.nodeName!=");
    let stream = watcher(Api::<Pod>::all(client), config).default_backoff();
    pin_mut!(stream);
    let mut listed: Vec<(String, String)> = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                if let Some((machine, uid)) = place(&by_name, &pod) {
                    listed.push((machine.name().to_owned(), uid.clone()));
                    machine.show(uid, pod);
                }
            }
            Ok(Event::InitDone) => {
                for machine in by_name.values() {
                    for uid in machine.bound().into_keys() {
                        if !listed.contains(&(machine.name().to_owned(), uid.clone())) {
                            machine.hide(&uid);
                        }
                    }
                }
            }
            Ok(Event::Apply(pod)) => {
                if let Some((machine, uid)) = place(&by_name, &pod) {
                    machine.show(uid, pod);
                }
            }
            Ok(Event::Delete(pod)) => {
                if let Some((machine, uid)) = place(&by_name, &pod) {
                    machine.hide(&uid);
                }
            }
            Err(error) => tracing::debug!(%error, "pods"),
        }
    }
}

fn place<'a>(machines: &'a BTreeMap<String, Arc<Machine>>, pod: &Pod) -> Option<(&'a Arc<Machine>, String)> {
    let node = pod.spec.as_ref()?.node_name.as_ref()?;
    Some((machines.get(node)?, pod.uid()?))
}

/// What a kubelet does about its pods: starts those that are bound to it, ends and confirms those that terminate, and
/// ends those that the API does not show any more.
pub(super) async fn sync(machine: &Machine) {
    let bound = machine.bound();
    for forgotten in machine.running().into_iter().filter(|uid| !bound.contains_key(uid)) {
        machine.end(&forgotten);
    }
    for (uid, pod) in bound {
        let (Some(namespace), name) = (pod.namespace(), pod.name_any()) else { continue };
        let api: Api<Pod> = Api::namespaced(machine.client(), &namespace);
        let done = if pod.metadata.deletion_timestamp.is_some() {
            machine.end(&uid);
            let delete = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version: None }),
                ..DeleteParams::default()
            };
            api.delete(&name, &delete).await.map(drop)
        } else if is_over(&pod) || !machine.start(&uid, &format!("{namespace}/{name}")) {
            continue;
        } else {
            let status = json!({ "metadata": { "uid": uid }, "status": running(&pod) });
            api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.map(drop)
        };
        if let Err(error) = done {
            tracing::debug!(node = machine.name(), pod = name, %error, "pod");
        }
    }
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn running(pod: &Pod) -> serde_json::Value {
    let now = seconds(Timestamp::now());
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let containers: Vec<_> = containers
        .iter()
        .map(|container| {
            json!({ "name": container.name, "image": container.image, "imageID": "", "ready": true, "started": true,
                "restartCount": 0, "state": { "running": { "startedAt": now } } })
        })
        .collect();
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"]
        .map(|kind| json!({ "type": kind, "status": "True", "lastTransitionTime": now }));
    json!({ "phase": "Running", "startTime": now, "conditions": conditions, "containerStatuses": containers })
}
