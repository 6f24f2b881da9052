//! Ours alone: the optional rules of a policy.

use anyhow::ensure;
use serde_json::json;

use crate::case::Tag::Beyond;
use crate::case::{Case, Place, case};
use crate::node::State::{Failing, FailingFor, Fine};
use crate::value::stamp;

const SECTION: &str = "beyond";
const ZONE: &str = "topology.kubernetes.io/zone";
const VETO: &str = "palisade.dev/veto";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("B01", Beyond, SECTION)
            .given("three sick nodes, minHealthy 0, budget.maxConcurrent 1")
            .then("one remediation at a time, whoever is sick for longest first; all are served")
            .run(async |w| {
                let [a, b, c] = w.nodes([FailingFor(60), FailingFor(90), FailingFor(75)]).await?;
                let policy =
                    w.policy().with(json!({ "minHealthy": 0, "budget": { "maxConcurrent": 1 } })).create().await?;
                for (node, waiting) in [(&b, 2), (&c, 1), (&a, 0)] {
                    let made = w.remediation(node).await?;
                    policy.looked().await?;
                    ensure!(w.remediations_now().await?.len() == 1, "one at a time is allowed");
                    policy.shows(json!({ "budget": { "used": 1, "limit": 1, "waiting": waiting } })).await?;
                    if waiting == 2 {
                        a.explained("budget").await?;
                    }
                    node.becomes(Fine).await?;
                    made.gone().await?;
                }
                policy.event("Normal", "RemediationSkipped", "1 of 1 places are taken by").await.map(drop)
            }),
        case("B02", Beyond, SECTION)
            .given("two sick nodes in one zone, one in another, two in none; one place per zone")
            .then("one remediation in each zone and one for the nodes without a zone")
            .run(async |w| {
                let mut nodes = Vec::new();
                for zone in [Some("x"), Some("x"), Some("y"), None, None] {
                    nodes.push(w.node_with(Failing, json!({ ZONE: zone })).await?);
                }
                let limit = json!([{ "key": ZONE, "maxConcurrent": 1 }]);
                let policy =
                    w.policy().with(json!({ "minHealthy": 0, "budget": { "perTopology": limit } })).create().await?;
                for index in [0, 2, 3] {
                    w.remediation(&nodes[index]).await?;
                }
                policy.shows(json!({ "budget": { "used": 3, "waiting": 2 } })).await?;
                policy.looked().await?;
                nodes[1].explained("budget of a zone").await?;
                ensure!(w.remediations_now().await?.len() == 3, "two nodes have to wait");
                Ok(())
            }),
        case("B03", Beyond, SECTION)
            .given("dryRun, one node is sick")
            .then("status.wouldDo, condition and event say what would be done; no remediation, no lease")
            .run(async |w| {
                let [sick, ..] = w.nodes([Failing, Fine, Fine]).await?;
                let policy = w.policy().with(json!({ "dryRun": true })).create().await?;
                let line = format!("create Foo for node {} from template foo", sick.name);
                policy.shows(json!({ "wouldDo": [line], "healthyNodes": 2, "observedNodes": 3 })).await?;
                policy.condition("DryRun", json!({ "status": "True" })).await?;
                policy.event("Normal", "DryRun", "would create Foo").await?;
                policy.looked().await?;
                sick.explained("dry run").await?;
                ensure!(sick.lease_now().await?.is_none(), "a dry run takes no lease");
                w.never_remediated().await?;
                policy.patch(json!({ "dryRun": false })).await?;
                w.remediation(&sick).await.map(drop)
            }),
        case("B04", Beyond, SECTION)
            .given("a sick node with a veto until in a few seconds")
            .then("no remediation until then, with owner, reason and end in the status; then one")
            .run(async |w| {
                let [sick, ..] = w.nodes([Fine, Fine, Fine]).await?;
                sick.annotate(VETO, Some(&format!("owner=ann; until={}; reason=new disk", stamp(15)))).await?;
                let policy = w.policy().create().await?;
                policy.shows(json!({ "healthyNodes": 3 })).await?;
                sick.becomes(Failing).await?;
                policy.event("Normal", "RemediationSkipped", "the node is vetoed by ann (new disk); it ends at").await?;
                ensure!(w.ever("Foo", &sick) == 0, "the veto is in force");
                w.remediation(&sick).await?;
                policy.event("Normal", "VetoExpired", "remove annotation palisade.dev/veto").await.map(drop)
            }),
        case("B05", Beyond, SECTION)
            .given("a sick node with a veto that cannot be understood")
            .then("the veto holds; Warning InvalidAnnotation says what would be right; removed, the node is remediated")
            .run(async |w| {
                let [sick, ..] = w.nodes([Fine, Fine, Fine]).await?;
                sick.annotate(VETO, Some("until friday")).await?;
                sick.becomes(Failing).await?;
                let policy = w.policy().create().await?;
                policy.event("Warning", "InvalidAnnotation", "write owner=WHO; until=").await?;
                policy.looked().await?;
                sick.explained("veto that cannot be understood").await?;
                w.never_remediated().await?;
                sick.annotate(VETO, None).await?;
                w.remediation(&sick).await.map(drop)
            }),
        case("B06", Beyond, SECTION)
            .given("one attempt per hour; a node is remediated, recovers, its remediation is gone, it fails again")
            .then("quarantine: condition, event, no remediation; forgiven by annotation, it is remediated")
            .run(async |w| {
                let [sick, ..] = w.nodes([Failing, Fine, Fine]).await?;
                let policy = w.policy().with(json!({ "attempts": { "max": 1, "window": "1h" } })).create().await?;
                let first = w.remediation(&sick).await?;
                policy.shows(json!({ "attempts": [{ "node": sick.name }] })).await?;
                sick.becomes(Fine).await?;
                first.gone().await?;
                policy.shows(json!({ "healthyNodes": 3 })).await?;
                sick.becomes(Failing).await?;
                policy.condition("NodesQuarantined", json!({ "status": "True" })).await?;
                policy.event("Warning", "NodeQuarantined", "remediated 1 times").await?;
                policy.looked().await?;
                sick.explained("quarantine").await?;
                ensure!(w.ever("Foo", &sick) == 1, "the node is in quarantine");
                let status = policy.status().await?;
                let since = status["attempts"][0]["quarantined"].as_str().unwrap_or_default().to_owned();
                sick.annotate("palisade.dev/attempts-forgiven", Some(&since)).await?;
                w.another_than(&first, &sick).await.map(drop)
            }),
        case("B07", Beyond, SECTION)
            .given("two sick nodes, minHealthy 0, budget.minInterval 5 s")
            .then("the second remediation is made at least 5 s after the first, without any further event")
            .run(async |w| {
                let [a, b, _] = w.nodes([FailingFor(90), FailingFor(60), Fine]).await?;
                w.policy().with(json!({ "minHealthy": 0, "budget": { "minInterval": "5s" } })).create().await?;
                let first = w.remediation(&a).await?;
                let second = w.remediation(&b).await?;
                let apart = second.made()? - first.made()?;
                ensure!(apart >= 5, "they are {apart} s apart");
                Ok(())
            }),
        case("B08", Beyond, SECTION)
            .given("optional rules that cannot be meant")
            .then("refused, naming field, value and remedy; all of them together in their right form are accepted")
            .at(Place::Shipped)
            .run(async |w| {
                for (index, (spec, parts)) in [
                    (json!({ "budget": { "maxConcurrent": 0 } }), ["maxConcurrent must be at least 1", "pauseRequests"]),
                    (json!({ "budget": { "maxConcurrent": "0%" } }), ["maxConcurrent must be", "but is 0%"]),
                    (json!({ "budget": { "stuckAfter": "1s" } }), ["stuckAfter must be at least 60s", "but is 1s"]),
                    (json!({ "attempts": { "max": 0, "window": "1h" } }), ["spec.attempts.max", "1"]),
                    (json!({ "attempts": { "max": 1, "window": "1s" } }), ["window must be at least 60s", "1s"]),
                    (json!({ "correlatedFailures": { "thresholdPercent": 101 } }), ["thresholdPercent", "100"]),
                    (json!({ "notifications": [{ "url": "ftp://x" }] }), ["url must begin with http", "ftp://x"]),
                    (json!({ "etcd": { "endpoints": ["10.0.0.1"] } }), ["client URLs of etcd members", "10.0.0.1"]),
                    (json!({ "etcd": { "endpoints": ["https://a:1"] } }), ["clientSecret is needed", "https"]),
                    (json!({ "etcd": { "guard": "Maybe" } }), ["guard", "Maybe"]),
                ]
                .into_iter()
                .enumerate()
                {
                    w.policy().named(&format!("r{index}")).with(spec).refused(&parts).await?;
                }
                w.policy()
                    .named("all")
                    .with(json!({
                        "budget": {
                            "maxConcurrent": "20%", "minInterval": "30s", "stuckAfter": "1h",
                            "perTopology": [{ "key": ZONE, "maxConcurrent": 1 }],
                            "perCause": [{ "type": "Ready", "status": "Unknown", "maxConcurrent": "50%" }],
                        },
                        "correlatedFailures": {}, "attempts": { "max": 3, "window": "24h" }, "dryRun": true,
                        "notifications": [{ "url": "https://hooks.example.com/x?y=z", "header": { "secret": "s", "key": "k" } }],
                        "etcd": { "guard": "Required", "endpoints": ["https://10.0.0.1:2379"], "clientSecret": "etcd" },
                    }))
                    .accepted()
                    .await
            }),
        case("B09", Beyond, SECTION)
            .given("a sick control-plane node, etcd.guard Required, and nothing that shows etcd")
            .then("no remediation; Warning RemediationSkipped says what is missing; with guard Off it is remediated")
            .exclusive("control plane")
            .run(async |w| {
                let role = json!({ "node-role.kubernetes.io/control-plane": "" });
                let sick = w.node_with(Failing, role).await?;
                w.nodes([Fine, Fine]).await?;
                let policy = w.policy().with(json!({ "etcd": { "guard": "Required" } })).create().await?;
                policy.event("Warning", "RemediationSkipped", "etcd.guard is Required, but").await?;
                policy.looked().await?;
                sick.explained("etcd cannot be asked").await?;
                w.never_remediated().await?;
                policy.patch(json!({ "etcd": { "guard": "Off" } })).await?;
                w.remediation_within("Foo", &sick, std::time::Duration::from_secs(40)).await.map(drop)
            }),
        case("B10", Beyond, SECTION)
            .given("correlatedFailures, a zone of three nodes fails as a whole, and one node elsewhere")
            .then("the one elsewhere is remediated, those of the zone are not: condition, event, blockedBy; the zone comes back")
            .at(Place::Alone)
            .run(async |w| {
                let mut controller = w.controller()?;
                let mut zone = Vec::new();
                for _ in 0..3 {
                    zone.push(w.node_with(Fine, json!({ ZONE: "x" })).await?);
                }
                let [lone, ..] = w.nodes([Fine, Fine, Fine, Fine]).await?;
                // Paused, until all of them are down: one after another, the first would be a node that fails alone.
                let spec = json!({ "minHealthy": 0, "correlatedFailures": {}, "pauseRequests": ["not yet"] });
                let policy = w.policy().with(spec).create().await?;
                policy.condition("CorrelatedFailure", json!({ "status": "False" })).await?;
                for node in zone.iter().chain([&lone]) {
                    node.becomes(Failing).await?;
                }
                policy.condition("CorrelatedFailure", json!({ "status": "True", "reason": "GroupFailure" })).await?;
                policy.patch(json!({ "pauseRequests": null })).await?;
                let made = w.remediation(&lone).await?;
                policy.event("Warning", "RemediationSkipped", "nodes with topology.kubernetes.io/zone=x are not ready").await?;
                let blocked: Vec<_> =
                    zone.iter().map(|node| json!({ "name": node.name, "remediations": null, "blockedBy": "correlatedFailure" })).collect();
                policy
                    .until("the nodes of the zone are blocked", |status| {
                        let listed = status["unhealthyNodes"].as_array().cloned().unwrap_or_default();
                        let is = |wanted: &serde_json::Value| listed.iter().any(|one| crate::value::shows(one, wanted).is_ok());
                        if blocked.iter().all(is) { Ok(()) } else { Err("not yet".to_owned()) }
                    })
                    .await?;
                policy.looked().await?;
                zone[0].explained("zone fails together").await?;
                for node in &zone {
                    ensure!(w.ever("Foo", node) == 0, "a node of the zone is remediated");
                }
                for node in zone.iter().chain([&lone]) {
                    node.becomes(Fine).await?;
                }
                made.gone().await?;
                policy.condition("CorrelatedFailure", json!({ "status": "False" })).await?;
                policy.shows(json!({ "healthyNodes": 7, "unhealthyNodes": null })).await?;
                controller.kill().await;
                Ok(())
            }),
        case("B11", Beyond, SECTION)
            .given("correlatedFailures with holdFor 15 s, and a zone of three nodes fails as a whole")
            .then("they are left alone for that long, and remediated then, without any further event")
            .at(Place::Alone)
            .run(async |w| {
                let mut controller = w.controller()?;
                let mut zone = Vec::new();
                for _ in 0..3 {
                    zone.push(w.node_with(Fine, json!({ ZONE: "x" })).await?);
                }
                w.nodes([Fine, Fine, Fine, Fine]).await?;
                let spec = json!({
                    "minHealthy": 0, "correlatedFailures": { "holdFor": "15s" }, "pauseRequests": ["not yet"],
                });
                let policy = w.policy().with(spec).create().await?;
                policy.condition("CorrelatedFailure", json!({ "status": "False" })).await?;
                for node in &zone {
                    node.becomes(FailingFor(0)).await?;
                }
                policy.condition("CorrelatedFailure", json!({ "status": "True", "reason": "GroupFailure" })).await?;
                policy.patch(json!({ "pauseRequests": null })).await?;
                for node in &zone {
                    let made = w.remediation(node).await?;
                    let waited = made.made()? - node.since()?;
                    ensure!(waited >= 15, "{} was remediated after {waited} s", node.name);
                }
                controller.kill().await;
                Ok(())
            }),
    ]
}
