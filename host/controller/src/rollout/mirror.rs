//! What agents publish in their leases, copied to the annotations of the nodes where older tools look for it. Nothing
//! here reads them: evidence is the signed lease.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use palisade_api::keys::self_node::{REBOOT_CAPABLE, WATCHDOG_TIMEOUT};
use palisade_core::fencing::record::{AgentRecord, LeaseView};
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, within};
use crate::fence::lease;

/// Pause between looks at the leases in memory; nothing is asked unless something changed.
const LOOK: Duration = Duration::from_secs(5);
/// No round takes longer.
const LIMIT: Duration = Duration::from_mins(1);

/// Copies until the future is dropped.
pub async fn run(context: &Context) {
    let mut known = HashMap::new();
    loop {
        if let Err(error) = within(LIMIT, "annotating the nodes", look(context, &mut known)).await {
            tracing::debug!(%error, "nodes are not annotated yet");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Values of the two annotations.
type Values = (String, String);

/// Whether the agent can end its node, and the timeout of its watchdog in whole seconds, rounded up; 0 without one.
pub(super) fn values(record: &AgentRecord) -> Values {
    let watchdog = record.terms.watchdog.as_ref().filter(|_| !record.disarmed);
    let seconds = watchdog.map_or(0, |watchdog| watchdog.timeout_millis.div_ceil(1_000));
    (lease::can_end(record).to_string(), seconds.to_string())
}

async fn look(context: &Context, known: &mut HashMap<String, Values>) -> Result<(), Error> {
    let mut changed = BTreeMap::new();
    for found in context.leases.state() {
        let Ok(LeaseView { record: Some(record), .. }) = LeaseView::from_annotations(found.annotations()) else {
            continue;
        };
        let wanted = values(&record);
        if known.get(&found.name_any()) != Some(&wanted) && lease::verified(&found, &context.trust).is_ok() {
            changed.insert(found.name_any(), wanted);
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    let nodes: Api<Node> = Api::all(context.client.clone());
    // One request for all; as old as the server's cache, which is enough for what nobody decides by.
    let live = nodes.list_metadata(&ListParams::default().match_any()).await?;
    for node in live.items {
        let Some(wanted) = changed.remove(&node.name_any()) else { continue };
        let has = |key: &str, value: &str| node.annotations().get(key).is_some_and(|known| known == value);
        if !has(REBOOT_CAPABLE, &wanted.0) || !has(WATCHDOG_TIMEOUT, &wanted.1) {
            let patch =
                json!({ "metadata": { "annotations": { REBOOT_CAPABLE: wanted.0, WATCHDOG_TIMEOUT: wanted.1 } } });
            nodes.patch_metadata(&node.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
        }
        known.insert(node.name_any(), wanted);
    }
    Ok(())
}
