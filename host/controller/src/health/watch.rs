//! Watching only: beside another operator that acts, policies are judged as always, and nothing of it is written to them, to
//! nodes, leases, remediations or events. One `ConfigMap` tells what their status would be.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use kube::{Client, ResourceExt};
use palisade_api::NodeHealthCheck;
use palisade_api::keys::palisade;
use palisade_api::node_health_check::NodeHealthCheckStatus;
use palisade_core::health::{Judgement, Plan};
use tokio::sync::Notify;

use super::observe::Observe;

/// Pause before a report that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What would be the status of each policy.
#[derive(Debug, Default)]
pub struct Report {
    all: Mutex<BTreeMap<String, NodeHealthCheckStatus>>,
    changed: Notify,
}

impl Report {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, NodeHealthCheckStatus>> {
        // Nothing panics while it holds the lock.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The policy as it is judged here: a dry run, going on from what was thought of it last.
    pub fn watched(&self, policy: &NodeHealthCheck) -> NodeHealthCheck {
        let mut policy = policy.clone();
        policy.spec.dry_run = Some(true);
        if let Some(status) = self.lock().get(&policy.name_any()) {
            policy.status = Some(status.clone());
        }
        policy
    }

    /// Remembers what was thought of a policy.
    pub fn put(&self, policy: &str, status: NodeHealthCheckStatus) {
        let mut all = self.lock();
        if all.get(policy) != Some(&status) {
            all.insert(policy.to_owned(), status);
            self.changed.notify_one();
        }
    }

    fn data(&self) -> serde_json::Result<BTreeMap<String, String>> {
        self.lock().iter().map(|(policy, status)| Ok((policy.clone(), serde_json::to_string(status)?))).collect()
    }

    /// Keeps the `ConfigMap` as it is thought, until the future is dropped.
    pub async fn publish(&self, client: Client, namespace: &str) {
        let api: Api<ConfigMap> = Api::namespaced(client, namespace);
        loop {
            self.changed.notified().await;
            while let Err(error) = self.write(&api).await {
                tracing::warn!(error = format!("{error:#}"), "ConfigMap {} cannot be written", palisade::WATCH_ONLY);
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn write(&self, api: &Api<ConfigMap>) -> anyhow::Result<()> {
        let metadata = ObjectMeta { name: Some(palisade::WATCH_ONLY.to_owned()), ..ObjectMeta::default() };
        let object = ConfigMap { metadata, data: Some(self.data()?), ..ConfigMap::default() };
        let ours = PatchParams::apply(palisade::WATCH_ONLY).force();
        api.patch(palisade::WATCH_ONLY, &ours, &Patch::Apply(object)).await?;
        Ok(())
    }
}

impl Observe for Report {
    fn passed(&self, before: &NodeHealthCheck, after: &NodeHealthCheckStatus, _: &Plan, _: &Judgement) {
        self.put(&before.name_any(), after.clone());
    }

    fn forgotten(&self, policy: &str) {
        if self.lock().remove(policy).is_some() {
            self.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_policy_is_a_dry_run_that_goes_on_from_its_own_thoughts() {
        // Given a policy whose own operator says that it remediates
        let mut policy = NodeHealthCheck::new("a", palisade_api::node_health_check::NodeHealthCheckSpec::default());
        let says =
            |phase: &str| NodeHealthCheckStatus { phase: Some(phase.to_owned()), ..NodeHealthCheckStatus::default() };
        policy.status = Some(says("Remediating"));
        let report = Report::default();
        // When it is watched for the first time, then its operator's account is where one begins
        assert_eq!(report.watched(&policy).status, policy.status);
        assert_eq!(report.watched(&policy).spec.dry_run, Some(true));
        // And when something was thought of it, that is gone on from, and told.
        report.put("a", says("Enabled"));
        assert_eq!(report.watched(&policy).status, Some(says("Enabled")));
        assert_eq!(report.data().unwrap().keys().collect::<Vec<_>>(), ["a"]);
    }
}
