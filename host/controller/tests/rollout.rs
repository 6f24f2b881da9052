//! The agents follow the configuration, whatever happens to it or to their DaemonSet.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{NAMESPACE, VICTIM, World, eventually, stays};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use palisade_api::{SelfNodeRemediationConfig, SelfNodeRemediationTemplate};
use serde_json::{Value, json};

const CONFIG: &str = "self-node-remediation-config";
const AGENTS: &str = "self-node-remediation-ds";

fn sets(world: &World) -> Api<DaemonSet> {
    Api::namespaced(world.client.clone(), NAMESPACE)
}

fn configs(world: &World) -> Api<SelfNodeRemediationConfig> {
    Api::namespaced(world.client.clone(), NAMESPACE)
}

async fn agents(world: &World) -> DaemonSet {
    eventually("the agents' DaemonSet is there", || async { sets(world).get_opt(AGENTS).await.unwrap().is_some() })
        .await;
    sets(world).get(AGENTS).await.unwrap()
}

fn variable(set: &DaemonSet, name: &str) -> Option<String> {
    let pod = set.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers[0].env.as_ref()?.iter().find(|variable| variable.name == name)?.value.clone()
}

async fn configure(world: &World, spec: Value) -> SelfNodeRemediationConfig {
    let patch = Patch::Merge(json!({ "spec": spec }));
    configs(world).patch(CONFIG, &PatchParams::default(), &patch).await.unwrap()
}

async fn condition(world: &World, kind: &str) -> Option<(String, String)> {
    let status = configs(world).get(CONFIG).await.unwrap().status.unwrap_or_default();
    status.conditions.into_iter().find(|known| known.type_ == kind).map(|known| (known.status, known.message))
}

