//! What the decision core costs: judging a fleet and planning over it, in this process, without any input or output. One
//! policy selects all nodes; of a hundred one is sick. Growth with the fleet is the same figure for more nodes; it is
//! linear when the cost of a node stays the same. `cargo bench -p palisade-bench` has the same by Criterion.

use std::hint::black_box;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use palisade_api::node_health_check::NodeHealthCheckSpec;
use palisade_core::health::{
    Judgement, Memory, NodeCondition, NodeView, Outlook, Plan, Policy, Storm, Surroundings, judge, plan,
};

use super::Report;

/// One of so many nodes is sick.
const SICK: usize = 100;

/// How large, how often.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Sizes of the fleet, separated by commas.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [100, 1_000, 5_000])]
    pub nodes: Vec<usize>,
    /// Measurements of each figure.
    #[arg(long, default_value_t = 50)]
    pub runs: usize,
    /// Figures as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// Not used here; accepted so that all benches are started the same way.
    #[command(flatten)]
    pub parts: crate::plane::Parts,
}

/// Measures and prints.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut report = Report::begin();
    let mut middles: Vec<(usize, [f64; 2])> = Vec::new();
    let spec = policy();
    for &count in &options.nodes {
        let now = Timestamp::now();
        let nodes = fleet(count, now);
        let (mut judged, mut planned) = (Vec::new(), Vec::new());
        for _ in 0..options.runs {
            let begun = Instant::now();
            let judgement = black_box(judge(&nodes, &spec.unhealthy_conditions, now));
            judged.push(begun.elapsed().as_secs_f64() * 1e6 / count as f64);
            let begun = Instant::now();
            let decided = black_box(decide(&spec, &nodes, &judgement, now));
            planned.push(begun.elapsed().as_secs_f64() * 1e6 / count as f64);
            anyhow::ensure!(decided.actions.len() == count.div_ceil(SICK), "{} actions", decided.actions.len());
        }
        middles.push((count, [middle(&judged), middle(&planned)]));
        report.add(count, "judge, for each node", "µs", judged)?;
        report.add(count, "plan, for each node", "µs", planned)?;
    }
    if let (Some((few, small)), Some((many, large))) = (middles.first(), middles.last())
        && few != many
    {
        for (at, what) in ["judge", "plan"].into_iter().enumerate() {
            let what = format!("{what}: a node costs so many times what it costs among {few}");
            report.add(*many, &what, "times", vec![large[at] / small[at]])?;
        }
    }
    report.print(options.json)
}

fn middle(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A policy over the whole fleet.
pub fn policy() -> NodeHealthCheckSpec {
    NodeHealthCheckSpec {
        min_healthy: Some("51%".into()),
        remediation_template: Some(ObjectReference {
            api_version: Some("self-node-remediation.medik8s.io/v1alpha1".to_owned()),
            kind: Some("SelfNodeRemediationTemplate".to_owned()),
            namespace: Some("palisade-system".to_owned()),
            name: Some("t".to_owned()),
            ..ObjectReference::default()
        }),
        ..NodeHealthCheckSpec::default()
    }
}

/// Nodes, of which the first of each hundred is sick.
pub fn fleet(count: usize, now: Timestamp) -> Vec<NodeView> {
    (0..count).map(|number| node(number, now)).collect()
}

fn node(number: usize, now: Timestamp) -> NodeView {
    let sick = number.is_multiple_of(SICK);
    let ready = NodeCondition {
        type_: "Ready".to_owned(),
        status: if sick { "Unknown" } else { "True" }.to_owned(),
        since: now.checked_sub(SignedDuration::from_hours(1)).ok(),
    };
    let pressure = ["MemoryPressure", "DiskPressure", "PIDPressure"];
    let calm = |type_: &str| NodeCondition { type_: type_.to_owned(), status: "False".to_owned(), since: None };
    NodeView {
        name: format!("worker-{number:05}"),
        uid: format!("uid-{number}"),
        conditions: pressure.into_iter().map(calm).chain([ready]).collect(),
        ..NodeView::default()
    }
}

/// Plans over a fleet that was judged.
pub fn decide(spec: &NodeHealthCheckSpec, nodes: &[NodeView], judgement: &Judgement, now: Timestamp) -> Plan {
    let memory = Memory { veto: None, attempts: &[], last_started: None };
    plan(&Outlook {
        policy: Policy { name: "workers", spec, remembered: &[], storm: Storm::default(), memory },
        nodes,
        judgement,
        remediations: &[],
        surroundings: &Surroundings::default(),
        hold: None,
        now,
    })
}
