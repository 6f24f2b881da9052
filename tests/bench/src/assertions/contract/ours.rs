//! Their policy over our remediator: nodes with real agents on machine doubles, remediations made by a script that does
//! what their health check does.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use palisade_api::keys::{remediation as keys, self_node as their};
use palisade_api::reasons::{phase, reason};
use palisade_api::{NodeHealthCheck, SelfNodeRemediation};
use palisade_sandbox::demo;
use palisade_sandbox::lab::fault::Fault;
use palisade_sandbox::lab::process::Program;
use palisade_sandbox::lab::timings::Timings;
use palisade_sandbox::lab::workload::ensure as make;
use palisade_sandbox::lab::{Lab, LabSpec};
use serde_json::json;
use tokio::sync::mpsc;

use super::{LIMIT, NODE_LEASES, Stand, condition, self_node, until_none, until_remediation};
use crate::controller::{self, NAMESPACE};
use crate::wait;

const NAME: &str = "their-policy";
/// How their health check calls itself in leases.
const HOLDER: &str = "NodeHealthCheck-their-policy";
const NODES: u8 = 4;
/// Most requests of a remediation until its node's workloads are released, beside two for each pod. A node that fell silent
/// long ago costs about 44; of one that lives, as here, the acknowledgement and the end are looked for, too.
const BUDGET: usize = 70;

pub(super) async fn play(stand: &Stand) -> anyhow::Result<String> {
    let client = &stand.admin;
    let timings = Timings::default();
    demo::apply_configuration(client, &timings).await?;
    let (happenings, mut happened) = mpsc::unbounded_channel();
    // Only their oracle of the demonstration reads them.
    let drain = tokio::spawn(async move { while happened.recv().await.is_some() {} });
    let spec = LabSpec {
        name: "contract-lab".to_owned(),
        dir: stand.dir.join("lab"),
        nodes: NODES,
        zones: 3,
        timings,
        agent: agent()?,
        launcher: stand.parts.launcher(&stand.dir),
        admin_kubeconfig: std::fs::read_to_string(&stand.plane.admin_kubeconfig)?,
        agent_kubeconfig: stand.plane.service_account(NAMESPACE, demo::AGENT).await?,
        controller_kubeconfig: stand.plane.service_account(NAMESPACE, demo::CONTROLLER).await?,
        standins: false,
        wiring: None,
    };
    std::fs::create_dir_all(&spec.dir)?;
    let lab = Lab::start(spec, happenings).await?;
    let mut remediator = remediator(stand, &lab)?;
    let played = stories(stand, &lab).await;
    let died = remediator.try_ended();
    remediator.stop(std::time::Duration::from_secs(10)).await;
    lab.stop().await;
    drain.abort();
    ensure!(died.is_none(), "the controller ended by itself: {died:?}");
    played
}

fn agent() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let agent = program.parent().context("this program lies in a folder")?.join("palisade-agent");
    ensure!(agent.is_file(), "{} is missing: build the whole workspace", agent.display());
    Ok(agent)
}

/// It reaches the agents as the controller of the lab: from where the lab's network lets it.
fn remediator(stand: &Stand, lab: &Lab) -> anyhow::Result<palisade_sandbox::lab::process::Process> {
    let mut args: Vec<std::ffi::OsString> = vec!["controller".into()];
    let mut flag = |name: &str, value: std::ffi::OsString| args.extend([std::ffi::OsString::from(name), value]);
    flag("--kubeconfig", lab.controller_kubeconfig.clone().into());
    flag("--namespace", NAMESPACE.into());
    flag("--remediators", stand.parts.remediators().into());
    flag("--module-cache", stand.dir.join("module-cache").into());
    flag("--observer", "contract-remediator".into());
    flag("--run", "remediator".into());
    let env = vec![("RUST_LOG".to_owned(), "info".to_owned()), ("NO_COLOR".to_owned(), "1".to_owned())];
    let program = Program { name: "contract-remediator".to_owned(), program: stand.parts.palisade(), args, env };
    Ok(stand.parts.launcher(&stand.dir).start(&program.within(&lab.controller_enter), false)?)
}

