//! Given a cluster, what is found; and what is not, so that nothing of others is called nobody's.

use jiff::{SignedDuration, Timestamp};
use palisade_core::fencing::record::{AgentRecord, BootId, Claims, FenceIntent, LeaseView, Terms};
use serde_json::json;

use super::look::{Agent, Object, Seen};
use super::{Finding, Weight, diagnose};
use crate::explain::Remediation;

fn now() -> Timestamp {
    "2026-01-31T18:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn terms() -> Terms {
    Terms {
        time_to_live_millis: 20_000,
        watchdog: None,
        reset_steps_millis: 10_000,
        jury: vec!["n2".to_owned()],
        min_peers: 1,
        claims: Claims { self_fences: true, may_exempt: false },
    }
}

fn agent(change: impl FnOnce(&mut AgentRecord), intent: Option<FenceIntent>) -> Agent {
    let mut record = AgentRecord {
        node: "n1".to_owned(),
        boot_id: BootId::new("b1").unwrap(),
        sequence: 1,
        address: "192.0.2.1:1".to_owned(),
        terms: terms(),
        generation: 1,
        acknowledged: None,
        disarmed: false,
    };
    change(&mut record);
    Agent { node: "n1".to_owned(), renewed: Some(ago(2)), view: Ok(LeaseView { record: Some(record), intent }) }
}

/// One Ready node under one policy, with an agent that reports.
fn healthy() -> Seen {
    let node = json!({ "metadata": { "name": "n1", "labels": { "role": "worker" } },
        "spec": {}, "status": { "conditions": [{ "type": "Ready", "status": "True", "lastHeartbeatTime": null,
            "lastTransitionTime": "2026-01-01T00:00:00Z" }],
        "nodeInfo": { "architecture": "", "bootID": "b1", "containerRuntimeVersion": "", "kernelVersion": "",
            "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "operatingSystem": "", "osImage": "",
            "systemUUID": "" } } });
    let policy = json!({ "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
        "metadata": { "name": "workers" }, "spec": { "selector": { "matchLabels": { "role": "worker" } } } });
    Seen {
        now: now(),
        nodes: vec![serde_json::from_value(node).unwrap()],
        policies: Some(vec![serde_json::from_value(policy).unwrap()]),
        remediations: Some(Vec::new()),
        agents: Some(vec![agent(|_| {}, None)]),
        leader: Some(ago(3)),
        gaps: Vec::new(),
    }
}

fn remediation() -> Object {
    let said = Remediation {
        kind: "SelfNodeRemediation".into(),
        name: "n1".into(),
        node: "n1".into(),
        ..Remediation::default()
    };
    Object { said, uid: "u1".to_owned(), deleted: None, finalizers: Vec::new() }
}

fn intent() -> FenceIntent {
    FenceIntent {
        uid: "i1".to_owned(),
        boot_id: BootId::new("b1").unwrap(),
        terms: terms(),
        based_on_sequence: 1,
        owners: vec!["SelfNodeRemediation/palisade-system/n1/u1".to_owned()],
    }
}

fn tainted(mut seen: Seen, key: &str, value: &str) -> Seen {
    let taint = json!([{ "key": key, "value": value, "effect": "NoExecute" }]);
    seen.nodes[0].spec.as_mut().unwrap().taints = Some(serde_json::from_value(taint).unwrap());
    seen
}

fn found(seen: &Seen) -> Vec<Finding> {
    diagnose(seen).findings
}

fn checks(seen: &Seen) -> Vec<&'static str> {
    found(seen).into_iter().filter(|finding| finding.weight == Weight::Trouble).map(|finding| finding.check).collect()
}

#[test]
fn a_healthy_cluster_has_only_notes() {
    let all: Vec<_> = found(&healthy()).into_iter().map(|finding| (finding.check, finding.weight)).collect();
    assert_eq!(all, [("no-watchdog", Weight::Note)]);
}

#[test]
fn a_taint_is_nobodys_only_while_no_remediation_is_about_its_node() {
    let mut seen = tainted(healthy(), "palisade.dev/released", "");
    let orphan = found(&seen).into_iter().find(|finding| finding.check == "orphan-taint").unwrap();
    assert!(orphan.fix.is_some() && orphan.remedy == "kubectl taint node n1 palisade.dev/released:NoExecute-");

    seen.remediations = Some(vec![remediation()]);
    assert_eq!(checks(&seen), [""; 0]);
    seen.remediations = None;
    assert_eq!(checks(&seen), [""; 0], "what is not known is not called nobody's");
}

#[test]
fn a_taint_that_people_set_too_is_never_taken_off_here() {
    let seen = tainted(healthy(), "node.kubernetes.io/out-of-service", "nodeshutdown");
    let orphan = found(&seen).into_iter().find(|finding| finding.check == "orphan-taint").unwrap();
    assert!(orphan.fix.is_none(), "{orphan:?}");
    assert_eq!(checks(&tainted(healthy(), "example.com/mine", "")), [""; 0]);
}

#[test]
fn an_intent_is_orphan_when_the_last_of_its_remediations_is_gone() {
    let mut seen = healthy();
    seen.agents = Some(vec![agent(|_| {}, Some(intent()))]);
    assert_eq!(checks(&seen), ["orphan-intent"]);
    seen.remediations = Some(vec![remediation()]);
    assert_eq!(checks(&seen), [""; 0]);
}

#[test]
fn a_deletion_that_waits_for_long_is_told() {
    let mut seen = healthy();
    let stuck =
        Object { deleted: Some(ago(601)), finalizers: vec!["palisade.dev/remediation".into()], ..remediation() };
    seen.remediations = Some(vec![stuck.clone()]);
    assert_eq!(checks(&seen), ["stuck-deletion"]);
    seen.remediations = Some(vec![Object { deleted: Some(ago(60)), ..stuck }]);
    assert_eq!(checks(&seen), [""; 0]);
}

#[test]
fn agents_that_cannot_fence_are_told() {
    let with = |agent: Agent| {
        let mut seen = healthy();
        seen.agents = Some(vec![agent]);
        checks(&seen)
    };
    assert_eq!(with(agent(|record| record.terms.claims.self_fences = false, None)), ["not-capable"]);
    assert_eq!(with(agent(|record| record.disarmed = true, None)), ["disarmed"]);
    assert_eq!(with(agent(|record| record.boot_id = BootId::new("b0").unwrap(), None)), ["boot-differs"]);
    assert_eq!(with(Agent { renewed: Some(ago(300)), ..agent(|_| {}, None) }), ["stale-agent"]);
    assert_eq!(with(Agent { view: Err("no JSON".to_owned()), ..agent(|_| {}, None) }), ["malformed-lease"]);
}

#[test]
fn a_controller_that_does_not_act_is_told() {
    let mut seen = healthy();
    seen.leader = Some(ago(61));
    assert_eq!(checks(&seen), ["no-leader"]);
}

#[test]
fn nodes_without_a_policy_and_with_several_are_told() {
    let mut seen = healthy();
    let policies = seen.policies.as_mut().unwrap();
    let mut other = policies[0].clone();
    other.metadata.name = Some("all".to_owned());
    policies.push(other);
    assert!(found(&seen).iter().any(|finding| finding.check == "several-policies"));
    seen.policies = Some(Vec::new());
    assert!(found(&seen).iter().any(|finding| finding.check == "no-policy" && finding.what.contains("n1")));
}
