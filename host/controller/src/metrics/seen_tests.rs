//! What watches show, in numbers; and what a process says before it has seen anything.

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::core::DeserializeGuard;
use kube::runtime::reflector;
use kube::runtime::watcher::Event;
use palisade_api::{NodeHealthCheck, Remediator, WasmRemediation};
use palisade_core::fencing::record::{AgentRecord, BootId, Claims, RECORD, Terms, Watchdog, encode};
use serde_json::{Value, json};

use super::{Metrics, Requests};
use crate::health::Observe;

fn metrics() -> Metrics {
    Metrics::new(Requests::default(), None).unwrap()
}

fn says(metrics: &Metrics, line: &str) {
    let text = metrics.text().unwrap();
    assert!(text.lines().any(|known| known == line), "no line {line:?} in\n{text}");
}

fn says_nothing_of(metrics: &Metrics, part: &str) {
    let text = metrics.text().unwrap();
    assert!(!text.contains(part), "{part:?} is in\n{text}");
}

fn policy(name: &str, spec: &Value, status: &Value) -> Event<DeserializeGuard<NodeHealthCheck>> {
    let object = json!({
        "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
        "metadata": { "name": name }, "spec": spec, "status": status,
    });
    Event::Apply(serde_json::from_value(object).unwrap())
}

