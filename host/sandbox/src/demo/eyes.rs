//! Watches the cluster and the machines, keeps the [`World`](super::world::World) current, and says what changed.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::{Api, Client, ResourceExt};
use palisade_api::{NodeHealthCheck, SelfNodeRemediation, Stage, keys};
use palisade_core::fencing::record::LeaseView;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::follow::{Change, follow};
use super::timeline::{Timeline, Word};
use super::world::{NodeView, PodView, RemediationView, Shared, World};
use crate::lab::NAMESPACE;
use crate::lab::machine::{Happening, What};
use crate::lab::oracle::Ledger;
use crate::lab::workload::CSI_DRIVER;

/// Pause between two looks at the oracle.
const ORACLE_PACE: Duration = Duration::from_millis(200);

/// Sees and says; clones share everything.
#[derive(Clone)]
pub struct Eyes {
    /// What is seen.
    pub shared: Shared,
    /// Where it is said.
    pub timeline: Timeline,
    /// Nodes that matter; others belong to somebody else.
    pub nodes: BTreeSet<String>,
    /// Namespace of the workload.
    pub namespace: String,
    /// Name of the health check.
    pub policy: String,
    /// Told about every stage that is seen for the first time.
    pub stages: mpsc::UnboundedSender<(String, Stage)>,
}

impl Eyes {
    /// Opens the eyes; they close when the set is dropped.
    pub fn open(
        self,
        client: &Client,
        mut happenings: mpsc::UnboundedReceiver<Happening>,
        ledger: Ledger,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let all = || client.clone();
        let eyes = self.clone();
        tasks.spawn(follow(Api::<Node>::all(all()), move |change| eyes.node(&change)));
        let eyes = self.clone();
        tasks.spawn(follow(Api::<Lease>::namespaced(all(), NAMESPACE), move |change| eyes.lease(&change)));
        let eyes = self.clone();
        tasks.spawn(follow(Api::<SelfNodeRemediation>::all(all()), move |change| eyes.remediation(&change)));
        let eyes = self.clone();
        tasks.spawn(follow(Api::<NodeHealthCheck>::all(all()), move |change| eyes.health_check(&change)));
        let eyes = self.clone();
        tasks.spawn(follow(Api::<Pod>::namespaced(all(), &self.namespace), move |change| eyes.pod(&change)));
        let eyes = self.clone();
        tasks.spawn(follow(Api::<VolumeAttachment>::all(all()), move |change| eyes.attachment(&change)));
        let timeline = self.timeline.clone();
        tasks.spawn(async move {
            let mut told = 0;
            loop {
                for violation in ledger.violations().iter().skip(told) {
                    timeline.say(Word::Wrong, violation.to_string(), None);
                    told += 1;
                }
                tokio::time::sleep(ORACLE_PACE).await;
            }
        });
        tasks.spawn(async move {
            while let Some(happening) = happenings.recv().await {
                self.happening(&happening);
            }
        });
        tasks
    }

    fn now(&self) -> f64 {
        self.timeline.seconds()
    }

    fn node(&self, change: &Change<Node>) {
        let (Change::Now(node) | Change::Gone(node)) = change;
        let name = node.name_any();
        if !self.nodes.contains(&name) {
            return;
        }
        let now = match change {
            Change::Now(node) => Some(NodeView::of(node)),
            Change::Gone(_) => None,
        };
        let before = self.shared.write(|world| match now.clone() {
            Some(view) => world.nodes.insert(name.clone(), view),
            None => world.nodes.remove(&name),
        });
        let (Some(before), Some(now)) = (before, now) else { return };
        if before.ready != now.ready {
            let word = if now.ready == "True" { Word::Recover } else { Word::Watch };
            self.timeline.say(word, format!("{name} is {}", readiness(&now.ready)), Some(now.reason.clone()));
        }
        if before.boot != now.boot && !before.boot.is_empty() {
            let what = format!("the kubelet of {name} reports boot {}", short(&now.boot));
            self.timeline.say(Word::Recover, what, Some(format!("was {}", short(&before.boot))));
        }
        for taint in now.taints.iter().filter(|taint| !before.taints.contains(taint)) {
            if let Some(word) = ours(taint) {
                self.timeline.say(word, format!("{name} is tainted {taint}"), None);
            }
        }
        for taint in before.taints.iter().filter(|taint| !now.taints.contains(taint)) {
            if ours(taint).is_some() {
                self.timeline.say(Word::Recover, format!("taint {taint} is removed from {name}"), None);
            }
        }
    }