async fn stories(stand: &Stand, lab: &Lab) -> anyhow::Result<String> {
    let client = &stand.admin;
    let nodes = lab.nodes();
    wait::until(LIMIT, "all nodes are ready and every agent has its certificate", async || {
        let agents: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
        for node in &nodes {
            if !is_ready(client, node).await? {
                return Ok(Err(format!("{node} is not ready")));
            }
            let lease = agents.get_opt(node).await?;
            let certified =
                lease.is_some_and(|lease| lease.annotations().contains_key("palisade.dev/agent-certificate"));
            if !certified {
                return Ok(Err(format!("the agent of {node} has no certificate")));
            }
        }
        Ok(Ok(()))
    })
    .await?;
    // The owner of their remediations; nobody acts on it, because no detector runs.
    let policy = crate::install::policy(NAME, "nobody", std::time::Duration::from_mins(5), &json!({}));
    make::<NodeHealthCheck>(&Api::all(client.clone()), policy).await?;
    make::<Namespace>(&Api::all(client.clone()), json!({ "metadata": { "name": NODE_LEASES } })).await?;
    let mark = stand.plane.audit.mark()?;
    let asked = success(stand, lab, &nodes[0]).await?;
    timed_out(client, lab, &nodes[1]).await?;
    let log = stand.plane.audit.since(mark)?.by_user(controller::USER);
    let theirs = log.writes().filter(|entry| entry.object_ref.namespace == NODE_LEASES);
    ensure!(theirs.count() == 0, "our remediator wrote their node leases:\n{}", theirs.lines(10));
    let foreign = log.verb("delete").resource("self-node-remediation.medik8s.io", "selfnoderemediations");
    ensure!(foreign.count() == 0, "our remediator deleted their remediations:\n{}", foreign.lines(10));
    Ok(format!(
        "phases and conditions as theirs, finalizer until cleaned up, stopped by nhc-timed-out, leases left alone, {asked} \
         requests until released"
    ))
}

async fn is_ready(client: &Client, node: &str) -> anyhow::Result<bool> {
    Ok(ready(client, node).await?.as_deref() == Some("True"))
}

async fn ready(client: &Client, node: &str) -> anyhow::Result<Option<String>> {
    let node = Api::<Node>::all(client.clone()).get_opt(node).await?;
    let status = node.and_then(|node| node.status).and_then(|status| status.conditions).unwrap_or_default();
    Ok(status.into_iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.status))
}

async fn until_ready(client: &Client, node: &str, wanted: bool) -> anyhow::Result<()> {
    wait::until(LIMIT, &format!("{node} is {}", if wanted { "ready" } else { "silent" }), async || {
        let status = ready(client, node).await?;
        Ok(if (status.as_deref() == Some("True")) == wanted { Ok(()) } else { Err(format!("Ready is {status:?}")) })
    })
    .await
}

/// What their health check does when a node has been unhealthy for long enough: its lease, then a remediation with a
/// name that the API server chooses.
async fn remediate(client: &Client, node: &str) -> anyhow::Result<SelfNodeRemediation> {
    let uid = Api::<Node>::all(client.clone()).get(node).await?.metadata.uid;
    let micros = format!("{:.6}", Timestamp::now());
    let lease = json!({
        "metadata": { "name": format!("node-{node}"), "ownerReferences":
            [{ "apiVersion": "v1", "kind": "Node", "name": node, "uid": uid }] },
        "spec": { "holderIdentity": HOLDER, "leaseDurationSeconds": 660, "acquireTime": micros, "renewTime": micros,
            "leaseTransitions": 0 },
    });
    make::<Lease>(&Api::namespaced(client.clone(), NODE_LEASES), lease).await?;
    let owner = Api::<NodeHealthCheck>::all(client.clone()).get(NAME).await?.metadata.uid;
    let remediation = serde_json::from_value(json!({
        "apiVersion": "self-node-remediation.medik8s.io/v1alpha1", "kind": "SelfNodeRemediation",
        "metadata": {
            "generateName": format!("{node}-"), "namespace": NAMESPACE,
            "labels": { keys::PART_OF: keys::PART_OF_VALUE },
            "annotations": { keys::NODE_NAME: node, keys::TEMPLATE_NAME: "their-template" },
            "ownerReferences": [{ "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
                "name": NAME, "uid": owner, "controller": false }],
        },
        "spec": { "remediationStrategy": "ResourceDeletion" },
    }))?;
    Ok(self_node(client).create(&PostParams::default(), &remediation).await?)
}

