//! From passes of the detector to metrics.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use palisade_api::NodeHealthCheck;
use palisade_api::node_health_check::NodeHealthCheckStatus;
use palisade_core::health::{Action, Judgement, Plan, Verdict, steps};

use super::Metrics;
use super::policy::{Labels, Tracked, blocked, remediations, waiting};
use crate::health::Observe;

impl Observe for Metrics {
    fn passed(&self, before: &NodeHealthCheck, after: &NodeHealthCheckStatus, plan: &Plan, judgement: &Judgement) {
        let name = before.name_any();
        let mut policies = self.policies();
        let tracked = policies.entry(name.clone()).or_default();
        for step in steps(&before.spec) {
            self.families.created.with_label_values(&[name.as_str(), step.kind.as_str()]);
            tracked.kinds.insert(step.kind);
        }
        self.gauges(&name, tracked, after, plan);
        self.remediated(&name, tracked, before, after, judgement);
        tracked.known = true;
    }

    fn seen(&self, event: &Event<DeserializeGuard<NodeHealthCheck>>) {
        self.seen.policy(event);
    }

    fn ended(&self, _policy: &str, failed: bool) {
        self.pass("policy", failed);
    }

    fn applied(&self, policy: &NodeHealthCheck, action: &Action) {
        if let Action::FlagOld { node, .. } = action {
            self.families.old.with_label_values(&[node.as_str(), ""]).inc();
            self.policies().entry(policy.name_any()).or_default().named.insert(node.clone());
        }
    }

    fn forgotten(&self, policy: &str) {
        let Some(tracked) = self.policies().remove(policy) else { return };
        for labels in tracked.remediations.keys() {
            self.families.ongoing.with_label_values(&labels.values()).set(0);
        }
        // A label that is not there is what is wanted.
        for family in [&self.families.observed, &self.families.healthy, &self.families.budget_used] {
            let _ = family.remove_label_values(&[policy]);
        }
        let _ = self.families.budget_limit.remove_label_values(&[policy]);
        let _ = self.families.healed.remove_label_values(&[policy]);
        let _ = self.families.detect.remove_label_values(&[policy]);
        let _ = self.families.recover.remove_label_values(&[policy]);
        for reason in &tracked.reasons {
            let _ = self.families.blocked.remove_label_values(&[policy, reason.as_str()]);
        }
        for kind in &tracked.kinds {
            let _ = self.families.in_progress.remove_label_values(&[policy, kind.as_str()]);
            let _ = self.families.created.remove_label_values(&[policy, kind.as_str()]);
        }
    }

    fn nodes(&self, exist: &dyn Fn(&str) -> bool) {
        for tracked in self.policies().values_mut() {
            let gone: Vec<String> = tracked.named.iter().filter(|node| !exist(node)).cloned().collect();
            for node in gone {
                tracked.named.remove(&node);
                self.drop_series_of(&node);
            }
        }
    }
}

impl Metrics {
    /// Another process knows better from now on.
    pub(super) fn step_down(&self) {
        let families = &self.families;
        for gauge in [
            &families.ongoing,
            &families.in_progress,
            &families.blocked,
            &families.observed,
            &families.healthy,
            &families.budget_used,
            &families.budget_limit,
        ] {
            gauge.reset();
        }
        for tracked in self.policies().values_mut() {
            // Counters and their series stay, and go with their nodes.
            let (named, kinds) = (std::mem::take(&mut tracked.named), std::mem::take(&mut tracked.kinds));
            *tracked = Tracked { named, kinds, ..Tracked::default() };
        }
    }

    fn gauges(&self, name: &str, tracked: &mut Tracked, after: &NodeHealthCheckStatus, plan: &Plan) {
        let families = &self.families;
        // They begin at zero, or nobody sees the first one.
        families.detect.with_label_values(&[name]);
        families.recover.with_label_values(&[name]);
        families.observed.with_label_values(&[name]).set(plan.observed as i64);
        families.healthy.with_label_values(&[name]).set(plan.healthy as i64);
        let treated = after.unhealthy_nodes.iter().filter(|node| !node.remediations.is_empty()).count();
        families.budget_used.with_label_values(&[name]).set(treated as i64);
        match after.budget.as_ref().and_then(|budget| budget.limit) {
            Some(limit) => families.budget_limit.with_label_values(&[name]).set(limit),
            None => drop(families.budget_limit.remove_label_values(&[name])),
        }
        let now = blocked(plan);
        for reason in tracked.reasons.iter().filter(|reason| !now.contains_key(reason.as_str())) {
            families.blocked.with_label_values(&[name, reason.as_str()]).set(0);
        }
        for (reason, count) in now {
            families.blocked.with_label_values(&[name, reason]).set(count);
            tracked.reasons.insert(reason.to_owned());
        }
        let mut kinds: BTreeMap<String, i64> = tracked.kinds.iter().map(|kind| (kind.clone(), 0)).collect();
        for remediation in after.unhealthy_nodes.iter().flat_map(|node| &node.remediations) {
            *kinds.entry(remediation.resource.kind.clone().unwrap_or_default()).or_default() += 1;
        }
        for (kind, count) in kinds {
            families.in_progress.with_label_values(&[name, kind.as_str()]).set(count);
            tracked.kinds.insert(kind);
        }
    }

