//! The page over a real board and the sandbox's API store. The store knows no rights, so the reviews are answered by a
//! table in front of it; what real reviews, admission and RBAC do is shown by `cargo xtask page`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::api::DynamicObject;
use kube::client::Body as KubeBody;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Client, Resource};
use palisade_api::{NodeHealthCheck, Remediator, WasmRemediation};
use palisade_sandbox::api::ApiStore;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{Board, Page};

const NAMESPACE: &str = "palisade-system";

/// Whose token may do what: `reader` looks, `alice` answers too, `patcher` may patch but not approve, `stranger` is known.
fn may(user: &str, attributes: &Value) -> bool {
    let verb = attributes["verb"].as_str().unwrap_or_default();
    match (user, verb) {
        ("reader" | "alice" | "patcher", "list") => attributes["resource"] == "nodehealthchecks",
        ("alice" | "patcher", "patch") => attributes["name"] == "n1",
        ("alice", "approve" | "deny") => attributes["resource"] == "approvals",
        _ => false,
    }
}

struct Stand {
    store: ApiStore,
    board: Arc<Board>,
    router: Router,
    reviews: Arc<AtomicUsize>,
}

impl Stand {
    fn new() -> Self {
        let store = ApiStore::default();
        for file in std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds")).unwrap() {
            store.apply_yaml(&std::fs::read_to_string(file.unwrap().path()).unwrap()).unwrap();
        }
        store
            .apply_value(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }))
            .unwrap();
        let reviews = Arc::new(AtomicUsize::new(0));
        let client = reviewing(&reviews);
        let board = Arc::new(Board::default());
        let as_user = store.client();
        let page = Page::new(board.clone(), client, Some(Arc::new(move |_| Ok(as_user.clone()))));
        Self { store, board, router: page.router(), reviews }
    }

    async fn asks(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn get(&self, path: &str, token: &str) -> (StatusCode, Value) {
        let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.asks(request.body(Body::empty()).unwrap()).await
    }

    async fn post(&self, token: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::post("/api/approvals")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        self.asks(request.body(Body::from(body.to_string())).unwrap()).await
    }

    fn nodes(&self, nodes: &[(&str, &str, &str, Value)]) {
        self.board.node(&Event::Init);
        for (name, zone, ready, labels) in nodes {
            let mut labels = labels.clone();
            labels["topology.kubernetes.io/zone"] = json!(zone);
            self.board.node(&Event::InitApply(node(name, &labels, ready)));
        }
        self.board.node(&Event::InitDone);
    }

    fn policy(&self, policy: Value) {
        let policy: DeserializeGuard<NodeHealthCheck> = serde_json::from_value(policy).unwrap();
        self.board.policy(&Event::Init);
        self.board.policy(&Event::InitApply(policy));
        self.board.policy(&Event::InitDone);
    }

    /// A remediation that asks, in the store and on the board.
    async fn asking(&self) -> Value {
        self.store
            .apply_value(&json!({
                "apiVersion": "palisade.dev/v1alpha1", "kind": "WasmRemediation",
                "metadata": { "name": "n1", "namespace": NAMESPACE }, "spec": { "remediator": "meatware" },
            }))
            .unwrap();
        let question = json!({ "question": "ApproveAction", "message": "may it?", "bootId": "b1", "code": "c0de",
            "persons": 1, "state": "Pending" });
        let status =
            json!({ "status": { "palisade": { "node": "n1", "step": 1, "owned": {}, "questions": [question] } } });
        let api: kube::Api<WasmRemediation> = kube::Api::namespaced(self.store.client(), NAMESPACE);
        let object = api
            .patch_status("n1", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&status))
            .await
            .unwrap();
        let uid = object.meta().uid.clone();
        self.board.own::<WasmRemediation>(&Event::Init, status_of);
        self.board.own(&Event::InitApply(object), status_of);
        self.board.own::<WasmRemediation>(&Event::InitDone, status_of);
        json!({ "kind": "WasmRemediation", "namespace": NAMESPACE, "name": "n1", "uid": uid, "question": "ApproveAction",
            "code": "c0de", "boot": "b1", "yes": true, "why": "called the site" })
    }

    async fn annotations(&self) -> Value {
        let api: kube::Api<WasmRemediation> = kube::Api::namespaced(self.store.client(), NAMESPACE);
        json!(api.get("n1").await.unwrap().meta().annotations.clone().unwrap_or_default())
    }
}