    fn lease(&self, change: &Change<Lease>) {
        let Change::Now(lease) = change else { return };
        let name = lease.name_any();
        if !self.nodes.contains(&name) {
            return;
        }
        let view = match LeaseView::from_annotations(lease.annotations()) {
            Ok(view) => view,
            Err(error) => {
                self.timeline.say(Word::Wrong, format!("the lease of {name} cannot be read"), Some(error.to_string()));
                return;
            }
        };
        let before = self.shared.write(|world| world.leases.insert(name.clone(), view.clone())).unwrap_or_default();
        let intent = |view: &LeaseView| view.intent.as_ref().map(|intent| intent.uid.clone());
        match (intent(&before), intent(&view)) {
            (Some(old), None) => {
                self.timeline.say(Word::Recover, format!("fence intent {} of {name} is cleared", short(&old)), None);
            }
            (before, Some(new)) if before.as_ref() != Some(&new) => {
                let boot = view.intent.as_ref().map(|intent| intent.boot_id.to_string()).unwrap_or_default();
                // The status tells of it later, together with what came next.
                let now = self.now();
                self.shared.write(|world| {
                    let milestones = world.milestones.entry(name.clone()).or_default();
                    milestones.stages.entry(Stage::Intended).or_insert(now);
                });
                let what = format!("fence intent {} stands in the lease of {name}", short(&new));
                self.timeline.say(Word::Intend, what, Some(format!("for boot {}", short(&boot))));
            }
            _ => {}
        }
        let acknowledged = |view: &LeaseView| view.record.as_ref().and_then(|record| record.acknowledged.clone());
        if let Some(intent) = acknowledged(&view).filter(|intent| acknowledged(&before).as_ref() != Some(intent)) {
            let what = format!("the agent of {name} obeys intent {}", short(&intent));
            self.timeline.say(Word::Fence, what, Some("its watchdog is fed no more".to_owned()));
        }
    }

    fn remediation(&self, change: &Change<SelfNodeRemediation>) {
        let (Change::Now(object) | Change::Gone(object)) = change;
        let mut view = RemediationView::of(object);
        view.gone = matches!(change, Change::Gone(_));
        if !self.nodes.contains(&view.node) {
            return;
        }
        let now = self.now();
        let (node, name, gone) = (view.node.clone(), view.name.clone(), view.gone);
        let (before, new) = self.shared.write(|world| {
            let before = world.remediations.insert(object.uid().unwrap_or_default(), view.clone());
            let milestones = world.milestones.entry(node.clone()).or_default();
            milestones.detected.get_or_insert(now);
            let known = before.as_ref().map_or(0, |before| before.stages.len());
            let new: Vec<_> = view.stages.iter().skip(known).cloned().collect();
            for (stage, _) in &new {
                milestones.stages.entry(*stage).or_insert(now);
            }
            (before, new)
        });
        if before.is_none() {
            let by = object.metadata.owner_references.iter().flatten().find(|owner| owner.kind == "NodeHealthCheck");
            let by = by.map(|owner| format!("by NodeHealthCheck {}", owner.name));
            self.timeline.say(Word::Judge, format!("remediation {name} of {node} is created"), by);
        }
        for (stage, detail) in new {
            self.timeline.say(word_of(stage), stage_text(stage, &node), detail);
            let _ = self.stages.send((node.clone(), stage));
        }
        let before = before.unwrap_or_default();
        if view.waiting_for != before.waiting_for
            && let Some(waiting) = &view.waiting_for
        {
            self.timeline.progress(&format!("{node}: waiting for {waiting}"));
        }
        if view.error != before.error && !view.error.is_empty() {
            self.timeline.say(Word::Watch, format!("remediation {name} has a difficulty"), Some(view.error.clone()));
        }
        if gone {
            self.timeline.say(Word::Recover, format!("remediation {name} is gone"), None);
        }
    }

    fn health_check(&self, change: &Change<NodeHealthCheck>) {
        let Change::Now(check) = change else { return };
        if check.name_any() != self.policy {
            return;
        }
        let status = check.status.clone().unwrap_or_default();
        let summary = format!(
            "{} of {} nodes healthy, phase {}",
            status.healthy_nodes.unwrap_or_default(),
            status.observed_nodes.unwrap_or_default(),
            status.phase.unwrap_or_default()
        );
        let known = self.shared.write(|world| {
            let known = world.health == summary;
            world.health.clone_from(&summary);
            known
        });
        if !known {
            self.timeline.say(Word::Judge, format!("NodeHealthCheck {}: {summary}", self.policy), status.reason);
        }
    }

