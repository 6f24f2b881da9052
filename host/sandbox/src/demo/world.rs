//! What the demonstration sees of the cluster, and when it saw it first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use palisade_api::{FencingCertificate, SelfNodeRemediation, Stage, keys};
use palisade_core::fencing::record::{JURY_LIMIT, LeaseView};
use tokio::sync::watch;

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeView {
    /// Status of the Ready condition.
    pub ready: String,
    /// Its reason.
    pub reason: String,
    /// Boot id that the kubelet published.
    pub boot: String,
    /// Taints as `key:effect`.
    pub taints: Vec<String>,
}

impl NodeView {
    /// Reads the object.
    pub fn of(node: &Node) -> Self {
        let status = node.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        Self {
            reason: ready.as_ref().and_then(|ready| ready.reason.clone()).unwrap_or_default(),
            ready: ready.map_or_else(|| "not reported".to_owned(), |ready| ready.status),
            boot: status.node_info.map(|info| info.boot_id).unwrap_or_default(),
            taints: taints.into_iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect(),
        }
    }
}

/// A remediation.
#[derive(Debug, Clone, Default)]
pub struct RemediationView {
    /// Name of the object.
    pub name: String,
    /// Target.
    pub node: String,
    /// Stages of its timeline with their details.
    pub stages: Vec<(Stage, Option<String>)>,
    /// What is missing for a proof.
    pub waiting_for: Option<String>,
    /// The proof.
    pub certificate: Option<FencingCertificate>,
    /// Phase of the compatible status.
    pub phase: String,
    /// Last error.
    pub error: String,
    /// Whether the object is gone.
    pub gone: bool,
}

impl RemediationView {
    /// Reads the object.
    pub fn of(object: &SelfNodeRemediation) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let progress = status.palisade.unwrap_or_default();
        let target = object.annotations().get(keys::remediation::NODE_NAME).cloned();
        Self {
            name: object.name_any(),
            node: target.unwrap_or_else(|| object.name_any()),
            stages: progress.timeline.into_iter().map(|entry| (entry.stage, entry.detail)).collect(),
            waiting_for: progress.fencing.and_then(|fencing| fencing.waiting_for),
            certificate: progress.certificate,
            phase: status.phase.unwrap_or_default(),
            error: status.last_error.unwrap_or_default(),
            gone: false,
        }
    }
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodView {
    /// UID.
    pub uid: String,
    /// Where it is bound.
    pub node: String,
    /// Phase.
    pub phase: String,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
}

impl PodView {
    /// Reads the object.
    pub fn of(pod: &Pod) -> Self {
        Self {
            uid: pod.uid().unwrap_or_default(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            phase: pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default(),
            deleting: pod.metadata.deletion_timestamp.is_some(),
        }
    }
}

/// First sights, in seconds on the timeline's clock.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Milestones {
    /// The remediation object appeared.
    pub detected: Option<f64>,
    /// Stages of the remediation.
    #[serde(serialize_with = "by_name")]
    pub stages: BTreeMap<Stage, f64>,
    /// The last pod that the fault found on the node is gone.
    pub gone: Option<f64>,
    /// The boot that was hit ended.
    pub boot_ended: Option<f64>,
    /// Its workload runs elsewhere.
    pub moved: Option<f64>,
    /// Everything is as before.
    pub recovered: Option<f64>,
}

fn by_name<S: serde::Serializer>(stages: &BTreeMap<Stage, f64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(stages.iter().map(|(stage, seconds)| (stage.to_string().to_lowercase(), seconds)))
}

/// Everything seen.
#[derive(Debug, Default)]
pub struct World {
    /// Nodes of the lab.
    pub nodes: BTreeMap<String, NodeView>,
    /// Agent leases of the lab's nodes.
    pub leases: BTreeMap<String, LeaseView>,
    /// Remediations by UID, also those that are gone.
    pub remediations: BTreeMap<String, RemediationView>,
    /// What the health check says, in one line.
    pub health: String,
    /// Pods of the workload by name.
    pub pods: BTreeMap<String, PodView>,
    /// Nodes by attached volume.
    pub volumes: BTreeMap<String, String>,
    /// Pods that were on those nodes then and still exist: node by UID.
    pub left: BTreeMap<String, String>,
    /// Nodes that the fault has reached.
    pub hit: Vec<String>,
    /// Boots that ended since the fault, by node.
    pub boots_ended: BTreeMap<String, u32>,
    /// Processes that died by themselves.
    pub crashes: Vec<String>,
    /// How often the controller was killed on purpose.
    pub kills: u32,
    /// First sights by node.
    pub milestones: BTreeMap<String, Milestones>,
}

impl World {
    /// The remediations of a node that still exist.
    pub fn remediations_of<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a RemediationView> {
        self.remediations.values().filter(move |remediation| remediation.node == node && !remediation.gone)
    }

    /// Whether a remediation of this node reached a stage, now or earlier.
    pub fn reached(&self, node: &str, stage: Stage) -> bool {
        self.milestones.get(node).is_some_and(|milestones| milestones.stages.contains_key(&stage))
    }

