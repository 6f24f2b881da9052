//! Objects through a `kube::Client`: versions, conflicts, status, finalizers, deletion, owners.

// Helpers of tests may panic like the tests that call them.
#![allow(clippy::expect_used, clippy::panic)]

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Error, ResourceExt};
use palisade_sandbox::api::{ApiStore, Settings, Writes};
use serde_json::{Value, json};

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a well-formed object")
}

fn pod(name: &str, node: Option<&str>) -> Pod {
    from(json!({
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "i"}]},
    }))
}

fn config(name: &str) -> ConfigMap {
    from(json!({"metadata": {"name": name}, "data": {"k": "v"}}))
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> (u16, String) {
    match result.expect_err("the server refuses") {
        Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("not an answer of the server: {other}"),
    }
}

#[tokio::test]
async fn a_new_object_gets_identity_and_every_write_a_new_version() {
    let api: Api<ConfigMap> = Api::namespaced(ApiStore::default().client(), "default");

    let made = api.create(&PostParams::default(), &config("a")).await.expect("created");
    assert!(made.uid().is_some() && made.creation_timestamp().is_some());

    let mut changed = made.clone();
    changed.data.get_or_insert_default().insert("k".into(), "w".into());
    let changed = api.replace("a", &PostParams::default(), &changed).await.expect("replaced");
    assert_ne!(changed.resource_version(), made.resource_version());

    let same = api.replace("a", &PostParams::default(), &changed).await.expect("replaced with itself");
    assert_eq!(same.resource_version(), changed.resource_version(), "a write that changes nothing is none");
    assert_eq!(code(api.create(&PostParams::default(), &config("a")).await).0, 409);
}

#[tokio::test]
async fn names_can_be_generated_and_bad_ones_are_refused_with_the_field_named() {
    let api: Api<ConfigMap> = Api::namespaced(ApiStore::default().client(), "default");
    let generated: ConfigMap = from(json!({"metadata": {"generateName": "run-"}}));

    let made = api.create(&PostParams::default(), &generated).await.expect("created");
    assert!(made.name_any().starts_with("run-") && made.name_any().len() == 9);

    let (code_, message) = code(api.create(&PostParams::default(), &config("Bad_Name")).await);
    assert_eq!(code_, 422);
    assert!(message.starts_with("ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value"), "{message}");

    let elsewhere: Api<ConfigMap> = Api::namespaced(ApiStore::default().client(), "nowhere");
    let refused = code(elsewhere.create(&PostParams::default(), &config("a")).await);
    assert_eq!(refused, (404, "namespaces \"nowhere\" not found".to_owned()));
}

#[tokio::test]
async fn of_two_writers_with_the_same_version_one_gets_a_conflict() {
    let api: Api<Lease> = Api::namespaced(ApiStore::default().client(), "default");
    let lease: Lease = from(json!({"metadata": {"name": "node-1"}, "spec": {"holderIdentity": "node-1"}}));
    let seen = api.create(&PostParams::default(), &lease).await.expect("created");
    let version = seen.resource_version().expect("versioned");
    let renew = |holder: &str| {
        Patch::Merge(json!({"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": holder}}))
    };

    api.patch("node-1", &PatchParams::default(), &renew("first")).await.expect("the first one writes");
    let (code_, message) = code(api.patch("node-1", &PatchParams::default(), &renew("second")).await);

    assert_eq!(code_, 409);
    assert_eq!(
        message,
        "Operation cannot be fulfilled on leases.coordination.k8s.io \"node-1\": the object has been modified; \
         please apply your changes to the latest version and try again"
    );
    let stale = code(api.replace("node-1", &PostParams::default(), &seen).await);
    assert_eq!(stale.0, 409);
    let blind: Lease = from(json!({"metadata": {"name": "node-1"}, "spec": {}}));
    let (code_, message) = code(api.replace("node-1", &PostParams::default(), &blind).await);
    assert!(code_ == 422 && message.contains("must be specified for an update"), "{code_} {message}");
}

#[tokio::test]
async fn a_put_makes_a_lease_unless_it_means_one_that_is_gone() {
    let api: Api<Lease> = Api::namespaced(ApiStore::default().client(), "default");
    let lease: Lease = from(json!({"metadata": {"name": "n"}, "spec": {}}));
    let made = api.replace("n", &PostParams::default(), &lease).await.expect("created by PUT");
    api.delete("n", &DeleteParams::default()).await.expect("deleted");

    let (code_, message) = code(api.replace("n", &PostParams::default(), &made).await);
    assert!(code_ == 409 && message.contains("Precondition failed: UID in precondition"), "{message}");
}

