//! Between the types of contract 0.1 and the host's own, for what is outside of the node.

use super::v0_1::{approval, jobs, machines, power};
use crate::outside::{
    AnswerState, AnswerView, JobState, JobView, MachineApi, MachineFate, MachineView, PowerAction, PowerProgress,
    PowerState, PowerView, Question, ReplacementView,
};

pub(super) fn machine(view: MachineView) -> machines::Machine {
    machines::Machine {
        api: match view.api {
            MachineApi::Openshift => machines::MachineApi::Openshift,
            MachineApi::ClusterApi => machines::MachineApi::ClusterApi,
        },
        namespace: view.namespace,
        name: view.name,
        uid: view.uid,
        provider_id: view.provider_id,
        phase: view.phase,
        deleting: view.deleting,
        age: view.age_millis,
        control_plane: view.control_plane,
        owner: view.owner.map(|owner| machines::Owner { kind: owner.kind, name: owner.name, uid: owner.uid }),
    }
}

pub(super) fn replacement(view: ReplacementView) -> machines::Replacement {
    machines::Replacement {
        fate: match view.fate {
            MachineFate::Kept => machines::Fate::Kept,
            MachineFate::Deleting => machines::Fate::Deleting,
            MachineFate::Gone => machines::Fate::Gone,
        },
        wanted: view.wanted,
        ready: view.ready,
        needed: view.needed,
        waiting_for: view.waiting_for,
    }
}

pub(super) fn power(view: PowerView) -> power::PowerStatus {
    power::PowerStatus {
        state: match view.state {
            PowerState::Unknown => power::PowerState::Unknown,
            PowerState::On => power::PowerState::On,
            PowerState::Off => power::PowerState::Off,
        },
        age: view.age_millis,
        action: view.action.map(|action| match action {
            PowerAction::Off => power::Action::Off,
            PowerAction::On => power::Action::On,
        }),
        progress: match view.progress {
            PowerProgress::Waiting => power::Progress::Waiting,
            PowerProgress::Running => power::Progress::Running,
            PowerProgress::Done => power::Progress::Done,
            PowerProgress::Failed => power::Progress::Failed,
            PowerProgress::TimedOut => power::Progress::TimedOut,
        },
        attempts: view.attempts,
        detail: view.detail,
    }
}

pub(super) fn question(question: approval::Question) -> Question {
    match question {
        approval::Question::ApproveAction => Question::ApproveAction,
        approval::Question::ConfirmIsolated => Question::ConfirmIsolated,
    }
}

pub(super) fn answer(view: AnswerView) -> approval::Answer {
    approval::Answer {
        state: match view.state {
            AnswerState::NotAsked => approval::AnswerState::NotAsked,
            AnswerState::Pending => approval::AnswerState::Pending,
            AnswerState::Given => approval::AnswerState::Given,
            AnswerState::Denied => approval::AnswerState::Denied,
            AnswerState::Expired => approval::AnswerState::Expired,
            AnswerState::Stale => approval::AnswerState::Stale,
            AnswerState::Withdrawn => approval::AnswerState::Withdrawn,
        },
        persons: view
            .persons
            .into_iter()
            .map(|person| approval::Person { name: person.name, reason: person.reason, age: person.age_millis })
            .collect(),
        missing: view.missing,
        left: view.left_millis,
        boot_id: view.boot_id,
    }
}

pub(super) fn job(view: JobView) -> jobs::JobResult {
    jobs::JobResult {
        state: match view.state {
            JobState::NotRun => jobs::JobState::NotRun,
            JobState::Pending => jobs::JobState::Pending,
            JobState::Running => jobs::JobState::Running,
            JobState::Succeeded => jobs::JobState::Succeeded,
            JobState::Failed => jobs::JobState::Failed,
        },
        exit_code: view.exit_code,
        age: view.age_millis,
        output: view.output,
        detail: view.detail,
        is_evidence: view.is_evidence,
    }
}