fn status_of(object: &WasmRemediation) -> Value {
    serde_json::to_value(&object.status).unwrap()
}

/// Reviews by table; the token is the name.
fn reviewing(reviews: &Arc<AtomicUsize>) -> Client {
    let reviews = reviews.clone();
    let service = tower::service_fn(move |request: http::Request<KubeBody>| {
        let reviews = reviews.clone();
        async move {
            reviews.fetch_add(1, Ordering::SeqCst);
            let path = request.uri().path().to_owned();
            let bytes = request.into_body().collect_bytes().await.unwrap();
            let mut review: Value = serde_json::from_slice(&bytes).unwrap();
            if path.ends_with("/tokenreviews") {
                let name = review["spec"]["token"].as_str().unwrap_or_default().to_owned();
                let known = ["reader", "alice", "patcher", "stranger"].contains(&name.as_str());
                review["status"] =
                    json!({ "authenticated": known, "user": { "username": if known { &name } else { "" } } });
            } else {
                let user = review["spec"]["user"].as_str().unwrap_or_default();
                review["status"] = json!({ "allowed": may(user, &review["spec"]["resourceAttributes"]) });
            }
            Ok::<_, std::convert::Infallible>(http::Response::new(KubeBody::from(review.to_string().into_bytes())))
        }
    });
    Client::new(service, "default")
}

fn node(name: &str, labels: &Value, ready: &str) -> Node {
    serde_json::from_value(json!({
        "metadata": { "name": name, "labels": labels },
        "status": { "conditions": [{ "type": "Ready", "status": ready, "reason": "x",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "lastHeartbeatTime": "2026-01-01T00:00:00Z" }] },
    }))
    .unwrap()
}

fn workers(tracked: &Value) -> Value {
    json!({
        "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck", "metadata": { "name": "workers" },
        "spec": { "selector": { "matchLabels": { "role": "worker" } }, "minHealthy": "51%" },
        "status": { "phase": "Remediating", "reason": "two nodes are sick", "observedNodes": 4, "healthyNodes": 2,
            "unhealthyNodes": tracked },
    })
}

#[tokio::test]
async fn without_a_token_that_is_known_nothing_is_said() {
    let stand = Stand::new();
    let request = Request::get("/api/fleet").body(Body::empty()).unwrap();
    let (status, said) = stand.asks(request).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(said["error"]["message"], "Sign in first.");
    assert_eq!(stand.reviews.load(Ordering::SeqCst), 0, "nobody to ask about");
    let (status, said) = stand.get("/api/fleet", "rubbish").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(said["error"]["message"].as_str().unwrap().contains("does not know this token"), "{said}");
}

