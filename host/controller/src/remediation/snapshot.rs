//! What a component sees: one picture, lengths and ages only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use palisade_api::progress::Progress;
use palisade_core::fencing::proof;
use palisade_core::fencing::record::{AgentRecord, BootId};
use palisade_runtime::{
    AgentReach, AgentView, Effect, FenceStage, FencingView, Grade, NodeCondition, ProofClaim, ProofKind, ReleaseMethod,
    RemediationView, SchedulingView, Taint, TargetView, WatchdogView, WorkloadsView,
};
use serde_json::Value;

use super::committed;
use super::kind::{Choice, Remediation};
use super::pass::Pass;
use crate::clock;
use crate::error::Error;
use crate::fence::FenceState;
use crate::fence::lease;
use crate::fence::read::boot_of;
use crate::taints;
use crate::workloads::inventory::{self, Purpose};

impl<K: Remediation> Pass<K> {
    pub(super) fn view(&mut self, parameters: &Value) -> RemediationView {
        let strategy = match self.object.choice() {
            Choice::Strategy(strategy) => strategy.as_str().to_owned(),
            Choice::Named(..) | Choice::Builtin(..) => String::new(),
        };
        let (timed_out, deleting) = (self.object.timed_out(), self.object.deleting());
        let age_millis = age(self.object.meta().creation_timestamp.as_ref());
        let progress = self.progress();
        RemediationView {
            step: progress.step_name.clone().unwrap_or_default(),
            memory: progress.memory.as_ref().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default(),
            uid: self.target.uid.clone(),
            kind: K::KIND.to_owned(),
            namespace: self.target.namespace.clone(),
            name: self.target.name.clone(),
            node: self.target.node.clone(),
            strategy,
            parameters: parameters.clone(),
            age_millis,
            timed_out,
            deleting,
        }
    }

    pub(super) async fn snapshot(
        &mut self,
        module: &palisade_runtime::Module,
        node: &Node,
        fence: Option<&FenceState>,
    ) -> Result<palisade_runtime::Snapshot, Error> {
        let outside = self.look_outside(module, node, fence).await?;
        let found = self.context.agent_lease(&self.target.node);
        let record = found.map(|found| lease::verified(&found, &self.context.trust));
        let workloads = self.workloads(node, fence).await?;
        let ours = taints::text(&taints::own());
        let progress = self.progress();
        let scheduling = SchedulingView {
            cordoned: progress.owned.cordoned == Some(true),
            taints: node_taints(node)
                .into_iter()
                .filter(|taint| {
                    let text = taint_text(taint);
                    text != ours && progress.owned.taints.contains(&text)
                })
                .collect(),
        };
        Ok(palisade_runtime::Snapshot {
            target: Some(node).filter(|node| node.uid().is_some()).map(target_view),
            agent: match record {
                None => AgentView::default(),
                Some(record) => agent_view(record.ok().as_ref()),
            },
            fencing: fence.map(fencing_view).unwrap_or_default(),
            workloads,
            scheduling,
            outside,
        })
    }

    async fn workloads(&mut self, node: &Node, fence: Option<&FenceState>) -> Result<WorkloadsView, Error> {
        let supported = self.context.server_version().await.is_none_or(|version| version >= (1, 26));
        let held = self.holds_anything(node).await?;
        let out_of_service = taints::out_of_service();
        let (client, name) = (self.context.client.clone(), self.target.node.clone());
        let progress = self.progress();
        let ours = progress.owned.taints.contains(&taints::text(&out_of_service));
        let released = released(progress);
        let marked = inventory::uids(&progress.owned.marked_pods);
        let (pods, attachments): (Vec<String>, usize) = if released.is_none() {
            // Nothing is done by it before there is a proof: what was marked is recorded, and costs no request.
            (progress.owned.marked_pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect(), 0)
        } else if forces(progress, fence, boot_of(node).as_ref()) {
            let left = inventory::read(&client, &name, Purpose::Release(&marked)).await?;
            let pods = left.to_release(&marked, released).map(crate::events::name_of).collect();
            (pods, left.attachments_to_release(&marked, released).count())
        } else {
            // After P1, or when another boot runs, nothing is forced: only the marked pods have to be confirmed.
            let left = inventory::read(&client, &name, Purpose::Marked(&marked)).await?;
            (left.still_marked(&marked).map(crate::events::name_of).collect(), 0)
        };
        Ok(WorkloadsView {
            pods: u32::try_from(pods.len()).unwrap_or(u32::MAX),
            volume_attachments: u32::try_from(attachments).unwrap_or(u32::MAX),
            examples: pods.into_iter().take(5).collect(),
            released,
            out_of_service: ours && taints::has(node, &out_of_service),
            held,
            out_of_service_supported: supported,
        })
    }
}

