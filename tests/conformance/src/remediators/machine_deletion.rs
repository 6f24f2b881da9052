//! D.2: machine deletion.

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use super::machines::{KIND, LINK, annotate, fleet, know, remediate, remediate_as};
use super::subject::Subject;
use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, Draft, case};
use crate::node::State::{Fine, Sick};

const SECTION: &str = "D.2";
const FIXTURE: &str = "openshift/0000_10_machine-api_01_machines-Default.crd.yaml";
const TIMED_OUT: &str = "remediation.medik8s.io/nhc-timed-out";
const EXPECTED: &str = "PermanentNodeDeletionExpected";

fn md(id: &'static str, tag: crate::case::Tag) -> Draft {
    case(id, tag, SECTION).fixture(FIXTURE)
}

/// The cases.
pub fn cases() -> Vec<Case> {
    let mut cases = run();
    cases.extend(refused());
    cases.extend(ends());
    cases
}

fn run() -> Vec<Case> {
    vec![
        md("MD-01", Keep)
            .given("a worker whose machine belongs to a set of three")
            .then("its machine alone is deleted, and success comes only with a Ready replacement")
            .run(async |w| {
                let fleet = fleet(&w, Some(3)).await?;
                let (sick, machine) = fleet.member(Sick).await?;
                let others = [fleet.member(Fine).await?, fleet.member(Fine).await?];
                let mdr = remediate(&w, &sick).await?;
                mdr.says("Processing", "True", "RemediationStarted").await?;
                fleet.deletion(&machine).await?;
                let now = mdr.now().await?;
                let notes = &now["metadata"]["annotations"];
                let recorded = &notes["machine-deletion-remediation.medik8s.io/machineNameNamespace"];
                ensure!(*recorded == format!("{}/m-{}", w.name, sick.name), "it names {recorded}");
                fleet.finish(&machine, &sick).await?;
                let (new, _) = fleet.member(Sick).await?;
                tokio::time::sleep(Duration::from_secs(6)).await;
                unfinished(&mdr).await?;
                new.becomes(Fine).await?;
                mdr.says("Succeeded", "True", "MachineDeleted").await?;
                for (_, machine) in &others {
                    fleet.untouched(machine)?;
                }
                mdr.leaves().await
            }),
        md("MD-02", Keep)
            .given("a machine of a cloud")
            .then("PermanentNodeDeletionExpected=True is stored before its deletion is asked for")
            .run(async |w| expectation(&w, json!({}), "True").await),
        md("MD-03", Keep)
            .given("a machine of bare metal")
            .then("PermanentNodeDeletionExpected=False is stored before")
            .run(async |w| {
                expectation(&w, json!({ "spec": { "providerID": "baremetalhost:///ns/host" } }), "False").await
            }),
        md("MD-04", Keep)
            .given("a machine without provider id")
            .then("PermanentNodeDeletionExpected=Unknown, and it is deleted all the same")
            .run(async |w| expectation(&w, json!({ "spec": { "providerID": null } }), "Unknown").await),
        md("MD-15", Keep)
            .given("a remediation that a machine owns, whose node never came to be")
            .then("the machine is found by the owner reference, and deleted by its UID")
            .run(async |w| {
                let fleet = fleet(&w, Some(1)).await?;
                let machine = fleet.machine("m-alone", None, json!({})).await?;
                remediate_as(&w, "m-alone", json!({ "ownerReferences": owned_by(&machine) })).await?;
                fleet.deletion(&machine).await.map(drop)
            }),
        md("MD-17", Fix)
            .given("a node of Cluster API")
            .then("its machine is found by both annotations, and deleted through that group")
            .fixture("cluster-api/cluster.x-k8s.io_machines.yaml")
            .run(async |w| super::cluster_api::machine_is_deleted(&w).await),
        md("MD-22", Fix)
            .given("an owner that does not say how many machines it wants")
            .then("no instant success: a Ready replacement is waited for")
            .run(async |w| {
                let fleet = fleet(&w, None).await?;
                let (sick, machine) = fleet.member(Sick).await?;
                let mdr = remediate(&w, &sick).await?;
                fleet.deletion(&machine).await?;
                fleet.finish(&machine, &sick).await?;
                tokio::time::sleep(Duration::from_secs(6)).await;
                unfinished(&mdr).await?;
                fleet.member(Fine).await?;
                mdr.says("Succeeded", "True", "MachineDeleted").await.map(drop)
            }),
    ]
}

