//! Two controllers at once never remediate a node twice, however the lead changes hands.
//!
//! Nodes fail and recover without pause while the lead is taken away from whoever has it: another is named in the Lease,
//! the leader hangs for a moment and wakes up believing that it still leads, it is killed, the Lease is released or
//! deleted. The audit log then shows for every failure of a node how many remediations of each step there were.

mod shown;
mod taking;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use palisade_api::NodeHealthCheck;
use palisade_api::node_health_check::UnhealthyNode;
use serde_json::json;
use tokio::time::Instant;

use super::stand::Stand;
use super::{Options, Report};
use crate::controller::{self, Controller};
use crate::fleet::{self, Fault, Fleet, Machine};
use crate::install::{counted_policy, policy, reference, remediations};
use crate::wait;

use self::shown::{leaders, no_step_twice};
use self::taking::take_the_lead_away;

/// Nodes of the cluster; fewer than half of them fail.
const NODES: usize = 24;
/// Nodes that fail over and over, at the same time.
const FAILING: usize = 8;
/// How long nodes are unhealthy before they are remediated.
const AFTER: Duration = Duration::from_secs(1);
/// No step of an episode may take longer.
const LIMIT: Duration = Duration::from_secs(40);
/// How long the policy has to be done with a node before the node fails again.
const CALM: Duration = Duration::from_millis(300);
/// How long two controllers act side by side without election.
const SIDE_BY_SIDE: Duration = Duration::from_secs(15);
/// Both steps of the ladder.
const STEPS: [(&str, &str); 2] = [("Foo", "foos"), ("Bar", "bars")];

pub(super) async fn play(report: &mut Report, stand: &Stand, options: &Options) {
    let elected = format!(
        "handover: {} forced changes of the leader never create two remediations for a node and step",
        options.handovers
    );
    report.play(&elected, with_election(stand, options.handovers)).await;
    let claim = "handover: two controllers that both act never create two remediations for a node and step";
    report.play(claim, without_election(stand)).await;
}

/// One failure of a node: what was created for it belongs between these instants.
struct Episode {
    node: String,
    from: Timestamp,
    until: Timestamp,
}

async fn with_election(stand: &Stand, handovers: usize) -> anyhow::Result<String> {
    let name = "handover";
    let fleet = stand.fleet(spec(name)).await?;
    let options = &["--leader-elect"];
    let mut pair = [stand.controller("hand-a", options).await?, stand.controller("hand-b", options).await?];
    install_policy(stand, name).await?;
    let mark = stand.plane.audit.mark()?;
    let over = AtomicBool::new(false);
    let taking = async {
        let result = take_the_lead_away(stand, &mut pair, handovers).await;
        over.store(true, Ordering::SeqCst);
        result
    };
    let (taken, episodes) = tokio::join!(taking, failures(stand, &fleet, name, || over.load(Ordering::SeqCst)));
    let alive = pair.iter_mut().try_for_each(Controller::ensure_alive);
    // What stays behind must not disturb the story after this one.
    cleanup(stand, pair, fleet, name).await?;
    let (taken, episodes) = (taken?, episodes?);
    alive?;
    let log = stand.plane.audit.since(mark)?.by_user(controller::USER);
    let shown = no_step_twice(&log, &episodes)?;
    let leaders = leaders(&log);
    let changes = leaders.windows(2).filter(|pair| pair[0] != pair[1]).count();
    anyhow::ensure!(changes * 2 >= handovers, "the leader really changed only {changes} times in {handovers} rounds");
    Ok(format!("{taken}; the log shows {changes} changes of who leads\n{shown}"))
}

async fn without_election(stand: &Stand) -> anyhow::Result<String> {
    let name = "both";
    let fleet = stand.fleet(spec(name)).await?;
    let mut pair = [stand.controller("both-a", &[]).await?, stand.controller("both-b", &[]).await?];
    install_policy(stand, name).await?;
    let mark = stand.plane.audit.mark()?;
    let begun = Instant::now();
    let episodes = failures(stand, &fleet, name, || begun.elapsed() >= SIDE_BY_SIDE).await;
    let alive = pair.iter_mut().try_for_each(Controller::ensure_alive);
    let observers = [pair[0].observer.clone(), pair[1].observer.clone()];
    cleanup(stand, pair, fleet, name).await?;
    let episodes = episodes?;
    alive?;
    let log = stand.plane.audit.since(mark)?.by_user(controller::USER);
    let shown = no_step_twice(&log, &episodes)?;
    for observer in observers {
        let theirs = log.by_agent(&format!("({observer})")).writes().count();
        anyhow::ensure!(theirs > 0, "{observer} wrote nothing: it did not act");
    }
    Ok(shown)
}