/// Whether what is left counts everything a forced release takes, or only what the node itself confirms.
fn forces(progress: &Progress, fence: Option<&FenceState>, boot: Option<&BootId>) -> bool {
    let kind = fence.and_then(|fence| fence.proof.as_ref()).map(|proof| proof.kind);
    let dead = progress.certificate.as_ref();
    let another = dead.is_some_and(|dead| boot.is_some_and(|boot| boot.as_str() != dead.boot_id));
    !another && kind.is_none_or(proof::ProofKind::forces)
}

/// How the workloads were released, by the newest release that was applied.
pub(super) fn released(progress: &Progress) -> Option<ReleaseMethod> {
    progress.applied.iter().rev().find_map(|applied| match committed::effect(applied) {
        Some(Effect::Release { how, .. }) => Some(how),
        _ => None,
    })
}

fn target_view(node: &Node) -> TargetView {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    TargetView {
        name: node.name_any(),
        boot_id: boot_of(node).map(|boot| boot.to_string()).unwrap_or_default(),
        provider_id: node.spec.as_ref().and_then(|spec| spec.provider_id.clone()).unwrap_or_default(),
        unschedulable: node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default(),
        conditions: conditions
            .map(|condition| NodeCondition {
                kind: condition.type_.clone(),
                status: condition.status.clone(),
                reason: condition.reason.clone().unwrap_or_default(),
                age_millis: age(condition.last_transition_time.as_ref()),
            })
            .collect(),
        taints: node_taints(node),
        labels: node.labels().clone(),
    }
}

fn node_taints(node: &Node) -> Vec<Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints
        .map(|taint| Taint {
            key: taint.key.clone(),
            value: taint.value.clone().unwrap_or_default(),
            effect: taint.effect.clone(),
        })
        .collect()
}

fn taint_text(taint: &Taint) -> String {
    taints::text(&taints::taint(&taint.key, Some(&taint.value), &taint.effect))
}

/// The controller does not ask the agent for a snapshot: a dead one would delay every call. What it published counts.
fn agent_view(record: Option<&AgentRecord>) -> AgentView {
    let Some(record) = record else { return AgentView { reach: AgentReach::Silent, ..AgentView::default() } };
    AgentView {
        reach: AgentReach::Silent,
        boot_id: record.boot_id.to_string(),
        last_renewal_millis: None,
        watchdog: record.terms.watchdog.as_ref().map(|watchdog| WatchdogView {
            identity: watchdog.identity.clone(),
            timeout_millis: watchdog.timeout_millis,
            resets: watchdog.resets,
        }),
        self_fences: record.terms.claims.self_fences,
        jury: u32::try_from(record.terms.jury.len()).unwrap_or(u32::MAX),
    }
}

fn fencing_view(fence: &FenceState) -> FencingView {
    FencingView {
        stage: fence.stage,
        boot_id: fence.boot.as_ref().map(ToString::to_string).unwrap_or_default(),
        waiting_for: match (&fence.contradiction, fence.stage) {
            (Some(what), _) => what.clone(),
            (None, FenceStage::Proven) => String::new(),
            (None, _) => fence.waiting_for.clone(),
        },
        due_millis: fence
            .deadline
            .filter(|_| fence.proof.is_none())
            .map(|deadline| palisade_core::time::millis(deadline.since(clock::now()))),
    }
}

/// The claim of the proof that a remediation holds.
pub(super) fn claim(uid: &str, proof: &proof::Proof) -> ProofClaim {
    ProofClaim {
        remediation_uid: uid.to_owned(),
        node: proof.node.clone(),
        boot_id: proof.boot.to_string(),
        intent_uid: proof.intent_uid.clone(),
        kind: match proof.kind {
            proof::ProofKind::BootChanged => ProofKind::BootChanged,
            proof::ProofKind::AgentAcknowledged => ProofKind::AgentAcknowledged,
            proof::ProofKind::LeaseExpired => ProofKind::LeaseExpired,
            proof::ProofKind::PoweredOff => ProofKind::PoweredOff,
            proof::ProofKind::MachineGone => ProofKind::MachineGone,
            proof::ProofKind::HumanConfirmed => ProofKind::HumanConfirmed,
        },
        grade: match proof.grade {
            proof::Grade::Certain => Grade::Certain,
            proof::Grade::Assumed => Grade::Assumed,
        },
        age_millis: palisade_core::time::millis(clock::now().since(proof.proven)),
    }
}

fn age(since: Option<&Time>) -> u64 {
    let millis = since.map_or(0, |since| clock::wall().0.as_millisecond().saturating_sub(since.0.as_millisecond()));
    u64::try_from(millis).unwrap_or(0)
}
