//! The world of the harness as the runtime shows it to a component, and what the component asks for in the words of the
//! harness.

use anyhow::Context;
use palisade_remediator::agent::Reach;
use palisade_remediator::approval::{Answer, AnswerState, Question};
use palisade_remediator::fencing::{Grade, Method, ProofKind, Stage};
use palisade_remediator::jobs::{JobResult, JobState};
use palisade_remediator::machines::{Fate, Machine, MachineApi, Replacement};
use palisade_remediator::power::{Action, PowerState, PowerStatus, Progress};
use palisade_remediator::report::ConditionStatus;
use palisade_remediator::scheduling::{OwnTaint, OwnTaintEffect};
use palisade_remediator::testing::{Effect, ProofFacts, Scenario as World};
use palisade_remediator::workloads::{ReleaseMethod, Restoration};
use palisade_remediator::{Refusal, Remediation, Taint};
use palisade_runtime as host;

pub fn remediation(from: &Remediation) -> anyhow::Result<host::RemediationView> {
    Ok(host::RemediationView {
        uid: from.uid.clone(),
        kind: from.kind.clone(),
        namespace: from.namespace.clone(),
        name: from.name.clone(),
        node: from.node.clone(),
        strategy: from.strategy.clone(),
        parameters: serde_json::from_str(&from.parameters).context("parameters of the scenario")?,
        step: from.step.clone(),
        memory: from.memory.clone(),
        age_millis: from.age,
        timed_out: from.timed_out,
        deleting: from.deleting,
    })
}

pub fn claim(world: &World, proof: &ProofFacts) -> host::ProofClaim {
    host::ProofClaim {
        remediation_uid: world.remediation.uid.clone(),
        node: world.remediation.node.clone(),
        boot_id: proof.boot_id.clone(),
        intent_uid: "intent-1".into(),
        kind: match proof.kind {
            ProofKind::BootChanged => host::ProofKind::BootChanged,
            ProofKind::AgentAcknowledged => host::ProofKind::AgentAcknowledged,
            ProofKind::LeaseExpired => host::ProofKind::LeaseExpired,
            ProofKind::PoweredOff => host::ProofKind::PoweredOff,
            ProofKind::MachineGone => host::ProofKind::MachineGone,
            ProofKind::HumanConfirmed => host::ProofKind::HumanConfirmed,
        },
        grade: match proof.grade {
            Grade::Assumed => host::Grade::Assumed,
            Grade::Certain => host::Grade::Certain,
        },
        age_millis: proof.age,
    }
}

fn taint(from: &Taint) -> host::Taint {
    host::Taint { key: from.key.clone(), value: from.value.clone(), effect: from.effect.clone() }
}

