//! Custom resources: schemas, defaults, pruning, CEL, status, several versions, and the CRDs of this repository.

// Helpers of tests may panic like the tests that call them.
#![allow(clippy::expect_used, clippy::panic)]

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::Discovery;
use kube::{Client, Error};
use palisade_sandbox::api::ApiStore;
use serde_json::{Value, json};

const WIDGETS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.dev}
spec:
  group: example.dev
  scope: Namespaced
  names: {kind: Widget, plural: widgets, shortNames: [wd], categories: [all-widgets]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    selectableFields: [{jsonPath: .spec.color}]
    schema:
      openAPIV3Schema: &schema
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [size]
            x-kubernetes-validations:
            - rule: "!has(self.limit) || self.size <= self.limit"
              messageExpression: "'size ' + string(self.size) + ' is above limit ' + string(self.limit)"
            properties:
              size: {type: integer, minimum: 1, maximum: 10}
              limit: {type: integer}
              color: {type: string, enum: [red, green], default: red}
              name:
                type: string
                pattern: '^[a-z]+$'
                maxLength: 5
                x-kubernetes-validations: [{rule: "self == oldSelf", message: name is immutable}]
              percent: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
              parts:
                type: array
                maxItems: 2
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [id]
                items: {type: object, required: [id], properties: {id: {type: string}, n: {type: integer, default: 7}}}
          status: {type: object, properties: {phase: {type: string}}}
  - name: v1beta1
    served: true
    storage: false
    schema: {openAPIV3Schema: *schema}
"#;

fn widgets(client: Client, version: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.dev", version, "Widget"));
    Api::namespaced_with(client, "default", &resource)
}

fn widget(name: &str, spec: &Value) -> DynamicObject {
    let value = json!({"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(value).expect("a dynamic object")
}

fn store() -> ApiStore {
    let store = ApiStore::default();
    store.apply_yaml(WIDGETS).expect("the definition is accepted");
    store
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> (u16, String) {
    match result.expect_err("refused") {
        Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("not an answer of the server: {other}"),
    }
}

#[tokio::test]
async fn what_is_stored_is_pruned_and_defaulted() {
    let api = widgets(store().client(), "v1");
    let given = widget("a", &json!({"size": 1, "nonsense": true, "parts": [{"id": "x"}]}));
    let made = api.create(&PostParams::default(), &given).await.expect("created");
    assert_eq!(made.data["spec"], json!({"size": 1, "color": "red", "parts": [{"id": "x", "n": 7}]}));
    assert_eq!(made.metadata.generation, Some(1));
    let green = ListParams::default().fields("spec.color=green");
    assert!(api.list(&green).await.expect("listed").items.is_empty());
}

#[tokio::test]
async fn errors_name_the_field_in_the_words_of_kubernetes() {
    let api = widgets(store().client(), "v1");
    for (spec, text) in [
        (json!({}), "spec.size: Required value"),
        (
            json!({"size": "x"}),
            "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
        ),
        (json!({"size": 0}), "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        (json!({"size": 11}), "spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10"),
        (
            json!({"size": 1, "color": "blue"}),
            "spec.color: Unsupported value: \"blue\": supported values: \"red\", \"green\"",
        ),
        (
            json!({"size": 1, "name": "UP"}),
            "spec.name: Invalid value: \"UP\": spec.name in body should match '^[a-z]+$'",
        ),
        (json!({"size": 1, "name": "toolong"}), "spec.name: Too long: may not be more than 5 bytes"),
        (json!({"size": 1, "percent": []}), "spec.percent in body must be of type integer,string: \"array\""),
        (json!({"size": 1, "parts": [{"id": "a"}, {"id": "a"}]}), "spec.parts[1]: Duplicate value: {\"id\":\"a\"}"),
        (
            json!({"size": 1, "parts": [{"id": "a"}, {"id": "b"}, {"id": "c"}]}),
            "spec.parts: Too many: 3: must have at most 2 items",
        ),
        (json!({"size": 3, "limit": 2}), "spec: Invalid value: \"object\": size 3 is above limit 2"),
    ] {
        let (code, message) = refusal(api.create(&PostParams::default(), &widget("a", &spec)).await);
        assert_eq!(code, 422, "{message}");
        assert!(message.starts_with("Widget.example.dev \"a\" is invalid: ") && message.contains(text), "{message}");
    }
}

#[tokio::test]
async fn transition_rules_see_the_old_object() {
    let api = widgets(store().client(), "v1");
    api.create(&PostParams::default(), &widget("a", &json!({"size": 1, "name": "one"}))).await.expect("created");
    let rename = Patch::Merge(json!({"spec": {"name": "two"}}));
    let (code, message) = refusal(api.patch("a", &PatchParams::default(), &rename).await);
    assert!(code == 422 && message.contains("spec.name: Invalid value: \"string\": name is immutable"), "{message}");
    let grow = Patch::Merge(json!({"spec": {"size": 2}}));
    assert_eq!(api.patch("a", &PatchParams::default(), &grow).await.expect("grown").metadata.generation, Some(2));
}

#[tokio::test]
async fn status_is_apart_and_does_not_count_as_a_generation() {
    let api = widgets(store().client(), "v1");
    let mut given = widget("a", &json!({"size": 1}));
    given.data["status"] = json!({"phase": "Made up"});
    let made = api.create(&PostParams::default(), &given).await.expect("created");
    assert_eq!(made.data.get("status"), None);

    let patch =
        Patch::Merge(json!({"status": {"phase": "Ready"}, "spec": {"size": 5}, "metadata": {"labels": {"a": "b"}}}));
    let ready = api.patch_status("a", &PatchParams::default(), &patch).await.expect("patched");
    assert_eq!((&ready.data["status"]["phase"], &ready.data["spec"]["size"]), (&json!("Ready"), &json!(1)));
    assert_eq!((ready.metadata.generation, ready.metadata.labels), (Some(1), None));

    let through_object = Patch::Merge(json!({"status": {"phase": "No"}}));
    let same = api.patch("a", &PatchParams::default(), &through_object).await.expect("patched");
    assert_eq!(same.data["status"]["phase"], "Ready");
    assert_eq!(same.metadata.resource_version, ready.metadata.resource_version);
}

#[tokio::test]
async fn appliers_share_keyed_lists() {
    let api = widgets(store().client(), "v1");
    let apply = async |manager: &str, parts: Value| {
        let body = json!({"apiVersion": "example.dev/v1", "kind": "Widget", "spec": {"size": 1, "parts": parts}});
        api.patch("a", &PatchParams::apply(manager), &Patch::Apply(body)).await.expect("applied")
    };
    apply("one", json!([{"id": "a", "n": 1}])).await;
    apply("two", json!([{"id": "b", "n": 2}])).await;
    let left = apply("one", json!([])).await;
    assert_eq!(left.data["spec"]["parts"], json!([{"id": "b", "n": 2}]));
}

#[tokio::test]
async fn unknown_fields_are_refused_on_request() {
    let api = widgets(store().client(), "v1");
    let strict = PatchParams {
        field_validation: Some(kube::core::params::ValidationDirective::Strict),
        ..PatchParams::default()
    };
    api.create(&PostParams::default(), &widget("a", &json!({"size": 1}))).await.expect("created");
    let (code, message) = refusal(api.patch("a", &strict, &Patch::Merge(json!({"spec": {"sice": 1}}))).await);
    assert!(code == 400 && message.contains("strict decoding error: unknown field \"spec.sice\""), "{message}");
    let strategic = Patch::Strategic(json!({"spec": {"size": 2}}));
    assert_eq!(refusal(api.patch("a", &PatchParams::default(), &strategic).await).0, 415);
}

#[tokio::test]
async fn every_served_version_shows_the_same_object() {
    let client = store().client();
    widgets(client.clone(), "v1")
        .create(&PostParams::default(), &widget("a", &json!({"size": 1})))
        .await
        .expect("created");
    let old = widgets(client, "v1beta1").get("a").await.expect("served");
    assert_eq!(old.types.map(|t| t.api_version).as_deref(), Some("example.dev/v1beta1"));
}

#[tokio::test]
async fn a_definition_can_be_discovered_and_takes_its_objects_with_it() {
    let client = store().client();
    let discovered = Discovery::new(client.clone()).run().await.expect("discovered");
    let (resource, capabilities) =
        discovered.resolve_gvk(&GroupVersionKind::gvk("example.dev", "v1", "Widget")).expect("served");
    assert_eq!(resource.plural, "widgets");
    assert!(capabilities.subresources.iter().any(|(sub, _)| sub.plural == "status" || sub.plural == "widgets/status"));
    assert!(Discovery::new(client.clone()).run_aggregated().await.expect("discovered").has_group("example.dev"));

    let api = widgets(client.clone(), "v1");
    let mut held = widget("a", &json!({"size": 1}));
    held.metadata.finalizers = Some(vec!["example.dev/hold".into()]);
    api.create(&PostParams::default(), &held).await.expect("created");
    let definitions: Api<DynamicObject> = Api::all_with(
        client,
        &ApiResource::from_gvk(&GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition")),
    );
    definitions.delete("widgets.example.dev", &DeleteParams::default()).await.expect("marked");
    definitions.get("widgets.example.dev").await.expect("held by its object");
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("a", &PatchParams::default(), &release).await.expect("released");
    assert_eq!(refusal(definitions.get("widgets.example.dev").await).0, 404);
    assert_eq!(refusal(api.list(&ListParams::default()).await).0, 404);
}

#[test]
fn a_definition_that_makes_no_sense_is_refused_with_the_field() {
    for (from, to, text) in [
        ("name: widgets.example.dev", "name: gadgets.example.dev", "metadata.name: Invalid value"),
        ("scope: Namespaced", "scope: Galaxy", "spec.scope: Unsupported value: \"Galaxy\""),
        ("storage: true", "storage: false", "must have exactly one version marked as storage version"),
        ("^[a-z]+$", "^[a-z+$", "must be a valid regular expression"),
        ("self == oldSelf", "self ==", "compilation failed"),
    ] {
        let refused = ApiStore::default().apply_yaml(&WIDGETS.replace(from, to)).expect_err(text);
        assert_eq!(refused.code, 422);
        assert!(refused.message.contains(text), "{}", refused.message);
    }
}

#[test]
fn the_definitions_of_this_repository_are_served() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    let store = ApiStore::default();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder with our definitions") {
        let path = entry.expect("an entry").path();
        let yaml = std::fs::read_to_string(&path).expect("readable");
        count += store.apply_yaml(&yaml).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    assert!(count >= 14, "only {count} definitions found");

    // A rule with `type()`, one with a missing selector, and defaults: what the kube-cel crate alone cannot do.
    let check = |spec: Value| {
        store.apply_value(&json!({
            "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
            "metadata": {"name": "check"}, "spec": spec,
        }))
    };
    let template = json!({
        "apiVersion": "self-node-remediation.medik8s.io/v1alpha1", "kind": "SelfNodeRemediationTemplate",
        "name": "t", "namespace": "default",
    });
    let selector = json!({"matchExpressions": [{"key": "node-role.kubernetes.io/worker", "operator": "Exists"}]});
    let refused = check(json!({"minHealthy": "51%", "remediationTemplate": template})).expect_err("no selector");
    assert!(refused.message.contains("spec.selector"), "{}", refused.message);
    let negative = json!({"minHealthy": -1, "remediationTemplate": template, "selector": selector});
    assert!(check(negative).expect_err("negative").message.contains("spec.minHealthy"));
    check(json!({"minHealthy": "51%", "remediationTemplate": template, "selector": selector})).expect("valid");
}
