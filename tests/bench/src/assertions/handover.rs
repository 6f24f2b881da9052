//! Two controllers at once never remediate a node twice, however the lead changes hands.
//!
//! Nodes fail and recover without pause while the lead is taken away from whoever has it: another is named in the Lease,
//! the leader hangs for a moment and wakes up believing that it still leads, the Lease is released or deleted. The audit
//! log then shows for every failure of a node how often a remediation of each step was created.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use palisade_api::NodeHealthCheck;
use serde_json::json;

use super::stand::Stand;
use super::{Options, Report};
use crate::audit::{Entry, Query};
use crate::controller::{self, Controller, NAMESPACE};
use crate::fleet::{self, Fault, Fleet, Machine};
use crate::install::{GROUP, counted_policy, policy, reference, remediations};
use crate::wait;

/// Nodes of the cluster; fewer than half of them fail.
const NODES: usize = 24;
/// Nodes that fail over and over, at the same time.
const FAILING: usize = 8;
/// How long nodes are unhealthy before they are remediated.
const AFTER: Duration = Duration::from_secs(1);
/// No step of an episode may take longer.
const LIMIT: Duration = Duration::from_secs(40);
/// Name of the leader's lease.
const LEASE: &str = "palisade-controller";
/// Policy over the fleet.
const POLICY: &str = "handover";
/// Both steps of the ladder.
const STEPS: [(&str, &str); 2] = [("Foo", "foos"), ("Bar", "bars")];

pub(super) async fn play(report: &mut Report, stand: &Stand, options: &Options) {
    let elected = format!(
        "handover: {} forced changes of the leader never create two remediations for a node and step",
        options.handovers
    );
    report.play(&elected, with_election(stand, options.handovers)).await;
    let claim = "handover: two controllers that both act never create two remediations for a node and step";
    report.play(claim, without_election(stand, 24)).await;
}

/// One failure of a node: what was created for it belongs between these instants.
struct Episode {
    node: String,
    from: Timestamp,
    until: Timestamp,
}

async fn with_election(stand: &Stand, handovers: usize) -> anyhow::Result<String> {
    let fleet = stand.fleet(spec()).await?;
    let mut pair = [
        stand.controller("hand-a", &["--leader-elect"]).await?,
        stand.controller("hand-b", &["--leader-elect"]).await?,
    ];
    install_policy(stand).await?;
    let mark = stand.plane.audit.mark()?;
    let over = AtomicBool::new(false);
    let taking = async {
        let result = take_the_lead_away(&stand.admin, &pair, handovers).await;
        over.store(true, Ordering::SeqCst);
        result
    };
    let (forced, episodes) = tokio::join!(taking, failures(stand, &fleet, || over.load(Ordering::SeqCst)));
    let (forced, episodes) = (forced?, episodes?);
    pair.iter_mut().try_for_each(Controller::ensure_alive)?;
    let log = stand.plane.audit.since(mark)?.by_user(controller::USER);
    let shown = no_step_twice(&log, &episodes)?;
    let leaders = leaders(&log);
    let changes = leaders.windows(2).filter(|pair| pair[0] != pair[1]).count();
    anyhow::ensure!(forced == handovers, "only {forced} of {handovers} hand-overs");
    anyhow::ensure!(changes * 2 >= handovers, "the leader really changed only {changes} times in {handovers} rounds");
    cleanup(stand, pair, fleet).await?;
    Ok(format!("{forced} hand-overs, {changes} to the other controller; {shown}"))
}

async fn without_election(stand: &Stand, enough: usize) -> anyhow::Result<String> {
    let fleet = stand.fleet(spec()).await?;
    let mut pair = [stand.controller("both-a", &[]).await?, stand.controller("both-b", &[]).await?];
    install_policy(stand).await?;
    let mark = stand.plane.audit.mark()?;
    let begun = tokio::time::Instant::now();
    // Enough episodes for each node, and no longer than that.
    let rounds = Duration::from_secs(enough as u64 / 2);
    let episodes = failures(stand, &fleet, || begun.elapsed() >= rounds).await?;
    pair.iter_mut().try_for_each(Controller::ensure_alive)?;
    let log = stand.plane.audit.since(mark)?.by_user(controller::USER);
    let shown = no_step_twice(&log, &episodes)?;
    for controller in &pair {
        let theirs = log.by_agent(&format!("({})", controller.observer)).writes().count();
        anyhow::ensure!(theirs > 0, "{} wrote nothing: it did not act", controller.observer);
    }
    cleanup(stand, pair, fleet).await?;
    Ok(shown)
}

