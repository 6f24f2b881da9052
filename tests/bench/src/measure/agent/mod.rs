//! What an agent costs its node and its peers: real agent processes with the shipped configuration on a real control
//! plane, in a cluster of so many nodes whose other agents are only leases, signed by the cluster's own authority.

mod askers;
mod place;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use palisade_rpc::AgentClient;

use super::Report;
use super::kernel::Account;
use crate::assertions::Stand;
use crate::audit::{Mark, Query};
use crate::controller::{Controller, NAMESPACE};
use crate::fleet::{self, Fleet};
use crate::plane::Parts;
use crate::wait;
use askers::Askers;
use place::Place;

/// User of the agents in the audit log.
const USER: &str = "system:serviceaccount:palisade-system:palisade-agent";
/// Name of their service account.
const ACCOUNT: &str = "palisade-agent";
/// Longest wait for an agent to do what it does within seconds.
const PATIENCE: Duration = Duration::from_mins(3);

/// Which agent, in how large a cluster, how often.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The agent; the one beside the `palisade` program if not given. Judge its memory by the one that is shipped, which
    /// `cargo xtask bench agent --static` builds.
    #[arg(long, value_name = "FILE")]
    pub agent: Option<PathBuf>,
    /// Sizes of the cluster, separated by commas: agents read each other's leases.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [300])]
    pub nodes: Vec<usize>,
    /// Real agents.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub agents: u8,
    /// Restarts, looks at the agents at rest, and rounds of askers.
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
    /// How long an agent is looked at, in seconds.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// How long agents are left alone before they count as being at rest, in seconds.
    #[arg(long, default_value_t = 60)]
    pub settle: u64,
    /// Peers that ask one agent at the same instant.
    #[arg(long, default_value_t = 300)]
    pub askers: usize,
    /// Figures as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// The programs.
    #[command(flatten)]
    pub parts: Parts,
}

/// Measures and prints.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let mut report = Report::begin();
    let program = options.agent.clone().unwrap_or_else(|| options.parts.palisade().with_file_name("palisade-agent"));
    let size = std::fs::metadata(&program).with_context(|| program.display().to_string())?.len();
    report.note(format!("agent: {} ({:.1} MiB)", program.display(), size as f64 / 1_048_576.0));
    for &nodes in &options.nodes {
        let nodes = nodes.max(usize::from(options.agents) + options.askers);
        let cluster = Cluster::of(&options.parts, nodes).await?;
        measure(&cluster, options, &program, &mut report).await?;
        cluster.end().await;
    }
    report.print(options.json)
}

/// Beating kubelets, and a controller that certifies agents.
struct Cluster {
    stand: Stand,
    fleet: Fleet,
    controller: Controller,
}

impl Cluster {
    async fn of(parts: &Parts, nodes: usize) -> anyhow::Result<Self> {
        let stand = Stand::start(parts, fleet::node_grace(fleet::lease_period(nodes))).await?;
        let fleet = stand.fleet(fleet::Spec::new("measured", nodes)).await?;
        let controller = stand.controller("measured", &["--no-rollout"]).await?;
        Ok(Self { stand, fleet, controller })
    }

    async fn end(self) {
        self.controller.stop().await;
        drop(self.fleet);
        self.stand.finish(true).await;
    }
}

async fn measure(cluster: &Cluster, options: &Options, program: &Path, report: &mut Report) -> anyhow::Result<()> {
    let (machines, stand) = (cluster.fleet.machines(), &cluster.stand);
    let nodes = machines.len();
    let (ours, others) = machines.split_at(usize::from(options.agents));
    let names = others.iter().map(|machine| (machine.name().to_owned(), machine.boot()));
    let askers = Askers::establish(&stand.admin, names, options.askers).await?;
    let kubeconfig = stand.dir.join("agent.kubeconfig");
    std::fs::write(&kubeconfig, stand.plane.service_account(NAMESPACE, ACCOUNT).await?)?;
    let mut places = Vec::new();
    for machine in ours {
        let dir = stand.dir.join(machine.name());
        places.push(Place::prepare(&dir, machine.name(), &machine.boot(), program, &kubeconfig)?);
    }
    starts(cluster, &mut places, &askers, options, report).await?;
    tokio::time::sleep(Duration::from_secs(options.settle)).await;
    rest(cluster, &places, options, report).await?;
    let lease = Api::<Lease>::namespaced(stand.admin.clone(), NAMESPACE).get(&places[0].name).await?;
    report.add(nodes, "its lease", "KiB", vec![serde_json::to_vec(&lease)?.len() as f64 / 1024.0])?;
    asked(&places[0], &askers, nodes, options, report).await?;
    for place in &mut places {
        place.kill().await;
    }
    Ok(())
}