    fn remediated(
        &self,
        name: &str,
        tracked: &mut Tracked,
        before: &NodeHealthCheck,
        after: &NodeHealthCheckStatus,
        judgement: &Judgement,
    ) {
        let families = &self.families;
        if !tracked.known {
            // What ran before this process: its end counts, its beginning was counted then.
            tracked.remediations =
                before.status.as_ref().map(|status| remediations(&status.unhealthy_nodes)).unwrap_or_default();
            for labels in tracked.remediations.keys() {
                families.ongoing.with_label_values(&labels.values()).set(1);
                tracked.named.insert(labels.node.clone());
            }
        }
        let now = Timestamp::now();
        let current = remediations(&after.unhealthy_nodes);
        let had: BTreeSet<&str> = tracked.remediations.keys().map(|labels| labels.node.as_str()).collect();
        for labels in current.keys().filter(|labels| !tracked.remediations.contains_key(*labels)) {
            families.ongoing.with_label_values(&labels.values()).set(1);
            families.created.with_label_values(&[name, labels.kind.as_str()]).inc();
            let verdict = judgement.verdicts.get(&labels.node);
            if let Some(Verdict::Matching { lasted, .. }) = verdict.filter(|_| !had.contains(labels.node.as_str())) {
                families.detect.with_label_values(&[name]).observe(lasted.as_secs_f64());
            }
        }
        for (labels, started) in tracked.remediations.iter().filter(|(labels, _)| !current.contains_key(*labels)) {
            families.ongoing.with_label_values(&labels.values()).set(0);
            families.unhealthy.with_label_values(&labels.values()).observe(seconds(*started, now));
        }
        let well = |labels: &&Labels| {
            judgement.verdicts.get(&labels.node).is_some_and(|verdict| *verdict == Verdict::NotMatching)
        };
        // Once for each node: its first remediation says since when.
        let mut recovered = BTreeSet::new();
        for labels in tracked.remediations.keys().chain(current.keys()).filter(well) {
            if recovered.insert(labels.node.clone()) && !tracked.recovered.contains(&labels.node) {
                let all = tracked.remediations.iter().chain(&current).filter(|(other, _)| other.node == labels.node);
                if let Some(first) = all.map(|(_, started)| *started).min() {
                    families.recover.with_label_values(&[name]).observe(seconds(first, now));
                }
            }
        }
        let waits = waiting(after, judgement);
        let healed = tracked.waiting.iter().filter(|node| {
            judgement.verdicts.get(*node).is_some_and(|verdict| *verdict == Verdict::NotMatching)
                && !current.keys().any(|labels| labels.node == **node)
        });
        families.healed.with_label_values(&[name]).inc_by(healed.count() as u64);
        recovered.retain(|node| current.keys().any(|labels| labels.node == *node));
        tracked.named.extend(current.keys().map(|labels| labels.node.clone()));
        (tracked.remediations, tracked.waiting, tracked.recovered) = (current, waits, recovered);
    }

    /// Nothing is left of a node that does not exist any more.
    fn drop_series_of(&self, node: &str) {
        use prometheus::core::Collector;
        let _ = self.families.old.remove_label_values(&[node, ""]);
        let families = [self.families.ongoing.collect(), self.families.unhealthy.collect()];
        for metric in families.iter().flatten().flat_map(prometheus::proto::MetricFamily::get_metric) {
            let value = |key: &str| {
                let pair = metric.get_label().iter().find(|pair| pair.name() == key);
                pair.map(|pair| pair.value().to_owned()).unwrap_or_default()
            };
            let values = ["name", "namespace", "remediation"].map(value);
            if values[0] == node {
                let values = [values[0].as_str(), values[1].as_str(), values[2].as_str()];
                let _ = self.families.ongoing.remove_label_values(&values);
                let _ = self.families.unhealthy.remove_label_values(&values);
            }
        }
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}