#[tokio::test]
async fn whoever_may_not_list_policies_sees_nothing_and_is_told_which_right_it_takes() {
    let stand = Stand::new();
    for path in ["me", "fleet", "nodes/n1", "policies", "remediations", "approvals", "modules", "events"] {
        let (status, said) = stand.get(&format!("/api/{path}"), "stranger").await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        let message = said["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("stranger") && message.contains("list nodehealthchecks.remediation.medik8s.io"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_token_is_reviewed_once_in_a_while_not_at_every_look() {
    let stand = Stand::new();
    for _ in 0..5 {
        assert_eq!(stand.get("/api/fleet", "reader").await.0, StatusCode::OK);
    }
    assert_eq!(stand.reviews.load(Ordering::SeqCst), 2, "who is it, and may they look");
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(16)).await;
    stand.get("/api/fleet", "reader").await;
    assert_eq!(stand.reviews.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn every_node_is_in_its_zone_and_the_sick_ones_say_why() {
    let stand = Stand::new();
    let worker = json!({ "role": "worker" });
    stand.nodes(&[
        ("n1", "a", "Unknown", worker.clone()),
        ("n2", "a", "True", worker.clone()),
        ("n3", "b", "Unknown", worker.clone()),
        ("n4", "b", "True", json!({})),
        ("n5", "b", "False", json!({})),
    ]);
    stand.policy(workers(&json!([
        { "name": "n1", "verdict": "Unhealthy: Ready=Unknown", "blockedBy": "excluded", "blockedBecause": "remove the label" },
        { "name": "n3", "verdict": "Suspect: Ready=Unknown", "next": "it counts as unhealthy, unless it recovers" },
    ])));
    let (_, fleet) = stand.get("/api/fleet", "reader").await;
    assert_eq!((&fleet["nodes"], &fleet["ready"]), (&json!(5), &json!(2)));
    assert_eq!(fleet["zones"][0]["states"], "hw");
    assert_eq!(fleet["zones"][1]["states"], "son", "suspect, nobody's, not Ready and nobody's");
    let worst = &fleet["attention"][0];
    assert_eq!(
        (&worst["node"], &worst["blockedBy"], &worst["because"]),
        (&json!("n1"), &json!("excluded"), &json!("remove the label"))
    );
    assert_eq!(fleet["attentionTotal"], 3, "n4 is nobody's by choice: it is well");
}

#[tokio::test]
async fn a_node_is_explained_in_the_words_of_the_command_line() {
    let stand = Stand::new();
    stand.nodes(&[("n1", "a", "Unknown", json!({ "role": "worker" }))]);
    stand.policy(workers(&json!([{ "name": "n1", "verdict": "Unhealthy: Ready=Unknown", "blockedBy": "excluded",
        "blockedBecause": "remove the label" }])));
    let (_, answer) = stand.get("/api/nodes/n1", "reader").await;
    assert_eq!(answer["state"], "held");
    assert_eq!(
        answer["summary"],
        "Unhealthy: Ready=Unknown by policy workers, held back by rule excluded: remove the label"
    );
    let (_, policies) = stand.get("/api/policies", "reader").await;
    let policy = &policies["policies"][0];
    assert_eq!(policy["threshold"], "2 of 4 selected nodes are healthy, minHealthy is 51%");
    assert_eq!(policy["tracked"][0]["because"], "remove the label");
    assert_eq!(stand.get("/api/nodes/nobody", "reader").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn heartbeats_are_no_news() {
    let stand = Stand::new();
    stand.nodes(&[("n1", "a", "True", json!({}))]);
    let mut revision = stand.board.revision();
    revision.mark_unchanged();
    let mut again = node("n1", &json!({ "topology.kubernetes.io/zone": "a" }), "True");
    for condition in again.status.as_mut().unwrap().conditions.iter_mut().flatten() {
        condition.last_heartbeat_time = None;
    }
    stand.board.node(&Event::Apply(again.clone()));
    assert!(!revision.has_changed().unwrap());
    again.metadata.labels = None;
    stand.board.node(&Event::Apply(again));
    assert!(revision.has_changed().unwrap());
}

#[tokio::test]
async fn the_detectors_view_of_a_kind_gives_way_to_the_reconcilers() {
    let stand = Stand::new();
    let trimmed: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "palisade.dev/v1alpha1", "kind": "WasmRemediation",
        "metadata": { "name": "n1", "namespace": NAMESPACE, "uid": "u" }, "status": { "conditions": [] },
    }))
    .unwrap();
    stand.board.followed("WasmRemediation", &Event::Apply(trimmed));
    let (_, all) = stand.get("/api/remediations", "reader").await;
    assert_eq!(all[0]["stage"], "not taken up");
    stand.asking().await;
    let (_, all) = stand.get("/api/remediations", "reader").await;
    assert_eq!((all.as_array().unwrap().len(), &all[0]["questions"][0]["code"]), (1, &json!("c0de")));
}

#[tokio::test]
async fn an_answer_is_for_the_object_and_the_boot_that_were_shown() {
    let stand = Stand::new();
    let answer = stand.asking().await;
    let (_, asked) = stand.get("/api/approvals", "alice").await;
    assert_eq!(
        (&asked[0]["maySayYes"], &asked[0]["maySayNo"], &asked[0]["boot"]),
        (&json!(true), &json!(true), &json!("b1"))
    );
    for (field, value) in [("uid", "another"), ("boot", "b2"), ("code", "old"), ("question", "ConfirmIsolated")] {
        let mut other = answer.clone();
        other[field] = json!(value);
        let (status, said) = stand.post("alice", &other).await;
        assert!([StatusCode::CONFLICT, StatusCode::FORBIDDEN].contains(&status), "{field}: {status} {said}");
    }
    for (field, value) in [("why", " "), ("why", "two\nlines"), ("kind", "Pod"), ("question", "Else")] {
        let mut other = answer.clone();
        other[field] = json!(value);
        assert_eq!(stand.post("alice", &other).await.0, StatusCode::BAD_REQUEST, "{field}");
    }
    assert_eq!(stand.annotations().await, json!({}), "nothing was answered yet");
    let (status, said) = stand.post("alice", &answer).await;
    assert_eq!((status, &said["user"]), (StatusCode::OK, &json!("alice")));
    let expected = json!({ "approval.palisade.dev/approve": "by=alice; code=c0de; why=called the site" });
    assert_eq!(stand.annotations().await, expected);
}

#[tokio::test]
async fn an_answer_takes_the_right_to_change_the_remediation_and_the_right_to_answer() {
    let stand = Stand::new();
    let answer = stand.asking().await;
    for (user, lacks) in [
        ("reader", "patch wasmremediations.palisade.dev \"n1\" in namespace \"palisade-system\""),
        ("patcher", "approve approvals.palisade.dev in namespace \"palisade-system\""),
    ] {
        let (_, asked) = stand.get("/api/approvals", user).await;
        assert_eq!(asked[0]["maySayYes"], false);
        assert!(asked[0]["lacking"].to_string().contains(&lacks.replace('"', "\\\"")), "{asked}");
        let (status, said) = stand.post(user, &answer).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(said["error"]["message"].as_str().unwrap().contains(lacks), "{said}");
    }
    assert_eq!(stand.post("stranger", &answer).await.0, StatusCode::FORBIDDEN);
    assert_eq!(stand.annotations().await, json!({}));
}

#[tokio::test]
async fn modules_say_what_is_loaded_and_how_it_does() {
    let stand = Stand::new();
    let module: Remediator = serde_json::from_value(json!({
        "metadata": { "name": "mine" },
        "spec": { "source": { "builtin": "meatware" }, "serves": [{ "kind": "WasmRemediation" }] },
        "status": { "conditions": [], "calls": 7, "failures": 1, "p99Micros": 850, "lastError": "it trapped",
            "module": { "name": "meatware", "version": "0.1.0", "digest": "sha256:ab" } },
    }))
    .unwrap();
    stand.board.module(&Event::Apply(module));
    let (_, all) = stand.get("/api/modules", "reader").await;
    let one = &all[0];
    assert_eq!(
        (&one["source"], &one["calls"], &one["p99Micros"]),
        (&json!("builtin meatware"), &json!(7), &json!(850))
    );
    assert_eq!(
        (&one["module"]["digest"], &one["lastError"], &one["ready"]),
        (&json!("sha256:ab"), &json!("it trapped"), &json!("Unknown"))
    );
}

#[tokio::test]
async fn every_file_is_served_here_under_a_strict_policy_and_holds_nothing_from_elsewhere() {
    let stand = Stand::new();
    for path in
        ["/", "/page.css", "/icon.svg", "/main.js", "/session.js", "/dom.js", "/fleet.js", "/views.js", "/approvals.js"]
    {
        let response = stand.router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let text = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "https://", " style=\"", "onclick=\""] {
            assert!(!text.contains(word), "{path} has {word}");
        }
    }
}

#[tokio::test]
async fn changes_are_told_to_whoever_follows() {
    let stand = Stand::new();
    let request =
        Request::get("/api/events").header(header::AUTHORIZATION, "Bearer reader").body(Body::empty()).unwrap();
    let response = stand.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut body = response.into_body();
    for _ in 0..2 {
        let frame = tokio::time::timeout(std::time::Duration::from_secs(30), body.frame()).await.unwrap();
        let data = frame.unwrap().unwrap().into_data().unwrap();
        assert!(data.starts_with(b"event: changed"), "{data:?}");
        stand.nodes(&[("n1", "a", "True", json!({}))]);
    }
}