/// A small fleet with quick heartbeats, for a control plane that soon calls a node silent.
fn spec() -> fleet::Spec {
    fleet::Spec { lease_period: Duration::from_secs(1), ..fleet::Spec::new(POLICY, NODES) }
}

async fn install_policy(stand: &Stand) -> anyhow::Result<()> {
    let ladder = json!([
        { "remediationTemplate": reference("FooTemplate", "foo"), "order": 0, "timeout": "10m" },
        { "remediationTemplate": reference("BarTemplate", "bar"), "order": 1, "timeout": "10m" },
    ]);
    let more = json!({ "remediationTemplate": null, "escalatingRemediations": ladder });
    counted_policy(&stand.admin, &policy(POLICY, POLICY, AFTER, &more), NODES, LIMIT).await
}

async fn cleanup(stand: &Stand, pair: [Controller; 2], fleet: Fleet) -> anyhow::Result<()> {
    for controller in pair {
        controller.stop().await;
    }
    Api::<NodeHealthCheck>::all(stand.admin.clone()).delete(POLICY, &DeleteParams::default()).await?;
    drop(fleet);
    Ok(())
}

/// Lets nodes fail and recover until it is enough.
async fn failures(stand: &Stand, fleet: &Fleet, enough: impl Fn() -> bool) -> anyhow::Result<Vec<Episode>> {
    let enough = &enough;
    let nodes = (0..FAILING).map(|index| async move {
        let machine = fleet.machine(index);
        let mut episodes = Vec::new();
        while !enough() {
            episodes.push(episode(&stand.admin, machine).await.with_context(|| machine.name().to_owned())?);
        }
        anyhow::Ok(episodes)
    });
    Ok(futures::future::try_join_all(nodes).await?.into_iter().flatten().collect())
}