async fn generation_becomes(world: &World, wanted: i64) {
    let argument = format!("--config-generation={wanted}");
    eventually(&format!("the agents are told {argument}"), || async {
        let set = sets(world).get(AGENTS).await.unwrap();
        let pod = set.spec.unwrap().template.spec.unwrap();
        pod.containers[0].args.as_ref().unwrap().contains(&argument)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c021_c026_an_empty_cluster_gets_configuration_template_agents_and_their_account() {
    let world = World::rolling_out().await;
    let set = agents(&world).await;
    let config = configs(&world).get(CONFIG).await.unwrap();
    assert_eq!(config.spec.watchdog_file_path, "/dev/watchdog");
    let templates: Api<SelfNodeRemediationTemplate> = Api::namespaced(world.client.clone(), NAMESPACE);
    let name = "self-node-remediation-automatic-strategy-template";
    eventually("the template is there", || async { templates.get_opt(name).await.unwrap().is_some() }).await;
    let template = templates.get(name).await.unwrap();
    assert_eq!(template.labels()["remediation.medik8s.io/default-template"], "true");
    assert_eq!(set.metadata.owner_references.unwrap()[0].uid, config.uid().unwrap());

    let account: Api<ServiceAccount> = Api::namespaced(world.client.clone(), NAMESPACE);
    assert!(account.get_opt("palisade-agent").await.unwrap().is_some());
    let roles: Api<Role> = Api::namespaced(world.client.clone(), NAMESPACE);
    let granted = roles.get("palisade-agent").await.unwrap().rules.unwrap();
    // Nothing beyond leases, the trust, the configuration and the names of remediations; above all no secrets, no pods, no nodes.
    let resources: Vec<String> = granted.iter().flat_map(|rule| rule.resources.clone().unwrap()).collect();
    assert_eq!(resources, ["leases", "configmaps", "selfnoderemediationconfigs", "selfnoderemediations"]);
    let bindings: Api<RoleBinding> = Api::namespaced(world.client.clone(), NAMESPACE);
    assert_eq!(bindings.get("palisade-agent").await.unwrap().subjects.unwrap()[0].name, "palisade-agent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c031_what_somebody_does_to_the_daemon_set_is_undone() {
    let world = World::rolling_out().await;
    let first = agents(&world).await;
    // Edited: reverted, whether a value was changed or something was added.
    let edit = json!({ "spec": { "template": { "spec": { "hostNetwork": true, "priorityClassName": "low" } } } });
    sets(&world).patch(AGENTS, &PatchParams::default(), &Patch::Merge(&edit)).await.unwrap();
    eventually("the edit is reverted", || async {
        let pod = sets(&world).get(AGENTS).await.unwrap().spec.unwrap().template.spec.unwrap();
        pod.host_network.is_none() && pod.priority_class_name.as_deref() == Some("system-node-critical")
    })
    .await;
    // What others keep in its metadata stays.
    let note = json!({ "metadata": { "annotations": { "team.example/note": "mine" } } });
    sets(&world).patch(AGENTS, &PatchParams::default(), &Patch::Merge(&note)).await.unwrap();
    configure(&world, json!({ "maxApiErrorThreshold": 4 })).await;
    generation_becomes(&world, 2).await;
    assert_eq!(sets(&world).get(AGENTS).await.unwrap().annotations()["team.example/note"], "mine");
    assert_eq!(sets(&world).get(AGENTS).await.unwrap().uid(), first.uid());
    // Of another revision: made anew.
    let revision = json!({ "metadata": { "annotations": { "snr.medik8s.io/force-deletion-revision": "0" } } });
    sets(&world).patch(AGENTS, &PatchParams::default(), &Patch::Merge(&revision)).await.unwrap();
    eventually("it is made anew", || async {
        sets(&world).get_opt(AGENTS).await.unwrap().is_some_and(|set| set.uid() != first.uid())
    })
    .await;
    // Deleted: made again.
    let second = agents(&world).await;
    sets(&world).delete(AGENTS, &DeleteParams::default()).await.unwrap();
    eventually("it is made again", || async {
        sets(&world).get_opt(AGENTS).await.unwrap().is_some_and(|set| set.uid() != second.uid())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c020_c028_a_change_reaches_the_agents_and_what_does_not_concern_them_replaces_none() {
    let world = World::rolling_out().await;
    agents(&world).await;
    configure(
        &world,
        json!({ "isSoftwareRebootEnabled": false, "minPeersForRemediation": 0, "apiCheckInterval": "2s" }),
    )
    .await;
    generation_becomes(&world, 2).await;
    let set = agents(&world).await;
    assert_eq!(variable(&set, "IS_SOFTWARE_REBOOT_ENABLED").as_deref(), Some("false"));
    assert_eq!(variable(&set, "MIN_PEERS_FOR_REMEDIATION").as_deref(), Some("0"));
    assert_eq!(variable(&set, "API_CHECK_INTERVAL").as_deref(), Some("2000000000"));
    // Explicit false and 0 survive what the controller writes into the same object.
    eventually("the report is written", || async { condition(&world, "Valid").await.is_some() }).await;
    let spec = configs(&world).get(CONFIG).await.unwrap().spec;
    assert!(!spec.is_software_reboot_enabled && spec.min_peers_for_remediation == 0);
    // The floor of the wait is the controller's own business.
    let config = configure(&world, json!({ "safeTimeToAssumeNodeRebootedSeconds": 600 })).await;
    eventually("the change was looked at", || async {
        let status = configs(&world).get(CONFIG).await.unwrap().status.unwrap_or_default();
        status.observed_generation == config.metadata.generation
    })
    .await;
    assert_eq!(agents(&world).await.metadata.generation, set.metadata.generation);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_cannot_be_rolled_out_is_told_and_the_agents_stay() {
    let world = World::rolling_out().await;
    let before = agents(&world).await;
    // The stock definition names no upper limit for a port.
    configure(&world, json!({ "hostPort": 70_000 })).await;
    eventually("it is told", || async {
        condition(&world, "Valid")
            .await
            .is_some_and(|(value, text)| value == "False" && text.contains("hostPort is 70000"))
    })
    .await;
    let events: Api<Event> = Api::namespaced(world.client.clone(), NAMESPACE);
    let told = || async {
        let all = events.list(&ListParams::default()).await.unwrap();
        all.iter().any(|event| event.reason.as_deref() == Some("InvalidConfiguration"))
    };
    eventually("there is an event", told).await;
    assert_eq!(agents(&world).await.resource_version(), before.resource_version());
    configure(&world, json!({ "hostPort": 30_002 })).await;
    eventually("the agents get the port", || async {
        variable(&agents(&world).await, "HOST_PORT").as_deref() == Some("30002")
    })
    .await;
    // The agents come first, and then the report.
    eventually("the report takes it back", || async {
        condition(&world, "Valid").await.is_some_and(|(value, _)| value == "True")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn safe_reconfiguration_a_running_agents_own_terms_count_and_the_report_names_it() {
    let mut world = World::rolling_out().await;
    agents(&world).await;
    configure(&world, json!({ "apiCheckInterval": "1s", "maxApiErrorThreshold": 1 })).await;
    generation_becomes(&world, 2).await;
    // Given agents that still run with the first generation, as their leases say,
    eventually("the report names them", || async {
        condition(&world, "RolledOut").await.is_some_and(|(value, text)| value == "False" && text.contains(VICTIM))
    })
    .await;
    // when one of them is remediated, the proof is made of what it published, not of today's configuration.
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    world.completes("r1").await;
    let certificate = world.remediation("r1").await.status.unwrap().palisade.unwrap().certificate.unwrap();
    let published = Duration::from_millis(common::agent::TIME_TO_LIVE_MILLIS);
    assert_eq!(certificate.time_to_live.unwrap().to_std(), published);
    // When all run with the new one, the report says so.
    let client = world.client.clone();
    for node in ["n1", "n2", "n3", "n4"] {
        world.agents.publish(&client, node, "b1", |record| record.generation = 2).await;
    }
    eventually("all run with it", || async {
        condition(&world, "RolledOut").await.is_some_and(|(value, _)| value == "True")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c080_nodes_carry_what_older_tools_look_for() {
    let world = World::rolling_out().await;
    let nodes: Api<Node> = Api::all(world.client.clone());
    eventually("the node is annotated", || async {
        let node = nodes.get(VICTIM).await.unwrap();
        let is = |key: &str, value: &str| node.annotations().get(key).is_some_and(|known| known == value);
        is("is-reboot-capable.self-node-remediation.medik8s.io", "true")
            && is("self-node-remediation.medik8s.io/watchdog-timeout", "1")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_plane_nodes_are_told_their_role_where_they_are_to_diagnose_themselves() {
    let world = World::rolling_out().await;
    agents(&world).await;
    world.label("n2", "node-role.kubernetes.io/control-plane", "").await;
    let told = |lease: &Lease| lease.annotations().get("palisade.dev/control-plane").cloned();
    // Without the policy nobody is told anything.
    stays("nobody is told", Duration::from_secs(1), || async {
        told(&world.leases().get("n2").await.unwrap()).is_none()
    })
    .await;
    configure(&world, json!({ "controlPlanePolicy": "Diagnose" })).await;
    generation_becomes(&world, 2).await;
    assert_eq!(variable(&agents(&world).await, "CONTROL_PLANE_POLICY").as_deref(), Some("Diagnose"));
    eventually("the control-plane node is told", || async {
        told(&world.leases().get("n2").await.unwrap()).as_deref() == Some("true")
    })
    .await;
    assert_eq!(told(&world.leases().get("n3").await.unwrap()), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c033_c034_without_configuration_remediation_rests_and_goes_on_with_it() {
    let world = World::rolling_out().await;
    agents(&world).await;
    configs(&world).delete(CONFIG, &DeleteParams::default()).await.unwrap();
    world.silence().await;
    world.remediate("r1", "ResourceDeletion").await;
    let disabled = || async {
        let status = world.remediation("r1").await.status.unwrap_or_default();
        status.conditions.iter().any(|known| known.type_ == "Disabled" && known.reason == "ConfigurationNotFound")
    };
    eventually("it is disabled", disabled).await;
    stays("nothing is touched", Duration::from_secs(2), || async {
        world.taints().await.is_empty() && world.remediation("r1").await.finalizers().is_empty()
    })
    .await;
    let config = SelfNodeRemediationConfig::new(CONFIG, serde_json::from_value(json!({})).unwrap());
    configs(&world).create(&kube::api::PostParams::default(), &config).await.unwrap();
    world.completes("r1").await;
    assert!(!disabled().await);
}
