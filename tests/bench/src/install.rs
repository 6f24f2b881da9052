//! What the bench installs: Palisade, and kinds of remediations that nobody but the bench looks after.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use palisade_api::NodeHealthCheck;
use palisade_sandbox::demo;
use palisade_sandbox::lab::workload::ensure;
use serde_json::{Value, json};

use crate::controller::{ACCOUNT, NAMESPACE};
use crate::wait;

/// Group of the bench's own remediation kinds.
pub const GROUP: &str = "test.example";
/// Namespace of their templates and objects.
pub const REMEDIATIONS: &str = "rem";
/// Label of the nodes that policies select.
pub const FLEET_LABEL: &str = "bench.palisade.dev/fleet";

/// Installs Palisade, the kinds `Foo` and `Bar`, and templates `foo` and `bar`.
pub async fn everything(client: &Client, crds: &Path) -> anyhow::Result<()> {
    demo::apply_crds(client, crds).await?;
    demo::apply_accounts(client).await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for kind in ["Foo", "FooTemplate", "Bar", "BarTemplate"] {
        ensure(&definitions, definition(kind)).await?;
    }
    ensure::<Namespace>(&Api::all(client.clone()), json!({ "metadata": { "name": REMEDIATIONS } })).await?;
    let name = format!("{ACCOUNT}-bench");
    let rules = json!([{ "apiGroups": [GROUP], "resources": ["*"], "verbs": ["*"] }]);
    let labels = json!({ palisade_api::keys::remediation::AGGREGATE_ROLE: "true" });
    let role = json!({ "metadata": { "name": name, "labels": labels }, "rules": rules });
    ensure::<ClusterRole>(&Api::all(client.clone()), role).await?;
    let binding = json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE }],
    });
    ensure::<ClusterRoleBinding>(&Api::all(client.clone()), binding).await?;
    for (kind, name) in [("FooTemplate", "foo"), ("BarTemplate", "bar")] {
        let body = template(kind, name);
        let api = remediations(client, kind);
        let apply = PatchParams::apply("palisade-bench").force();
        wait::until(Duration::from_secs(30), "the bench's own kinds are served", async || {
            Ok(api.patch(name, &apply, &Patch::Apply(&body)).await.map(drop).map_err(|error| error.to_string()))
        })
        .await?;
    }
    Ok(())
}

/// Objects of one of the bench's kinds.
pub fn remediations(client: &Client, kind: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), REMEDIATIONS, &resource(kind))
}

/// One of the bench's kinds.
pub fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1", kind))
}

/// A policy over the fleet: Ready False or Unknown for so long, remediated with template `foo`.
pub fn policy(name: &str, fleet: &str, after: Duration, more: &Value) -> Value {
    let after = format!("{}ms", after.as_millis());
    let mut policy = json!({
        "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
        "metadata": { "name": name },
        "spec": {
            "selector": { "matchLabels": { FLEET_LABEL: fleet } },
            "unhealthyConditions": [
                { "type": "Ready", "status": "False", "duration": after },
                { "type": "Ready", "status": "Unknown", "duration": after },
            ],
            "minHealthy": "51%",
            "remediationTemplate": reference("FooTemplate", "foo"),
        },
    });
    if let (Some(spec), Some(more)) = (policy["spec"].as_object_mut(), more.as_object()) {
        for (key, value) in more {
            if value.is_null() {
                spec.remove(key);
            } else {
                spec.insert(key.clone(), value.clone());
            }
        }
    }
    policy
}

/// A reference to a template of the bench.
pub fn reference(kind: &str, name: &str) -> Value {
    json!({ "apiVersion": format!("{GROUP}/v1"), "kind": kind, "name": name, "namespace": REMEDIATIONS })
}

/// Creates a policy and waits until the controller has counted its nodes.
pub async fn counted_policy(client: &Client, policy: &Value, nodes: usize, limit: Duration) -> anyhow::Result<()> {
    let api: Api<NodeHealthCheck> = Api::all(client.clone());
    ensure(&api, policy.clone()).await?;
    let name = policy["metadata"]["name"].as_str().context("a policy needs a name")?;
    wait::until(limit, "the policy has counted its nodes", async || {
        let status = api.get(name).await?.status.unwrap_or_default();
        let is_counted = status.observed_nodes == i64::try_from(nodes).ok();
        Ok(if is_counted { Ok(()) } else { Err(format!("status is {}", json!(status))) })
    })
    .await
}

fn template(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind,
        "metadata": { "name": name, "namespace": REMEDIATIONS },
        "spec": { "template": { "spec": { "size": name } } },
    })
}

fn definition(kind: &str) -> Value {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{GROUP}") },
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": { "plural": plural, "singular": singular, "kind": kind, "listKind": format!("{kind}List") },
            "versions": [{ "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": schema }, "subresources": { "status": {} } }],
        },
    })
}