#[tokio::test]
async fn a_lease_must_last() {
    let api: Api<Lease> = Api::namespaced(ApiStore::default().client(), "default");
    let lease: Lease = from(json!({"metadata": {"name": "n"}, "spec": {"leaseDurationSeconds": 0}}));
    let (code_, message) = code(api.create(&PostParams::default(), &lease).await);
    assert_eq!(code_, 422);
    assert!(message.contains("spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"), "{message}");
}

#[tokio::test]
async fn a_json_patch_tests_before_it_changes() {
    let api: Api<Node> = Api::all(ApiStore::default().client());
    let node: Node = from(json!({
        "metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]},
    }));
    api.create(&PostParams::default(), &node).await.expect("created");
    let patch = |key: &str| -> Patch<()> {
        Patch::Json(from(json!([
            {"op": "test", "path": "/spec/taints/0/key", "value": key},
            {"op": "remove", "path": "/spec/taints/0"},
        ])))
    };

    let (code_, _) = code(api.patch("n", &PatchParams::default(), &patch("other")).await);
    assert_eq!(code_, 422);
    let node = api.patch("n", &PatchParams::default(), &patch("a")).await.expect("patched");
    assert!(node.spec.and_then(|s| s.taints).is_none_or(|t| t.is_empty()));
}

#[tokio::test]
async fn status_has_its_own_endpoint_and_the_object_keeps_its_own() {
    let api: Api<Pod> = Api::namespaced(ApiStore::default().client(), "default");
    let made = api.create(&PostParams::default(), &pod("web-0", Some("n"))).await.expect("created");
    assert_eq!(made.status.and_then(|s| s.phase).as_deref(), Some("Pending"));

    let both = Patch::Merge(json!({"status": {"phase": "Running"}, "metadata": {"labels": {"x": "y"}}}));
    let through_object = api.patch("web-0", &PatchParams::default(), &both).await.expect("patched");
    assert_eq!(through_object.status.and_then(|s| s.phase).as_deref(), Some("Pending"));
    assert_eq!(through_object.metadata.generation, Some(1));

    let running = Patch::Merge(json!({"status": {"phase": "Running"}, "spec": {"nodeName": "other"}}));
    let through_status = api.patch_status("web-0", &PatchParams::default(), &running).await.expect("patched");
    assert_eq!(through_status.status.and_then(|s| s.phase).as_deref(), Some("Running"));
    assert_eq!(through_status.spec.and_then(|s| s.node_name).as_deref(), Some("n"));

    let conditions = Patch::Strategic(json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}));
    api.patch_status("web-0", &PatchParams::default(), &conditions).await.expect("patched");
    let more = Patch::Strategic(json!({"status": {"conditions": [{"type": "Other", "status": "True"}]}}));
    let two = api.patch_status("web-0", &PatchParams::default(), &more).await.expect("patched");
    assert_eq!(two.status.and_then(|s| s.conditions).map_or(0, |c| c.len()), 2, "conditions merge by type");
}

#[tokio::test]
async fn the_spec_of_a_pod_stays_except_what_may_change() {
    let api: Api<Pod> = Api::namespaced(ApiStore::default().client(), "default");
    api.create(&PostParams::default(), &pod("web-0", None)).await.expect("created");
    let (code_, message) =
        code(api.patch("web-0", &PatchParams::default(), &Patch::Merge(json!({"spec": {"nodeName": "n"}}))).await);
    assert!(code_ == 422 && message.contains("spec: Forbidden: pod updates may not change"), "{message}");
}

#[tokio::test]
async fn a_finalizer_keeps_a_deleted_object_until_it_is_taken_off() {
    let api: Api<ConfigMap> = Api::namespaced(ApiStore::default().client(), "default");
    let mut held = config("a");
    held.metadata.finalizers = Some(vec!["palisade.dev/hold".into()]);
    api.create(&PostParams::default(), &held).await.expect("created");

    let answer = api.delete("a", &DeleteParams::default()).await.expect("accepted");
    let marked = answer.left().expect("the object, because it is still there");
    assert!(marked.metadata.deletion_timestamp.is_some());
    let add = Patch::Merge(json!({"metadata": {"finalizers": ["palisade.dev/hold", "late/comer"]}}));
    assert_eq!(code(api.patch("a", &PatchParams::default(), &add).await).0, 422);

    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("a", &PatchParams::default(), &release).await.expect("patched");
    assert_eq!(code(api.get("a").await).0, 404);
}

