//! The exercise: a remediation is made, watched to the end, and deleted again, also when it is interrupted.

use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, DynamicObject, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use palisade_api::keys::{palisade, remediation};
use palisade_api::progress::Stage;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::scene::Scene;
use crate::connect::{answer, list};
use crate::explain::{Remediation, ready};

/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Its deletion takes back taints and marks; a node whose end is not proven yet is waited for.
const CLEAN: Duration = Duration::from_mins(5);

/// What happened.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// When the remediation was made.
    pub began: Timestamp,
    /// When everything was cleaned up.
    pub ended: Timestamp,
    /// The remediation as it was seen last.
    pub last: Remediation,
    /// The boot of the node before and after.
    pub boots: (String, String),
    /// When the node was seen Ready with another boot.
    pub back: Option<Timestamp>,
    /// Pods that are there now, of whoever had pods on the node before.
    pub pods: Vec<Pod>,
    /// What went wrong, or was not as it should be.
    pub problems: Vec<String>,
}

/// Plays it.
pub async fn play(
    client: &Client,
    namespace: &str,
    scene: &Scene,
    by: &str,
    why: &str,
    limit: Duration,
) -> anyhow::Result<Outcome> {
    let template = &scene.template;
    let (Some(resource), Some(spec)) = (&template.makes, &template.spec) else {
        bail!("{} makes nothing", template.title());
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &template.namespace, resource);
    let made = json!({
        "apiVersion": resource.api_version, "kind": resource.kind,
        "metadata": {
            "generateName": format!("drill-{}-", scene.node),
            "namespace": template.namespace,
            "annotations": {
                remediation::NODE_NAME: scene.node,
                remediation::TEMPLATE_NAME: template.name,
                palisade::DRILL: format!("by={by}; why={why}"),
            },
        },
        "spec": spec,
    });
    // A signal that comes from here on is heard: it is asked for before there is anything to clean up.
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let object = answer(api.create(&PostParams::default(), &serde_json::from_value(made)?)).await;
    let object = object.with_context(|| format!("making a {}", resource.kind))?;
    eprintln!("{} {}/{} is made", resource.kind, template.namespace, object.name_any());
    let mut outcome = Outcome {
        began: Timestamp::now(),
        ended: Timestamp::now(),
        last: seen(&resource.kind, &object),
        boots: (boot(scene.target()), String::new()),
        back: None,
        pods: Vec::new(),
        problems: Vec::new(),
    };
    let name = object.name_any();
    let watched = watch(client, &api, &name, &mut outcome);
    let trouble = tokio::select! {
        done = tokio::time::timeout(limit, watched) => match done {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some(format!("it was not over after {} s", limit.as_secs())),
        },
        _ = &mut interrupted => Some("it was interrupted".to_owned()),
    };
    outcome.problems.extend(trouble);
    eprintln!("deleting it again");
    if let Err(error) = clean(&api, &object, &mut outcome).await {
        outcome.problems.push(format!(
            "{} {}/{} could not be deleted, do it by hand: {error:#}",
            resource.kind,
            template.namespace,
            object.name_any()
        ));
    }
    if let Err(error) = after(client, namespace, scene, &mut outcome).await {
        outcome.problems.push(format!("what is there now cannot be seen: {error:#}"));
    }
    outcome.ended = Timestamp::now();
    Ok(outcome)
}

fn seen(kind: &str, object: &DynamicObject) -> Remediation {
    Remediation::new(kind, &object.metadata, object.data.get("status").cloned().unwrap_or_default())
}

/// The boot that a kubelet reports.
fn boot(node: Option<&Node>) -> String {
    let info = node.and_then(|node| node.status.as_ref()?.node_info.as_ref());
    info.map(|info| info.boot_id.clone()).unwrap_or_default()
}

