//! Their remediator under our policy: a ladder of a self-node remediation and, if that fails, another kind.

use std::time::Duration;

use anyhow::ensure;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use palisade_api::keys::{remediation as keys, self_node as their};
use palisade_api::reasons::{phase, reason};
use palisade_api::{NodeHealthCheck, SelfNodeRemediation, SelfNodeRemediationTemplate};
use palisade_sandbox::lab::workload::ensure as make;
use serde_json::json;

use super::{
    LIMIT, NODE_LEASES, Stand, conditions, policy_status, remediation_of, self_node, until_none, until_object,
    until_remediation, write_status,
};
use crate::controller::NAMESPACE;
use crate::fleet::{self, Fault, Machine};
use crate::install::{counted_policy, policy, reference, remediations};
use crate::wait;

const NAME: &str = "contract";
const NODES: usize = 8;
/// The shortest time that a policy may give to a step.
const STEP: Duration = Duration::from_mins(1);

pub(super) async fn play(stand: &Stand) -> anyhow::Result<String> {
    let client = &stand.admin;
    let spec = fleet::Spec { lease_period: Duration::from_secs(1), ..fleet::Spec::new(NAME, NODES) };
    let fleet = stand.fleet(spec).await?;
    let mut controller = stand.controller("contract-detector", &["--run", "detector"]).await?;
    let template = json!({
        "metadata": { "name": NAME, "annotations": { keys::MULTIPLE_TEMPLATES: "true" } },
        "spec": { "template": { "spec": { "remediationStrategy": "ResourceDeletion" } } },
    });
    make::<SelfNodeRemediationTemplate>(&Api::namespaced(client.clone(), NAMESPACE), template).await?;
    let first = json!({ "apiVersion": "self-node-remediation.medik8s.io/v1alpha1", "kind": "SelfNodeRemediationTemplate",
        "name": NAME, "namespace": NAMESPACE });
    let ladder = json!([
        { "remediationTemplate": first, "order": 0, "timeout": format!("{}s", STEP.as_secs()) },
        { "remediationTemplate": reference("BarTemplate", "bar"), "order": 1, "timeout": "10m" },
    ]);
    let more = json!({ "remediationTemplate": null, "escalatingRemediations": ladder });
    counted_policy(client, &policy(NAME, NAME, Duration::from_secs(1), &more), NODES, LIMIT).await?;

    let (succeeds, fails, times_out) = (fleet.machine(0), fleet.machine(1), fleet.machine(2));
    tokio::try_join!(success(client, succeeds), failure(client, fails), timeout(client, times_out))?;

    wait::until(LIMIT, "the policy is at rest", async || {
        let status = policy_status(client, NAME).await?;
        let calm =
            status["unhealthyNodes"].is_null() && status["healthyNodes"] == NODES && status["phase"] == "Enabled";
        Ok(if calm { Ok(()) } else { Err(status.to_string()) })
    })
    .await?;
    let leases: Api<Lease> = Api::namespaced(client.clone(), NODE_LEASES);
    wait::until(LIMIT, "the node leases are given back", async || {
        let left = leases.list(&kube::api::ListParams::default()).await?.items;
        let left: Vec<String> = left.iter().map(ResourceExt::name_any).filter(|name| name.contains(NAME)).collect();
        Ok(if left.is_empty() { Ok(()) } else { Err(left.join(", ")) })
    })
    .await?;
    controller.ensure_alive()?;
    controller.stop().await;
    Api::<NodeHealthCheck>::all(client.clone()).delete(NAME, &DeleteParams::default()).await?;
    Ok("shape, phases, finalizer, early second step on failure, nhc-timed-out after its time, leases given back"
        .to_owned())
}

/// What our policy has to make, before anybody touched it.
async fn made(client: &Client, machine: &Machine) -> anyhow::Result<SelfNodeRemediation> {
    machine.fail(Fault::NotReady);
    let made = until_remediation(client, machine.name(), LIMIT, "a remediation is made", |_| true).await?;
    let (annotations, labels) = (made.annotations(), made.labels());
    ensure!(made.name_any().starts_with(&format!("{}-", machine.name())), "its name is {}", made.name_any());
    ensure!(annotations.get(keys::NODE_NAME).map(String::as_str) == Some(machine.name()), "{annotations:?}");
    ensure!(annotations.get(keys::TEMPLATE_NAME).map(String::as_str) == Some(NAME), "{annotations:?}");
    ensure!(labels.get(keys::PART_OF).map(String::as_str) == Some(keys::PART_OF_VALUE), "{labels:?}");
    ensure!(made.finalizers().is_empty(), "finalizers {:?}", made.finalizers());
    let owner = &made.owner_references()[0];
    ensure!((owner.kind.as_str(), owner.name.as_str()) == ("NodeHealthCheck", NAME), "owner {owner:?}");
    ensure!(json!(made.spec)["remediationStrategy"] == "ResourceDeletion", "spec {}", json!(made.spec));
    let leases: Api<Lease> = Api::namespaced(client.clone(), NODE_LEASES);
    let lease = leases.get(&format!("node-{}", machine.name())).await?.spec.unwrap_or_default();
    ensure!(lease.holder_identity.as_deref() == Some("NodeHealthCheck-contract"), "lease {lease:?}");
    Ok(made)
}