#[tokio::test]
async fn deletion_takes_preconditions() {
    let api: Api<ConfigMap> = Api::namespaced(ApiStore::default().client(), "default");
    let made = api.create(&PostParams::default(), &config("a")).await.expect("created");
    let wanting = |uid: Option<String>, version: Option<String>| DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version: version }),
        ..DeleteParams::default()
    };

    assert_eq!(code(api.delete("a", &wanting(Some("other".into()), None)).await).0, 409);
    assert_eq!(code(api.delete("a", &wanting(None, Some("1".into()))).await).0, 409);
    let gone = api.delete("a", &wanting(made.uid(), made.resource_version())).await.expect("deleted");
    assert!(gone.right().is_some_and(|status| status.is_success()));
}

#[tokio::test]
async fn a_bound_pod_waits_for_its_kubelet_and_an_unbound_one_does_not() {
    let api: Api<Pod> = Api::namespaced(ApiStore::default().client(), "default");
    api.create(&PostParams::default(), &pod("bound", Some("n"))).await.expect("created");
    api.create(&PostParams::default(), &pod("free", None)).await.expect("created");

    api.delete("free", &DeleteParams::default()).await.expect("deleted");
    assert_eq!(code(api.get("free").await).0, 404);

    api.delete("bound", &DeleteParams::default()).await.expect("marked");
    let marked = api.get("bound").await.expect("still there");
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(30));
    let selected = ListParams::default().fields("spec.nodeName=n").labels("app in (web)");
    assert_eq!(api.list(&selected).await.expect("listed").items.len(), 1);

    api.delete("bound", &DeleteParams::default().grace_period(0)).await.expect("forced");
    assert_eq!(code(api.get("bound").await).0, 404);
}

#[tokio::test]
async fn dependents_go_with_their_last_owner_unless_orphaned() {
    let client = ApiStore::default().client();
    let api: Api<ConfigMap> = Api::namespaced(client, "default");
    let owner = api.create(&PostParams::default(), &config("owner")).await.expect("created");
    let other = api.create(&PostParams::default(), &config("other")).await.expect("created");
    let owned_by = |name: &str, owners: &[&ConfigMap]| {
        let references: Vec<Value> = owners
            .iter()
            .map(|o| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": o.name_any(), "uid": o.uid()}))
            .collect();
        from::<ConfigMap>(json!({"metadata": {"name": name, "ownerReferences": references}}))
    };
    for dependent in [owned_by("one", &[&owner]), owned_by("two", &[&owner, &other]), owned_by("three", &[&other])] {
        api.create(&PostParams::default(), &dependent).await.expect("created");
    }

    api.delete("owner", &DeleteParams::background()).await.expect("deleted");
    assert_eq!(code(api.get("one").await).0, 404);
    assert_eq!(api.get("two").await.expect("has another owner").owner_references().len(), 1);

    let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    api.delete("other", &orphan).await.expect("deleted");
    assert!(api.get("three").await.expect("orphaned").owner_references().is_empty());
}

#[tokio::test]
async fn a_deleted_namespace_empties_itself_first() {
    let client = ApiStore::default().client();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let shop: Namespace = from(json!({"metadata": {"name": "shop"}}));
    namespaces.create(&PostParams::default(), &shop).await.expect("created");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "shop");
    let configs: Api<ConfigMap> = Api::namespaced(client, "shop");
    pods.create(&PostParams::default(), &pod("web-0", Some("n"))).await.expect("created");
    configs.create(&PostParams::default(), &config("a")).await.expect("created");

    namespaces.delete("shop", &DeleteParams::default()).await.expect("marked");

    assert_eq!(code(configs.get("a").await).0, 404);
    let waiting = namespaces.get("shop").await.expect("held by the pod");
    assert_eq!(waiting.status.and_then(|s| s.phase).as_deref(), Some("Terminating"));
    assert_eq!(code(configs.create(&PostParams::default(), &config("b")).await).0, 403);
    pods.delete("web-0", &DeleteParams::default().grace_period(0)).await.expect("forced");
    assert_eq!(code(namespaces.get("shop").await).0, 404);
}