/// A small fleet with quick heartbeats, for a control plane that soon calls a node silent.
fn spec(name: &str) -> fleet::Spec {
    fleet::Spec { lease_period: Duration::from_secs(1), ..fleet::Spec::new(name, NODES) }
}

async fn install_policy(stand: &Stand, name: &str) -> anyhow::Result<()> {
    let ladder = json!([
        { "remediationTemplate": reference("FooTemplate", "foo"), "order": 0, "timeout": "10m" },
        { "remediationTemplate": reference("BarTemplate", "bar"), "order": 1, "timeout": "10m" },
    ]);
    let more = json!({ "remediationTemplate": null, "escalatingRemediations": ladder });
    counted_policy(&stand.admin, &policy(name, name, AFTER, &more), NODES, LIMIT).await
}

async fn cleanup(stand: &Stand, pair: [Controller; 2], fleet: Fleet, policy: &str) -> anyhow::Result<()> {
    for controller in pair {
        controller.stop().await;
    }
    Api::<NodeHealthCheck>::all(stand.admin.clone()).delete(policy, &DeleteParams::default()).await?;
    drop(fleet);
    Ok(())
}

/// Lets nodes fail and recover until it is enough.
async fn failures(
    stand: &Stand,
    fleet: &Fleet,
    policy: &str,
    enough: impl Fn() -> bool,
) -> anyhow::Result<Vec<Episode>> {
    let enough = &enough;
    let nodes = (0..FAILING).map(|index| async move {
        let machine = fleet.machine(index);
        let mut episodes = Vec::new();
        while !enough() {
            let episode = episode(&stand.admin, policy, machine).await;
            episodes.push(episode.with_context(|| machine.name().to_owned())?);
        }
        anyhow::Ok(episodes)
    });
    Ok(futures::future::try_join_all(nodes).await?.into_iter().flatten().collect())
}

/// A node fails, its first remediation fails too, it recovers under the second.
async fn episode(client: &Client, policy: &str, machine: &Machine) -> anyhow::Result<Episode> {
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
    // With the lead lost between a creation and the status, the policy hears of the remediation only from the next
    // leader. Only a policy that has listed the node can be seen to close its case.
    wait::until(LIMIT, "the policy lists the second step", async || {
        let steps = listed(client, policy, machine).await?.map_or(0, |node| node.remediations.len());
        Ok(if steps == STEPS.len() { Ok(()) } else { Err(format!("it lists {steps}")) })
    })
    .await?;
    machine.recover();
    for (kind, _) in STEPS {
        let api = remediations(client, kind);
        wait::until(LIMIT, &format!("{kind} is deleted"), async || {
            let gone = api.get_opt(machine.name()).await?.is_none();
            Ok(if gone { Ok(()) } else { Err("it is still there".to_owned()) })
        })
        .await?;
    }
    // A relapse before the policy has closed a case belongs to the same failure, and goes on where the ladder was. A new
    // leader whose watch of the remediations lags may open it again for a moment.
    let mut since = Instant::now();
    wait::until(LIMIT, "the policy has closed the case", async || {
        if let Some(node) = listed(client, policy, machine).await? {
            since = Instant::now();
            return Ok(Err(json!(node).to_string()));
        }
        Ok(if since.elapsed() >= CALM { Ok(()) } else { Err("just now".to_owned()) })
    })
    .await?;
    Ok(Episode { node: machine.name().to_owned(), from, until: Timestamp::now() })
}

/// What the policy says about a node.
async fn listed(client: &Client, policy: &str, machine: &Machine) -> anyhow::Result<Option<UnhealthyNode>> {
    let status = Api::<NodeHealthCheck>::all(client.clone()).get(policy).await?.status.unwrap_or_default();
    Ok(status.unhealthy_nodes.into_iter().find(|node| node.name == machine.name()))
}

fn is_going(object: &DynamicObject) -> bool {
    object.metadata.deletion_timestamp.is_some()
}