/// A node fails, its first remediation fails too, it recovers under the second.
async fn episode(client: &Client, machine: &Machine) -> anyhow::Result<Episode> {
    let from = Timestamp::now();
    machine.fail(Fault::NotReady);
    for (kind, _) in STEPS {
        let api = remediations(client, kind);
        wait::until(LIMIT, &format!("{kind} is created"), async || {
            let there = api.get_opt(machine.name()).await?.is_some_and(|object| !is_going(&object));
            Ok(if there { Ok(()) } else { Err("it is not there".to_owned()) })
        })
        .await?;
        if kind == "Foo" {
            let failed = json!({ "type": "Succeeded", "status": "False", "reason": "Bench", "message": "",
                "lastTransitionTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string() });
            let status = Patch::Merge(json!({ "status": { "conditions": [failed] } }));
            api.patch_status(machine.name(), &PatchParams::default(), &status).await?;
        }
    }
    machine.recover();
    for (kind, _) in STEPS {
        let api = remediations(client, kind);
        wait::until(LIMIT, &format!("{kind} is deleted"), async || {
            let gone = api.get_opt(machine.name()).await?.is_none();
            Ok(if gone { Ok(()) } else { Err("it is still there".to_owned()) })
        })
        .await?;
    }
    // A relapse before the policy has closed the case belongs to the same failure, and goes on where the ladder was.
    let policies: Api<NodeHealthCheck> = Api::all(client.clone());
    wait::until(LIMIT, "the policy has forgotten the node", async || {
        let status = policies.get(POLICY).await?.status.unwrap_or_default();
        let listed = status.unhealthy_nodes.into_iter().find(|node| node.name == machine.name());
        Ok(listed.map_or(Ok(()), |node| Err(json!(node).to_string())))
    })
    .await?;
    Ok(Episode { node: machine.name().to_owned(), from, until: Timestamp::now() })
}

fn is_going(object: &DynamicObject) -> bool {
    object.metadata.deletion_timestamp.is_some()
}

/// Takes the lead away so many times; returns how often somebody led again.
async fn take_the_lead_away(client: &Client, pair: &[Controller; 2], times: usize) -> anyhow::Result<usize> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let mut done = 0;
    await_leader(&leases, pair, None).await?;
    for round in 0..times {
        let before = leases.get(LEASE).await?;
        let leader = usize::from(holder(&before) != pair[0].observer);
        let other = &pair[1 - leader].observer;
        // Long ago: whoever confirms the lead writes a newer time.
        let named =
            |who: &str| json!({ "spec": { "holderIdentity": who, "renewTime": "2001-01-01T00:00:00.000000Z" } });
        let patch = async |body| leases.patch(LEASE, &PatchParams::default(), &Patch::Merge(body)).await.map(drop);
        match round % 4 {
            0 | 1 => patch(named(other)).await?,
            2 => {
                // It wakes up in the middle of whatever it did, and believes that it leads.
                pair[leader].freeze(true);
                let named = patch(named(other)).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                pair[leader].freeze(false);
                named?;
            }
            _ if round % 8 == 3 => patch(named("")).await?,
            _ => leases.delete(LEASE, &DeleteParams::default()).await.map(drop)?,
        }
        await_leader(&leases, pair, before.metadata.resource_version.as_deref()).await?;
        done += 1;
        // Time to get into the middle of something.
        tokio::time::sleep(Duration::from_millis(40 + (round as u64 * 37) % 200)).await;
    }
    Ok(done)
}

/// Waits until one of the two has confirmed that it leads, by a write newer than this version.
async fn await_leader(leases: &Api<Lease>, pair: &[Controller; 2], before: Option<&str>) -> anyhow::Result<()> {
    wait::until(LIMIT, "somebody leads", async || {
        let Some(lease) = leases.get_opt(LEASE).await? else { return Ok(Err("there is no lease".to_owned())) };
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
        let fresh = renewed.is_some_and(|time| Timestamp::now().duration_since(time).as_secs() < 60)
            && lease.metadata.resource_version.as_deref() != before;
        let known = pair.iter().any(|controller| controller.observer == holder(&lease));
        Ok(if fresh && known { Ok(()) } else { Err(format!("{:?}", lease.spec)) })
    })
    .await
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// Who confirmed the lead, in order.
fn leaders(log: &Query) -> Vec<String> {
    let writes = log.resource("coordination.k8s.io", "leases").writes().succeeded().filter(|entry| {
        entry.object_ref.namespace == NAMESPACE
            && (entry.object_ref.name == LEASE || entry.request_object["metadata"]["name"] == LEASE)
    });
    writes.entries().iter().map(|entry| entry.user_agent.clone()).collect()
}

/// Of every step exactly one remediation was created in every episode of a node, and none outside of them.
fn no_step_twice(log: &Query, episodes: &[Episode]) -> anyhow::Result<String> {
    anyhow::ensure!(!episodes.is_empty(), "no node failed");
    let mut refused = 0;
    let mut by_agent: BTreeMap<String, usize> = BTreeMap::new();
    for (kind, plural) in STEPS {
        let tried = log.verb("create").resource(GROUP, plural);
        refused += tried.filter(|entry| !entry.succeeded()).count();
        let created = tried.succeeded();
        for entry in created.entries() {
            *by_agent.entry(entry.user_agent.clone()).or_default() += 1;
        }
        for episode in episodes {
            let its = |entry: &Entry| {
                target(entry) == episode.node && entry.received >= episode.from && entry.reached <= episode.until
            };
            let made = created.filter(its);
            anyhow::ensure!(
                made.count() == 1,
                "{} {kind} for one failure of {}:\n{}",
                made.count(),
                episode.node,
                log.about_node(&episode.node).from(episode.from).until(episode.until).lines(40)
            );
        }
        anyhow::ensure!(
            created.count() == episodes.len(),
            "{} {kind} were created in {} failures: some for a node that had recovered",
            created.count(),
            episodes.len()
        );
    }
    let shares: Vec<String> = by_agent.into_iter().map(|(agent, count)| format!("{count} by {agent}")).collect();
    Ok(format!(
        "{} failures of {FAILING} nodes, {} remediations created once each ({}), {refused} creations refused by the API",
        episodes.len(),
        episodes.len() * STEPS.len(),
        shares.join(", ")
    ))
}

fn target(entry: &Entry) -> &str {
    let annotation = entry.request_object.pointer("/metadata/annotations/remediation.medik8s.io~1node-name");
    annotation.and_then(serde_json::Value::as_str).unwrap_or(&entry.object_ref.name)
}