pub fn snapshot(world: &World) -> host::Snapshot {
    let remains = &world.remains;
    host::Snapshot {
        target: world.target.as_ref().map(|node| host::TargetView {
            name: node.name.clone(),
            boot_id: node.boot_id.clone(),
            provider_id: node.provider_id.clone(),
            unschedulable: node.unschedulable,
            conditions: node
                .conditions
                .iter()
                .map(|one| host::NodeCondition {
                    kind: one.kind.clone(),
                    status: one.status.clone(),
                    reason: one.reason.clone(),
                    age_millis: one.age,
                })
                .collect(),
            taints: node.taints.iter().map(taint).collect(),
            labels: node.labels.iter().cloned().collect(),
        }),
        agent: host::AgentView {
            reach: match world.agent.reach {
                Reach::Direct => host::AgentReach::Direct,
                Reach::Relayed => host::AgentReach::Relayed,
                Reach::Silent => host::AgentReach::Silent,
                Reach::Absent => host::AgentReach::Absent,
            },
            boot_id: world.agent.boot_id.clone(),
            last_renewal_millis: world.agent.last_renewal,
            watchdog: world.agent.watchdog.as_ref().map(|watchdog| host::WatchdogView {
                identity: watchdog.identity.clone(),
                timeout_millis: watchdog.timeout,
                resets: watchdog.resets,
            }),
            self_fences: world.agent.self_fences,
            jury: world.agent.jury,
        },
        fencing: host::FencingView {
            stage: match world.fencing.stage {
                Stage::Idle => host::FenceStage::Idle,
                Stage::Requested => host::FenceStage::Requested,
                Stage::Marked => host::FenceStage::Marked,
                Stage::Intended => host::FenceStage::Intended,
                Stage::Promised => host::FenceStage::Promised,
                Stage::Proven => host::FenceStage::Proven,
                Stage::Contradicted => host::FenceStage::Contradicted,
            },
            boot_id: world.fencing.boot_id.clone(),
            waiting_for: world.fencing.waiting_for.clone(),
            due_millis: world.fencing.due,
        },
        workloads: host::WorkloadsView {
            pods: remains.pods,
            volume_attachments: remains.volume_attachments,
            examples: remains.examples.clone(),
            released: remains.released.map(|how| match how {
                ReleaseMethod::ResourceDeletion => host::ReleaseMethod::ResourceDeletion,
                ReleaseMethod::OutOfServiceTaint => host::ReleaseMethod::OutOfServiceTaint,
            }),
            out_of_service: remains.out_of_service,
            held: remains.held,
            out_of_service_supported: remains.out_of_service_supported,
        },
        scheduling: host::SchedulingView {
            cordoned: world.ours.cordoned,
            taints: world.ours.taints.iter().map(taint).collect(),
        },
        outside: host::Outside {
            machine: answered(&world.machine, machine),
            deletable: answered(&world.deletable, |()| ()),
            replacement: answered(&world.replacement, replacement),
            power: answered(&world.power, power),
            approval: match (&world.approved, &world.confirmed) {
                (Ok(action), Ok(isolation)) => {
                    Ok(host::ApprovalView { action: answer(action), isolation: answer(isolation) })
                }
                (Err(why), _) | (_, Err(why)) => Err(refusal(why)),
            },
            jobs: Ok(host::JobsView {
                listed: world.jobs.iter().map(|(name, result)| (name.clone(), Ok(job(result)))).collect(),
            }),
        },
    }
}

fn answered<T, U>(from: &Result<T, Refusal>, with: impl Fn(&T) -> U) -> host::Answered<U> {
    from.as_ref().map(with).map_err(refusal)
}

fn refusal(from: &Refusal) -> host::RefusalReason {
    match from {
        Refusal::PermissionDenied(why) => host::RefusalReason::PermissionDenied(why.clone()),
        Refusal::NotFound(why) => host::RefusalReason::NotFound(why.clone()),
        Refusal::Unavailable(why) => host::RefusalReason::Unavailable(why.clone()),
        Refusal::Refused(why) => host::RefusalReason::Refused(why.clone()),
    }
}

fn machine(from: &Machine) -> host::MachineView {
    host::MachineView {
        api: match from.api {
            MachineApi::Openshift => host::MachineApi::Openshift,
            MachineApi::ClusterApi => host::MachineApi::ClusterApi,
        },
        namespace: from.namespace.clone(),
        name: from.name.clone(),
        uid: from.uid.clone(),
        provider_id: from.provider_id.clone(),
        phase: from.phase.clone(),
        deleting: from.deleting,
        age_millis: from.age,
        control_plane: from.control_plane,
        owner: from.owner.as_ref().map(|owner| host::OwnerView {
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        }),
    }
}

fn replacement(from: &Replacement) -> host::ReplacementView {
    host::ReplacementView {
        fate: match from.fate {
            Fate::Kept => host::MachineFate::Kept,
            Fate::Deleting => host::MachineFate::Deleting,
            Fate::Gone => host::MachineFate::Gone,
        },
        wanted: from.wanted,
        ready: from.ready,
        needed: from.needed,
        waiting_for: from.waiting_for.clone(),
    }
}

fn power(from: &PowerStatus) -> host::PowerView {
    host::PowerView {
        state: match from.state {
            PowerState::Unknown => host::PowerState::Unknown,
            PowerState::On => host::PowerState::On,
            PowerState::Off => host::PowerState::Off,
        },
        age_millis: from.age,
        action: from.action.map(|action| match action {
            Action::Off => host::PowerAction::Off,
            Action::On => host::PowerAction::On,
        }),
        progress: match from.progress {
            Progress::Waiting => host::PowerProgress::Waiting,
            Progress::Running => host::PowerProgress::Running,
            Progress::Done => host::PowerProgress::Done,
            Progress::Failed => host::PowerProgress::Failed,
            Progress::TimedOut => host::PowerProgress::TimedOut,
        },
        attempts: from.attempts,
        detail: from.detail.clone(),
    }
}

