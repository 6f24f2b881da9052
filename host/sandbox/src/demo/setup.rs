//! What an installation brings: CRDs, namespace, accounts, configuration, and the policy of the demonstration.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use palisade_api::remediator::LoadedModule;
use palisade_api::{NodeHealthCheck, Remediator, SelfNodeRemediationConfig, SelfNodeRemediationTemplate};
use serde_json::{Value, json};

use super::options::Scenario;
use crate::lab::NAMESPACE;
use crate::lab::fault::Fault;
use crate::lab::timings::{Timings, go};
use crate::lab::workload::{NODES_LABEL, ensure};

/// Name of the controller's service account.
pub const CONTROLLER: &str = "palisade-controller";
/// Name of the agents' service account.
pub const AGENT: &str = "palisade-agent";
/// Field manager of what is applied here.
const MANAGER: &str = "palisade-demo";
/// How long the controller may take to compile a component: engines of other languages take half a minute.
const LOAD_LIMIT: Duration = Duration::from_mins(3);
/// How long the API server may take to serve a new definition.
const ESTABLISH_LIMIT: Duration = Duration::from_secs(30);

/// Applies every definition in the folder and waits until all are served.
pub async fn crds(client: &Client, folder: &Path) -> anyhow::Result<usize> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("folder of the CRDs {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let definition: CustomResourceDefinition =
            serde_yaml_ng::from_str(&text).with_context(|| path.display().to_string())?;
        let name = definition.name_any();
        let parameters = PatchParams::apply(MANAGER).force();
        api.patch(&name, &parameters, &Patch::Apply(&definition)).await.with_context(|| format!("CRD {name}"))?;
        names.push(name);
    }
    anyhow::ensure!(!names.is_empty(), "no CRDs in {}: write them with `cargo xtask crds`", folder.display());
    let established = async {
        loop {
            let served = api.list(&ListParams::default()).await?.items;
            if names.iter().all(|name| served.iter().any(|crd| crd.name_any() == *name && is_established(crd))) {
                return Ok::<_, kube::Error>(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(ESTABLISH_LIMIT, established).await.context("the CRDs are not served")??;
    Ok(names.len())
}

fn is_established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .is_some_and(|all| all.iter().any(|condition| condition.type_ == "Established" && condition.status == "True"))
}

/// Namespace, service accounts and their rights.
pub async fn accounts(client: &Client) -> anyhow::Result<()> {
    ensure::<Namespace>(&Api::all(client.clone()), json!({ "metadata": { "name": NAMESPACE } })).await?;
    for name in [CONTROLLER, AGENT] {
        let account = json!({ "metadata": { "name": name } });
        ensure::<ServiceAccount>(&Api::namespaced(client.clone(), NAMESPACE), account).await?;
    }
    let roles: Api<ClusterRole> = Api::all(client.clone());
    ensure(&roles, json!({ "metadata": { "name": CONTROLLER }, "rules": controller_rules() })).await?;
    let reference = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": CONTROLLER });
    let binding =
        json!({ "metadata": { "name": CONTROLLER }, "roleRef": reference, "subjects": [subject(CONTROLLER)] });
    ensure::<ClusterRoleBinding>(&Api::all(client.clone()), binding).await?;
    for (role, rules) in [(CONTROLLER, controller_own_rules()), (AGENT, agent_rules())] {
        let roles: Api<Role> = Api::namespaced(client.clone(), NAMESPACE);
        ensure(&roles, json!({ "metadata": { "name": role }, "rules": rules })).await?;
        let reference = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role });
        let binding = json!({ "metadata": { "name": role }, "roleRef": reference, "subjects": [subject(role)] });
        ensure::<RoleBinding>(&Api::namespaced(client.clone(), NAMESPACE), binding).await?;
    }
    Ok(())
}

fn subject(account: &str) -> Value {
    json!({ "kind": "ServiceAccount", "name": account, "namespace": NAMESPACE })
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": groups, "resources": resources, "verbs": verbs })
}

