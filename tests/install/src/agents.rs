//! Tokens as kubelets give them: bound to the agent's pod, which is bound to a node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt};
use palisade_bench::controller::NAMESPACE;
use serde_yaml_ng::Value;

/// Labels of the pods that the DaemonSet of the agents makes.
pub const PODS: &str = "app.kubernetes.io/name=self-node-remediation,app.kubernetes.io/component=agent";
/// Name of the file beside each agent's kubeconfig.
const TOKEN: &str = "token";

/// The administrator's kubeconfig with nothing of the administrator: the token lies in a file beside it.
pub fn kubeconfig(admin: &str) -> anyhow::Result<String> {
    let mut file: Value = serde_yaml_ng::from_str(admin)?;
    let users = file.get_mut("users").and_then(Value::as_sequence_mut).context("kubeconfig: no users")?;
    for user in users {
        user["user"] = serde_yaml_ng::to_value(BTreeMap::from([("tokenFile", TOKEN)]))?;
    }
    Ok(serde_yaml_ng::to_string(&file)?)
}

/// Gives every agent whose pod stands on a node its token; until then it cannot start, and is started again.
pub async fn hand_out_tokens(client: Client, lab: PathBuf) {
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    loop {
        if let Err(error) = look(&client, &lab, &mut given).await {
            eprintln!("    no tokens for agents yet: {error:#}");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn look(client: &Client, lab: &Path, given: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    for pod in pods.list(&ListParams::default().labels(PODS)).await? {
        let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) else { continue };
        let (Some(uid), None) = (pod.uid(), &pod.metadata.deletion_timestamp) else { continue };
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).context("no account")?;
        if given.get(&node) == Some(&uid) {
            continue;
        }
        let bound = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.name_any()),
            uid: Some(uid.clone()),
        };
        let spec = TokenRequestSpec { bound_object_ref: Some(bound), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
        let answer = accounts.create_token_request(&account, &PostParams::default(), &request).await?;
        let token = answer.status.and_then(|status| status.token).context("no token")?;
        let file = lab.join(&node).join(TOKEN);
        let unfinished = file.with_extension("new");
        std::fs::write(&unfinished, token).with_context(|| unfinished.display().to_string())?;
        std::fs::rename(&unfinished, &file)?;
        given.insert(node, uid);
    }
    Ok(())
}