/// From the start of the process to what others can see of it.
async fn starts(
    cluster: &Cluster,
    places: &mut [Place],
    askers: &Askers,
    options: &Options,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (nodes, client) = (cluster.fleet.machines().len(), askers.controller()?);
    let (mut stored, mut first, mut again, mut renewed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for place in &mut *places {
        let (lease, answer) = start(cluster, place, &client).await?;
        stored.push(lease);
        first.push(answer);
    }
    for _ in 0..options.runs {
        for place in &mut *places {
            place.kill().await;
            let (lease, answer) = start(cluster, place, &client).await?;
            renewed.push(lease);
            again.push(answer);
        }
    }
    report.add(nodes, "first start of a boot: until its lease is stored", "ms", stored)?;
    report.add(nodes, "first start of a boot: until it answers peers", "ms", first)?;
    report.add(nodes, "start again in the boot: until its lease is renewed", "ms", renewed)?;
    report.add(nodes, "start again in the boot: until it answers peers", "ms", again)
}

/// Milliseconds until its first write was answered, by the audit log, and until it answers.
async fn start(cluster: &Cluster, place: &mut Place, client: &AgentClient) -> anyhow::Result<(f64, f64)> {
    let mark = cluster.stand.plane.audit.mark()?;
    let (begun, started) = (Instant::now(), Timestamp::now());
    place.start()?;
    wait::until(PATIENCE, "the agent answers", async || {
        place.ensure_alive()?;
        Ok(client.status(&place.name, &place.address).await.map(drop).map_err(|error| error.to_string()))
    })
    .await?;
    let answer = begun.elapsed().as_secs_f64() * 1e3;
    let stored = wait::until(PATIENCE, "the agent renews", async || {
        let writes = requests(cluster, mark, &place.name)?.writes().succeeded();
        let first = writes.resource("coordination.k8s.io", "leases").entries().first().map(|entry| entry.reached);
        Ok(first.ok_or_else(|| "no write yet".to_owned()))
    })
    .await?;
    Ok((stored.duration_since(started).as_secs_f64() * 1e3, answer))
}

/// What the agent of a node asked for.
fn requests(cluster: &Cluster, mark: Mark, node: &str) -> anyhow::Result<Query> {
    let all = cluster.stand.plane.audit.since(mark)?.by_user(USER);
    Ok(all.filter(|entry| entry.user_agent.ends_with(&format!(" {node}"))))
}

/// Nothing happens but heartbeats.
async fn rest(cluster: &Cluster, places: &[Place], options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let nodes = cluster.fleet.machines().len();
    let [mut resident, mut anonymous, mut peak, mut cpu] = [const { Vec::new() }; 4];
    let [mut wakes, mut asked, mut watched, mut bytes] = [const { Vec::new() }; 4];
    for _ in 0..options.runs {
        let before: Vec<Account> = places.iter().map(Place::account).collect::<anyhow::Result<_>>()?;
        let (mark, begun) = (cluster.stand.plane.audit.mark()?, Instant::now());
        tokio::time::sleep(Duration::from_secs(options.seconds)).await;
        for (place, before) in places.iter().zip(before) {
            let (after, took) = (place.account()?, begun.elapsed().as_secs_f64());
            resident.push(mebi(after.resident));
            anonymous.push(mebi(after.anonymous));
            peak.push(mebi(after.peak));
            cpu.push(after.cpu.saturating_sub(before.cpu).as_secs_f64() / took * 100.0);
            wakes.push(after.wakes.saturating_sub(before.wakes) as f64 / took);
            let all = requests(cluster, mark, &place.name)?;
            watched.push(all.verb("watch").count() as f64 / took * 60.0);
            asked.push(all.except_verb("watch").count() as f64 / took * 60.0);
            let body = |value: &serde_json::Value| if value.is_null() { 0 } else { value.to_string().len() };
            let bodies = all.entries().iter().map(|entry| body(&entry.request_object) + body(&entry.response_object));
            bytes.push(bodies.sum::<usize>() as f64 / 1024.0 / took * 60.0);
        }
    }
    report.add(nodes, "at rest: resident memory (bar 8)", "MiB", resident)?;
    report.add(nodes, "at rest: of it heap and stacks", "MiB", anonymous)?;
    report.add(nodes, "the most it ever had since its start", "MiB", peak)?;
    report.add(nodes, "at rest: CPU (bar 0.1)", "% of one", cpu)?;
    report.add(nodes, "at rest: wake-ups", "/s", wakes)?;
    report.add(nodes, "at rest: requests besides watches", "/min", asked)?;
    report.add(nodes, "at rest: watches begun", "/min", watched)?;
    report.add(nodes, "at rest: bodies of its writes and their answers", "KiB/min", bytes)
}

fn mebi(kibi: u64) -> f64 {
    kibi as f64 / 1024.0
}

/// All at the same instant, each over a connection and a handshake of its own, as when a cluster loses its API server.
async fn asked(
    place: &Place,
    askers: &Askers,
    nodes: usize,
    options: &Options,
    report: &mut Report,
) -> anyhow::Result<()> {
    let before = place.account()?;
    for what in ["told its state", "asked again: one read of the API server", "relayed: a read and a write"] {
        let (mut half, mut late, mut last, mut cpu, mut failed) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for run in 0..options.runs {
            let spent = place.account()?.cpu;
            let calls = match what {
                "told its state" => askers.status(&place.name, &place.address).await?,
                "relayed: a read and a write" => askers.ask(&place.name, &place.address, 2 + run as u64).await?,
                _ => askers.ask(&place.name, &place.address, 1).await?,
            };
            ensure!(!calls.took.is_empty(), "{what}: nobody was answered: {}", calls.complaint);
            let spent = place.account()?.cpu.saturating_sub(spent);
            cpu.push(spent.as_secs_f64() * 1e3 / calls.took.len() as f64);
            half.push(percentile(&calls.took, 50));
            late.push(percentile(&calls.took, 99));
            last.push(percentile(&calls.took, 100));
            failed.push(calls.failed as f64);
            if calls.failed > 0 {
                report.note(format!("{what}: {} of {} failed: {}", calls.failed, options.askers, calls.complaint));
            }
        }
        let of = format!("{} askers at once, {what}", options.askers);
        report.add(nodes, &format!("{of}: p50"), "ms", half)?;
        report.add(nodes, &format!("{of}: p99"), "ms", late)?;
        report.add(nodes, &format!("{of}: the last"), "ms", last)?;
        report.add(nodes, &format!("{of}: without an answer"), "askers", failed)?;
        report.add(nodes, &format!("{of}: CPU of the agent"), "ms each", cpu)?;
    }
    let after = place.account()?;
    let grown = after.resident.saturating_sub(before.resident);
    report.add(nodes, "after the askers: resident memory", "MiB", vec![mebi(after.resident)])?;
    report.add(nodes, "after the askers: more than before them", "MiB", vec![mebi(grown)])?;
    report.add(nodes, "during the askers: the most it had", "MiB", vec![mebi(after.peak)])
}

/// Of values in ascending order.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * percent / 100).min(last)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=300).map(f64::from).collect();
        let whole = |values: &[f64], percent| percentile(values, percent).round() as u32;
        assert_eq!([50, 99, 100].map(|percent| whole(&values, percent)), [151, 298, 300]);
        assert_eq!(whole(&[7.0], 99), 7);
        assert!(percentile(&[], 50).is_nan());
    }
}
