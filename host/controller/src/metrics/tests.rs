//! A node's story in numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use palisade_api::NodeHealthCheck;
use palisade_api::node_health_check::{NodeHealthCheckSpec, NodeHealthCheckStatus, Remediation, UnhealthyNode};
use palisade_core::health::{Action, Judgement, ObjectKey, Plan, Skip, SkipReason, Verdict};

use super::{Metrics, Requests};
use crate::health::Observe;

fn policy() -> NodeHealthCheck {
    NodeHealthCheck::new("workers", NodeHealthCheckSpec::default())
}

fn judged(node: &str, verdict: Verdict) -> Judgement {
    Judgement { verdicts: BTreeMap::from([(node.to_owned(), verdict)]), ..Judgement::default() }
}

fn sick(seconds: u64) -> Verdict {
    let lasted = Duration::from_secs(seconds);
    Verdict::Matching { type_: "Ready".to_owned(), status: "Unknown".to_owned(), lasted }
}

fn soon() -> Verdict {
    let again_in = Duration::from_secs(1);
    Verdict::SoonMatching { type_: "Ready".to_owned(), status: "Unknown".to_owned(), again_in }
}

/// A status in which the node has a remediation that started so long ago.
fn treated(node: &str, seconds_ago: i64) -> NodeHealthCheckStatus {
    let started = Timestamp::now() - SignedDuration::from_secs(seconds_ago);
    let resource = ObjectReference {
        kind: Some("Foo".to_owned()),
        namespace: Some("rem".to_owned()),
        ..ObjectReference::default()
    };
    let remediation = Remediation { resource, started: Time(started), timed_out: None, template_name: None };
    let node = UnhealthyNode { name: node.to_owned(), remediations: vec![remediation], ..UnhealthyNode::default() };
    NodeHealthCheckStatus { unhealthy_nodes: vec![node], ..NodeHealthCheckStatus::default() }
}

fn says(metrics: &Metrics, line: &str) {
    let text = metrics.text().unwrap();
    assert!(text.lines().any(|known| known == line), "no line {line:?} in\n{text}");
}

fn says_nothing_of(metrics: &Metrics, part: &str) {
    let text = metrics.text().unwrap();
    assert!(!text.contains(part), "{part:?} is in\n{text}");
}

