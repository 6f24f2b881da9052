//! What everybody but the controller does, for each remediator.

use std::rc::Rc;

use anyhow::bail;
use palisade_conformance::node::Node;
use palisade_conformance::node::State::{Fine, Sick};
use palisade_conformance::plane::NAMESPACE;
use palisade_conformance::remediators::devices::Bench;
use palisade_conformance::remediators::subject::Subject;
use palisade_conformance::remediators::{approval, machines, metal3, script};
use palisade_conformance::self_node::{self, subject};
use palisade_conformance::world::World;
use serde_json::json;

use super::observe::{Observed, remove_pods};
use super::people;
use crate::ending::Ending;
use crate::scenario::{Agent, Device, Job, Machine, Person, Scenario};

const TIMED_OUT: &str = "remediation.medik8s.io/nhc-timed-out";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";

/// What several scenarios need and only one of them can bring.
pub async fn prepare(world: &Rc<World>, scenarios: &[Scenario]) -> anyhow::Result<()> {
    let plays = |name: &str| scenarios.iter().any(|scenario| scenario.remediator == name);
    if plays("meatware") {
        approval::prepare(world).await?;
    }
    if plays("machine-deletion") {
        machines::know(world).await?;
    }
    self_node::know(world).await
}

/// Plays a scenario.
pub async fn play(world: &Rc<World>, scenario: &Scenario) -> anyhow::Result<Ending> {
    match scenario.remediator {
        "self-node" => by_itself(world, scenario, "ResourceDeletion").await,
        "out-of-service-taint" => by_itself(world, scenario, "OutOfServiceTaint").await,
        "machine-deletion" => by_its_machine(world, scenario).await,
        "fence-agents" => by_its_device(world, scenario).await,
        "metal3" => by_its_host(world, scenario).await,
        "meatware" => by_people(world, scenario).await,
        "script" => by_a_job(world, scenario).await,
        other => bail!("no remediator {other:?}"),
    }
}

async fn pods(world: &World, node: &Node) -> anyhow::Result<()> {
    world.pod(node, "web", "ReplicaSet", json!([])).await?;
    world.pod(node, "db-0", "StatefulSet", json!([])).await
}

fn observed<'a>(world: &'a Rc<World>, subject: &Subject, node: &Node) -> Observed<'a> {
    Observed { world, kind: subject.kind, name: subject.name.clone(), node: node.name.clone() }
}

/// The verdict, then the node is well again: with another boot if its workloads were released.
async fn end(observed: &Observed<'_>, node: &Node) -> anyhow::Result<Ending> {
    let mut ending = observed.verdict().await?;
    if !ending.released.is_empty() {
        observed.world.boots(node, "b2").await?;
    }
    node.becomes(Fine).await?;
    ending.afterwards = observed.leaves().await?;
    Ok(ending)
}

/// A sick node without agent and two pods.
async fn sick(world: &Rc<World>) -> anyhow::Result<Node> {
    let node = world.booted().await?;
    pods(world, &node).await?;
    node.becomes(Sick).await?;
    Ok(node)
}

async fn by_itself(world: &Rc<World>, scenario: &Scenario, strategy: &str) -> anyhow::Result<Ending> {
    let trio = world.trio().await?;
    // What proves the end is what the scenario says; with promises it would be whatever comes first.
    trio.refuse();
    let victim = &trio.victim;
    pods(world, &victim.node).await?;
    victim.node.becomes(Sick).await?;
    let snr = world.remediate(&victim.node, strategy).await?;
    let observed = Observed { world, kind: subject::KIND, name: snr.name.clone(), node: victim.node.name.clone() };
    let intent = victim.intended().await?;
    match scenario.agent {
        Agent::Acknowledges => {
            let uid = intent["uid"].as_str().unwrap_or_default().to_owned();
            victim.publish("b1", |record| record.acknowledged = Some(uid)).await?;
            if strategy == "OutOfServiceTaint" {
                victim.tainted(subject::OUT_OF_SERVICE, true).await?;
                remove_pods(world, &["web", "db-0"]).await?;
            }
        }
        Agent::ComesBack => {
            victim.comes_back("b2").await?;
            // The kubelet of the new boot confirms the pod that was marked.
            remove_pods(world, &["db-0"]).await?;
        }
        Agent::Silent | Agent::Absent => {}
    }
    if scenario.gives_up {
        snr.annotate(TIMED_OUT, "2026-01-01T00:00:00Z").await?;
    }
    let mut ending = observed.verdict().await?;
    match scenario.agent {
        Agent::Acknowledges => victim.comes_back("b2").await?,
        _ => victim.node.becomes(Fine).await?,
    }
    ending.afterwards = observed.leaves().await?;
    Ok(ending)
}

