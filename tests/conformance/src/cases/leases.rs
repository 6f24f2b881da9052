//! 8.7: who may act on a node.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use crate::case::Tag::{Design, Fix, Keep};
use crate::case::{Case, Place, case};
use crate::node::State::{Fine, Sick, SickFor};
use crate::plane::Start;
use crate::world::{LEASES, SOON};

const SECTION: &str = "8.7";
const OTHER: &str = "node-maintenance";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("L01", Keep, SECTION)
            .given("a remediation from one template")
            .then("lease node-<name>, holder NodeHealthCheck-<policy>, 660 s, acquired = renewed, owned by the Node")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                w.remediation(&sick).await?;
                let holder = format!("NodeHealthCheck-{}", policy.name);
                let lease = sick.lease(json!({ "holderIdentity": holder, "leaseDurationSeconds": 660, "leaseTransitions": 0 })).await?;
                ensure!(lease["spec"]["acquireTime"] == lease["spec"]["renewTime"], "{}", lease["spec"]);
                let node = w.get("Node", "", &sick.name).await?.unwrap_or_default();
                let owner = &lease["metadata"]["ownerReferences"][0];
                let expected = json!({ "apiVersion": "v1", "kind": "Node", "name": sick.name, "uid": node["metadata"]["uid"] });
                crate::value::shows(owner, &expected).map_err(|why| anyhow::anyhow!("owner: {why}"))
            }),
        case("L02", Keep, SECTION)
            .given("a ladder of 5 min, then 7 min")
            .then("the lease lasts 360 s, then 480 s, with the same acquireTime and no transition")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let ladder = [("FooTemplate", "foo", 0, "5m"), ("BarTemplate", "bar", 1, "7m")];
                w.policy().ladder(&ladder).create().await?;
                let first = w.remediation_of("Foo", &sick).await?;
                let before = sick.lease(json!({ "leaseDurationSeconds": 360 })).await?;
                first.says("Succeeded", "False").await?;
                w.remediation_of("Bar", &sick).await?;
                let after = sick.lease(json!({ "leaseDurationSeconds": 480, "leaseTransitions": 0 })).await?;
                ensure!(before["spec"]["acquireTime"] == after["spec"]["acquireTime"], "acquireTime moved: {}", after["spec"]);
                Ok(())
            }),
        case("L03", Keep, SECTION)
            .given("somebody else holds a valid lease of a sick node, and it runs out")
            .then("nothing at first, Warning RemediationSkipped, Enabled; then a remediation, and the lease is taken over")
            .run(async |w| {
                let [sick, ..] = w.nodes([Fine, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                policy.shows(json!({ "healthyNodes": 3 })).await?;
                sick.lease_by(Some(OTHER), Duration::from_secs(20)).await?;
                sick.becomes(Sick).await?;
                let held = sick.lease(json!({ "holderIdentity": OTHER })).await?;
                let expires = crate::value::seconds(&held["spec"]["renewTime"])? + 20;
                policy.event("Warning", "RemediationSkipped", &sick.name).await?;
                policy.shows(json!({ "phase": "Enabled", "unhealthyNodes": [{ "name": sick.name, "remediations": null }] })).await?;
                let holder = format!("NodeHealthCheck-{}", policy.name);
                let made = w.remediation_within("Foo", &sick, Duration::from_secs(90)).await?;
                let early = expires - made.made()?;
                ensure!(early <= 0, "it was remediated {early} s before the lease of somebody else ran out");
                ensure!(early >= -60, "it was remediated only {} s after the lease ran out", -early);
                let lease = sick.lease(json!({ "holderIdentity": holder, "leaseTransitions": 1 })).await?;
                let taken = crate::value::seconds(&lease["spec"]["acquireTime"])?;
                ensure!((made.made()? - taken).abs() <= 10, "acquireTime is not the time of the take-over: {}", lease["spec"]);
                Ok(())
            }),
        case("L04", Keep, SECTION)
            .given("the namespace of the leases does not exist")
            .then("it is created")
            .at(Place::Alone)
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let start = Start { env: vec![("LEASE_NAMESPACE".into(), "l04-leases".into())], ..Start::default() };
                ensure!(w.get("Namespace", "", "l04-leases").await?.is_none(), "it exists before");
                let mut controller = w.controller_with(start)?;
                w.policy().create().await?;
                w.remediation(&sick).await?;
                ensure!(w.get("Namespace", "", "l04-leases").await?.is_some(), "it does not exist after");
                controller.kill().await;
                Ok(())
            }),
        case("L05", Keep, SECTION)
            .given("somebody else held a lease of the node that ran out long ago")
            .then("it is taken over at once: new acquireTime, one more transition")
            .run(async |w| {
                let [sick, ..] = w.nodes([Fine, Fine, Fine]).await?;
                sick.lease_by(Some(OTHER), Duration::from_mins(1)).await?;
                let old = "2020-01-01T00:00:00.000000Z";
                let spec = json!({ "spec": { "renewTime": old, "acquireTime": old, "leaseTransitions": 3 } });
                w.patch("Lease", LEASES, &format!("node-{}", sick.name), spec).await?;
                sick.becomes(Sick).await?;
                let policy = w.policy().create().await?;
                w.remediation(&sick).await?;
                let holder = format!("NodeHealthCheck-{}", policy.name);
                let lease = sick.lease(json!({ "holderIdentity": holder, "leaseTransitions": 4, "leaseDurationSeconds": 660 })).await?;
                ensure!(lease["spec"]["acquireTime"] != old, "acquireTime stayed");
                Ok(())
            }),
        case("L06", Keep, SECTION)
            .given("somebody else took the lease during the remediation, and the node recovers")
            .then("remediation deleted, status cleaned, the lease not touched")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                sick.lease(json!({})).await?;
                sick.lease_by(Some(OTHER), Duration::from_mins(10)).await?;
                let before = sick.lease_now().await?;
                sick.becomes(Fine).await?;
                made.gone().await?;
                policy.shows(json!({ "unhealthyNodes": null, "healthyNodes": 3, "phase": "Enabled" })).await?;
                policy.looked().await?;
                ensure!(sick.lease_now().await? == before, "the lease of somebody else was touched");
                Ok(())
            }),
        case("L07", Keep, SECTION)
            .given("the node recovers but its remediation is held by a finalizer")
            .then("the lease is kept until the remediation is really gone")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                made.held(true).await?;
                sick.becomes(Fine).await?;
                made.ending().await?;
                policy.looked().await?;
                ensure!(sick.lease_now().await?.is_some(), "the lease was released while the remediation still works");
                made.held(false).await?;
                sick.lease_gone().await
            }),
        case("L08", Keep, SECTION)
            .given("our lease would end before the next renewal is due")
            .then("it is renewed to 660 s from now, with the same acquireTime and no transition")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                w.remediation(&sick).await?;
                let before = sick.lease(json!({ "leaseDurationSeconds": 660 })).await?;
                // Renewed 500 s ago: 160 s are left, and 600 s are to be covered.
                let ago = crate::value::stamp(-500).replace('Z', ".000000Z");
                let spec = json!({ "spec": { "renewTime": ago, "acquireTime": ago } });
                w.patch("Lease", LEASES, &format!("node-{}", sick.name), spec).await?;
                policy.looked().await?;
                let holder = before["spec"]["holderIdentity"].clone();
                let old = crate::value::seconds(&json!(ago))?;
                w.eyes().until("the renewal", SOON, || {
                    let lease = w.eyes().get("Lease", LEASES, &format!("node-{}", sick.name)).unwrap_or_default();
                    let spec = &lease["spec"];
                    let renewed = crate::value::seconds(&spec["renewTime"]).is_ok_and(|at| at > old + 400);
                    let same = spec["acquireTime"] == *ago && spec["leaseTransitions"] == 0 && spec["holderIdentity"] == holder;
                    if renewed && same { Ok(()) } else { Err(spec.to_string()) }
                })
                .await
            }),
        case("L09", Keep, SECTION)
            .given("somebody else takes the lease while a remediation runs and the node stays sick")
            .then("the remediation goes on without a lease; the other's lease is not touched")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                sick.lease(json!({})).await?;
                sick.lease_by(Some(OTHER), Duration::from_mins(10)).await?;
                let before = sick.lease_now().await?;
                policy.looked().await?;
                made.stays().await?;
                ensure!(sick.lease_now().await? == before, "the lease of somebody else was touched");
                Ok(())
            }),
        case("L13", Design, SECTION)
            .given("one template, and our lease was acquired 40 minutes ago")
            .then("no hidden limit of 30 minutes: the remediation goes on, is not told to stop, and keeps its lease")
            .run(async |w| {
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                let policy = w.policy().create().await?;
                let made = w.remediation(&sick).await?;
                sick.lease(json!({ "leaseDurationSeconds": 660 })).await?;
                let ago = crate::value::stamp(-2_400).replace('Z', ".000000Z");
                let name = format!("node-{}", sick.name);
                w.patch("Lease", LEASES, &name, json!({ "spec": { "acquireTime": ago } })).await?;
                policy.looked().await?;
                let told = made.now().await?["metadata"]["annotations"][crate::remediation::TIMED_OUT].is_string();
                ensure!(!told, "it was told to stop");
                ensure!(sick.lease_now().await?.is_some(), "its lease was dropped");
                policy.shows(json!({ "unhealthyNodes": [{ "remediations": [{ "timedOut": null }] }] })).await.map(drop)
            }),
        case("L10", Fix, SECTION)
            .given("our lease becomes somebody else's while another node is about to get sick in 6 s")
            .then("the other node is detected in time")
            .run(async |w| {
                let [first, second, ..] = w.nodes([Sick, Fine, Fine, Fine, Fine]).await?;
                let policy = w.policy().after("6s").create().await?;
                w.remediation(&first).await?;
                first.lease(json!({})).await?;
                second.becomes(SickFor(0)).await?;
                policy.shows(json!({ "healthyNodes": 3 })).await?;
                first.lease_by(Some(OTHER), Duration::from_mins(10)).await?;
                let after = w.remediation(&second).await?.made()? - second.since()?;
                ensure!((6..=20).contains(&after), "it was remediated after {after} s instead of 6 s");
                Ok(())
            }),
        case("L11", Fix, SECTION)
            .given("a lease without holder of a healthy node")
            .then("it is left alone")
            .run(async |w| {
                let [node, _] = w.nodes([Fine, Fine]).await?;
                node.lease_by(None, Duration::from_mins(10)).await?;
                let before = node.lease_now().await?;
                let policy = w.policy().create().await?;
                policy.shows(json!({ "healthyNodes": 2 })).await?;
                policy.looked().await?;
                ensure!(node.lease_now().await? == before, "it was touched");
                Ok(())
            }),
        case("L12", Keep, SECTION)
            .given("LEASE_NAMESPACE=l12-foo in the environment of the controller")
            .then("the leases are there and nowhere else")
            .at(Place::Alone)
            .run(async |w| {
                let start = Start { env: vec![("LEASE_NAMESPACE".into(), "l12-foo".into())], ..Start::default() };
                let mut controller = w.controller_with(start)?;
                let [sick, ..] = w.nodes([Sick, Fine, Fine]).await?;
                w.policy().create().await?;
                w.remediation(&sick).await?;
                let name = format!("node-{}", sick.name);
                w.until("the lease", "Lease", "l12-foo", &name, |_| Ok(())).await?;
                ensure!(sick.lease_now().await?.is_none(), "there is one in {LEASES} too");
                sick.becomes(Fine).await?;
                w.eyes().until("its release", crate::world::SOON, || match w.eyes().get("Lease", "l12-foo", &name) {
                    None => Ok(()),
                    Some(_) => Err("it is held".to_owned()),
                }).await?;
                controller.kill().await;
                Ok(())
            }),
    ]
}
