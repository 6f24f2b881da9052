use serde_json::{Value, json};

use super::*;
use crate::Style;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn node(name: &str, ready: &str) -> Node {
    let conditions = json!([{ "type": "Ready", "status": ready, "reason": "NodeStatusUnknown",
        "lastTransitionTime": "1970-01-01T00:16:00Z" }]);
    serde_json::from_value(json!({
        "metadata": { "name": name, "labels": { "role": "worker" } }, "status": { "conditions": conditions },
    }))
    .unwrap()
}

fn policy(phase: &str, reason: &str, tracked: &Value, conditions: &Value) -> NodeHealthCheck {
    serde_json::from_value(json!({
        "metadata": { "name": "workers" },
        "spec": { "selector": { "matchLabels": { "role": "worker" } }, "minHealthy": "51%" },
        "status": { "phase": phase, "reason": reason, "observedNodes": 4, "healthyNodes": 2,
            "unhealthyNodes": tracked, "conditions": conditions },
    }))
    .unwrap()
}

fn remediation(status: Value) -> Remediation {
    let metadata = serde_json::from_value(json!({ "name": "n1", "namespace": "palisade-system",
        "creationTimestamp": "1970-01-01T00:16:10Z" }))
    .unwrap();
    Remediation::new("SelfNodeRemediation", &metadata, status)
}

fn snapshot(policies: Vec<NodeHealthCheck>, remediations: Vec<Remediation>) -> Snapshot {
    Snapshot { now: at(1_000), nodes: vec![node("n1", "Unknown")], policies, remediations, gaps: Vec::new() }
}

fn blocked(rule: &str, because: Option<&str>) -> Value {
    json!([{ "name": "n1", "verdict": "Unhealthy: Ready=Unknown", "since": "1970-01-01T00:16:00Z", "blockedBy": rule,
        "blockedBecause": because, "next": "a remediation, when nothing blocks any more",
        "nextAt": "1970-01-01T00:17:00Z" }])
}

