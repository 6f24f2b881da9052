//! The contract with the stock operators, in both directions.
//!
//! One half of the story is always a script that does what their operator does, in the order in which it does it; the
//! other half is our real controller. [`theirs`] plays their remediator under our policy, [`ours`] their policy over our
//! remediator.

mod ours;
mod theirs;

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::{Client, ResourceExt};
use palisade_api::{NodeHealthCheck, SelfNodeRemediation};
use serde_json::{Value, json};

use super::stand::Stand;
use super::{Options, Report};
use crate::controller::NAMESPACE;
use crate::wait;

/// Longest wait for anything that is not a timeout of the policy.
const LIMIT: Duration = Duration::from_secs(45);
/// Namespace of node leases.
const NODE_LEASES: &str = "medik8s-leases";

pub(super) async fn play(report: &mut Report, stand: &Stand, _options: &Options) {
    let claim = "contract: the stock self-node remediator works under our policy (success, failure, timeout)";
    report.play(claim, theirs::play(stand)).await;
    let claim = "contract: the stock policy works over our remediator (success, nhc-timed-out)";
    report.play(claim, ours::play(stand)).await;
}

fn self_node(client: &Client) -> Api<SelfNodeRemediation> {
    Api::namespaced(client.clone(), NAMESPACE)
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Both conditions of a remediation: they always change together and carry the same reason.
fn conditions(processing: &str, succeeded: &str, reason: &str) -> Value {
    let one = |kind: &str, status: &str| json!({ "type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": now() });
    json!([one("Processing", processing), one("Succeeded", succeeded)])
}

/// A condition of a remediation, as `status/reason`.
fn condition(remediation: &SelfNodeRemediation, kind: &str) -> String {
    let conditions = remediation.status.iter().flat_map(|status| &status.conditions);
    let found = conditions.into_iter().find(|condition| condition.type_ == kind);
    found.map(|condition| format!("{}/{}", condition.status, condition.reason)).unwrap_or_default()
}

/// The remediation that was made for a node, whoever made it and whatever its name is.
async fn remediation_of(client: &Client, node: &str) -> anyhow::Result<Option<SelfNodeRemediation>> {
    let all = self_node(client).list(&kube::api::ListParams::default()).await?.items;
    let key = palisade_api::keys::remediation::NODE_NAME;
    Ok(all.into_iter().find(|one| one.annotations().get(key).map_or(one.name_any() == node, |named| named == node)))
}

/// Waits for a remediation in a state; the text says what is missing.
async fn until_remediation(
    client: &Client,
    node: &str,
    limit: Duration,
    what: &str,
    is_it: impl Fn(&SelfNodeRemediation) -> bool,
) -> anyhow::Result<SelfNodeRemediation> {
    wait::until(limit, &format!("{node}: {what}"), async || {
        Ok(match remediation_of(client, node).await? {
            Some(found) if is_it(&found) => Ok(found),
            Some(found) => Err(format!("{} {}", json!(found.metadata.annotations), json!(found.status))),
            None => Err("there is no remediation".to_owned()),
        })
    })
    .await
}

/// Waits until no remediation of the node is left.
async fn until_none(client: &Client, node: &str) -> anyhow::Result<()> {
    wait::until(LIMIT, &format!("{node}: its remediation is gone"), async || {
        let left = remediation_of(client, node).await?;
        Ok(left.map_or(Ok(()), |left| Err(format!("{} {}", json!(left.metadata), json!(left.status)))))
    })
    .await
}

async fn until_object(api: &Api<DynamicObject>, name: &str, there: bool) -> anyhow::Result<()> {
    wait::until(LIMIT, &format!("{name}: {}", if there { "is created" } else { "is deleted" }), async || {
        let found = api.get_opt(name).await?.is_some();
        Ok(if found == there { Ok(()) } else { Err(format!("exists: {found}")) })
    })
    .await
}

async fn write_status(client: &Client, name: &str, status: Value) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({ "status": status }));
    self_node(client).patch_status(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn policy_status(client: &Client, name: &str) -> anyhow::Result<Value> {
    let policy = Api::<NodeHealthCheck>::all(client.clone()).get(name).await?;
    Ok(json!(policy.status.unwrap_or_default()))
}
