//! Who the agents are to the API server: an account of their own, which may do little. That one node's agent writes no
//! other node's lease is the business of the admission policy that comes with the installation.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Resource, ResourceExt};
use palisade_api::keys::self_node::CONFIG_NAME;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::daemon_set::ACCOUNT;
use crate::context::Context;
use crate::error::Error;

const ROLES: &str = "rbac.authorization.k8s.io";

/// Creates what is missing, and takes back what somebody changed about the rights.
pub async fn ensure(context: &Context) -> Result<(), Error> {
    let namespace = &context.options.namespace;
    let metadata =
        || ObjectMeta { name: Some(ACCOUNT.to_owned()), namespace: Some(namespace.clone()), ..ObjectMeta::default() };
    let account = ServiceAccount { metadata: metadata(), ..ServiceAccount::default() };
    keep(context, account, |_, _| true).await?;
    let role = Role { metadata: metadata(), rules: Some(rules()) };
    keep(context, role, |live, wanted| live.rules == wanted.rules).await?;
    let binding = RoleBinding {
        metadata: metadata(),
        role_ref: RoleRef { api_group: Some(ROLES.to_owned()), kind: "Role".to_owned(), name: ACCOUNT.to_owned() },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: ACCOUNT.to_owned(),
            namespace: Some(namespace.clone()),
            api_group: None,
        }]),
    };
    keep(context, binding, |live, wanted| live.subjects == wanted.subjects && live.role_ref == wanted.role_ref).await
}

/// Leases are read by all (juries), written by their own node (admission); the trust and the configuration are one
/// object each.
fn rules() -> Vec<PolicyRule> {
    let rule = |group: &str, resource: &str, names: &[&str], verbs: &[&str]| {
        let list = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        PolicyRule {
            api_groups: Some(list(&[group])),
            resources: Some(list(&[resource])),
            resource_names: (!names.is_empty()).then(|| list(names)),
            verbs: list(verbs),
            ..PolicyRule::default()
        }
    };
    vec![
        rule("coordination.k8s.io", "leases", &[], &["get", "list", "watch", "create", "patch"]),
        rule("", "configmaps", &["palisade-agent-trust"], &["get"]),
        // Lists and watches that name the object in their field selector are covered by its name.
        rule(
            "self-node-remediation.medik8s.io",
            "selfnoderemediationconfigs",
            &[CONFIG_NAME],
            &["get", "list", "watch"],
        ),
        // What agents of the stock product ask about during a rollout from them.
        rule("self-node-remediation.medik8s.io", "selfnoderemediations", &[], &["list"]),
    ]
}

async fn keep<K>(context: &Context, mut wanted: K, same: impl Fn(&K, &K) -> bool) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), &context.options.namespace);
    match api.get_opt(ACCOUNT).await? {
        None => api.create(&PostParams::default(), &wanted).await.map(drop)?,
        Some(live) if same(&live, &wanted) => {}
        Some(live) => {
            wanted.meta_mut().resource_version = live.resource_version();
            api.replace(ACCOUNT, &PostParams::default(), &wanted).await.map(drop)?;
        }
    }
    Ok(())
}
