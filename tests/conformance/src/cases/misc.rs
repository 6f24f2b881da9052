//! 8.12: metrics, old remediations, replicas.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, Place, case};
use crate::node::State::{Failing, Fine, Sick};
use crate::plane::{NAMESPACE, Start, free_port};
use crate::world::SOON;

const SECTION: &str = "8.12";
const OLD_FLAG: &str = "nodehealthcheck.medik8s.io/old-remediation-cr-flag";
const CONFIRMED: &str = "remediation.medik8s.io/manually-confirmed-healthy";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("D10", Fix, "8.8")
            .given("a held-back remediation is confirmed by hand, and the controller has only the rights that we ship")
            .then("released, and the annotation removed from the node")
            .real("role-based access control")
            .at(Place::Alone)
            .run(async |w| {
                palisade_sandbox::demo::apply_accounts(&w.plane.client).await?;
                let account = "palisade-controller";
                rights_of_the_remediator(&w, account).await?;
                let kubeconfig = w.plane.service_account(NAMESPACE, account).await?;
                let start = Start { kubeconfig: Some(kubeconfig), ..Start::default() };
                let mut controller = w.controller_with(start)?;
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().with(json!({ "healthyDelay": "-1s" })).create().await?;
                let made = w.remediation(&sick).await?;
                sick.becomes(Fine).await?;
                policy.shows(json!({ "unhealthyNodes": [{ "healthyDelayed": true }] })).await?;
                sick.annotate(CONFIRMED, Some("")).await?;
                made.gone().await?;
                policy.shows(json!({ "unhealthyNodes": null, "healthyNodes": 3 })).await?;
                sick.shows(json!({ "metadata": { "annotations": { CONFIRMED: null } } })).await?;
                sick.lease_gone().await?;
                controller.kill().await;
                Ok(())
            }),
        case("M01", Keep, SECTION)
            .given("the rights that we ship, and a remediator whose role carries the aggregation label")
            .then("role and binding node-healthcheck-operator-aggregation exist, and its remediations can be made")
            .real("role-based access control")
            .at(Place::Alone)
            .run(async |w| {
                palisade_sandbox::demo::apply_accounts(&w.plane.client).await?;
                w.plane.apply_file(&w.plane.parts.deploy.join("rbac/aggregation.yaml")).await?;
                // Only through the label: the remediator knows nobody's account.
                let verbs = ["get", "list", "watch", "create", "update", "patch", "delete"];
                w.plane.kind("M01Foo", crate::definitions::Scope::Namespaced).await?;
                w.plane.kind("M01FooTemplate", crate::definitions::Scope::Namespaced).await?;
                w.remember_kind("M01Foo");
                w.plane.ensure(&json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                    "metadata": { "name": "m01-remediator", "labels": { "rbac.ext-remediation/aggregate-to-ext-remediation": "true" } },
                    "rules": [{ "apiGroups": ["test.example"], "resources": ["m01foos", "m01footemplates"], "verbs": verbs }],
                })).await?;
                let kubeconfig = w.plane.service_account(NAMESPACE, "palisade-controller").await?;
                let mut controller = w.controller_with(Start { kubeconfig: Some(kubeconfig), ..Start::default() })?;
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                w.template("M01FooTemplate", "foo").await?;
                w.policy().template("M01FooTemplate", "foo").create().await?;
                w.remediation_of("M01Foo", &sick).await?;
                for kind in ["ClusterRole", "ClusterRoleBinding"] {
                    let found = w.get(kind, "", "node-healthcheck-operator-aggregation").await?;
                    ensure!(found.is_some(), "{kind} node-healthcheck-operator-aggregation does not exist");
                }
                controller.kill().await;
                Ok(())
            }),
        case("M05", Keep, SECTION)
            .given("a remediation from beginning to end")
            .then("events Enabled, DetectedUnhealthy, RemediationCreated, RemediationRemoved, each message with the common prefix")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                sick.becomes(Fine).await?;
                made.gone().await?;
                for (reason, part) in [
                    ("Enabled", ""), ("DetectedUnhealthy", sick.name.as_str()), ("RemediationCreated", &sick.name), ("RemediationRemoved", &made.name),
                ] {
                    let event = policy.event("Normal", reason, part).await?;
                    let message = event["message"].as_str().unwrap_or_default();
                    ensure!(message.starts_with("[remediation] "), "{reason}: {message}");
                    ensure!(event["source"]["component"] == "NodeHealthCheck", "{reason} by {}", event["source"]);
                }
                Ok(())
            }),
        case("M06", Fix, SECTION)
            .given("a ladder that is not sorted runs, and the policy is looked at for reasons that change nothing")
            .then("nothing is written: the policy keeps its version")
            .run(async |w| {
                let [sick, other, _] = w.nodes([Sick, Fine, Fine]).await?;
                let ladder = [("BarTemplate", "bar", 9, "10m"), ("FooTemplate", "foo", 0, "10m")];
                let policy = w.policy().ladder(&ladder).create().await?;
                w.remediation(&sick).await?;
                policy.shows(json!({ "phase": "Remediating", "unhealthyNodes": [{ "remediations": [{ "templateName": "foo" }] }] })).await?;
                policy.looked().await?;
                let before = w.get("NodeHealthCheck", "", &policy.name).await?.unwrap_or_default();
                for round in 0..3 {
                    other.label("m06-round", Some(&round.to_string())).await?;
                    other.reports("Unrelated", if round % 2 == 0 { "True" } else { "False" }, 0).await?;
                }
                // A policy of its own shows that the controller saw all that: it acts on what came last.
                let conditions = json!([{ "type": "Unrelated", "status": "True", "duration": "1s" }]);
                let select = json!({ "selector": { "matchLabels": { "m06-round": "2" } }, "minHealthy": 0, "unhealthyConditions": conditions });
                let witness = w.policy().named("witness").template("BarTemplate", "bar").with(select).create().await?;
                w.remediation_of("Bar", &other).await?;
                witness.looked().await?;
                let after = w.get("NodeHealthCheck", "", &policy.name).await?.unwrap_or_default();
                let version = |object: &serde_json::Value| object["metadata"]["resourceVersion"].clone();
                let writes = w.eyes().history("NodeHealthCheck", |object| object["metadata"]["name"] == *policy.name);
                let statuses: Vec<_> = writes.iter().rev().take(3).map(|sight| sight.object["status"].to_string()).collect();
                ensure!(version(&before) == version(&after), "it was written; latest first: {}", statuses.join("\n"));
                Ok(())
            }),
        case("M03", Keep, SECTION)
            .given("a remediation runs and ends")
            .then("its gauge is 1, then 0 or gone; the histogram counts one")
            .at(Place::Alone)
            .run(async |w| {
                let port = free_port()?;
                let start = Start { args: vec!["--listen".into(), format!("127.0.0.1:{port}")], ..Start::default() };
                let mut controller = w.controller_with(start)?;
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                let labels = format!("name=\"{}\"", sick.name);
                metric(port, "nodehealthcheck_ongoing_remediation{", &labels, &|value| value == Some(1.0)).await?;
                sick.becomes(Fine).await?;
                made.gone().await?;
                policy.shows(json!({ "unhealthyNodes": null })).await?;
                let over = |value: Option<f64>| value.is_none_or(|value| value == 0.0);
                metric(port, "nodehealthcheck_ongoing_remediation{", &labels, &over).await?;
                let histogram = "nodehealthcheck_unhealthy_node_duration_seconds_count";
                metric(port, histogram, "", &|value| value == Some(1.0)).await?;
                controller.kill().await;
                Ok(())
            }),
        case("M04", Keep, SECTION)
            .given("a remediation is older than 48 h")
            .then("annotated `flagon`, the counter goes up, once")
            .at(Place::Alone)
            .run(async |w| {
                let mut controller = w.controller()?;
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                policy.looked().await?;
                ensure!(
                    made.now().await?["metadata"]["annotations"][OLD_FLAG].is_null(),
                    "it is flagged although it is new"
                );
                controller.kill().await;
                // The next controller lives two days and an hour later.
                let port = free_port()?;
                let args = vec!["--listen".into(), format!("127.0.0.1:{port}"), "--shift-clock".into(), "49h".into()];
                controller = w.controller_with(Start { args, ..Start::default() })?;
                ensure!(made.annotated(OLD_FLAG).await? == "flagon", "its value is not flagon");
                let labels = format!("name=\"{}\"", sick.name);
                metric(port, "nodehealthcheck_old_remediation_cr", &labels, &|value| value == Some(1.0)).await?;
                policy.looked().await?;
                metric(port, "nodehealthcheck_old_remediation_cr", &labels, &|value| value == Some(1.0)).await?;
                controller.kill().await;
                Ok(())
            }),
        case("M07", Keep, SECTION)
            .given("two replicas; a node gets sick; the leader dies; another node gets sick")
            .then("one remediation and one event each; the second replica goes on. (There is no webhook to serve.)")
            .at(Place::Alone)
            .run(async |w| {
                let replica = |name: &str| Start {
                    name: name.to_owned(),
                    args: vec!["--leader-elect".into()],
                    ..Start::default()
                };
                let mut first = w.controller_with(replica("m07-first"))?;
                let [one, two, ..] = w.nodes([Sick, Fine, Fine, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                w.remediation(&one).await?;
                let mut second = w.controller_with(replica("m07-second"))?;
                policy.looked().await?;
                let leases = w.plane.list("Lease", NAMESPACE).await?;
                let led = |lease: &serde_json::Value| {
                    lease["spec"]["holderIdentity"].as_str().is_some_and(|holder| holder.contains("m07-first"))
                };
                ensure!(leases.iter().any(led), "no lease says that the first leads: {leases:?}");
                first.kill().await;
                two.becomes(Failing).await?;
                w.remediation_within("Foo", &two, Duration::from_mins(1)).await?;
                policy.event("Normal", "RemediationCreated", &two.name).await?;
                policy.looked().await?;
                ensure!(w.ever("Foo", &one) == 1 && w.ever("Foo", &two) == 1, "a remediation was made twice");
                ensure!(
                    policy.count("RemediationCreated") == 2,
                    "RemediationCreated {} times",
                    policy.count("RemediationCreated")
                );
                second.kill().await;
                Ok(())
            }),
    ]
}