/// What their health check does when the node is healthy again.
async fn forget(client: &Client, made: &SelfNodeRemediation, node: &str) -> anyhow::Result<()> {
    let exactly = DeleteParams {
        preconditions: Some(Preconditions { uid: made.metadata.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    self_node(client).delete(&made.name_any(), &exactly).await?;
    until_none(client, node).await?;
    let found = Api::<Node>::all(client.clone()).get(node).await?;
    let taints = found.spec.and_then(|spec| spec.taints).unwrap_or_default();
    let ours: Vec<&str> = taints
        .iter()
        .map(|taint| taint.key.as_str())
        .filter(|key| key.contains("medik8s") || key.contains("palisade") || key.contains("out-of-service"))
        .collect();
    ensure!(ours.is_empty(), "{node} keeps the taints {ours:?} after its remediation is gone");
    let leases: Api<Lease> = Api::namespaced(client.clone(), NODE_LEASES);
    leases.delete(&format!("node-{node}"), &DeleteParams::default()).await?;
    Ok(())
}

/// Given a node whose kubelet died, when their policy makes a remediation, then ours reboots the node, proves it, and
/// says so in their words, and asks for little meanwhile. Returns for how much.
async fn success(stand: &Stand, lab: &Lab, node: &str) -> anyhow::Result<usize> {
    let client = &stand.admin;
    let boot = boot_id(client, node).await?;
    lab.inject(Fault::Kubelet, &[node.to_owned()]).await?;
    until_ready(client, node, false).await?;
    let mark = stand.plane.audit.mark()?;
    let made = remediate(client, node).await?;
    let processing = |one: &SelfNodeRemediation| {
        condition(one, "Processing").starts_with("True/") && condition(one, "Succeeded").starts_with("Unknown/")
    };
    until_remediation(client, node, LIMIT, "ours takes it up", processing).await?;
    let held = |one: &SelfNodeRemediation| one.finalizers().iter().any(|known| known == their::FINALIZER);
    until_remediation(client, node, LIMIT, "ours holds it by the finalizer", held).await?;
    let done = |one: &SelfNodeRemediation| {
        condition(one, "Succeeded") == format!("True/{}", reason::FINISHED)
            && condition(one, "Processing") == format!("False/{}", reason::FINISHED)
            && one.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(phase::FENCING_COMPLETED)
    };
    until_remediation(client, node, 2 * LIMIT, "ours succeeds in their words", done).await?;
    let asked = stand.plane.audit.since(mark)?.by_user(controller::USER).except_verb("watch");
    // Marking and releasing are two requests for each pod, which no controller can spare; the lead is no part of it.
    let asked = asked.filter(|entry| entry.verb != "delete" || entry.object_ref.resource != "pods");
    let asked = asked.filter(|entry| entry.object_ref.resource != "leases" || entry.object_ref.name == node);
    ensure!(asked.count() <= BUDGET, "{} requests until released:\n{}", asked.count(), asked.lines(60));
    until_ready(client, node, true).await?;
    ensure!(boot_id(client, node).await? != boot, "{node} was never rebooted");
    forget(client, &made, node).await?;
    Ok(asked.count())
}

/// Given a remediation that runs, when their policy says that its time is over, then ours stops and says so, and still
/// cleans up when it is deleted.
async fn timed_out(client: &Client, lab: &Lab, node: &str) -> anyhow::Result<()> {
    // Silent and out of reach: no proof can be had at once.
    lab.inject(Fault::Isolate, &[node.to_owned()]).await?;
    until_ready(client, node, false).await?;
    let made = remediate(client, node).await?;
    let held = |one: &SelfNodeRemediation| one.finalizers().iter().any(|known| known == their::FINALIZER);
    until_remediation(client, node, LIMIT, "ours holds it by the finalizer", held).await?;
    let over = Patch::Merge(json!({ "metadata": { "annotations": { keys::TIMED_OUT: super::now() } } }));
    self_node(client).patch(&made.name_any(), &PatchParams::default(), &over).await?;
    let stopped = |one: &SelfNodeRemediation| {
        condition(one, "Succeeded") == format!("False/{}", reason::TIMED_OUT)
            && condition(one, "Processing") == format!("False/{}", reason::TIMED_OUT)
    };
    until_remediation(client, node, LIMIT, "ours stops in their words", stopped).await?;
    lab.heal().await;
    until_ready(client, node, true).await?;
    forget(client, &made, node).await
}

async fn boot_id(client: &Client, node: &str) -> anyhow::Result<String> {
    let node = Api::<Node>::all(client.clone()).get(node).await?;
    Ok(node.status.and_then(|status| status.node_info).map(|info| info.boot_id).unwrap_or_default())
}
