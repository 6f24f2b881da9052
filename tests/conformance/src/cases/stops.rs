//! 8.11: paused and disabled policies.

use anyhow::ensure;
use serde_json::json;

use crate::case::Tag::{Design, Fix, Keep};
use crate::case::{Case, Place, case};
use crate::definitions::API_VERSION;
use crate::node::State::{Fine, Sick};
use crate::remediation::TIMED_OUT;

const SECTION: &str = "8.11";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("X01", Keep, SECTION)
            .given("pauseRequests [\"maintenance of x\"], and one of three nodes is sick")
            .then("no remediation; Paused, the reason names the request; Normal RemediationSkipped; the counters are true")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().with(json!({ "pauseRequests": ["maintenance of x"] })).create().await?;
                let status = policy.shows(json!({ "phase": "Paused", "observedNodes": 3, "healthyNodes": 2 })).await?;
                ensure!(status["status"]["reason"].as_str().is_some_and(|text| text.contains("maintenance of x")), "{}", status["status"]);
                policy.event("Normal", "RemediationSkipped", "").await?;
                policy.looked().await?;
                sick.explained("paused").await?;
                w.never_remediated().await?;
                policy.patch(json!({ "pauseRequests": null })).await?;
                w.remediation(&sick).await.map(drop)
            }),
        case("X02", Fix, SECTION)
            .given("a policy is paused while a ladder runs")
            .then("the running step still runs out of time and is told; the next one waits for the end of the pause")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let ladder = [("FooTemplate", "foo", 0, "4s"), ("BarTemplate", "bar", 1, "10m")];
                let policy = w.policy().ladder(&ladder).create().await?;
                let first = w.remediation_of("Foo", &sick).await?;
                policy.patch(json!({ "pauseRequests": ["x"] })).await?;
                policy.shows(json!({ "phase": "Paused" })).await?;
                first.annotated(TIMED_OUT).await?;
                policy.looked().await?;
                ensure!(w.ever("Bar", &sick) == 0, "a new step began while the policy is paused");
                policy.patch(json!({ "pauseRequests": null })).await?;
                w.remediation_of("Bar", &sick).await.map(drop)
            }),
        case("X03", Fix, SECTION)
            .given("a policy is paused and a node under remediation recovers")
            .then("its remediation is deleted, so that its taints go; the counters are true")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                policy.patch(json!({ "pauseRequests": ["x"] })).await?;
                policy.shows(json!({ "phase": "Paused" })).await?;
                sick.becomes(Fine).await?;
                made.gone().await?;
                policy.shows(json!({ "phase": "Paused", "observedNodes": 3, "healthyNodes": 3, "unhealthyNodes": null })).await.map(drop)
            }),
        case("X06", Keep, SECTION)
            .given("the template is deleted, and created again")
            .then("Disabled with RemediationTemplateNotFound and a Warning Disabled; then enabled again")
            .run(async |w| {
                w.nodes([Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                policy.condition("Disabled", json!({ "status": "False", "reason": "NodeHealthCheckEnabled" })).await?;
                policy.event("Normal", "Enabled", "").await?;
                w.delete("FooTemplate", &w.name, "foo").await?;
                policy.condition("Disabled", json!({ "status": "True", "reason": "RemediationTemplateNotFound" })).await?;
                policy.shows(json!({ "phase": "Disabled" })).await?;
                policy.event("Warning", "Disabled", "foo").await?;
                w.template("FooTemplate", "foo").await?;
                policy.condition("Disabled", json!({ "status": "False", "reason": "NodeHealthCheckEnabled" })).await?;
                policy.shows(json!({ "phase": "Enabled" })).await.map(drop)
            }),
        case("X07", Keep, SECTION)
            .given("a template of an unknown kind; a namespaced template without a namespace")
            .then("Disabled with RemediationTemplateNotFound")
            .run(async |w| {
                let unknown = w.policy().named("unknown").without_templates().template("NobodysTemplate", "foo").create().await?;
                let bare = w.policy().with(json!({ "remediationTemplate": { "namespace": null } })).create().await?;
                for policy in [unknown, bare] {
                    policy.condition("Disabled", json!({ "status": "True", "reason": "RemediationTemplateNotFound" })).await?;
                    policy.shows(json!({ "phase": "Disabled" })).await?;
                }
                Ok(())
            }),
        case("X08", Fix, SECTION)
            .given("a template without spec.template that is fixed later")
            .then("Disabled with RemediationTemplateInvalid; enabled after the fix, and the sick node is remediated")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let metadata = json!({ "name": "foo", "namespace": w.name });
                w.plane.create(&json!({ "apiVersion": API_VERSION, "kind": "FooTemplate", "metadata": metadata, "spec": {} })).await?;
                let policy = w.policy().create().await?;
                policy.condition("Disabled", json!({ "status": "True", "reason": "RemediationTemplateInvalid" })).await?;
                policy.looked().await?;
                sick.explained("template invalid").await?;
                w.never_remediated().await?;
                let fix = json!({ "spec": { "template": { "spec": { "size": "fixed" } } } });
                w.patch("FooTemplate", &w.name, "foo", fix).await?;
                policy.condition("Disabled", json!({ "status": "False" })).await?;
                w.remediation(&sick).await?.shows(json!({ "spec": { "size": "fixed" } })).await.map(drop)
            }),
        case("X10", Fix, SECTION)
            .given("the controller may not read the kind of the template; then it may")
            .then("the status of the policy says so, and another policy is not held up; then it is enabled")
            .real("role-based access control")
            .at(Place::Alone)
            .run(async |w| {
                palisade_sandbox::demo::apply_accounts(&w.plane.client).await?;
                let account = "palisade-controller";
                let grant = async |resources: &[&str]| {
                    w.plane.ensure(&json!({
                        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                        "metadata": { "name": format!("x10-{}", resources[0]) },
                        "rules": [{ "apiGroups": ["test.example"], "resources": resources, "verbs": ["*"] }],
                    })).await?;
                    w.plane.ensure(&json!({
                        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                        "metadata": { "name": format!("x10-{}", resources[0]) },
                        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": format!("x10-{}", resources[0]) },
                        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": crate::plane::NAMESPACE }],
                    })).await
                };
                for kind in ["X10Foo", "X10FooTemplate", "X10Bar", "X10BarTemplate"] {
                    w.plane.kind(kind, crate::definitions::Scope::Namespaced).await?;
                }
                w.remember_kind("X10Foo");
                w.remember_kind("X10Bar");
                grant(&["x10bars", "x10bartemplates"]).await?;
                let kubeconfig = w.plane.service_account(crate::plane::NAMESPACE, account).await?;
                let start = crate::plane::Start { kubeconfig: Some(kubeconfig), ..crate::plane::Start::default() };
                let mut controller = w.controller_with(start)?;
                let policy = w.policy().template("X10FooTemplate", "foo").create().await?;
                policy.until("the status says what cannot be read", |status| {
                    let text = status.to_string();
                    if text.contains("x10foo") { Ok(()) } else { Err("it does not".to_owned()) }
                })
                .await?;
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                w.policy().named("other").template("X10BarTemplate", "bar").create().await?;
                w.remediation_of("X10Bar", &sick).await?;
                sick.explained("template unreadable").await?;
                grant(&["x10foos", "x10footemplates"]).await?;
                let patience = std::time::Duration::from_secs(90);
                w.eyes().until("the policy is enabled", patience, || {
                    let object = w.eyes().get("NodeHealthCheck", "", &policy.name).unwrap_or_default();
                    let disabled = crate::value::condition(&object["status"], "Disabled");
                    if disabled["status"] == "False" { Ok(()) } else { Err(disabled.to_string()) }
                })
                .await?;
                controller.kill().await;
                Ok(())
            }),
        case("X13", Design, SECTION)
            .given("a policy is disabled while a remediation exists, and the node recovers")
            .then("its own remediation is deleted")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                w.delete("FooTemplate", &w.name, "foo").await?;
                policy.condition("Disabled", json!({ "status": "True" })).await?;
                made.stays().await?;
                sick.becomes(Fine).await?;
                made.gone().await?;
                policy.shows(json!({ "phase": "Disabled", "unhealthyNodes": null })).await.map(drop)
            }),
    ]
}