fn refused() -> Vec<Case> {
    vec![
        md("MD-05", Keep)
            .given("a machine without a controller among its owners")
            .then("refused with a reason of its own, and the machine stays")
            .run(async |w| {
                let fleet = fleet(&w, Some(1)).await?;
                let change = json!({ "metadata": { "ownerReferences": null } });
                let (sick, machine) = fleet.member_with(Sick, change).await?;
                let mdr = remediate(&w, &sick).await?;
                mdr.fails("RemediationCannotStartNoControllerOwner", &["no controller"]).await?;
                fleet.untouched(&machine)
            }),
        md("MD-08", Fix)
            .given("a control-plane machine that the quorum needs, and a remediation made by hand")
            .then("the remediator itself refuses")
            .run(async |w| {
                let fleet = fleet(&w, Some(3)).await?;
                let label =
                    json!({ "metadata": { "labels": { "machine.openshift.io/cluster-api-machine-role": "master" } } });
                let (sick, machine) = fleet.member_with(Sick, label).await?;
                let mdr = remediate(&w, &sick).await?;
                mdr.fails("RemediationCannotStartControlPlane", &["quorum"]).await?;
                fleet.untouched(&machine)
            }),
        md("MD-09", Keep)
            .given("a control-plane machine, while another one is being deleted")
            .then("it waits, and says for which")
            .run(async |w| {
                let fleet = fleet(&w, Some(3)).await?;
                let label =
                    json!({ "metadata": { "labels": { "machine.openshift.io/cluster-api-machine-role": "master" } } });
                let (_, going) = fleet.member_with(Fine, label.clone()).await?;
                let (sick, machine) = fleet.member_with(Sick, label).await?;
                w.delete("Machine", &w.name, going["metadata"]["name"].as_str().unwrap_or_default()).await?;
                fleet.deletion(&going).await?;
                let mdr = remediate(&w, &sick).await?;
                mdr.says("MachineDeletionWaits", "True", "Unavailable").await?;
                unfinished(&mdr).await?;
                fleet.untouched(&machine)
            }),
        md("MD-10", Keep)
            .given("a node that names no machine")
            .then("terminal, with a warning that names the missing link")
            .run(async |w| {
                know(&w).await?;
                let node = w.node(Sick).await?;
                let mdr = remediate(&w, &node).await?;
                mdr.fails("RemediationFailed", &[LINK]).await?;
                let event = mdr.event(KIND, &mdr.name, "RemediationFailed").await?;
                ensure!(event["type"] == "Warning", "it is {}", event["type"]);
                Ok(())
            }),
        md("MD-11", Keep)
            .given("nodes whose annotation is `ns`, `a/b/c` and empty")
            .then("terminal, with a message of its own for each")
            .run(async |w| {
                know(&w).await?;
                for (value, word) in [("ns", "no namespace"), ("a/b/c", "more than two parts"), ("", "empty")] {
                    let node = w.node(Sick).await?;
                    annotate(&w, &node, json!({ LINK: value })).await?;
                    remediate(&w, &node).await?.fails("RemediationFailed", &[word]).await?;
                }
                Ok(())
            }),
        md("MD-12", Keep)
            .given("an annotation that names a machine which does not exist")
            .then("terminal, machine not found")
            .run(async |w| {
                know(&w).await?;
                let node = w.node(Sick).await?;
                annotate(&w, &node, json!({ LINK: format!("{}/nobody", w.name) })).await?;
                let mdr = remediate(&w, &node).await?;
                mdr.fails("RemediationCannotStartMachineNotFound", &["nobody does not exist"]).await
            }),
        md("MD-14", Fix)
            .given("two nodes that name the same machine, whose status names the healthy one")
            .then("the remediation of the other one is refused, and the machine stays")
            .run(async |w| {
                let fleet = fleet(&w, Some(1)).await?;
                let (_, machine) = fleet.member(Fine).await?;
                let impostor = w.node(Sick).await?;
                let name = machine["metadata"]["name"].as_str().unwrap_or_default();
                annotate(&w, &impostor, json!({ LINK: format!("{}/{name}", w.name) })).await?;
                remediate(&w, &impostor).await?.fails("RemediationFailed", &["nodeRef"]).await?;
                fleet.untouched(&machine)
            }),
        md("MD-16", Fix)
            .given("a remediation owned by a Machine of an unrelated API group, for a node that names no machine")
            .then("that owner is ignored, and nothing is found")
            .run(async |w| {
                know(&w).await?;
                let node = w.node(Sick).await?;
                let owners =
                    json!([{ "apiVersion": "vending.example/v1", "kind": "Machine", "name": "m", "uid": "u" }]);
                let mdr = remediate_as(&w, &node.name, json!({ "ownerReferences": owners })).await?;
                mdr.fails("RemediationFailed", &[LINK]).await
            }),
        md("MD-25", Fix)
            .given("a machine that is younger than the remediation at first sight")
            .then("a terminal reason, and no loop of errors")
            .run(async |w| {
                let fleet = fleet(&w, Some(1)).await?;
                let node = w.node(Sick).await?;
                annotate(&w, &node, json!({ "unrelated": "yes" })).await?;
                // Held back until its machine is there: everybody keeps away from an excluded node.
                node.label("remediation.medik8s.io/exclude-from-remediation", Some("true")).await?;
                let mdr = remediate(&w, &node).await?;
                mdr.says("Succeeded", "False", "RemediationSkipped").await?;
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                let machine = fleet.machine("m-young", Some(&node), json!({})).await?;
                annotate(&w, &node, json!({ LINK: format!("{}/m-young", w.name) })).await?;
                node.label("remediation.medik8s.io/exclude-from-remediation", None).await?;
                mdr.fails("RemediationFailed", &["after this remediation"]).await?;
                fleet.untouched(&machine)
            }),
    ]
}