fn controller_rules() -> Value {
    const READ: [&str; 3] = ["get", "list", "watch"];
    const ALL: [&str; 7] = ["get", "list", "watch", "create", "update", "patch", "delete"];
    json!([
        rule(&["remediation.medik8s.io", "self-node-remediation.medik8s.io", "palisade.dev"], &["*"], &ALL),
        rule(
            &[
                "machine-deletion-remediation.medik8s.io",
                "fence-agents-remediation.medik8s.io",
                "customized-user-remediation.medik8s.io"
            ],
            &["*"],
            &ALL
        ),
        rule(&[""], &["nodes"], &["get", "list", "watch", "update", "patch"]),
        rule(&[""], &["pods"], &["get", "list", "watch", "delete", "patch"]),
        rule(&["", "events.k8s.io"], &["events"], &["create", "update", "patch"]),
        rule(&[""], &["persistentvolumes", "persistentvolumeclaims", "namespaces", "configmaps"], &READ),
        // The one of the node leases, if nobody made it.
        rule(&[""], &["namespaces"], &["create"]),
        rule(&["storage.k8s.io"], &["volumeattachments"], &["get", "list", "watch", "delete"]),
        rule(&["apps"], &["statefulsets", "daemonsets", "replicasets", "deployments"], &READ),
        rule(&["batch"], &["jobs"], &READ),
        rule(&["coordination.k8s.io"], &["leases"], &ALL),
        rule(&["apiextensions.k8s.io"], &["customresourcedefinitions"], &READ),
        rule(&[""], &["serviceaccounts", "users", "groups"], &["impersonate"]),
    ])
}

fn controller_own_rules() -> Value {
    const ALL: [&str; 7] = ["get", "list", "watch", "create", "update", "patch", "delete"];
    json!([rule(&[""], &["secrets", "configmaps", "serviceaccounts"], &ALL)])
}

fn agent_rules() -> Value {
    json!([
        rule(&["coordination.k8s.io"], &["leases"], &["get", "list", "watch", "create", "update", "patch"]),
        rule(&[""], &["configmaps"], &["get", "list", "watch"]),
        rule(&["self-node-remediation.medik8s.io"], &["selfnoderemediationconfigs"], &["get", "list", "watch"]),
    ])
}

/// The one configuration of the agents.
pub async fn configuration(client: &Client, timings: &Timings) -> anyhow::Result<()> {
    let tuning = &timings.tuning;
    let config = json!({
        "apiVersion": "self-node-remediation.medik8s.io/v1alpha1", "kind": "SelfNodeRemediationConfig",
        "metadata": { "name": palisade_api::keys::self_node::CONFIG_NAME, "namespace": NAMESPACE },
        "spec": {
            "apiCheckInterval": go(tuning.api_check_interval),
            "apiServerTimeout": go(tuning.api_server_timeout),
            "maxApiErrorThreshold": tuning.max_api_error_threshold,
            "peerDialTimeout": go(tuning.peer_dial_timeout),
            "peerRequestTimeout": go(tuning.peer_request_timeout),
            "peerUpdateInterval": "10s",
            "minPeersForRemediation": 1,
        },
    });
    ensure::<SelfNodeRemediationConfig>(&Api::namespaced(client.clone(), NAMESPACE), config).await
}

/// A remediator of somebody else, and what the controller says of it once it is loaded.
pub async fn remediator(client: &Client, name: &str, spec: &Value) -> anyhow::Result<LoadedModule> {
    let api: Api<Remediator> = Api::all(client.clone());
    ensure::<Remediator>(&api, json!({ "metadata": { "name": name }, "spec": spec })).await?;
    let loaded = async {
        loop {
            let status = api.get(name).await?.status.unwrap_or_default();
            if let Some(why) = status.last_error {
                anyhow::bail!("the controller refuses the remediator: {why}");
            }
            if let Some(module) = status.module {
                return Ok(module);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(LOAD_LIMIT, loaded).await.context("the controller does not load the remediator")?
}

/// Template and health check of one scenario.
pub async fn policy(client: &Client, scenario: &Scenario) -> anyhow::Result<()> {
    let name = scenario.policy();
    let template = json!({
        "metadata": { "name": name, "annotations": { palisade_api::keys::remediation::MULTIPLE_TEMPLATES: "true" } },
        "spec": { "template": { "spec": { "remediationStrategy": scenario.strategy } } },
    });
    ensure::<SelfNodeRemediationTemplate>(&Api::namespaced(client.clone(), NAMESPACE), template).await?;
    let unhealthy_for = go(scenario.effective_timings().unhealthy_for);
    let check = json!({
        "metadata": { "name": name },
        "spec": {
            "selector": { "matchLabels": { NODES_LABEL: scenario.name } },
            // When most nodes are cut off, the threshold would hide what the protocol does.
            "minHealthy": if scenario.fault == Fault::MajorityCut { "1%" } else { "51%" },
            "unhealthyConditions": [
                { "type": "Ready", "status": "False", "duration": unhealthy_for },
                { "type": "Ready", "status": "Unknown", "duration": unhealthy_for },
            ],
            "remediationTemplate": {
                "apiVersion": "self-node-remediation.medik8s.io/v1alpha1",
                "kind": "SelfNodeRemediationTemplate", "name": name, "namespace": NAMESPACE,
            },
        },
    });
    ensure::<NodeHealthCheck>(&Api::all(client.clone()), check).await
}