async fn by_its_machine(world: &Rc<World>, scenario: &Scenario) -> anyhow::Result<Ending> {
    let fleet = machines::fleet(world, Some(1)).await?;
    let alone = scenario.machine == Machine::Alone;
    let change = if alone { json!({ "metadata": { "ownerReferences": null } }) } else { json!({}) };
    let (node, machine) = fleet.member_with(Sick, change).await?;
    pods(world, &node).await?;
    let mdr = machines::remediate(world, &node).await?;
    let observed = observed(world, &mdr, &node);
    if !alone {
        fleet.deletion(&machine).await?;
        fleet.finish(&machine, &node).await?;
        fleet.member(Fine).await?;
    }
    let mut ending = observed.verdict().await?;
    if alone {
        fleet.untouched(&machine)?;
        node.becomes(Fine).await?;
    }
    ending.afterwards = observed.leaves().await?;
    Ok(ending)
}

/// The shipped roles read Secrets in the controller's namespace only. Where templates are elsewhere, somebody has to add
/// this, as `deploy/rbac/remediator-fence-agents.yaml` says.
async fn may_read_secrets(world: &World) -> anyhow::Result<()> {
    let (group, name) = ("rbac.authorization.k8s.io", "palisade-devices");
    let metadata = json!({ "name": name, "namespace": world.name });
    let rules = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }]);
    let role = json!({ "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": rules });
    world.plane.ensure(&role).await?;
    let account = json!({ "kind": "ServiceAccount", "name": "palisade-controller", "namespace": NAMESPACE });
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
        "roleRef": { "apiGroup": group, "kind": "Role", "name": name }, "subjects": [account],
    });
    world.plane.ensure(&binding).await
}

async fn by_its_device(world: &Rc<World>, scenario: &Scenario) -> anyhow::Result<Ending> {
    may_read_secrets(world).await?;
    let bench = Bench::new(world).await?;
    pods(world, &bench.node).await?;
    if scenario.device == Device::Refuses {
        bench.device.does("off", "echo it does not answer >&2; exit 1")?;
    }
    let taint = scenario.parameters.contains("OutOfServiceTaint");
    let change = if taint {
        json!({ "remediationStrategy": "OutOfServiceTaint", "sharedparameters": { "--action": "off" } })
    } else {
        json!({ "retrycount": 1 })
    };
    let far = bench.remediate(change).await?;
    if taint {
        bench.node.shows_taint(OUT_OF_SERVICE).await?;
        remove_pods(world, &["web", "db-0"]).await?;
    }
    end(&observed(world, &far, &bench.node), &bench.node).await
}

async fn by_its_host(world: &Rc<World>, scenario: &Scenario) -> anyhow::Result<Ending> {
    let kept = scenario.device == Device::KeptOff;
    let scene =
        metal3::Scene::new(world, if kept { json!({ "spec": { "online": false } }) } else { json!({}) }).await?;
    // The scene brings the other pod.
    world.pod(&scene.node, "db-0", "StatefulSet", json!([])).await?;
    let wr = scene.remediate(json!({})).await?;
    if !kept {
        scene.held().await?;
    }
    if scenario.gives_up {
        wr.annotate(TIMED_OUT, "2026-01-01T00:00:00Z").await?;
    }
    if scenario.device == Device::Works {
        scene.goes_off().await?;
        scene.let_go().await?;
        scene.powered(true).await?;
    }
    end(&observed(world, &wr, &scene.node), &scene.node).await
}

async fn by_people(world: &Rc<World>, scenario: &Scenario) -> anyhow::Result<Ending> {
    let node = sick(world).await?;
    let about = json!({ "annotations": { "remediation.medik8s.io/node-name": node.name } });
    let spec = json!({ "remediator": "meatware" });
    let wr = world.asks("WasmRemediation", "palisade.dev/v1alpha1", "wr", about, spec).await?;
    if scenario.approve == Person::Denies {
        people::answer(&wr, "ApproveAction", "approval.palisade.dev/deny").await?;
    } else {
        people::answer(&wr, "ApproveAction", "approval.palisade.dev/approve").await?;
        people::answer(&wr, "ConfirmIsolated", "approval.palisade.dev/confirm-isolated").await?;
    }
    end(&observed(world, &wr, &node), &node).await
}

async fn by_a_job(world: &Rc<World>, scenario: &Scenario) -> anyhow::Result<Ending> {
    let evidence = scenario.job == Job::Evidence;
    let annotations = if evidence { json!({ "palisade.dev/evidence": "powered-off" }) } else { json!({}) };
    let node = sick(world).await?;
    let scene = script::Scene::of(world, node, annotations).await?;
    let cur = scene.run("job").await?;
    scene.job(&cur).await?;
    scene.finish(&cur, if scenario.job == Job::Fails { "Failed" } else { "Complete" }).await?;
    end(&observed(world, &cur, &scene.node), &scene.node).await
}
