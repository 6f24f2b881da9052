//! From the instant at which a node has been unhealthy for long enough, to the stored remediation.
//!
//! Both ends are stamps of the cluster, not of this program: a node is due when the condition's transition time, which the
//! API keeps in whole seconds, is as old as the policy says; the remediation is there when the audit log says that its
//! creation was answered.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::{Field, Options, Report};
use crate::audit::{Entry, Mark};
use crate::fleet::Fault;
use crate::install::{FLEET_LABEL, GROUP, remediations};
use crate::wait;

/// One remediation is waited for so long.
const ONE: Duration = Duration::from_mins(2);
/// All of many.
const MANY: Duration = Duration::from_mins(15);

/// Pause between two looks at many.
const LONG_PACE: Duration = Duration::from_secs(2);

/// Measures and prints.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let mut report = Report::begin();
    for &nodes in &options.nodes {
        let field = Field::of(options, nodes).await?;
        one(&field, options, &mut report).await?;
        if options.burst > 0 {
            many(&field, options, &mut report).await?;
        }
        field.end().await;
    }
    report.print(options.json)
}

async fn one(field: &Field, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let (nodes, stand) = (field.fleet.machines().len(), &field.stand);
    let [mut latencies, mut first, mut requests] = [const { Vec::new() }; 3];
    for run in 0..options.runs {
        stand.settled().await?;
        let machine = field.fleet.machine(run * 7 % nodes);
        let mark = stand.plane.audit.mark()?;
        machine.fail(Fault::NotReady);
        let created = creations(field, mark, 1, ONE).await?;
        let created = created.get(machine.name()).with_context(|| format!("{} is not remediated", machine.name()))?;
        let node = Api::<Node>::all(stand.admin.clone()).get(machine.name()).await?;
        let (due, asked) = (due(&node, field.after)?, stand.asked_since(mark)?.until(*created));
        latencies.push(created.duration_since(due).as_secs_f64());
        first.extend(asked.from(due).entries().first().map(|entry| entry.received.duration_since(due).as_secs_f64()));
        requests.push(asked.count() as f64);
        recovered(field, &[run * 7 % nodes], ONE).await?;
    }
    report.add(nodes, "one node: due until its remediation exists", "s", latencies)?;
    report.add(nodes, "one node: due until the first request of its pass", "s", first)?;
    report.add(nodes, "one node: requests until then", "requests", requests)
}

async fn many(field: &Field, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let (nodes, stand) = (field.fleet.machines().len(), &field.stand);
    let failing = nodes * usize::from(options.burst) / 100;
    stand.settled().await?;
    let mark = stand.plane.audit.mark()?;
    for machine in &field.fleet.machines()[..failing] {
        machine.fail(Fault::NotReady);
    }
    let created = creations(field, mark, failing, MANY).await?;
    let all = ListParams::default().labels(FLEET_LABEL);
    let all = Api::<Node>::all(stand.admin.clone()).list(&all).await?;
    let mut latencies = Vec::new();
    for node in &all.items {
        if let Some(created) = created.get(&node.name_any()) {
            latencies.push(created.duration_since(due(node, field.after)?).as_secs_f64());
        }
    }
    anyhow::ensure!(latencies.len() == failing, "{} of {failing} are remediated", latencies.len());
    let last = created.values().max().copied().unwrap_or_default();
    let requests = stand.asked_since(mark)?.until(last).count() as f64 / failing as f64;
    report.add(nodes, &format!("{failing} at once: due until its remediation exists"), "s", latencies)?;
    report.add(nodes, &format!("{failing} at once: requests for each until the last"), "requests", vec![requests])?;
    recovered(field, &(0..failing).collect::<Vec<_>>(), MANY).await
}

/// When a node was due, by its own condition.
fn due(node: &Node, after: Duration) -> anyhow::Result<Timestamp> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready" && condition.status == "False");
    let since = ready.and_then(|ready| ready.last_transition_time.as_ref());
    let since = since.with_context(|| format!("node {} does not say that it is not ready", node.name_any()))?;
    Ok(since.0 + after)
}

/// Waits for so many creations; when each was answered, by node.
async fn creations(
    field: &Field,
    mark: Mark,
    wanted: usize,
    limit: Duration,
) -> anyhow::Result<BTreeMap<String, Timestamp>> {
    wait::until(limit, "the remediations exist", async || {
        if wanted > 1 {
            // The log of many is long, and reading it takes CPU from what is measured.
            tokio::time::sleep(LONG_PACE).await;
        }
        let made = field.stand.asked_since(mark)?.verb("create").resource(GROUP, "foos").succeeded();
        let named = |entry: &Entry| (entry.object_ref.name.clone(), entry.reached);
        let made: BTreeMap<String, Timestamp> = made.entries().iter().map(named).collect();
        Ok(if made.len() >= wanted { Ok(made) } else { Err(format!("{} of {wanted}", made.len())) })
    })
    .await
}

/// Lets machines recover and waits until nothing is left of their remediations.
async fn recovered(field: &Field, machines: &[usize], limit: Duration) -> anyhow::Result<()> {
    for index in machines {
        field.fleet.machine(*index).recover();
    }
    let foos = remediations(&field.stand.admin, "Foo");
    wait::until(limit, "the remediations are deleted again", async || {
        let left = foos.list(&ListParams::default()).await?.items.len();
        Ok(if left == 0 { Ok(()) } else { Err(format!("{left} are left")) })
    })
    .await
}
