//! Given a cluster in which a drill may begin, each thing that must keep it from beginning; and what a report says of what
//! happened.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::CustomResourceExt;
use palisade_api::SelfNodeRemediation;
use palisade_core::fencing::record::{AgentRecord, BootId, Claims, LeaseView, Terms};
use serde_json::{Value, json};

use super::guard::{Allowed, judge};
use super::play::Outcome;
use super::report::{Plan, Report};
use super::scene::{Scene, Template};
use crate::doctor::look::{Agent, Object, Seen};
use crate::explain::{Remediation, Style};

fn now() -> Timestamp {
    "2026-01-31T18:00:00Z".parse().unwrap()
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn node(name: &str, labels: &Value, ready: &str) -> k8s_openapi::api::core::v1::Node {
    let mut all = json!({ "role": "worker" });
    for (key, value) in labels.as_object().unwrap() {
        all[key] = value.clone();
    }
    typed(json!({ "metadata": { "name": name, "labels": all }, "spec": {},
        "status": { "conditions": [{ "type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z" }] } }))
}

fn pod(name: &str, uid: &str, node: &str, created: i64, owner: &str) -> Pod {
    let owners = if owner.is_empty() {
        json!([])
    } else {
        json!([{ "apiVersion": "apps/v1", "kind": owner, "name": "o", "uid": format!("uid-{owner}") }])
    };
    let at = (now() + SignedDuration::from_secs(created)).to_string();
    typed(json!({ "metadata": { "name": name, "namespace": "shop", "uid": uid, "labels": { "app": "ledger" },
        "creationTimestamp": at, "ownerReferences": owners }, "spec": { "nodeName": node, "containers": [] } }))
}

fn policy(spec: &Value, status: &Value) -> palisade_api::NodeHealthCheck {
    let mut whole = json!({ "selector": { "matchLabels": { "role": "worker" } }, "minHealthy": 2 });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    typed(json!({ "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
        "metadata": { "name": "workers" }, "spec": whole, "status": status }))
}

fn agent(change: impl FnOnce(&mut AgentRecord)) -> Agent {
    let mut record = AgentRecord {
        node: "n1".to_owned(),
        boot_id: BootId::new("b1").unwrap(),
        sequence: 1,
        address: "192.0.2.1:1".to_owned(),
        terms: Terms {
            time_to_live_millis: 20_000,
            watchdog: None,
            reset_steps_millis: 10_000,
            jury: vec!["n2".to_owned()],
            min_peers: 1,
            claims: Claims { self_fences: true, may_exempt: false },
        },
        generation: 1,
        acknowledged: None,
        disarmed: false,
    };
    change(&mut record);
    let renewed = Some(now() - SignedDuration::from_secs(2));
    Agent { node: "n1".to_owned(), renewed, view: Ok(LeaseView { record: Some(record), intent: None }) }
}

/// Three workers that are well, one policy that needs two of them.
fn scene() -> Scene {
    let none = json!({});
    Scene {
        seen: Seen {
            now: now(),
            nodes: ["n1", "n2", "n3"].map(|name| node(name, &none, "True")).into(),
            policies: Some(vec![policy(&none, &none)]),
            remediations: Some(Vec::new()),
            agents: Some(vec![agent(|_| {})]),
            leader: Some(now()),
            gaps: Vec::new(),
        },
        node: "n1".to_owned(),
        pods: vec![pod("ledger-0", "p1", "n1", -600, "StatefulSet"), pod("agent-x", "p2", "n1", -600, "DaemonSet")],
        budgets: Vec::new(),
        node_lease: None,
        template: Template {
            kind: "SelfNodeRemediationTemplate".to_owned(),
            namespace: "palisade-system".to_owned(),
            name: "auto".to_owned(),
            spec: Some(json!({})),
            makes: Some(SelfNodeRemediation::api_resource()),
        },
    }
}

/// Exactly one guard refuses, with these words.
fn refuses(change: impl FnOnce(&mut Scene), words: &str) {
    let mut scene = scene();
    change(&mut scene);
    let refused = judge(&scene, Allowed::default()).refused;
    assert!(matches!(refused.as_slice(), [only] if only.contains(words)), "{words}: {refused:#?}");
}

#[test]
fn where_all_is_well_it_may_begin_and_the_plan_says_what_moves() {
    let scene = scene();
    let verdict = judge(&scene, Allowed::default());
    assert_eq!((verdict.refused.len(), verdict.notes.len()), (0, 0), "{verdict:?}");
    let plan = Plan::new(&scene, &verdict);
    assert_eq!(plan.moves, ["shop/ledger-0"]);
    assert!(plan.bound_seconds.is_some_and(|bound| (30..40).contains(&bound)), "{plan:?}");
    assert!(plan.text(Style::of_stdout()).contains("SelfNodeRemediationTemplate palisade-system/auto"));
}

#[test]
fn a_node_that_is_not_well_or_not_free_is_left_alone() {
    let none = json!({});
    refuses(|scene| scene.node = "n9".to_owned(), "there is no node n9");
    refuses(
        |scene| {
            scene.seen.nodes[0].metadata.annotations =
                Some([("palisade.dev/veto".to_owned(), "owner=ann".to_owned())].into());
        },
        "veto",
    );
    refuses(
        |scene| {
            scene.seen.nodes[0] =
                node("n1", &json!({ "remediation.medik8s.io/exclude-from-remediation": "true" }), "True");
        },
        "excluded by the label",
    );
    refuses(
        |scene| {
            let taint = json!([{ "key": "palisade.dev/released", "effect": "NoExecute" }]);
            scene.seen.nodes[0].spec.as_mut().unwrap().taints = Some(typed(taint));
        },
        "palisade.dev/released",
    );
    refuses(
        |scene| {
            scene.node_lease = Some(typed(json!({ "metadata": { "name": "node-n1" }, "spec": {
                "holderIdentity": "node-maintenance", "leaseDurationSeconds": 3600, "renewTime": "2026-01-31T17:59:00.000000Z" } })));
        },
        "node-maintenance holds the lease",
    );
    // One that is down is not well, and leaves too few besides.
    let mut down = scene();
    down.seen.nodes[0] = node("n1", &none, "Unknown");
    assert!(judge(&down, Allowed::default()).refused[0].contains("not Ready"));
}

#[test]
fn an_agent_that_could_not_end_the_node_keeps_it_from_beginning() {
    refuses(|scene| scene.seen.agents = Some(Vec::new()), "no agent reports");
    refuses(
        |scene| scene.seen.agents = Some(vec![agent(|record| record.terms.claims.self_fences = false)]),
        "cannot end it",
    );
    refuses(|scene| scene.seen.agents = Some(vec![agent(|record| record.disarmed = true)]), "cannot end it");
    let silent = |scene: &mut Scene| {
        if let Some(agents) = &mut scene.seen.agents {
            agents[0].renewed = Some(now() - SignedDuration::from_secs(120));
        }
    };
    refuses(silent, "has not renewed its lease");
    refuses(|scene| scene.seen.leader = Some(now() - SignedDuration::from_secs(120)), "no controller leads");
}

#[test]
fn whatever_else_is_under_way_comes_first() {
    let other = Object {
        said: Remediation {
            kind: "SelfNodeRemediation".into(),
            name: "n2".into(),
            node: "n2".into(),
            ..Remediation::default()
        },
        uid: "u".to_owned(),
        deleted: None,
        finalizers: Vec::new(),
    };
    refuses(|scene| scene.seen.remediations = Some(vec![other]), "one at a time");
    let none = json!({});
    let with = |spec: &Value, status: &Value| {
        let policy = policy(spec, status);
        move |scene: &mut Scene| scene.seen.policies = Some(vec![policy])
    };
    refuses(with(&none, &json!({ "unhealthyNodes": [{ "name": "n3" }] })), "has node n3 on its list");
    refuses(with(&json!({ "pauseRequests": ["ann"] }), &none), "is paused: ann");
    refuses(with(&none, &json!({ "phase": "Disabled", "reason": "no template" })), "is disabled: no template");
    refuses(with(&json!({ "minHealthy": 3 }), &none), "needs 3 healthy nodes of 3, and there would be 2");
    refuses(|scene| scene.seen.policies = Some(Vec::new()), "no policy selects the node");
    refuses(|scene| scene.template.spec = None, "does not exist");
    refuses(|scene| scene.template.makes = None, "nothing of Palisade serves");
}

#[test]
fn the_control_plane_has_to_be_meant_and_keeps_its_majority() {
    let role = json!({ "node-role.kubernetes.io/control-plane": "" });
    let of = |ready: [&str; 3]| {
        let mut scene = scene();
        scene.seen.nodes = ["n1", "n2", "n3"].iter().zip(ready).map(|(name, ready)| node(name, &role, ready)).collect();
        scene.seen.policies = Some(vec![policy(&json!({ "minHealthy": 1 }), &json!({}))]);
        scene
    };
    let meant = Allowed { control_plane: true, ..Allowed::default() };
    let refused = judge(&of(["True"; 3]), Allowed::default()).refused;
    assert!(matches!(refused.as_slice(), [only] if only.contains("--control-plane")), "{refused:?}");
    assert!(judge(&of(["True"; 3]), meant).refused.is_empty());
    let refused = judge(&of(["True", "True", "False"]), meant).refused;
    assert!(matches!(refused.as_slice(), [only] if only.contains("lose its majority")), "{refused:?}");
}

#[test]
fn what_a_budget_protects_is_not_disrupted_unless_that_is_meant() {
    let mut scene = scene();
    scene.budgets.push(typed(json!({ "metadata": { "name": "ledger", "namespace": "shop" },
        "spec": { "selector": { "matchLabels": { "app": "ledger" } } },
        "status": { "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1 } })));
    let refused = judge(&scene, Allowed::default()).refused;
    assert!(matches!(refused.as_slice(), [only] if only.contains("shop/ledger-0")), "{refused:?}");
    let meant = judge(&scene, Allowed { despite_budgets: true, ..Allowed::default() });
    assert!(meant.refused.is_empty() && meant.notes.len() == 1, "{meant:?}");
}

/// A remediation that did all it should, and a node that came back.
fn outcome() -> Outcome {
    let at = |second: i64| (now() + SignedDuration::from_secs(second)).to_string();
    let stage = |stage: &str, second| json!({ "stage": stage, "at": at(second) });
    let status = json!({ "palisade": { "node": "n1", "step": 5,
        "timeline": [stage("Started", 1), stage("Intended", 2), stage("Proven", 6), stage("Released", 8)],
        "certificate": { "proof": "AgentAcknowledged", "grade": "Certain", "node": "n1", "bootId": "b1", "observer": "c",
            "provenAt": at(6) } } });
    let metadata = typed(json!({ "name": "drill-n1-x", "namespace": "palisade-system", "creationTimestamp": at(0) }));
    Outcome {
        began: now(),
        ended: now() + SignedDuration::from_secs(30),
        last: Remediation::new("SelfNodeRemediation", &metadata, status),
        boots: ("b1".to_owned(), "b2".to_owned()),
        back: Some(now() + SignedDuration::from_secs(25)),
        pods: vec![pod("ledger-0", "p9", "n2", 9, "StatefulSet")],
        problems: Vec::new(),
    }
}

#[test]
fn a_report_holds_times_against_the_bound_and_says_where_the_pods_went() {
    let report = Report::new(&scene(), "ann", &outcome());
    assert!(report.passed(), "{:#?}", report.problems);
    assert_eq!((report.proof_seconds, report.release_seconds, report.back_seconds), (Some(4), Some(8), Some(25)));
    assert_eq!(report.pods[0].now, ["shop/ledger-0 on n2"]);
    let text = report.text(Style::of_stdout());
    assert!(text.contains("drill of node n1: passed") && text.contains("Released"), "{text}");
    assert!(serde_json::to_value(&report).unwrap()["remediation"]["certificate"].is_object());
}

#[test]
fn what_was_not_as_it_should_be_fails_the_drill() {
    let problems = |change: &dyn Fn(&mut Outcome)| {
        let mut outcome = outcome();
        change(&mut outcome);
        Report::new(&scene(), "ann", &outcome).problems.join("; ")
    };
    assert!(problems(&|outcome| outcome.problems.push("it was interrupted".to_owned())).contains("interrupted"));
    assert!(problems(&|outcome| outcome.back = None).contains("another boot"));
    assert!(problems(&|outcome| outcome.pods.clear()).contains("nothing took the place of pod shop/ledger-0"));
    let late = |outcome: &mut Outcome| {
        if let Some(progress) = &mut outcome.last.progress {
            progress.timeline[2].at.0 = now() + SignedDuration::from_secs(600);
        }
    };
    assert!(problems(&late).contains("longer than the bound"));
    let unproven = |outcome: &mut Outcome| {
        if let Some(progress) = &mut outcome.last.progress {
            progress.certificate = None;
        }
    };
    assert!(problems(&unproven).contains("no certificate"));
}
