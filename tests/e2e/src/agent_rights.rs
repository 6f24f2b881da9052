//! What the agent's own account may write, on an API server that enforces it: a token bound to a pod on one node, and
//! the policy of `deploy/admission`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use palisade_api::SelfNodeRemediationConfig;
use serde_json::{Value, json};

use crate::suite::Suite;

const NAMESPACE: &str = "palisade-system";
const ACCOUNT: &str = "palisade-agent";
const MINE: &str = "rights-node-1";
const OTHER: &str = "rights-node-2";
/// A policy counts some moments after it was stored.
const COUNTS: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(200);

/// Plays the case.
pub async fn of_an_agent_end_at_its_node(suite: &mut Suite, deploy: &Path) {
    let started = Instant::now();
    let result = Box::pin(check(suite, deploy)).await;
    suite.note("an agent writes its own lease, relays records of others, and nothing else", started, result);
}

fn text(error: impl std::fmt::Display) -> String {
    format!("{error:#}")
}

async fn check(suite: &Suite, deploy: &Path) -> Result<(), String> {
    for manifest in ["agent-rights.yaml", "agent-lease.yaml"] {
        let path = deploy.join("admission").join(manifest).display().to_string();
        suite.kubectl(&["apply", "-f", &path]).await?;
    }
    let outcome = Box::pin(rules(suite)).await;
    // Agents of other cases have other tokens.
    let policy = deploy.join("admission/agent-lease.yaml").display().to_string();
    suite.kubectl(&["delete", "-f", &policy]).await?;
    outcome
}

async fn rules(suite: &Suite) -> Result<(), String> {
    let admin = client(suite, None).await?;
    let token = bound_token(&admin, MINE).await?;
    let agent = client(suite, Some(token)).await?;
    let unbound = client(suite, Some(plain_token(&admin).await?)).await?;
    let leases = |client: &Client| Api::<Lease>::namespaced(client.clone(), NAMESPACE);
    let (as_admin, as_agent, as_unbound) = (leases(&admin), leases(&agent), leases(&unbound));

    // Given leases of both nodes, the other one with an intent and a request of its own,
    let own = lease(MINE, 1, "b1");
    let mut other = lease(OTHER, 5, "b1");
    other.annotations_mut().insert("palisade.dev/agent-signing-request".into(), "their request".into());
    other.annotations_mut().insert("palisade.dev/fence-intent".into(), "their intent".into());
    as_admin.create(&PostParams::default(), &other).await.map_err(text)?;
    wait_until_it_counts(&as_unbound).await?;

    // the agent may create and renew its own lease, with every annotation that is its own,
    as_agent.create(&PostParams::default(), &own).await.map_err(text)?;
    let renewed = json!({
        "metadata": {
            "annotations": { "palisade.dev/agent": record(MINE, 2, "b1"), "palisade.dev/agent-signing-request": "mine" },
            "labels": { "topology.kubernetes.io/zone": "a" }
        },
        "spec": { "leaseDurationSeconds": 72 }
    });
    allowed(&as_agent, MINE, renewed).await?;
    // also for a new boot, which counts from one again,
    allowed(&as_agent, MINE, annotations(&[("palisade.dev/agent", &record(MINE, 1, "b2"))])).await?;
    // and it may relay what the other node signed, beside an intent that stays.
    let relayed = annotations(&[
        ("palisade.dev/agent", &record(OTHER, 6, "b1")),
        ("palisade.dev/agent-signature", "signed"),
        ("palisade.dev/agent-certificate", "certified"),
    ]);
    allowed(&as_agent, OTHER, relayed).await?;

    // Everything else is refused, with the reason.
    let intent = "palisade.dev/fence-intent";
    let newer = record(OTHER, 7, "b1");
    for (what, node, patch, why) in [
        ("an intent in its own lease", MINE, annotations(&[(intent, "x")]), "by the controller alone"),
        ("a role for itself", MINE, annotations(&[("palisade.dev/control-plane", "true")]), "by the controller alone"),
        ("its own record under another name", MINE, annotations(&[("palisade.dev/agent", &newer)]), "names the node"),
        ("to clear another's intent", OTHER, json!({"metadata": {"annotations": {intent: null}}}), "controller alone"),
        (
            "a signing request for another",
            OTHER,
            annotations(&[("palisade.dev/agent", &newer), ("palisade.dev/agent-signing-request", "mine")]),
            "agent-signing-request",
        ),
        (
            "another boot of another",
            OTHER,
            annotations(&[("palisade.dev/agent", &record(OTHER, 9, "b2"))]),
            "same boot",
        ),
        ("an older record", OTHER, annotations(&[("palisade.dev/agent", &record(OTHER, 5, "b1"))]), "higher sequence"),
        (
            "the same sequence",
            OTHER,
            annotations(&[("palisade.dev/agent", &record(OTHER, 6, "b1"))]),
            "higher sequence",
        ),
        ("a certificate alone", OTHER, annotations(&[("palisade.dev/agent-certificate", "x")]), "higher sequence"),
        ("a foreign record", OTHER, annotations(&[("palisade.dev/agent", &record(MINE, 9, "b1"))]), "same node"),
        ("spec of another", OTHER, json!({"spec": {"holderIdentity": "me"}}), "leaves spec"),
        (
            "labels of another",
            OTHER,
            json!({"metadata": {"labels": {"x": "y"}, "annotations": {"palisade.dev/agent": newer}}}),
            "leaves spec, labels",
        ),
    ] {
        refused(what, as_agent.patch(node, &PatchParams::default(), &Patch::Merge(&patch)).await, why)?;
    }
    let third = lease("rights-node-3", 1, "b1");
    refused("a lease for another node", as_agent.create(&PostParams::default(), &third).await, "may not create")?;
    refused("to delete", as_agent.delete(MINE, &DeleteParams::default()).await, "delete")?;
    refused(
        "the authority",
        Api::<Secret>::namespaced(agent.clone(), NAMESPACE).get("palisade-agent-ca").await,
        "secrets",
    )?;
    refused("other maps", Api::<ConfigMap>::namespaced(agent.clone(), NAMESPACE).get("other").await, "configmaps")?;
    refused("nodes", Api::<Node>::all(agent.clone()).get(MINE).await, "nodes")?;
    follows_the_configuration_and_no_other(&agent).await?;
    // A token that names no node writes nothing at all.
    let patch = annotations(&[("palisade.dev/agent", &record(MINE, 3, "b1"))]);
    let written = as_unbound.patch(MINE, &PatchParams::default(), &Patch::Merge(&patch)).await;
    refused("an unbound token", written, "names no node")
}