/// Their manager begins: conditions, finalizer, and the phase in which the agent reboots the node.
async fn begin(client: &Client, made: &SelfNodeRemediation) -> anyhow::Result<()> {
    let name = made.name_any();
    write_status(client, &name, json!({ "conditions": conditions("True", "Unknown", reason::STARTED) })).await?;
    let held = Patch::Merge(json!({ "metadata": { "finalizers": [their::FINALIZER] } }));
    self_node(client).patch(&name, &PatchParams::default(), &held).await?;
    let later = (Timestamp::now() + jiff::SignedDuration::from_secs(1)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    write_status(client, &name, json!({ "phase": phase::PRE_REBOOT_COMPLETED, "timeAssumedRebooted": later })).await
}

/// Their manager has cleaned up after the deletion.
async fn let_go(client: &Client, node: &str) -> anyhow::Result<()> {
    let going = |one: &SelfNodeRemediation| one.metadata.deletion_timestamp.is_some();
    let found = until_remediation(client, node, LIMIT, "the policy deletes the remediation", going).await?;
    // It holds the deletion up until its own traces are gone, and our policy waits for that.
    let status = policy_status(client, NAME).await?;
    let listed = status["unhealthyNodes"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == node));
    ensure!(listed, "{node} was forgotten while its remediation still cleans up: {status}");
    let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    self_node(client).patch(&found.name_any(), &PatchParams::default(), &free).await?;
    until_none(client, node).await
}

async fn success(client: &Client, machine: &Machine) -> anyhow::Result<()> {
    let made = made(client, machine).await?;
    begin(client, &made).await?;
    write_status(client, &made.name_any(), json!({ "phase": phase::REBOOT_COMPLETED })).await?;
    let done = conditions("False", "True", reason::FINISHED);
    write_status(client, &made.name_any(), json!({ "phase": phase::FENCING_COMPLETED, "conditions": done })).await?;
    let kept = remediation_of(client, machine.name()).await?;
    let kept = kept.filter(|kept| kept.metadata.uid == made.metadata.uid && kept.metadata.deletion_timestamp.is_none());
    ensure!(kept.is_some(), "the remediation went although the node is not healthy");
    machine.reboot();
    let_go(client, machine.name()).await?;
    until_object(&remediations(client, "Bar"), machine.name(), false).await
}

async fn failure(client: &Client, machine: &Machine) -> anyhow::Result<()> {
    let made = made(client, machine).await?;
    begin(client, &made).await?;
    write_status(client, &made.name_any(), json!({ "conditions": conditions("False", "False", reason::FAILED) }))
        .await?;
    until_object(&remediations(client, "Bar"), machine.name(), true).await?;
    let told = |one: &SelfNodeRemediation| one.annotations().contains_key(keys::TIMED_OUT);
    until_remediation(client, machine.name(), LIMIT, "it is told to stop", told).await?;
    machine.reboot();
    let_go(client, machine.name()).await?;
    until_object(&remediations(client, "Bar"), machine.name(), false).await
}

async fn timeout(client: &Client, machine: &Machine) -> anyhow::Result<()> {
    let made = made(client, machine).await?;
    begin(client, &made).await?;
    let told = |one: &SelfNodeRemediation| one.annotations().contains_key(keys::TIMED_OUT);
    let late = STEP + Duration::from_secs(20);
    let found = until_remediation(client, machine.name(), late, "it is told that its time is over", told).await?;
    let waited =
        Timestamp::now().duration_since(made.metadata.creation_timestamp.clone().map_or(Timestamp::MAX, |t| t.0));
    ensure!(waited.as_secs() >= STEP.as_secs() as i64, "told after {waited:?}, before its time");
    let stamp = &found.annotations()[keys::TIMED_OUT];
    ensure!(stamp.parse::<Timestamp>().is_ok(), "the stamp {stamp:?} is no RFC 3339 time");
    let stopped = conditions("False", "False", reason::TIMED_OUT);
    write_status(client, &made.name_any(), json!({ "conditions": stopped })).await?;
    until_object(&remediations(client, "Bar"), machine.name(), true).await?;
    machine.reboot();
    let_go(client, machine.name()).await?;
    until_object(&remediations(client, "Bar"), machine.name(), false).await
}
