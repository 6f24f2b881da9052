//! Between the types of contract 0.1 and the host's own.

use super::Answer;
use super::v0_1::{agent, fencing, report, scheduling, target, types, workloads};
use crate::effect::{ConditionStatus, OwnTaint, OwnTaintEffect, Restoration};
use crate::proof::{Grade, ProofKind};
use crate::report::{Outcome, RefusalReason};
use crate::view::{
    AgentReach, AgentView, FenceStage, FencingView, ReleaseMethod, RemediationView, SchedulingView, Taint, TargetView,
    WorkloadsView,
};

pub(super) fn remediation(view: &RemediationView) -> types::Remediation {
    types::Remediation {
        uid: view.uid.clone(),
        kind: view.kind.clone(),
        namespace: view.namespace.clone(),
        name: view.name.clone(),
        node: view.node.clone(),
        strategy: view.strategy.clone(),
        parameters: view.parameters.to_string(),
        step: view.step.clone(),
        memory: view.memory.clone(),
        age: view.age_millis,
        timed_out: view.timed_out,
        deleting: view.deleting,
    }
}

pub(super) fn answer(answer: Result<types::Outcome, types::Failure>) -> Answer {
    match answer {
        Ok(types::Outcome { verdict, step, memory }) => {
            let outcome = match verdict {
                types::Verdict::Working(requeue_after_millis) => Outcome::Working { requeue_after_millis },
                types::Verdict::Succeeded => Outcome::Succeeded,
                types::Verdict::Failed(reason) => Outcome::Failed { reason },
            };
            Answer::Done { outcome, step, memory }
        }
        Err(types::Failure::BadMemory(why)) => Answer::BadMemory(why),
        Err(types::Failure::Other(why)) => Answer::Error(why),
    }
}

pub(super) fn refusal(reason: RefusalReason) -> types::Refusal {
    match reason {
        RefusalReason::PermissionDenied(why) => types::Refusal::PermissionDenied(why),
        RefusalReason::NotFound(why) => types::Refusal::NotFound(why),
        RefusalReason::Unavailable(why) => types::Refusal::Unavailable(why),
        RefusalReason::Refused(why) => types::Refusal::Refused(why),
    }
}

fn taint(taint: &Taint) -> types::Taint {
    types::Taint { key: taint.key.clone(), value: taint.value.clone(), effect: taint.effect.clone() }
}

pub(super) fn node(view: &TargetView) -> target::Node {
    let condition = |condition: &crate::view::NodeCondition| target::NodeCondition {
        kind: condition.kind.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        age: condition.age_millis,
    };
    target::Node {
        name: view.name.clone(),
        boot_id: view.boot_id.clone(),
        provider_id: view.provider_id.clone(),
        unschedulable: view.unschedulable,
        conditions: view.conditions.iter().map(condition).collect(),
        taints: view.taints.iter().map(taint).collect(),
        labels: view.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
    }
}

pub(super) fn agent_state(view: &AgentView) -> agent::AgentState {
    agent::AgentState {
        reach: match view.reach {
            AgentReach::Direct => agent::Reach::Direct,
            AgentReach::Relayed => agent::Reach::Relayed,
            AgentReach::Silent => agent::Reach::Silent,
            AgentReach::Absent => agent::Reach::Absent,
        },
        boot_id: view.boot_id.clone(),
        last_renewal: view.last_renewal_millis,
        watchdog: view.watchdog.as_ref().map(|watchdog| agent::Watchdog {
            identity: watchdog.identity.clone(),
            timeout: watchdog.timeout_millis,
            resets: watchdog.resets,
        }),
        self_fences: view.self_fences,
        jury: view.jury,
    }
}

pub(super) fn progress(view: &FencingView) -> fencing::FenceStatus {
    fencing::FenceStatus {
        stage: match view.stage {
            FenceStage::Idle => fencing::Stage::Idle,
            FenceStage::Requested => fencing::Stage::Requested,
            FenceStage::Marked => fencing::Stage::Marked,
            FenceStage::Intended => fencing::Stage::Intended,
            FenceStage::Promised => fencing::Stage::Promised,
            FenceStage::Proven => fencing::Stage::Proven,
            FenceStage::Contradicted => fencing::Stage::Contradicted,
        },
        boot_id: view.boot_id.clone(),
        waiting_for: view.waiting_for.clone(),
        due: view.due_millis,
    }
}

pub(super) fn proof_kind(kind: ProofKind) -> fencing::ProofKind {
    match kind {
        ProofKind::BootChanged => fencing::ProofKind::BootChanged,
        ProofKind::AgentAcknowledged => fencing::ProofKind::AgentAcknowledged,
        ProofKind::LeaseExpired => fencing::ProofKind::LeaseExpired,
        ProofKind::PoweredOff => fencing::ProofKind::PoweredOff,
        ProofKind::MachineGone => fencing::ProofKind::MachineGone,
        ProofKind::HumanConfirmed => fencing::ProofKind::HumanConfirmed,
    }
}

pub(super) fn grade(grade: Grade) -> fencing::Grade {
    match grade {
        Grade::Assumed => fencing::Grade::Assumed,
        Grade::Certain => fencing::Grade::Certain,
    }
}

pub(super) fn remains(view: &WorkloadsView) -> workloads::Remains {
    workloads::Remains {
        pods: view.pods,
        volume_attachments: view.volume_attachments,
        examples: view.examples.clone(),
        released: view.released.map(|method| match method {
            ReleaseMethod::ResourceDeletion => workloads::ReleaseMethod::ResourceDeletion,
            ReleaseMethod::OutOfServiceTaint => workloads::ReleaseMethod::OutOfServiceTaint,
        }),
        out_of_service: view.out_of_service,
        held: view.held,
        out_of_service_supported: view.out_of_service_supported,
    }
}

pub(super) fn release_method(method: workloads::ReleaseMethod) -> ReleaseMethod {
    match method {
        workloads::ReleaseMethod::ResourceDeletion => ReleaseMethod::ResourceDeletion,
        workloads::ReleaseMethod::OutOfServiceTaint => ReleaseMethod::OutOfServiceTaint,
    }
}

pub(super) fn restoration(what: workloads::Restoration) -> Restoration {
    match what {
        workloads::Restoration::OutOfServiceTaint => Restoration::OutOfServiceTaint,
        workloads::Restoration::Everything => Restoration::Everything,
    }
}

pub(super) fn ours(view: &SchedulingView) -> scheduling::Ours {
    scheduling::Ours { cordoned: view.cordoned, taints: view.taints.iter().map(taint).collect() }
}

pub(super) fn own_taint(taint: scheduling::OwnTaint) -> OwnTaint {
    OwnTaint {
        key: taint.key,
        value: taint.value,
        effect: match taint.effect {
            scheduling::OwnTaintEffect::NoSchedule => OwnTaintEffect::NoSchedule,
            scheduling::OwnTaintEffect::PreferNoSchedule => OwnTaintEffect::PreferNoSchedule,
        },
    }
}

pub(super) fn condition_status(status: report::ConditionStatus) -> ConditionStatus {
    match status {
        report::ConditionStatus::True => ConditionStatus::True,
        report::ConditionStatus::False => ConditionStatus::False,
        report::ConditionStatus::Unknown => ConditionStatus::Unknown,
    }
}

pub(super) fn level(level: report::Level) -> &'static str {
    match level {
        report::Level::Debug => "debug",
        report::Level::Info => "info",
        report::Level::Warning => "warning",
    }
}
