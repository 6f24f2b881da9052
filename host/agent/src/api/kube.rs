//! The real API server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as KubeLease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use palisade_core::fencing::agent::Base;
use palisade_core::fencing::record::{CERTIFICATE, INTENT, RECORD, RECORD_SIGNATURE};
use serde_json::json;
use tokio::sync::mpsc;

use super::sample::{self, SHARD_LABEL, Sample};
use super::{Api, LeaseChange, StoredLease, WriteFailure};

/// Label with the zone of a node, on its Node object and on its agent lease.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// ConfigMap with the trust bundle.
pub const TRUST_CONFIG_MAP: &str = "palisade-agent-trust";
/// Key of the bundle in it.
pub const TRUST_KEY: &str = "ca.crt";
/// So many leases are read at a time: a lease is about 3 KiB, and an agent has little memory.
const PAGE: u32 = 100;
/// What others look at in a lease; the rest, such as the signing request, is a third of it.
const LOOKED_AT: [&str; 4] = [RECORD, RECORD_SIGNATURE, CERTIFICATE, INTENT];
/// A watch is renewed after so many seconds even if nothing is wrong with it.
const WATCH_SECONDS: u32 = 280;

/// Leases and trust through a kube client.
pub struct KubeApi {
    leases: kube::Api<KubeLease>,
    config: kube::Api<ConfigMap>,
    /// There were more leases at the last look than are read in a small cluster.
    large: AtomicBool,
}

impl KubeApi {
    /// For the agents' namespace.
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self {
            leases: kube::Api::namespaced(client.clone(), namespace),
            config: kube::Api::namespaced(client.clone(), namespace),
            large: AtomicBool::new(false),
        }
    }

    /// One page, what the next one is asked for with, and how many leases there are if the API server counts.
    async fn page(&self, page: &ListParams) -> Result<(Vec<StoredLease>, Option<String>, Option<usize>), String> {
        let leases = self.leases.list(page).await.map_err(unreachable)?;
        let here = leases.items.len();
        let more = leases.metadata.continue_.filter(|token| !token.is_empty());
        let left = leases.metadata.remaining_item_count.and_then(|left| usize::try_from(left).ok());
        let count = if more.is_some() { left.map(|left| left + here) } else { Some(here) };
        let looked_at = leases.items.into_iter().map(stored).map(|mut lease| {
            lease.annotations.retain(|key, _| LOOKED_AT.contains(&key.as_str()));
            lease
        });
        Ok((looked_at.collect(), more, count))
    }

    /// Page by page, of which only the sample is kept.
    async fn pages(&self, mut page: ListParams, mut sample: Sample<'_>) -> Result<Vec<StoredLease>, String> {
        loop {
            let (leases, more, _) = self.page(&page).await?;
            sample.take(leases.into_iter());
            if more.is_none() || sample.is_full() {
                return Ok(sample.leases());
            }
            page.continue_token = more;
        }
    }
}

fn stored(lease: KubeLease) -> StoredLease {
    StoredLease {
        node: lease.name_any(),
        version: lease.resource_version().unwrap_or_default(),
        zone: lease.labels().get(ZONE_LABEL).cloned().unwrap_or_default(),
        annotations: lease.metadata.annotations.unwrap_or_default(),
    }
}