/// What an installed remediator grants: a role of its own, as the stock ones bring it.
async fn rights_of_the_remediator(w: &crate::world::World, account: &str) -> anyhow::Result<()> {
    let api_group = "rbac.authorization.k8s.io";
    w.plane.ensure(&json!({
        "apiVersion": format!("{api_group}/v1"), "kind": "ClusterRole",
        "metadata": { "name": "test-remediator", "labels": { "rbac.ext-remediation/aggregate-to-ext-remediation": "true" } },
        "rules": [{ "apiGroups": ["test.example"], "resources": ["foos", "footemplates"], "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"] }],
    })).await?;
    w.plane.ensure(&json!({
        "apiVersion": format!("{api_group}/v1"), "kind": "ClusterRoleBinding", "metadata": { "name": "test-remediator" },
        "roleRef": { "apiGroup": api_group, "kind": "ClusterRole", "name": "test-remediator" },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": NAMESPACE }],
    })).await
}

/// Waits until a series shows what is wanted: the first whose line begins with `name` and has `labels`.
pub(crate) async fn metric(
    port: u16,
    name: &str,
    labels: &str,
    wanted: &dyn Fn(Option<f64>) -> bool,
) -> anyhow::Result<()> {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let page = metrics(port).await;
        let text = page.as_deref().unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name) && line.contains(labels));
        let value = line.and_then(|line| line.rsplit(' ').next()).and_then(|number| number.parse().ok());
        if page.is_ok() && wanted(value) {
            return Ok(());
        }
        if std::time::Instant::now() > deadline {
            page.context("the metrics cannot be read")?;
            anyhow::bail!("{name} with {labels:?} is {value:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn metrics(port: u16) -> anyhow::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut text)).await??;
    ensure!(text.starts_with("HTTP/1.1 200"), "{}", text.lines().next().unwrap_or_default());
    Ok(text)
}
