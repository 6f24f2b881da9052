//! Whether a fleet is what it seems: every node Ready, and for as long as it is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use tokio::time::{Instant, sleep_until};

use crate::install::FLEET_LABEL;

/// Longest time until every node is Ready.
const LIMIT: Duration = Duration::from_mins(5);
/// Nodes are large.
const PAGE: u32 = 250;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// From the beginning until every node was Ready.
    pub ready_after: Duration,
    /// Nodes that were not Ready afterwards, for however short a time.
    pub lost: BTreeSet<String>,
}

/// Waits until so many nodes of a fleet are Ready, and watches from then on for `hold`.
pub async fn watch(client: Client, fleet: &str, nodes: usize, hold: Duration) -> anyhow::Result<Seen> {
    let config = watcher::Config::default().labels(&format!("{FLEET_LABEL}={fleet}")).page_size(PAGE);
    let stream = watcher(Api::<Node>::all(client), config)
        .modify(|node| {
            node.metadata.managed_fields = None;
        })
        .default_backoff();
    pin_mut!(stream);
    let begun = Instant::now();
    let mut known: BTreeMap<String, bool> = BTreeMap::new();
    let mut seen: Option<Seen> = None;
    let mut end = begun + LIMIT;
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            () = sleep_until(end) => break,
        };
        match event {
            Some(Ok(Event::InitApply(node) | Event::Apply(node))) => {
                let is_ready = is_ready(&node);
                if let (false, Some(seen)) = (is_ready, &mut seen) {
                    seen.lost.insert(node.name_any());
                }
                known.insert(node.name_any(), is_ready);
            }
            Some(Ok(Event::Delete(node))) => {
                known.remove(&node.name_any());
            }
            Some(Ok(Event::Init | Event::InitDone)) => {}
            Some(Err(error)) => tracing::debug!(%error, "nodes"),
            None => anyhow::bail!("the watch of the nodes ended"),
        }
        if seen.is_none() && known.len() == nodes && known.values().all(|ready| *ready) {
            seen = Some(Seen { ready_after: begun.elapsed(), lost: BTreeSet::new() });
            end = Instant::now() + hold;
        }
    }
    let ready = known.values().filter(|ready| **ready).count();
    seen.ok_or_else(|| {
        anyhow::anyhow!("{ready} of {nodes} nodes were Ready after {LIMIT:?}, {} are known", known.len())
    })
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