fn unreachable(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn write_failure(error: &kube::Error) -> WriteFailure {
    match error {
        // 404 on a patch: the object of the base is gone. 409: somebody wrote or created in between.
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => WriteFailure::Conflict,
        other => WriteFailure::Failed(unreachable(other)),
    }
}

impl Api for KubeApi {
    fn read<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Result<Option<StoredLease>, String>> {
        async move { Ok(self.leases.get_opt(node).await.map_err(unreachable)?.map(stored)) }.boxed()
    }

    fn write<'a>(
        &'a self,
        node: &'a str,
        base: &'a Base,
        change: LeaseChange,
    ) -> BoxFuture<'a, Result<StoredLease, WriteFailure>> {
        async move {
            let written = match base {
                Base::Absent => self.leases.create(&PostParams::default(), &create(node, change)).await,
                Base::At(version) => {
                    let patch = Patch::Merge(merge(node, version, &change));
                    self.leases.patch(node, &PatchParams::default(), &patch).await
                }
            };
            written.map(stored).map_err(|error| write_failure(&error))
        }
        .boxed()
    }

    fn list<'a>(&'a self, node: &'a str, fellows: bool) -> BoxFuture<'a, Result<Vec<StoredLease>, String>> {
        async move {
            let known_to_be_large = self.large.load(Ordering::Relaxed) && !fellows;
            let mut page = ListParams::default().limit(if known_to_be_large { 1 } else { PAGE });
            let (first, more, count) = self.page(&page).await?;
            let large = count.is_some_and(|count| count > sample::SMALL);
            self.large.store(large, Ordering::Relaxed);
            if let Some(count) = count.filter(|_| large && !fellows) {
                let some = ListParams::default().limit(PAGE).labels(&sample::selector(node, count));
                let leases = self.pages(some, Sample::of_shards(node)).await?;
                if leases.len() >= sample::ENOUGH {
                    return Ok(leases);
                }
                // Agents of an older version publish no shard.
            }
            let mut sample = Sample::of_all(node, fellows);
            sample.take(first.into_iter());
            if more.is_none() {
                return Ok(sample.leases());
            }
            (page.limit, page.continue_token) = (Some(PAGE), more);
            self.pages(page, sample).await
        }
        .boxed()
    }

    fn watch<'a>(&'a self, node: &'a str, seen: mpsc::Sender<StoredLease>) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let only_mine = format!("metadata.name={node}");
            let list = self.leases.list(&ListParams::default().fields(&only_mine)).await.map_err(unreachable)?;
            let version = list.metadata.resource_version.unwrap_or_default();
            for lease in list.items {
                if seen.send(stored(lease)).await.is_err() {
                    return Ok(());
                }
            }
            let params = WatchParams::default().fields(&only_mine).timeout(WATCH_SECONDS);
            let mut events = self.leases.watch(&params, &version).await.map_err(unreachable)?.boxed();
            while let Some(event) = events.next().await {
                match event.map_err(unreachable)? {
                    WatchEvent::Added(lease) | WatchEvent::Modified(lease) => {
                        if seen.send(stored(lease)).await.is_err() {
                            return Ok(());
                        }
                    }
                    // A deleted lease is found out by the next write, which conflicts.
                    WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
                    WatchEvent::Error(status) => return Err(status.message.clone()),
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn trust(&self) -> BoxFuture<'_, Result<Option<String>, String>> {
        async move {
            let found = self.config.get_opt(TRUST_CONFIG_MAP).await.map_err(unreachable)?;
            Ok(found.and_then(|config| config.data).and_then(|mut data| data.remove(TRUST_KEY)))
        }
        .boxed()
    }
}

/// A merge patch that carries the base as `metadata.resourceVersion`: the API server answers 409 if it is not current.
fn merge(node: &str, version: &str, change: &LeaseChange) -> serde_json::Value {
    let mut metadata = json!({ "resourceVersion": version, "annotations": change.annotations });
    if change.seconds.is_some() {
        // The agent's own write, and no relay.
        metadata["labels"] = json!(labels(node, change.zone.as_ref()));
    }
    let mut patch = json!({ "metadata": metadata });
    if let Some(seconds) = change.seconds {
        patch["spec"] = json!({
            "holderIdentity": node,
            "leaseDurationSeconds": seconds,
            "renewTime": MicroTime(Timestamp::now()),
        });
    }
    patch
}

fn labels(node: &str, zone: Option<&String>) -> BTreeMap<String, String> {
    let zone = zone.map(|zone| (ZONE_LABEL.to_owned(), zone.clone()));
    zone.into_iter().chain([(SHARD_LABEL.to_owned(), sample::shard(node))]).collect()
}

fn create(node: &str, change: LeaseChange) -> KubeLease {
    let annotations: BTreeMap<String, String> =
        change.annotations.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    KubeLease {
        metadata: ObjectMeta {
            name: Some(node.to_owned()),
            annotations: Some(annotations),
            labels: Some(labels(node, change.zone.as_ref())),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(node.to_owned()),
            lease_duration_seconds: change.seconds.and_then(|seconds| i32::try_from(seconds).ok()),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_names_its_base_and_touches_only_what_is_ours() {
        let change = LeaseChange {
            annotations: BTreeMap::from([
                ("palisade.dev/agent".to_owned(), Some("{}".to_owned())),
                ("palisade.dev/agent-certificate".to_owned(), None),
            ]),
            seconds: Some(72),
            zone: None,
        };
        let patch = merge("worker-1", "42", &change);
        assert_eq!(patch["metadata"]["resourceVersion"], "42");
        assert_eq!(
            patch["metadata"]["annotations"],
            json!({ "palisade.dev/agent": "{}", "palisade.dev/agent-certificate": null })
        );
        assert_eq!(patch["spec"]["leaseDurationSeconds"], 72);
        assert_eq!(patch["metadata"]["labels"], json!({ SHARD_LABEL: sample::shard("worker-1") }));
    }

    #[test]
    fn a_relay_leaves_the_spec_alone() {
        let patch = merge("worker-1", "42", &LeaseChange::default());
        assert!(patch.get("spec").is_none() && patch["metadata"].get("labels").is_none());
    }
}