fn ends() -> Vec<Case> {
    vec![
        md("MD-23", Fix)
            .given("its detector gives up just after the deletion was asked for")
            .then("the status says that it cannot be taken back")
            .run(async |w| {
                let fleet = fleet(&w, Some(1)).await?;
                let (sick, machine) = fleet.member(Sick).await?;
                let mdr = remediate(&w, &sick).await?;
                fleet.deletion(&machine).await?;
                mdr.annotate(TIMED_OUT, "2026-01-01T00:00:00Z").await?;
                mdr.fails("RemediationStoppedByNHC", &["cannot be taken back"]).await?;
                mdr.leaves().await
            }),
        md("MD-B1-2", Fix)
            .given("a machine with two owners, of which one is its controller")
            .then("its deletion is asked for, and the controller is recorded (weakness B.1 #2)")
            .run(async |w| {
                let fleet = fleet(&w, Some(1)).await?;
                let mut owners = fleet.owner();
                let other = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "notes", "uid": "u" });
                owners.as_array_mut().into_iter().for_each(|all| all.insert(0, other.clone()));
                let (sick, machine) =
                    fleet.member_with(Sick, json!({ "metadata": { "ownerReferences": owners } })).await?;
                let mdr = remediate(&w, &sick).await?;
                fleet.deletion(&machine).await?;
                let notes = mdr.now().await?["metadata"]["annotations"].clone();
                let recorded = &notes["machine-deletion-remediation.medik8s.io/machineOwner"];
                ensure!(*recorded == "MachineSet/set", "it names {recorded}");
                mdr.leaves().await
            }),
        md("MD-B1-3", Fix)
            .given("a recorded machine is gone, and another one has its name")
            .then("the new one is left alone (weakness B.1 #3)")
            .run(async |w| {
                let fleet = fleet(&w, Some(1)).await?;
                let (sick, machine) = fleet.member(Sick).await?;
                let mdr = remediate(&w, &sick).await?;
                fleet.deletion(&machine).await?;
                fleet.finish(&machine, &sick).await?;
                let name = machine["metadata"]["name"].as_str().unwrap_or_default();
                let (node, ()) = (w.node(Fine).await?, ());
                let again = fleet.machine(name, Some(&node), json!({})).await?;
                mdr.says("Succeeded", "True", "MachineDeleted").await?;
                let now = w.get("Machine", &w.name, name).await?.unwrap_or_default();
                ensure!(now["metadata"]["uid"] == again["metadata"]["uid"], "it was made again");
                ensure!(now["metadata"]["deletionTimestamp"].is_null(), "the new one is deleted");
                Ok(())
            }),
    ]
}

fn owned_by(machine: &Value) -> Value {
    json!([{ "apiVersion": "machine.openshift.io/v1beta1", "kind": "Machine", "name": machine["metadata"]["name"],
        "uid": machine["metadata"]["uid"] }])
}

async fn unfinished(mdr: &Subject) -> anyhow::Result<()> {
    let now = mdr.now().await?;
    let succeeded = crate::value::condition(&now["status"], "Succeeded");
    ensure!(succeeded["status"] == "Unknown", "it has Succeeded={succeeded}");
    Ok(())
}

async fn expectation(w: &std::rc::Rc<crate::world::World>, change: Value, expected: &str) -> anyhow::Result<()> {
    let fleet = fleet(w, Some(1)).await?;
    let (sick, machine) = fleet.member_with(Sick, change).await?;
    let mdr = remediate(w, &sick).await?;
    mdr.says(EXPECTED, expected, "").await?;
    let deleted = fleet.deletion(&machine).await?;
    // Versions rise over all objects of the API server.
    let version =
        |object: &Value| object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse::<u64>().ok());
    let told = w.eyes().history(KIND, |seen| {
        seen["metadata"]["namespace"] == *w.name
            && crate::value::condition(&seen["status"], EXPECTED)["status"] == *expected
    });
    let first = told.iter().filter_map(|sight| version(&sight.object)).min();
    ensure!(first < version(&deleted), "told in version {first:?}, deleted in {:?}", version(&deleted));
    mdr.event(KIND, &mdr.name, EXPECTED).await.map(drop)
}