fn remediation(name: &str, status: &Value) -> Event<WasmRemediation> {
    let object = json!({
        "apiVersion": "palisade.dev/v1alpha1", "kind": "WasmRemediation",
        "metadata": { "name": name, "namespace": "rem", "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "remediator": "meatware" }, "status": status,
    });
    Event::Apply(serde_json::from_value(object).unwrap())
}

#[test]
fn a_policy_shows_its_phase_why_it_is_disabled_and_that_it_cannot_be_read() {
    let metrics = metrics();
    let disabled = json!({ "phase": "Disabled", "conditions": [{
        "type": "Disabled", "status": "True", "reason": "RemediationTemplateNotFound", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }] });
    metrics.seen(&policy("workers", &json!({}), &disabled));
    says(
        &metrics,
        r#"palisade_policy_phase{phase="Disabled",policy="workers",reason="RemediationTemplateNotFound"} 1"#,
    );
    metrics.seen(&policy("workers", &json!({ "minHealthy": [] }), &json!({})));
    says(&metrics, r#"palisade_policy_phase{phase="Disabled",policy="workers",reason="Unreadable"} 1"#);
    // When it is corrected, nothing of before is left.
    metrics.seen(&policy("workers", &json!({}), &json!({ "phase": "Enabled" })));
    says(&metrics, r#"palisade_policy_phase{phase="Enabled",policy="workers",reason=""} 1"#);
    says_nothing_of(&metrics, "Disabled\"");
}

#[test]
fn remediations_show_how_far_they_are_what_they_ask_and_what_contradicts_them() {
    let metrics = metrics();
    let asks = json!({
        "conditions": [],
        "palisade": {
            "timeline": [{ "stage": "Started", "at": "2026-01-01T00:00:01Z" }],
            "questions": [{ "question": "ApproveAction", "message": "", "bootId": "b", "code": "c", "persons": 1,
                "asked": "2026-01-01T00:00:02Z", "state": "Pending" }],
        },
    });
    metrics.remediation(&remediation("n1", &asks));
    says(&metrics, r#"palisade_remediations{kind="WasmRemediation",phase="Started"} 1"#);
    says(&metrics, r#"palisade_questions_pending{question="ApproveAction"} 1"#);
    says(&metrics, r#"palisade_question_oldest_asked_timestamp_seconds{question="ApproveAction"} 1767225602"#);
    says(&metrics, r#"palisade_remediation_oldest_created_timestamp_seconds{kind="WasmRemediation"} 1767225600"#);
    says(&metrics, r#"palisade_remediations_contradicted{kind="WasmRemediation"} 0"#);
    // When it cannot be done, it is over;
    let stopped = json!({ "conditions": [{ "type": "Succeeded", "status": "False", "reason": "RemediationFailed",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }] });
    metrics.remediation(&remediation("n1", &stopped));
    says(&metrics, r#"palisade_remediations{kind="WasmRemediation",phase="Stopped"} 1"#);
    says_nothing_of(&metrics, "palisade_questions_pending{");
    says_nothing_of(&metrics, "oldest_created_timestamp_seconds{");
    // a contradiction stands out, and goes with the object.
    metrics.remediation(&remediation("n1", &json!({ "palisade": { "contradicted": ["uid"] } })));
    says(&metrics, r#"palisade_remediations_contradicted{kind="WasmRemediation"} 1"#);
    let Event::Apply(object) = remediation("n1", &json!({})) else { return };
    metrics.remediation(&Event::Delete(object));
    says(&metrics, r#"palisade_remediations_contradicted{kind="WasmRemediation"} 0"#);
    says_nothing_of(&metrics, "palisade_remediations{");
}

#[test]
fn a_remediator_shows_whether_its_component_can_be_used() {
    let metrics = metrics();
    let of = |status: Value| {
        let object = json!({ "apiVersion": "palisade.dev/v1alpha1", "kind": "Remediator",
            "metadata": { "name": "mine" }, "spec": { "source": { "builtin": "self-node" } }, "status": status });
        Event::<Remediator>::Apply(serde_json::from_value(object).unwrap())
    };
    metrics.remediator(&of(json!({})));
    says(&metrics, r#"palisade_remediator_ready{reason="",remediator="mine"} 1"#);
    metrics.remediator(&of(json!({ "conditions": [{ "type": "Ready", "status": "False", "reason": "NotSigned",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }] })));
    says(&metrics, r#"palisade_remediator_ready{reason="NotSigned",remediator="mine"} 0"#);
}

fn lease(node: &str, disarmed: bool, self_fences: bool, watchdog: bool, silent: i64) -> Lease {
    let watchdog = watchdog.then(|| Watchdog { identity: "iTCO".into(), timeout_millis: 10_000, resets: true });
    let terms = Terms {
        time_to_live_millis: 72_000,
        watchdog,
        reset_steps_millis: 3_000,
        jury: Vec::new(),
        min_peers: 1,
        claims: Claims { self_fences, may_exempt: false },
    };
    let record = AgentRecord {
        node: node.to_owned(),
        boot_id: BootId::new("b").unwrap(),
        sequence: 1,
        address: "10.0.0.1:30001".to_owned(),
        terms,
        generation: 1,
        acknowledged: None,
        disarmed,
    };
    let renewed = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(silent);
    let mut lease: Lease = serde_json::from_value(json!({ "metadata": { "name": node }, "spec": {} })).unwrap();
    lease.metadata.annotations = Some([(RECORD.to_owned(), encode(&record))].into());
    lease.spec.get_or_insert_default().renew_time = Some(MicroTime(renewed));
    lease
}

#[test]
fn agents_are_counted_by_what_their_leases_say() {
    let (store, mut writer) = reflector::store();
    let metrics = Metrics::new(Requests::default(), Some(store)).unwrap();
    let mut malformed = lease("bad", false, true, true, 0);
    malformed.metadata.annotations = Some([(RECORD.to_owned(), "{".to_owned())].into());
    let leader: Lease = serde_json::from_value(json!({ "metadata": { "name": "palisade-controller" } })).unwrap();
    for lease in [
        lease("n1", false, true, true, 0),
        lease("n2", false, true, false, 0),
        lease("n3", false, false, false, 0),
        lease("n4", true, false, false, 0),
        lease("n5", false, true, true, 86_400),
        malformed,
        // Of no agent.
        leader,
    ] {
        writer.apply_watcher_event(&Event::Apply(lease));
    }
    for state in ["watchdog", "software", "incapable", "disarmed", "silent", "malformed"] {
        says(&metrics, &format!(r#"palisade_agents{{state="{state}"}} 1"#));
    }
}

async fn ready(metrics: &Arc<Metrics>) -> (u16, String) {
    use axum::body::Body;
    use tower::ServiceExt;

    let app = crate::http::app(metrics.clone(), crate::Role::All);
    let request = axum::http::Request::builder().uri("/readyz").body(Body::empty()).unwrap();
    let answer = app.oneshot(request).await.unwrap();
    let code = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 4_096).await.unwrap();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_process_is_ready_once_it_has_seen_what_decisions_need() {
    let metrics = Arc::new(metrics());
    let (code, why) = ready(&metrics).await;
    assert_eq!((code, why.as_str()), (503, "waiting for the first list of nodes, remediators, policies"));
    metrics.node(&Event::<Node>::InitDone);
    metrics.remediator(&Event::InitDone);
    assert_eq!(ready(&metrics).await, (503, "waiting for the first list of policies".to_owned()));
    metrics.seen(&Event::InitDone);
    assert_eq!(ready(&metrics).await, (200, "ok".to_owned()));
    // Whether it leads makes no difference.
    metrics.leads(false);
    assert_eq!(ready(&metrics).await.0, 200);
}
