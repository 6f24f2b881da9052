//! The host API on the developer's machine: answers come from the [`Scenario`](crate::testing::Scenario) that plays on
//! this thread.

#[path = "host_native_outside.rs"]
mod outside;

pub(crate) use outside::*;

use crate::Refusal;
use crate::agent::AgentState;
use crate::fencing::{FenceStatus, Grade, Method, ProofKind};
use crate::report::{ConditionStatus, Level};
use crate::scheduling::{Ours, OwnTaint};
use crate::target::Node;
use crate::testing::{Effect, ProofFacts, stage, with_world};
use crate::workloads::{ReleaseMethod, Remains, Restoration};

/// Stands for the resource handle.
#[derive(Debug)]
pub(crate) struct ProofHandle(ProofFacts);

impl ProofHandle {
    pub(crate) fn id(&self) -> String {
        self.0.id.clone()
    }
    pub(crate) fn kind(&self) -> ProofKind {
        self.0.kind
    }
    pub(crate) fn grade(&self) -> Grade {
        self.0.grade
    }
    pub(crate) fn age(&self) -> u64 {
        self.0.age
    }
    pub(crate) fn boot_id(&self) -> String {
        self.0.boot_id.clone()
    }
}

pub(crate) fn target() -> Option<Node> {
    with_world(|world| world.target.clone())
}

pub(crate) fn agent() -> AgentState {
    with_world(|world| world.agent.clone())
}

pub(crate) fn progress() -> FenceStatus {
    with_world(|world| world.fencing.clone())
}

pub(crate) fn proof() -> Option<ProofHandle> {
    with_world(|world| world.proof.clone()).map(ProofHandle)
}

pub(crate) fn remaining() -> Remains {
    with_world(|world| world.remains.clone())
}

pub(crate) fn ours() -> Ours {
    with_world(|world| world.ours.clone())
}

pub(crate) fn request_fence(key: &str, method: Method) -> Result<(), Refusal> {
    stage(key, Effect::RequestFence(method))
}

pub(crate) fn release(key: &str, proof: &ProofHandle, how: ReleaseMethod) -> Result<(), Refusal> {
    stage(key, Effect::Release(proof.id(), how))
}

pub(crate) fn restore(key: &str, what: Restoration) -> Result<(), Refusal> {
    stage(key, Effect::Restore(what))
}

pub(crate) fn cordon(key: &str) -> Result<(), Refusal> {
    stage(key, Effect::Cordon)
}

pub(crate) fn uncordon(key: &str) -> Result<(), Refusal> {
    stage(key, Effect::Uncordon)
}

pub(crate) fn set_taint(key: &str, taint: &OwnTaint) -> Result<(), Refusal> {
    stage(key, Effect::SetTaint(taint.clone()))
}

pub(crate) fn remove_taint(key: &str, taint: &OwnTaint) -> Result<(), Refusal> {
    stage(key, Effect::RemoveTaint(taint.clone()))
}

pub(crate) fn condition(kind: &str, status: ConditionStatus, reason: &str, message: &str) -> Result<(), Refusal> {
    stage(&format!("condition/{kind}"), Effect::Condition(kind.into(), status, reason.into(), message.into()))
}

pub(crate) fn event(key: &str, warning: bool, reason: &str, message: &str) -> Result<(), Refusal> {
    stage(key, Effect::Event(warning, reason.into(), message.into()))
}

pub(crate) fn log(level: Level, message: &str) {
    with_world(|world| world.log.push(format!("{level:?}: {message}")));
}