#[tokio::test]
async fn events_are_the_same_in_both_groups() {
    let client = ApiStore::default().client();
    let new: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(client.clone(), "default");
    let event = from(json!({
        "metadata": {"name": "e"}, "regarding": {"kind": "Node", "name": "n"}, "note": "gone", "reason": "Fenced",
        "action": "Fence", "reportingController": "palisade", "reportingInstance": "x", "type": "Normal",
        "eventTime": "2026-11-22T10:00:00.000000Z",
    }));
    new.create(&PostParams::default(), &event).await.expect("created");

    let core: Api<Event> = Api::namespaced(client, "default");
    let selected = ListParams::default().fields("involvedObject.name=n,reason=Fenced");
    let found = core.list(&selected).await.expect("listed").items;
    let by_new_name = ListParams::default().fields("regarding.name=n");
    assert_eq!(new.list(&by_new_name).await.expect("listed").items.len(), 1);
    assert_eq!(found.first().and_then(|e| e.message.as_deref()), Some("gone"));
}

#[tokio::test]
async fn two_appliers_share_an_object_and_conflict_over_one_field() {
    let api: Api<ConfigMap> = Api::namespaced(ApiStore::default().client(), "default");
    let apply = async |manager: &str, force: bool, data: Value| {
        let mut params = PatchParams::apply(manager);
        params.force = force;
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
        api.patch("a", &params, &Patch::Apply(body)).await
    };
    apply("one", false, json!({"a": "1", "b": "1"})).await.expect("created by apply");
    let both = apply("two", false, json!({"b": "1", "c": "1"})).await.expect("agrees about b");
    assert_eq!(both.data.expect("data").len(), 3);

    let (code_, message) = code(apply("two", false, json!({"b": "2"})).await);
    assert_eq!((code_, message.as_str()), (409, "Apply failed with 1 conflict: conflict with \"one\": .data.b"));
    let forced = apply("two", true, json!({"b": "2"})).await.expect("takes it");
    let data = forced.data.expect("data");
    assert_eq!(data.get("b").map(String::as_str), Some("2"));
    assert!(!data.contains_key("c"), "what an applier no longer names goes");

    let rest = apply("one", false, json!({})).await.expect("lets go of a");
    assert_eq!(rest.data.expect("data").keys().collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn the_server_can_fail_writes_and_log_who_asked() {
    let store = ApiStore::new(Settings { audit: 100, ..Settings::default() });
    let api: Api<ConfigMap> = Api::namespaced(store.client(), "default");

    store.switches().set_writes(Writes::Fail);
    assert_eq!(code(api.create(&PostParams::default(), &config("a")).await).0, 500);
    store.switches().set_writes(Writes::TimeOut);
    assert_eq!(code(api.create(&PostParams::default(), &config("a")).await).0, 504);
    assert!(api.list(&ListParams::default()).await.expect("reads work").items.is_empty());
    store.switches().set_writes(Writes::Work);
    api.create(&PostParams::default(), &config("a")).await.expect("works again");

    let log: Vec<(String, String, u16)> =
        store.audit().entries().into_iter().map(|e| (e.verb, e.resource, e.code)).collect();
    let line = |verb: &str, code| (verb.to_owned(), "configmaps".to_owned(), code);
    assert_eq!(log, [line("create", 500), line("create", 504), line("list", 200), line("create", 201)]);
}

#[tokio::test]
async fn an_outage_holds_requests_until_it_ends() {
    let store = ApiStore::default();
    let api: Api<ConfigMap> = Api::namespaced(store.client(), "default");
    store.switches().set_outage(true);
    let asking = tokio::spawn(async move { api.list(&ListParams::default()).await });
    // Nothing may come while the outage lasts: give the request every chance to be answered wrongly.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!asking.is_finished());
    store.switches().set_outage(false);
    asking.await.expect("joined").expect("answered after the outage");
}

#[tokio::test]
async fn a_dry_run_answers_and_changes_nothing() {
    let api: Api<ConfigMap> = Api::namespaced(ApiStore::default().client(), "default");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&dry, &config("a")).await.expect("would be created");
    assert_eq!(code(api.get("a").await).0, 404);
}
