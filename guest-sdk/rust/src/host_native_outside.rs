//! The host API about what is outside of the node, on the developer's machine.

// The same signatures as in a component, where the host may refuse.
#![allow(clippy::unnecessary_wraps)]

use crate::Refusal;
use crate::approval::{Answer, Question};
use crate::fencing::ProofKind;
use crate::jobs::JobResult;
use crate::machines::{Machine, Replacement};
use crate::power::PowerStatus;
use crate::testing::{Effect, stage, with_world};

use super::ProofHandle;

fn proof_of(kind: ProofKind) -> Option<ProofHandle> {
    with_world(|world| world.proof.clone()).filter(|proof| proof.kind == kind).map(ProofHandle)
}

pub(crate) fn machine() -> Result<Machine, Refusal> {
    with_world(|world| world.machine.clone())
}

pub(crate) fn replacement() -> Result<Replacement, Refusal> {
    with_world(|world| world.replacement.clone())
}

pub(crate) fn delete_machine(key: &str, expected_uid: &str) -> Result<(), Refusal> {
    let machine = machine()?;
    if machine.uid != expected_uid {
        return Err(Refusal::Refused(format!("machine {} has another UID", machine.name)));
    }
    with_world(|world| world.deletable.clone())?;
    stage(key, Effect::DeleteMachine(expected_uid.into()))
}

pub(crate) fn machine_proof() -> Result<Option<ProofHandle>, Refusal> {
    Ok(proof_of(ProofKind::MachineGone))
}

pub(crate) fn power_off(key: &str) -> Result<(), Refusal> {
    power_status()?;
    stage(key, Effect::PowerOff)
}

pub(crate) fn power_on(key: &str) -> Result<(), Refusal> {
    power_status()?;
    stage(key, Effect::PowerOn)
}

pub(crate) fn power_status() -> Result<PowerStatus, Refusal> {
    with_world(|world| world.power.clone())
}

pub(crate) fn power_proof() -> Result<Option<ProofHandle>, Refusal> {
    Ok(proof_of(ProofKind::PoweredOff))
}

pub(crate) fn ask(
    key: &str,
    question: Question,
    message: &str,
    persons: u32,
    expires_after: Option<u64>,
) -> Result<(), Refusal> {
    answer(question)?;
    stage(key, Effect::Ask(question, message.into(), persons, expires_after))
}

pub(crate) fn answer(question: Question) -> Result<Answer, Refusal> {
    with_world(|world| match question {
        Question::ApproveAction => world.approved.clone(),
        Question::ConfirmIsolated => world.confirmed.clone(),
    })
}

pub(crate) fn approval_proof() -> Result<Option<ProofHandle>, Refusal> {
    Ok(proof_of(ProofKind::HumanConfirmed))
}

pub(crate) fn run_job(key: &str, name: &str) -> Result<(), Refusal> {
    job_result(name)?;
    stage(key, Effect::RunJob(name.into()))
}

pub(crate) fn job_result(name: &str) -> Result<JobResult, Refusal> {
    with_world(|world| match world.jobs.iter().find(|(known, _)| known == name) {
        Some((_, result)) => Ok(result.clone()),
        None => Err(Refusal::NotFound(format!("no job {name:?} is on the administrator's list"))),
    })
}