    /// Nodes that are not yet as a healthy node should be, and why.
    pub fn not_settled(&self, nodes: &[String]) -> Vec<String> {
        nodes.iter().filter_map(|name| Some(format!("{name}: {}", self.unsettled(name)?))).collect()
    }

    fn unsettled(&self, name: &str) -> Option<String> {
        let Some(node) = self.nodes.get(name) else { return Some("not registered".to_owned()) };
        if node.ready != "True" {
            return Some(format!("Ready is {}", node.ready));
        }
        if let Some(remediation) = self.remediations_of(name).next() {
            return Some(format!("remediation {} exists", remediation.name));
        }
        if let Some(taint) = node.taints.first() {
            return Some(format!("taint {taint}"));
        }
        let lease = self.leases.get(name);
        if lease.is_some_and(|lease| lease.intent.is_some()) {
            return Some("its lease carries a fence intent".to_owned());
        }
        let Some(record) = lease.and_then(|lease| lease.record.as_ref()) else {
            return Some("its agent has not reported".to_owned());
        };
        if record.boot_id.as_str() != node.boot {
            return Some("its agent reports another boot than its kubelet".to_owned());
        }
        if !record.terms.claims.self_fences {
            return Some("its agent does not yet claim to fence itself".to_owned());
        }
        // Agents that started together know only a few of the others at first.
        let full = self.nodes.len().saturating_sub(1).min(JURY_LIMIT);
        let jury = record.terms.jury.len();
        (jury < full).then(|| format!("a jury of {full}, so far {jury}"))
    }

    /// How long an agent has to run until its answers as a juror count: `T + 2 Wd + margin`, the largest of all.
    pub fn coming_of_age(&self) -> Duration {
        let records = self.leases.values().filter_map(|lease| lease.record.as_ref());
        records.map(|record| record.terms.life_bound()).max().unwrap_or_default()
    }

    /// Remembers what runs on these nodes: how long it stays is what is looked at.
    pub fn count_pods_of(&mut self, nodes: &[String]) {
        let there = self.pods.values().filter(|pod| nodes.contains(&pod.node));
        self.left = there.map(|pod| (pod.uid.clone(), pod.node.clone())).collect();
    }

    /// A pod does not exist any more. The time of the last of its node counts.
    pub fn pod_gone(&mut self, uid: &str, now: f64) {
        let Some(node) = self.left.remove(uid) else { return };
        if !self.left.values().any(|other| *other == node) {
            self.milestones.entry(node).or_default().gone = Some(now);
        }
    }

    /// Pods of the workload that do not run as they should.
    pub fn not_running(&self, replicas: u8) -> Vec<String> {
        self.not_all_running(crate::lab::workload::NAME, replicas.into())
    }

    /// The same of any set.
    pub fn not_all_running(&self, set: &str, replicas: u16) -> Vec<String> {
        let running = |name: &String| {
            self.pods.get(name).is_some_and(|pod| pod.phase == "Running" && !pod.deleting && !pod.node.is_empty())
        };
        (0..replicas).map(|ordinal| format!("{set}-{ordinal}")).filter(|name| !running(name)).collect()
    }
}

/// The world, shared between those who watch it and the one who waits.
#[derive(Clone)]
pub struct Shared {
    world: Arc<Mutex<World>>,
    changed: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { world: Arc::default(), changed: watch::Sender::new(0) }
    }
}

impl Shared {
    /// Looks at the world.
    pub fn read<R>(&self, look: impl FnOnce(&World) -> R) -> R {
        look(&self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes it and wakes whoever waits.
    pub fn write<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let result = change(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_modify(|version| *version += 1);
        result
    }

    /// Waits until `done` says `Ok`; otherwise its last complaint after `limit`. `meanwhile` hears every complaint.
    pub async fn wait<R>(
        &self,
        limit: Duration,
        mut done: impl FnMut(&World) -> Result<R, String>,
        meanwhile: impl Fn(&str),
    ) -> Result<R, String> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let complaint = match self.read(&mut done) {
                Ok(result) => return Ok(result),
                Err(complaint) => complaint,
            };
            meanwhile(&complaint);
            let tick = tokio::time::Instant::now() + Duration::from_millis(500);
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep_until(tick.min(deadline)) => {
                    if tokio::time::Instant::now() >= deadline {
                        return Err(complaint);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_empty_when_the_last_of_its_pods_is_gone_whatever_comes_after_them() {
        let mut world = World::default();
        for (name, uid, node) in [("a-0", "1", "n1"), ("a-1", "2", "n1"), ("b-0", "3", "n2")] {
            let pod = PodView { uid: uid.to_owned(), node: node.to_owned(), ..PodView::default() };
            world.pods.insert(name.to_owned(), pod);
        }
        world.count_pods_of(&["n1".to_owned()]);
        world.pod_gone("3", 1.0);
        world.pod_gone("1", 2.0);
        assert!(world.milestones.is_empty());
        world.pod_gone("2", 3.5);
        world.pod_gone("1", 9.0);
        assert_eq!(world.milestones["n1"].gone, Some(3.5));
    }
}