#[test]
fn a_remediation_is_counted_from_its_beginning_to_its_end_and_goes_with_the_node() {
    let metrics = Metrics::new(Requests::default(), None).unwrap();
    let healthy = NodeHealthCheckStatus::default();
    metrics.passed(&policy(), &healthy, &Plan::default(), &judged("n1", soon()));
    // Given a node that gets a remediation,
    metrics.passed(&policy(), &treated("n1", 0), &Plan::default(), &judged("n1", sick(40)));
    let ongoing = r#"nodehealthcheck_ongoing_remediation{name="n1",namespace="rem",remediation="Foo"}"#;
    says(&metrics, &format!("{ongoing} 1"));
    says(&metrics, r#"palisade_remediations_created_total{policy="workers",remediation="Foo"} 1"#);
    says(&metrics, r#"palisade_time_to_detect_seconds_sum{policy="workers"} 40"#);
    says(&metrics, r#"palisade_budget_used{policy="workers"} 1"#);
    // when its conditions are healthy and later the remediation is gone,
    metrics.passed(&policy(), &treated("n1", 50), &Plan::default(), &judged("n1", Verdict::NotMatching));
    says(&metrics, r#"palisade_time_to_recover_seconds_count{policy="workers"} 1"#);
    metrics.passed(&policy(), &healthy, &Plan::default(), &judged("n1", Verdict::NotMatching));
    // then the gauge is back at 0, the time is in the histogram, and nobody healed by himself.
    says(&metrics, &format!("{ongoing} 0"));
    let lasted = "nodehealthcheck_unhealthy_node_duration_seconds";
    says(&metrics, &format!(r#"{lasted}_bucket{{name="n1",namespace="rem",remediation="Foo",le="30"}} 0"#));
    says(&metrics, &format!(r#"{lasted}_bucket{{name="n1",namespace="rem",remediation="Foo",le="60"}} 1"#));
    says(&metrics, r#"palisade_time_to_recover_seconds_count{policy="workers"} 1"#);
    says(&metrics, r#"palisade_healed_before_action_total{policy="workers"} 0"#);
    // When the node is gone, nothing names it any more.
    metrics.nodes(&|node| node != "n1");
    says_nothing_of(&metrics, "n1");
}

#[test]
fn who_recovers_before_anything_was_done_is_counted() {
    let metrics = Metrics::new(Requests::default(), None).unwrap();
    let status = NodeHealthCheckStatus::default();
    for verdict in [soon(), Verdict::NotMatching, sick(10), sick(11), Verdict::NotMatching, Verdict::NotMatching] {
        metrics.passed(&policy(), &status, &Plan::default(), &judged("n1", verdict));
    }
    says(&metrics, r#"palisade_healed_before_action_total{policy="workers"} 2"#);
}

#[test]
fn blocked_nodes_are_counted_by_reason_and_a_reason_that_is_over_is_zero() {
    let metrics = Metrics::new(Requests::default(), None).unwrap();
    let status = NodeHealthCheckStatus::default();
    let skip = |node: &str| Skip { node: node.to_owned(), reason: SkipReason::Excluded };
    let plan = Plan { skips: vec![skip("n1"), skip("n2")], ..Plan::default() };
    metrics.passed(&policy(), &status, &plan, &judged("n1", sick(10)));
    says(&metrics, r#"palisade_nodes_blocked{policy="workers",reason="excluded"} 2"#);
    metrics.passed(&policy(), &status, &Plan::default(), &judged("n1", sick(10)));
    says(&metrics, r#"palisade_nodes_blocked{policy="workers",reason="excluded"} 0"#);
    metrics.forgotten("workers");
    says_nothing_of(&metrics, "workers");
}

#[test]
fn a_restart_counts_the_end_of_what_it_finds_but_not_its_beginning() {
    let metrics = Metrics::new(Requests::default(), None).unwrap();
    let mut policy = policy();
    policy.status = Some(treated("n1", 400));
    metrics.passed(&policy, &treated("n1", 400), &Plan::default(), &judged("n1", sick(500)));
    says_nothing_of(&metrics, "palisade_remediations_created_total{");
    metrics.passed(&policy, &NodeHealthCheckStatus::default(), &Plan::default(), &judged("n1", Verdict::NotMatching));
    let count =
        r#"nodehealthcheck_unhealthy_node_duration_seconds_count{name="n1",namespace="rem",remediation="Foo"} 1"#;
    says(&metrics, count);
}

#[test]
fn who_does_not_lead_any_more_shows_nothing_that_only_the_leader_knows() {
    // Given a leader that knows of a remediation and of a node that is held back,
    let metrics = Metrics::new(Requests::default(), None).unwrap();
    metrics.leads(true);
    let skips = vec![Skip { node: "n2".to_owned(), reason: SkipReason::Excluded }];
    metrics.passed(
        &policy(),
        &treated("n1", 0),
        &Plan { skips, observed: 3, ..Plan::default() },
        &judged("n1", sick(40)),
    );
    says(&metrics, r#"palisade_nodes_observed{policy="workers"} 3"#);
    // when another one takes over,
    metrics.leads(false);
    // then its gauges do not go on saying so beside those of the new leader, and what it counted stays;
    says(&metrics, "palisade_leader 0");
    for gauge in ["nodes_blocked{", "nodes_observed{", "remediations_in_progress{", "ongoing_remediation{"] {
        says_nothing_of(&metrics, gauge);
    }
    says(&metrics, r#"palisade_remediations_created_total{policy="workers",remediation="Foo"} 1"#);
    // when it leads again, what it finds is not counted as new.
    metrics.leads(true);
    let mut policy = policy();
    policy.status = Some(treated("n1", 60));
    metrics.passed(&policy, &treated("n1", 60), &Plan::default(), &judged("n1", sick(100)));
    says(&metrics, r#"palisade_remediations_created_total{policy="workers",remediation="Foo"} 1"#);
    says(&metrics, r#"nodehealthcheck_ongoing_remediation{name="n1",namespace="rem",remediation="Foo"} 1"#);
}

#[test]
fn an_old_remediation_is_counted_under_its_node() {
    let metrics = Metrics::new(Requests::default(), None).unwrap();
    let flag = Action::FlagOld { remediation: ObjectKey::default(), node: "n1".to_owned() };
    metrics.applied(&policy(), &flag);
    says(&metrics, r#"nodehealthcheck_old_remediation_cr{name="n1",namespace=""} 1"#);
    metrics.nodes(&|_| false);
    says_nothing_of(&metrics, "n1");
}
