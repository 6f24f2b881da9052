//! What the decision core costs: judging a fleet and planning over it, in this process, without any input or output. One
//! policy selects all nodes; of a hundred one is sick. Growth with the fleet is the same figure for more nodes.

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
    let spec = NodeHealthCheckSpec {
        min_healthy: Some("51%".into()),
        remediation_template: Some(ObjectReference {
            api_version: Some("self-node-remediation.medik8s.io/v1alpha1".to_owned()),
            kind: Some("SelfNodeRemediationTemplate".to_owned()),
            namespace: Some("palisade-system".to_owned()),
            name: Some("t".to_owned()),
            ..ObjectReference::default()
        }),
        ..NodeHealthCheckSpec::default()
    };
    for &count in &options.nodes {
        let now = Timestamp::now();
        let nodes: Vec<NodeView> = (0..count).map(|number| node(number, now)).collect();
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
        report.add(count, "judge, for each node", "µs", judged)?;
        report.add(count, "plan, for each node", "µs", planned)?;
    }
    report.print(options.json)
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

fn decide(spec: &NodeHealthCheckSpec, nodes: &[NodeView], judgement: &Judgement, now: Timestamp) -> Plan {
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
