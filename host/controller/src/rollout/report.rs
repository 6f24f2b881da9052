//! The conditions of the configuration: whether it is valid, and how far it has reached the nodes.

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use palisade_api::SelfNodeRemediationConfig;
use palisade_core::fencing::record::LeaseView;
use serde_json::json;

use super::daemon_set;
use crate::context::Context;
use crate::error::Error;
use crate::remediation::status;

const VALID: &str = "Valid";
const ROLLED_OUT: &str = "RolledOut";
/// So many nodes are named.
const NAMED: usize = 5;

/// Writes the conditions if they changed.
pub async fn report(
    context: &Context,
    config: &SelfNodeRemediationConfig,
    problems: &[String],
    live: Option<&DaemonSet>,
) -> Result<(), Error> {
    let before = config.status.clone().unwrap_or_default();
    let mut after = before.clone();
    after.observed_generation = config.metadata.generation;
    if problems.is_empty() {
        status::set(&mut after.conditions, VALID, "True", "Checked", "");
    } else {
        status::set(&mut after.conditions, VALID, "False", "Invalid", &problems.join("; "));
    }
    match live {
        Some(live) => {
            let (value, why, text) = progress(context, live);
            status::set(&mut after.conditions, ROLLED_OUT, value, why, &text);
        }
        None => status::set(&mut after.conditions, ROLLED_OUT, "False", "Invalid", "the agents stay as they are"),
    }
    if after == before {
        return Ok(());
    }
    let patch = json!({ "metadata": { "resourceVersion": config.resource_version() }, "status": after });
    let api: Api<SelfNodeRemediationConfig> = Api::namespaced(context.client.clone(), &context.options.namespace);
    api.patch_status(&config.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

/// Which agents run with an older configuration. Nothing waits for them: what each published counts for it.
fn progress(context: &Context, live: &DaemonSet) -> (&'static str, &'static str, String) {
    let wanted = daemon_set::generation(live).unwrap_or_default();
    let mut older: Vec<String> = context
        .leases
        .state()
        .iter()
        .filter(|lease| {
            let record = LeaseView::from_annotations(lease.annotations()).ok().and_then(|view| view.record);
            record.is_some_and(|record| !record.disarmed && record.generation < wanted)
        })
        .map(|lease| lease.name_any())
        .collect();
    if older.is_empty() {
        return ("True", "AllAgents", format!("all agents run with generation {wanted} of the configuration"));
    }
    older.sort();
    let more = if older.len() > NAMED { format!(" and {} more", older.len() - NAMED) } else { String::new() };
    let names = older.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let text = format!(
        "agents with a generation before {wanted}: {names}{more}; what they published themselves counts for them until \
         they are replaced"
    );
    ("False", "OlderAgents", text)
}
