//! Cases of the behaviour tables; every test names what it shows.

mod documented;
mod extensions;
mod holding;
mod judging;
mod leases;
mod planning;
mod recovery;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use palisade_api::GoDuration;
use palisade_api::keys::{cluster, remediation as keys};
use palisade_api::node_health_check::{EscalatingRemediation, NodeHealthCheckSpec, UnhealthyCondition, UnhealthyNode};

use super::*;

/// The time at which every test happens.
fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn unhealthy(type_: &str, status: &str, seconds: i64) -> UnhealthyCondition {
    UnhealthyCondition { type_: type_.to_owned(), status: status.to_owned(), duration: GoDuration::from_secs(seconds) }
}

fn condition(type_: &str, status: &str, since: Timestamp) -> NodeCondition {
    NodeCondition { type_: type_.to_owned(), status: status.to_owned(), since: Some(since) }
}

fn node(name: &str, ready: &str, seconds_ago: i64) -> NodeView {
    NodeView {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        conditions: vec![condition("Ready", ready, ago(seconds_ago))].into(),
        ..NodeView::default()
    }
}

fn ok(name: &str) -> NodeView {
    node(name, "True", 3_600)
}

fn sick(name: &str) -> NodeView {
    node(name, "Unknown", 60)
}

fn control_plane(mut node: NodeView) -> NodeView {
    node.labels.insert(cluster::CONTROL_PLANE_ROLE.to_owned(), String::new());
    node
}

fn labelled(mut node: NodeView, value: &str) -> NodeView {
    node.labels.insert(keys::EXCLUDE.to_owned(), value.to_owned());
    node
}

fn reference(kind: &str, name: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("test.example/v1".to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some("rem".to_owned()),
        name: Some(name.to_owned()),
        ..ObjectReference::default()
    }
}

/// `Ready` False or Unknown for 10 s, at least 51 % healthy, one template.
fn classic() -> NodeHealthCheckSpec {
    NodeHealthCheckSpec {
        unhealthy_conditions: vec![unhealthy("Ready", "False", 10), unhealthy("Ready", "Unknown", 10)],
        min_healthy: Some("51%".into()),
        remediation_template: Some(reference("FooTemplate", "foo")),
        ..NodeHealthCheckSpec::default()
    }
}

/// `Foo` for 60 s, then `Bar` for 5 min; written in the wrong order.
fn ladder() -> NodeHealthCheckSpec {
    let step = |kind: &str, name: &str, order, seconds| EscalatingRemediation {
        remediation_template: reference(kind, name),
        order,
        timeout: GoDuration::from_secs(seconds),
    };
    NodeHealthCheckSpec {
        remediation_template: None,
        escalating_remediations: vec![step("BarTemplate", "bar", 5, 300), step("FooTemplate", "foo", 0, 60)],
        ..classic()
    }
}

/// A running remediation of the policy, made so many seconds ago.
fn running(kind: &str, node: &str, seconds_ago: i64) -> RemediationView {
    RemediationView {
        key: ObjectKey {
            api_version: "test.example/v1".to_owned(),
            kind: kind.to_owned(),
            namespace: "rem".to_owned(),
            name: node.to_owned(),
            uid: format!("uid-{kind}-{node}"),
        },
        node: node.to_owned(),
        node_uid: Some(format!("uid-{node}")),
        template: Some(kind.to_lowercase()),
        owned: true,
        control_plane: false,
        created: ago(seconds_ago),
        terminating: false,
        succeeded: None,
        node_vanishes: false,
        timed_out: false,
        healthy_since: None,
        flagged_old: false,
    }
}

/// A policy in its surroundings.
struct Scene {
    spec: NodeHealthCheckSpec,
    nodes: Vec<NodeView>,
    remediations: Vec<RemediationView>,
    remembered: Vec<UnhealthyNode>,
    storm: Storm,
    surroundings: Surroundings,
    hold: Option<Hold>,
    veto: Option<String>,
    attempts: Vec<palisade_api::node_health_check::NodeAttempts>,
    last_started: Option<Timestamp>,
}

impl Scene {
    fn new(spec: NodeHealthCheckSpec, nodes: impl IntoIterator<Item = NodeView>) -> Self {
        let nodes = nodes.into_iter().collect();
        Self {
            spec,
            nodes,
            remediations: Vec::new(),
            remembered: Vec::new(),
            storm: Storm::default(),
            surroundings: Surroundings::default(),
            hold: None,
            veto: None,
            attempts: Vec::new(),
            last_started: None,
        }
    }

    fn with(mut self, remediation: RemediationView) -> Self {
        self.remediations.push(remediation);
        self
    }

    fn memory(&self) -> Memory<'_> {
        Memory { veto: self.veto.as_deref(), attempts: &self.attempts, last_started: self.last_started }
    }

    fn plan(&self) -> Plan {
        self.plan_at(now())
    }

    fn plan_at(&self, now: Timestamp) -> Plan {
        let mut judgement = judge(&self.nodes, &self.spec.unhealthy_conditions, now);
        if self.surroundings.spare_terminating {
            judgement.spare_terminating(&self.nodes);
        }
        plan(&Outlook {
            policy: Policy {
                name: "nhc",
                spec: &self.spec,
                remembered: &self.remembered,
                storm: self.storm,
                memory: self.memory(),
            },
            nodes: &self.nodes,
            judgement: &judgement,
            remediations: &self.remediations,
            surroundings: &self.surroundings,
            hold: self.hold.as_ref(),
            now,
        })
    }

    /// Plans, and remembers what the plan wants remembered.
    fn pass(&mut self) -> Plan {
        let plan = self.plan();
        self.remembered.clone_from(&plan.unhealthy);
        self.storm = plan.storm;
        self.attempts.clone_from(&plan.extras.attempts);
        self.last_started = plan.extras.budget.as_ref().and_then(|budget| Some(budget.last_started.as_ref()?.0));
        plan
    }
}

fn create(node: &str, step: usize) -> Action {
    Action::Create { node: node.to_owned(), step }
}

fn delete(remediation: &RemediationView, orphaned: bool) -> Action {
    Action::Delete { remediation: remediation.key.clone(), node: remediation.node.clone(), orphaned }
}

fn skipped(plan: &Plan) -> Vec<(&str, &SkipReason)> {
    plan.skips.iter().map(|skip| (skip.node.as_str(), &skip.reason)).collect()
}

/// Just after so many seconds: a time is over when it is exceeded.
#[allow(clippy::unnecessary_wraps, reason = "compared with optional durations")]
fn just_after(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds) + Duration::from_millis(1))
}

#[allow(clippy::unnecessary_wraps, reason = "compared with optional durations")]
fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}