fn answer(from: &Answer) -> host::AnswerView {
    host::AnswerView {
        state: match from.state {
            AnswerState::NotAsked => host::AnswerState::NotAsked,
            AnswerState::Pending => host::AnswerState::Pending,
            AnswerState::Given => host::AnswerState::Given,
            AnswerState::Denied => host::AnswerState::Denied,
            AnswerState::Expired => host::AnswerState::Expired,
            AnswerState::Stale => host::AnswerState::Stale,
            AnswerState::Withdrawn => host::AnswerState::Withdrawn,
        },
        persons: from
            .persons
            .iter()
            .map(|person| host::PersonView {
                name: person.name.clone(),
                reason: person.reason.clone(),
                age_millis: person.age,
            })
            .collect(),
        missing: from.missing,
        left_millis: from.left,
        boot_id: from.boot_id.clone(),
    }
}

fn job(from: &JobResult) -> host::JobView {
    host::JobView {
        state: match from.state {
            JobState::NotRun => host::JobState::NotRun,
            JobState::Pending => host::JobState::Pending,
            JobState::Running => host::JobState::Running,
            JobState::Succeeded => host::JobState::Succeeded,
            JobState::Failed => host::JobState::Failed,
        },
        exit_code: from.exit_code,
        age_millis: from.age,
        output: from.output.clone(),
        detail: from.detail.clone(),
        is_evidence: from.is_evidence,
    }
}

/// What a component asked for.
pub fn effect(from: &host::Effect) -> Effect {
    match from {
        host::Effect::RequestFence { method } => Effect::RequestFence(match method {
            host::FenceMethod::SelfFence => Method::SelfFence,
            host::FenceMethod::External => Method::External,
        }),
        host::Effect::Release { proof, how } => {
            let how = match how {
                host::ReleaseMethod::ResourceDeletion => ReleaseMethod::ResourceDeletion,
                host::ReleaseMethod::OutOfServiceTaint => ReleaseMethod::OutOfServiceTaint,
            };
            Effect::Release(proof.as_str().to_owned(), how)
        }
        host::Effect::Restore { what } => Effect::Restore(match what {
            host::Restoration::OutOfServiceTaint => Restoration::OutOfServiceTaint,
            host::Restoration::Everything => Restoration::Everything,
        }),
        host::Effect::Cordon => Effect::Cordon,
        host::Effect::Uncordon => Effect::Uncordon,
        host::Effect::TaintOwn { taint } => Effect::SetTaint(own(taint)),
        host::Effect::UntaintOwn { taint } => Effect::RemoveTaint(own(taint)),
        host::Effect::DeleteMachine { uid } => Effect::DeleteMachine(uid.clone()),
        host::Effect::PowerOff => Effect::PowerOff,
        host::Effect::PowerOn => Effect::PowerOn,
        host::Effect::Ask { question, message, persons, expires_millis } => {
            let question = match question {
                host::Question::ApproveAction => Question::ApproveAction,
                host::Question::ConfirmIsolated => Question::ConfirmIsolated,
            };
            Effect::Ask(question, message.clone(), *persons, *expires_millis)
        }
        host::Effect::RunJob { name } => Effect::RunJob(name.clone()),
        host::Effect::Condition { kind, status, reason, message } => {
            let status = match status {
                host::ConditionStatus::True => ConditionStatus::True,
                host::ConditionStatus::False => ConditionStatus::False,
                host::ConditionStatus::Unknown => ConditionStatus::Unknown,
            };
            Effect::Condition(kind.clone(), status, reason.clone(), message.clone())
        }
        host::Effect::Event { warning, reason, message } => Effect::Event(*warning, reason.clone(), message.clone()),
    }
}

fn own(from: &host::OwnTaint) -> OwnTaint {
    let effect = match from.effect {
        host::OwnTaintEffect::NoSchedule => OwnTaintEffect::NoSchedule,
        host::OwnTaintEffect::PreferNoSchedule => OwnTaintEffect::PreferNoSchedule,
    };
    OwnTaint { key: from.key.clone(), value: from.value.clone(), effect }
}