    fn pod(&self, change: &Change<Pod>) {
        let (Change::Now(pod) | Change::Gone(pod)) = change;
        let name = pod.name_any();
        let now = PodView::of(pod);
        let (before, restarted) = self.shared.write(|world| {
            let before = world.pods.get(&name).cloned();
            if matches!(change, Change::Now(_)) {
                world.pods.insert(name.clone(), now.clone());
            } else if before.as_ref().is_some_and(|before| before.uid == now.uid) {
                world.pods.remove(&name);
            }
            let restarted = before.as_ref().is_none_or(|before| before.uid != now.uid);
            (before.filter(|before| before.uid == now.uid).unwrap_or_default(), restarted)
        });
        if matches!(change, Change::Gone(_)) {
            let seconds = self.now();
            self.shared.write(|world| world.pod_gone(&now.uid, seconds));
            self.timeline.say(Word::Release, format!("pod {name} of {} is gone", now.node), None);
            return;
        }
        if restarted && now.node.is_empty() {
            self.timeline.say(Word::Release, format!("a new pod {name} is created"), None);
        }
        if before.node != now.node {
            self.timeline.say(Word::Release, format!("pod {name} is bound to {}", now.node), None);
        }
        if now.deleting && !before.deleting {
            let why = "nothing takes its place until it is gone".to_owned();
            self.timeline.say(Word::Intend, format!("pod {name} on {} is marked for deletion", now.node), Some(why));
        }
        if now.phase == "Running" && before.phase != "Running" {
            self.timeline.say(Word::Release, format!("pod {name} runs on {}", now.node), None);
        }
    }

    fn attachment(&self, change: &Change<VolumeAttachment>) {
        let (Change::Now(attachment) | Change::Gone(attachment)) = change;
        let node = &attachment.spec.node_name;
        if attachment.spec.attacher != CSI_DRIVER || !self.nodes.contains(node) {
            return;
        }
        let volume = attachment.spec.source.persistent_volume_name.clone().unwrap_or_default();
        let attached = attachment.status.as_ref().is_some_and(|status| status.attached);
        match change {
            Change::Now(_) if attached => {
                let before = self.shared.write(|world| world.volumes.insert(volume.clone(), node.clone()));
                if before.as_ref() != Some(node) {
                    self.timeline.say(Word::Release, format!("volume {volume} is attached to {node}"), None);
                }
            }
            Change::Now(_) => {}
            Change::Gone(_) => {
                self.shared.write(|world| world.volumes.retain(|name, at| *name != volume || at != node));
                self.timeline.say(Word::Release, format!("volume {volume} is detached from {node}"), None);
            }
        }
    }

    fn happening(&self, happening: &Happening) {
        let node = &happening.node;
        let now = self.now();
        match &happening.what {
            What::BootStarted(boot) => {
                self.timeline.say(Word::Recover, format!("{node} has booted: boot {}", short(boot)), None);
            }
            What::BootEnded(boot, why) => {
                self.shared.write(|world: &mut World| {
                    *world.boots_ended.entry(node.clone()).or_default() += 1;
                    world.milestones.entry(node.clone()).or_default().boot_ended.get_or_insert(now);
                });
                let what = format!("boot {} of {node} has ended", short(boot));
                self.timeline.say(Word::Fence, what, Some(why.to_string()));
            }
            What::Disarmed => self.timeline.say(Word::Fence, format!("the watchdog of {node} is disarmed"), None),
            What::Armed => {}
            What::AgentDied(how) => {
                self.shared.write(|world| world.crashes.push(format!("the agent of {node}: {how}")));
                self.timeline.say(Word::Wrong, format!("the agent of {node} died by itself"), Some(how.clone()));
            }
        }
    }
}

/// The first characters of an id: enough to tell them apart.
pub fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn readiness(status: &str) -> &str {
    match status {
        "True" => "Ready",
        "False" => "NotReady",
        _ => "NotReady: nobody hears of it",
    }
}

fn ours(taint: &str) -> Option<Word> {
    if taint.starts_with(keys::cluster::OUT_OF_SERVICE_TAINT) {
        return Some(Word::Release);
    }
    let foreign = taint.starts_with("node.kubernetes.io/");
    (!foreign).then_some(if taint.ends_with("NoExecute") { Word::Release } else { Word::Intend })
}

fn word_of(stage: Stage) -> Word {
    match stage {
        Stage::Started => Word::Judge,
        Stage::Marked | Stage::Intended => Word::Intend,
        Stage::Promised | Stage::Acknowledged => Word::Fence,
        Stage::Proven => Word::Prove,
        Stage::Released => Word::Release,
        Stage::Recovered | Stage::Restored => Word::Recover,
        Stage::Contradicted | Stage::Failed => Word::Wrong,
    }
}

fn stage_text(stage: Stage, node: &str) -> String {
    match stage {
        Stage::Started => format!("the remediation of {node} is taken up"),
        Stage::Marked => format!("{node} and its pods are marked"),
        Stage::Intended => format!("the intent to fence {node} is written"),
        Stage::Promised => format!("a majority of the jury of {node} has promised"),
        Stage::Acknowledged => format!("{node} acknowledged its end"),
        Stage::Proven => format!("the old boot of {node} is PROVEN over"),
        Stage::Released => format!("the workload of {node} is released"),
        Stage::Recovered => format!("{node} is back"),
        Stage::Restored => format!("marks and taints of {node} are taken back"),
        Stage::Contradicted => format!("a sign of the old boot of {node} appeared after the proof"),
        Stage::Failed => format!("the remediation of {node} failed"),
    }
}