/// The one configuration, by lists and watches that name it.
async fn follows_the_configuration_and_no_other(agent: &Client) -> Result<(), String> {
    let configs = Api::<SelfNodeRemediationConfig>::namespaced(agent.clone(), NAMESPACE);
    let only = "metadata.name=self-node-remediation-config";
    configs.list(&ListParams::default().fields(only)).await.map_err(text)?;
    configs.watch(&WatchParams::default().fields(only).timeout(1), "0").await.map(drop).map_err(text)?;
    let kind = "selfnoderemediationconfigs";
    refused("all configurations", configs.list(&ListParams::default()).await, kind)?;
    refused("another configuration", configs.get("another").await, kind)
}

/// With a token that names no node a write is refused as soon as the policy counts.
async fn wait_until_it_counts(leases: &Api<Lease>) -> Result<(), String> {
    let deadline = Instant::now() + COUNTS;
    let patch = annotations(&[("palisade.dev/agent", &record(OTHER, 5, "b1"))]);
    loop {
        match leases.patch(OTHER, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Err(kube::Error::Api(status)) if status.message.contains("names no node") => return Ok(()),
            other if Instant::now() > deadline => {
                return Err(format!("the policy does not count after {COUNTS:?}: {:?}", other.map(drop)));
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

async fn allowed(leases: &Api<Lease>, node: &str, patch: Value) -> Result<(), String> {
    leases.patch(node, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop).map_err(text)
}

fn refused<T>(what: &str, result: Result<T, kube::Error>, why: &str) -> Result<(), String> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 403 || status.code == 422 => {
            if status.message.contains(why) {
                Ok(())
            } else {
                Err(format!("{what} was refused without {why:?}: {}", status.message))
            }
        }
        Err(error) => Err(format!("{what}: {error}")),
        Ok(_) => Err(format!("{what} was let through")),
    }
}

fn annotations(values: &[(&str, &str)]) -> Value {
    let map: BTreeMap<&str, &str> = values.iter().copied().collect();
    json!({ "metadata": { "annotations": map } })
}

fn record(node: &str, sequence: u64, boot: &str) -> String {
    json!({ "node": node, "bootId": boot, "sequence": sequence, "address": "10.0.0.1:30001" }).to_string()
}

fn lease(node: &str, sequence: u64, boot: &str) -> Lease {
    let mut lease = Lease::default();
    lease.metadata.name = Some(node.into());
    lease.annotations_mut().insert("palisade.dev/agent".into(), record(node, sequence, boot));
    lease
}

async fn client(suite: &Suite, token: Option<String>) -> Result<Client, String> {
    let mut file = Kubeconfig::read_from(&suite.stand.backend.admin_kubeconfig).map_err(text)?;
    if let Some(token) = token {
        for user in &mut file.auth_infos {
            let token = serde_json::from_value(json!({ "token": token })).map_err(text)?;
            user.auth_info = Some(token);
        }
    }
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(text)?;
    Client::try_from(config).map_err(text)
}

/// A token as the kubelet projects it: bound to a pod, which is bound to a node.
async fn bound_token(admin: &Client, node: &str) -> Result<String, String> {
    let object: Node =
        serde_json::from_value(json!({ "metadata": { "name": node, "labels": { "rights": "1" } } })).map_err(text)?;
    Api::<Node>::all(admin.clone()).create(&PostParams::default(), &object).await.map_err(text)?;
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "rights-agent" },
        "spec": {
            "nodeName": node,
            "serviceAccountName": ACCOUNT,
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{ "name": "agent", "image": "agent" }]
        }
    }))
    .map_err(text)?;
    let pods: Api<Pod> = Api::namespaced(admin.clone(), NAMESPACE);
    let pod = pods.create(&PostParams::default(), &pod).await.map_err(text)?;
    let bound = BoundObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(pod.name_any()),
        uid: pod.uid(),
    };
    token(admin, Some(bound)).await
}

async fn plain_token(admin: &Client) -> Result<String, String> {
    token(admin, None).await
}

async fn token(admin: &Client, bound: Option<BoundObjectReference>) -> Result<String, String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), NAMESPACE);
    let spec = TokenRequestSpec { bound_object_ref: bound, ..TokenRequestSpec::default() };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let answer = accounts.create_token_request(ACCOUNT, &PostParams::default(), &request).await.map_err(text)?;
    answer.status.and_then(|status| status.token).ok_or_else(|| "no token".to_owned())
}
