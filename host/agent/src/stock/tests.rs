use std::convert::Infallible;

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

const LIMIT: Duration = Duration::from_millis(300);

/// An API server that gives every question this answer, or none at all.
fn api(answer: Option<(u16, Value)>) -> Remediations {
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer.clone();
        async move {
            assert_eq!(
                request.uri().path(),
                "/apis/self-node-remediation.medik8s.io/v1alpha1/namespaces/agents/selfnoderemediations"
            );
            let Some((code, body)) = answer else { std::future::pending().await };
            let response = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    Remediations::new(Client::new(service, "agents"), "agents", LIMIT)
}

fn remediations(items: &Value) -> Remediations {
    let list = json!({ "apiVersion": "self-node-remediation.medik8s.io/v1alpha1", "kind": "SelfNodeRemediationList",
        "metadata": {}, "items": items });
    api(Some((200, list)))
}

fn remediation(name: &str, more: &Value) -> Value {
    let mut metadata = json!({ "name": name, "namespace": "agents" });
    for (key, value) in more.as_object().cloned().unwrap_or_default() {
        metadata[key] = value;
    }
    json!({ "metadata": metadata, "spec": { "remediationStrategy": "Automatic" } })
}

fn owner(kind: &str, name: &str) -> Value {
    json!([{ "apiVersion": "machine.openshift.io/v1beta1", "kind": kind, "name": name, "uid": "u" }])
}

#[tokio::test]
async fn c104_no_remediation_is_healthy_and_one_for_the_node_is_not() {
    assert_eq!(remediations(&json!([])).is_healthy("n1", "").await, Health::Healthy);
    assert_eq!(remediations(&json!([remediation("n2", &json!({}))])).is_healthy("n1", "").await, Health::Healthy);
    assert_eq!(remediations(&json!([remediation("n1", &json!({}))])).is_healthy("n1", "").await, Health::Unhealthy);
    let generated = remediation("n1-x7", &json!({ "annotations": { "remediation.medik8s.io/node-name": "n1" } }));
    assert_eq!(remediations(&json!([generated])).is_healthy("n1", "").await, Health::Unhealthy);
}

#[tokio::test]
async fn c104_a_remediation_is_found_by_the_machine() {
    let of_machine =
        || remediations(&json!([remediation("m1", &json!({ "ownerReferences": owner("Machine", "m1") }))]));
    assert_eq!(of_machine().is_healthy("n1", "m1").await, Health::Unhealthy);
    assert_eq!(of_machine().is_healthy("n1", "m2").await, Health::Healthy);
    // A node that happens to be called like another's machine is not meant.
    assert_eq!(of_machine().is_healthy("m1", "m2").await, Health::Healthy);
}

#[tokio::test]
async fn c104_an_api_server_that_fails_or_hangs_is_an_api_error_within_the_limit() {
    let failure =
        json!({ "kind": "Status", "status": "Failure", "message": "no", "reason": "InternalError", "code": 500 });
    assert_eq!(api(Some((500, failure))).is_healthy("n1", "").await, Health::ApiError);
    let begun = std::time::Instant::now();
    assert_eq!(api(None).is_healthy("n1", "").await, Health::ApiError);
    assert!(begun.elapsed() >= LIMIT);
}

/// **Extra scenario: a remediation lingers in Fencing-Completed, and the API blips.** There (W16) its node is told that
/// it is unhealthy, and the boot that came after the fencing is rebooted again.
#[tokio::test]
async fn extra_a_remediation_whose_end_is_proven_ends_no_other_boot() {
    for phase in PROVEN {
        let mut done = remediation("n1", &json!({}));
        done["status"] = json!({ "phase": phase });
        assert_eq!(remediations(&json!([done])).is_healthy("n1", "").await, Health::Healthy, "{phase}");
    }
    let mut waiting = remediation("n1", &json!({}));
    waiting["status"] = json!({ "phase": "Pre-Reboot-Completed" });
    assert_eq!(remediations(&json!([waiting])).is_healthy("n1", "").await, Health::Unhealthy);
}

#[tokio::test]
async fn the_key_pair_is_read_from_the_files_of_the_secret() {
    let folder = tempfile::tempdir().unwrap();
    assert!(read(folder.path()).is_none());
    let pair = SharedPair::create().unwrap();
    for (name, text) in [("caPem", &pair.authority), ("certPem", &pair.certificate), ("keyPem", &pair.key)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    assert!(read(folder.path()).is_some());
    std::fs::write(folder.path().join("keyPem"), "nonsense").unwrap();
    assert!(read(folder.path()).is_none());
}