#[test]
fn the_rule_and_its_reason_are_those_of_the_status() {
    for (rule, because) in [
        ("excluded", "the node is labelled; remove the label"),
        ("lease", "maintenance holds the lease of this node; the node is taken over when it is released or expires"),
        ("noTemplateLeft", "every template was tried"),
        ("terminating", "the remediation is being deleted"),
        ("foreignRemediation", "somebody else made one"),
        ("controlPlane", "n9 is being remediated"),
        ("veto", "ann vetoed it until noon"),
        ("budget", "1 of 1 remediations run"),
        ("etcd", "a member less would lose the quorum"),
    ] {
        let all = snapshot(vec![policy("Enabled", "x", &blocked(rule, Some(because)), &json!([]))], vec![]);
        let answer = of(&all, "n1").unwrap();
        assert_eq!(answer.state, State::Held);
        assert_eq!(answer.policies[0].blocked_by.as_deref(), Some(rule));
        assert_eq!(answer.policies[0].because.as_deref(), Some(because));
        assert!(answer.summary.contains(&format!("rule {rule}: {because}")), "{}", answer.summary);
        let text = answer.text(Style::plain());
        assert!(text.contains("in 20 s (1970-01-01 00:17:00Z)") && !text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn a_rule_that_stops_the_whole_policy_says_why_there() {
    let storm = json!([{ "type": "StormActive", "status": "True", "reason": "HealthyNodeThresholdChange",
        "message": "2 of 4", "lastTransitionTime": "1970-01-01T00:16:00Z" }]);
    for (phase, reason, rule, conditions, because) in [
        ("Paused", "paused by pauseRequests: upgrade", "paused", json!([]), "paused by pauseRequests: upgrade"),
        (
            "Enabled",
            "node n1 is not remediated",
            "threshold",
            json!([]),
            "2 of 4 selected nodes are healthy, minHealthy is 51%",
        ),
        ("Enabled", "", "storm", storm, "StormActive: 2 of 4 (HealthyNodeThresholdChange)"),
        (
            "Disabled",
            "RemediationTemplateNotFound: no foo",
            "disabled",
            json!([]),
            "RemediationTemplateNotFound: no foo",
        ),
    ] {
        let all = snapshot(vec![policy(phase, reason, &blocked(rule, None), &conditions)], vec![]);
        let answer = of(&all, "n1").unwrap();
        assert_eq!(answer.policies[0].because.as_deref(), Some(because), "{rule}");
        assert_eq!(answer.state, State::Held);
    }
}

#[test]
fn a_remediation_without_proof_names_the_missing_juror() {
    let status = json!({ "palisade": { "node": "n1", "timeline": [{ "stage": "Intended", "at": "1970-01-01T00:16:20Z" }],
        "fencing": { "waitingFor": "promises of n2 and n3; 1 of 2 has promised", "promised": ["n4"],
            "deadline": "1970-01-01T00:18:00Z" } } });
    let tracked = json!([{ "name": "n1", "verdict": "Unhealthy: Ready=Unknown" }]);
    let all = snapshot(vec![policy("Remediating", "1 of 4", &tracked, &json!([]))], vec![remediation(status)]);
    let answer = of(&all, "n1").unwrap();
    assert_eq!(answer.state, State::Busy);
    assert!(answer.summary.contains("stage Intended: promises of n2 and n3"), "{}", answer.summary);
    let text = answer.text(Style::plain());
    assert!(text.contains("at latest    in 80 s") && text.contains("promised     n4"), "{text}");
}

#[test]
fn a_proof_is_shown_and_what_was_missing_is_not() {
    let certificate = json!({ "proof": "LeaseExpired", "grade": "Certain", "node": "n1", "bootId": "b1", "observer": "c",
        "provenAt": "1970-01-01T00:16:30Z", "explanation": "its time was over" });
    let status = json!({ "palisade": { "node": "n1", "certificate": certificate,
        "fencing": { "waitingFor": "promises" }, "timeline": [{ "stage": "Proven", "at": "1970-01-01T00:16:30Z" }] } });
    let answer = of(&snapshot(vec![], vec![remediation(status.clone())]), "n1").unwrap();
    assert!(answer.summary.contains("proven to have ended (LeaseExpired, Certain)"), "{}", answer.summary);
    assert!(answer.remediations[0].waiting_for.is_none());
    let mut contradicted = status;
    contradicted["palisade"]["contradicted"] = json!(["i1"]);
    let answer = of(&snapshot(vec![], vec![remediation(contradicted)]), "n1").unwrap();
    assert_eq!(answer.state, State::Held);
    assert!(answer.summary.contains("contradicted"), "{}", answer.summary);
}

#[test]
fn a_failed_or_disabled_remediation_needs_somebody() {
    for (kind, status) in [("Disabled", "True"), ("Succeeded", "False")] {
        let conditions =
            json!([{ "type": kind, "status": status, "reason": "ConfigurationNotFound", "message": "create it" }]);
        let answer = of(&snapshot(vec![], vec![remediation(json!({ "conditions": conditions }))]), "n1").unwrap();
        assert_eq!(answer.state, State::Held);
        assert!(answer.summary.contains("ConfigurationNotFound: create it"), "{}", answer.summary);
    }
}

#[test]
fn nodes_that_nobody_looks_after_are_named() {
    let mut all = snapshot(vec![policy("Enabled", "", &json!([]), &json!([]))], vec![]);
    all.nodes = vec![node("n1", "True"), node("stranger", "True")];
    all.nodes[1].metadata.labels = None;
    assert_eq!(of(&all, "n1").unwrap().state, State::Well);
    let stranger = of(&all, "stranger").unwrap();
    assert_eq!(stranger.state, State::Held);
    assert!(stranger.summary.contains("no NodeHealthCheck selects it"));
    let error = of(&all, "n2").unwrap_err().to_string();
    assert!(error.contains("\"n2\"") && error.contains("n1, stranger"), "{error}");
}

#[test]
fn a_policy_that_other_operators_wrote_is_read_as_far_as_it_goes() {
    let tracked = json!([{ "name": "n1", "remediations": [] }]);
    let answer = of(&snapshot(vec![policy("Enabled", "", &tracked, &json!([]))], vec![]), "n1").unwrap();
    assert_eq!(answer.policies[0].verdict, "Unhealthy");
    assert_eq!(answer.state, State::Busy);
}

#[test]
fn names_that_begin_alike_are_told_apart() {
    assert!(mentions("would remediate node n1 with Foo.", "n1"));
    assert!(!mentions("would remediate node n11 with Foo", "n1"));
    assert!(!mentions("would remediate node n1.example.org", "n1"));
}

#[test]
fn escapes_in_messages_are_shown_and_not_obeyed() {
    let all = snapshot(vec![policy("Enabled", "", &blocked("veto", Some("\u{1b}[2Jgone")), &json!([]))], vec![]);
    assert!(!of(&all, "n1").unwrap().text(Style::plain()).contains('\u{1b}'));
}

#[test]
fn a_remediation_that_asks_people_waits_for_them() {
    let one = remediation(json!({ "palisade": { "node": "n1", "step": 1, "owned": {}, "questions": [
        { "question": "ApproveAction", "message": "may it?", "bootId": "b1", "code": "c", "persons": 1, "state": "Pending" },
    ] } }));
    let all = snapshot(vec![], vec![one]);
    let answer = of(&all, "n1").unwrap();
    assert_eq!(answer.remediations[0].waiting_for.as_deref(), Some("somebody to answer ApproveAction"));
    assert!(answer.summary.ends_with("somebody to answer ApproveAction"), "{}", answer.summary);
    assert_eq!(answer.state, State::Held, "somebody has to look: nothing goes on by itself");
    assert_eq!(crate::overview::of(&all).state, State::Held);
}

#[test]
fn a_node_that_is_not_unhealthy_for_long_enough_is_suspect_before_any_status_says_so() {
    // Ready is Unknown since second 960; the default duration is five minutes.
    let all = snapshot(vec![policy("Enabled", "x", &json!([]), &json!([]))], vec![]);
    let answer = of(&all, "n1").unwrap();
    let policy = &answer.policies[0];
    assert_eq!((answer.state, policy.verdict.as_str()), (State::Busy, "Suspect: Ready=Unknown"));
    assert_eq!((policy.since, policy.next_at.map(Timestamp::as_second)), (Some(at(960)), Some(1_260)));
    assert!(answer.summary.contains("it counts as unhealthy, unless it recovers"), "{}", answer.summary);

    let later = Snapshot { now: at(1_300), ..all };
    let answer = of(&later, "n1").unwrap();
    assert_eq!(answer.policies[0].verdict, "Unhealthy: Ready=Unknown");
    assert!(answer.summary.contains("the controller has not said anything about it yet"), "{}", answer.summary);
}