/// Until the workload is released and the node is back.
async fn watch(client: &Client, api: &Api<DynamicObject>, name: &str, outcome: &mut Outcome) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let mut told = 0;
    loop {
        // An API server that does not answer for a moment is no failure of the exercise: the limit is for that.
        if let Ok(found) = answer(api.get_opt(name)).await {
            let object = found.context("somebody else deleted its remediation")?;
            outcome.last = seen(&outcome.last.kind, &object);
        }
        let timeline = outcome.last.progress.as_ref().map(|progress| progress.timeline.clone()).unwrap_or_default();
        for entry in timeline.iter().skip(told) {
            eprintln!("+{} s {}", entry.at.0.as_second() - outcome.began.as_second(), entry.stage);
        }
        told = timeline.len();
        let reached = |stage| timeline.iter().any(|entry| entry.stage == stage);
        if reached(Stage::Contradicted) {
            bail!("the old boot showed life after the proof");
        }
        if reached(Stage::Failed) || outcome.last.condition("Succeeded").is_some_and(|(status, ..)| status == "False") {
            bail!("the remediation failed: {}", outcome.last.said("lastError").unwrap_or("its conditions say why"));
        }
        if reached(Stage::Released)
            && let Ok(node) = answer(nodes.get(&outcome.last.node)).await
        {
            let now = boot(Some(&node));
            let is_ready = ready(&node).is_some_and(|(status, ..)| status == "True");
            if is_ready && now != outcome.boots.0 {
                outcome.boots.1 = now;
                outcome.back = Some(Timestamp::now());
                return Ok(());
            }
        }
        sleep(LOOK).await;
    }
}

/// Deletes it, and waits until it is gone: then taints and marks are taken back.
async fn clean(api: &Api<DynamicObject>, object: &DynamicObject, outcome: &mut Outcome) -> anyhow::Result<()> {
    let name = object.name_any();
    let this = Preconditions { uid: object.uid(), resource_version: None };
    let deletion = DeleteParams { preconditions: Some(this), ..DeleteParams::default() };
    let began = Instant::now();
    let mut asked = false;
    loop {
        if !asked {
            match answer(api.delete(&name, &deletion)).await {
                Ok(_) => asked = true,
                Err(error) if began.elapsed() > CLEAN => return Err(error),
                Err(_) => {}
            }
        }
        match answer(api.get_opt(&name)).await {
            Ok(Some(found)) if found.uid() == object.uid() => outcome.last = seen(&outcome.last.kind, &found),
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > CLEAN => return Err(error),
            Err(_) => {}
        }
        if began.elapsed() > CLEAN {
            bail!("it is still there after {} s; finalizers hold it until the node is cleaned up", CLEAN.as_secs());
        }
        sleep(LOOK).await;
    }
}

/// What is there when it is over.
async fn after(client: &Client, namespace: &str, scene: &Scene, outcome: &mut Outcome) -> anyhow::Result<()> {
    let node = answer(Api::<Node>::all(client.clone()).get(&scene.node)).await?;
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let ours = [palisade::RELEASE_TAINT, palisade_api::keys::self_node::TAINT];
    for taint in taints.iter().filter(|taint| ours.contains(&taint.key.as_str())) {
        outcome.problems.push(format!("the node still carries the taint {}", taint.key));
    }
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> = Api::namespaced(client.clone(), namespace);
    let lease = answer(leases.get_opt(&scene.node)).await?;
    let view = lease.map(|lease| palisade_core::fencing::record::LeaseView::from_annotations(lease.annotations()));
    if view.is_some_and(|view| view.is_ok_and(|view| view.intent.is_some())) {
        outcome.problems.push("the lease of its agent still carries a fence intent".to_owned());
    }
    let mut spaces: Vec<String> = scene.pods.iter().filter_map(ResourceExt::namespace).collect();
    spaces.sort();
    spaces.dedup();
    for space in spaces {
        outcome.pods.extend(list(Api::<Pod>::namespaced(client.clone(), &space)).await?);
    }
    Ok(())
}
