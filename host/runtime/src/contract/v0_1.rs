//! Host side of `palisade:remediation@0.1.0`: every function answers from the snapshot, or stages an effect.

use wasmtime::component::{HasSelf, Linker, Resource};

use super::v0_1_convert as convert;
use crate::capability::Capability;
use crate::effect::{Effect, FenceMethod};
use crate::report::RefusalReason;
use crate::state::{CallState, ProofHandle, tidy};

#[allow(missing_docs, clippy::pedantic, reason = "generated from the documented WIT")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../guest-sdk/wit",
        world: "remediator",
        imports: { default: trappable },
        with: { "palisade:remediation/fencing.proof": crate::state::ProofHandle },
    });
}

pub(crate) use bindings::RemediatorPre;
pub(super) use bindings::palisade::remediation::{
    agent, approval, fencing, jobs, machines, power, report, scheduling, target, types, workloads,
};

pub(super) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    bindings::Remediator::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

pub(super) type Staged = wasmtime::Result<Result<(), types::Refusal>>;

impl CallState {
    fn stage_v0_1(&mut self, function: &str, key: String, effect: Effect) -> Staged {
        Ok(self.stage(function, key, effect)?.map_err(convert::refusal))
    }

    fn proof(&mut self, function: &str, proof: &Resource<ProofHandle>) -> wasmtime::Result<&ProofHandle> {
        self.enter(function, "")?;
        Ok(self.table.get(proof)?)
    }
}

impl types::Host for CallState {}

impl target::Host for CallState {
    fn get(&mut self) -> wasmtime::Result<Option<target::Node>> {
        self.reads(Capability::Target, "target.get")?;
        Ok(self.input.snapshot.target.as_ref().map(convert::node))
    }
}

impl agent::Host for CallState {
    fn get(&mut self) -> wasmtime::Result<agent::AgentState> {
        self.reads(Capability::Agent, "agent.get")?;
        Ok(convert::agent_state(&self.input.snapshot.agent))
    }
}

impl fencing::Host for CallState {
    fn request(&mut self, key: String, method: fencing::Method) -> Staged {
        let method = match method {
            fencing::Method::SelfFence => FenceMethod::SelfFence,
            fencing::Method::External => FenceMethod::External,
        };
        self.stage_v0_1("fencing.request", key, Effect::RequestFence { method })
    }

    fn progress(&mut self) -> wasmtime::Result<fencing::FenceStatus> {
        self.reads(Capability::Fencing, "fencing.progress")?;
        Ok(convert::progress(&self.input.snapshot.fencing))
    }

    fn get_proof(&mut self) -> wasmtime::Result<Option<Resource<ProofHandle>>> {
        self.reads(Capability::Fencing, "fencing.get-proof")?;
        let Some(claim) = self.input.proof.clone() else { return Ok(None) };
        Ok(Some(self.table.push(ProofHandle(claim))?))
    }
}

impl fencing::HostProof for CallState {
    fn id(&mut self, proof: Resource<ProofHandle>) -> wasmtime::Result<String> {
        Ok(self.proof("proof.id", &proof)?.0.id().0)
    }
    fn kind(&mut self, proof: Resource<ProofHandle>) -> wasmtime::Result<fencing::ProofKind> {
        Ok(convert::proof_kind(self.proof("proof.kind", &proof)?.0.kind))
    }
    fn grade(&mut self, proof: Resource<ProofHandle>) -> wasmtime::Result<fencing::Grade> {
        Ok(convert::grade(self.proof("proof.grade", &proof)?.0.grade))
    }
    fn age(&mut self, proof: Resource<ProofHandle>) -> wasmtime::Result<u64> {
        Ok(self.proof("proof.age", &proof)?.0.age_millis)
    }
    fn boot_id(&mut self, proof: Resource<ProofHandle>) -> wasmtime::Result<String> {
        Ok(self.proof("proof.boot-id", &proof)?.0.boot_id.clone())
    }
    fn drop(&mut self, proof: Resource<ProofHandle>) -> wasmtime::Result<()> {
        self.table.delete(proof)?;
        Ok(())
    }
}

impl workloads::Host for CallState {
    fn remaining(&mut self) -> wasmtime::Result<workloads::Remains> {
        self.reads(Capability::Workloads, "workloads.remaining")?;
        Ok(convert::remains(&self.input.snapshot.workloads))
    }

    fn release(&mut self, key: String, proof: Resource<ProofHandle>, how: workloads::ReleaseMethod) -> Staged {
        let proof = self.table.get(&proof)?.0.id();
        self.stage_v0_1("workloads.release", key, Effect::Release { proof, how: convert::release_method(how) })
    }

    fn restore(&mut self, key: String, what: workloads::Restoration) -> Staged {
        self.stage_v0_1("workloads.restore", key, Effect::Restore { what: convert::restoration(what) })
    }
}

impl scheduling::Host for CallState {
    fn get_ours(&mut self) -> wasmtime::Result<scheduling::Ours> {
        self.reads(Capability::Scheduling, "scheduling.get-ours")?;
        Ok(convert::ours(&self.input.snapshot.scheduling))
    }
    fn cordon(&mut self, key: String) -> Staged {
        self.stage_v0_1("scheduling.cordon", key, Effect::Cordon)
    }
    fn uncordon(&mut self, key: String) -> Staged {
        self.stage_v0_1("scheduling.uncordon", key, Effect::Uncordon)
    }
    fn set_taint(&mut self, key: String, taint: scheduling::OwnTaint) -> Staged {
        self.stage_v0_1("scheduling.set-taint", key, Effect::TaintOwn { taint: convert::own_taint(taint) })
    }
    fn remove_taint(&mut self, key: String, taint: scheduling::OwnTaint) -> Staged {
        self.stage_v0_1("scheduling.remove-taint", key, Effect::UntaintOwn { taint: convert::own_taint(taint) })
    }
}

/// Longest message of a condition or an event; the API server accepts no longer one for events.
pub(super) const MESSAGE_LIMIT: usize = 1_024;

impl CallState {
    /// Kinds and reasons end up in fields for which the API server has rules.
    fn single_words(&mut self, function: &str, words: &[&str]) -> wasmtime::Result<Result<(), types::Refusal>> {
        let word = |text: &str| (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric());
        if words.iter().all(|text| word(text)) {
            return Ok(Ok(()));
        }
        self.enter(function, "")?;
        let why = "kinds and reasons are single words of at most 64 letters and digits";
        Ok(Err(convert::refusal(RefusalReason::Refused(why.into()))))
    }
}

impl report::Host for CallState {
    fn condition(
        &mut self,
        kind: String,
        status: report::ConditionStatus,
        reason: String,
        mut message: String,
    ) -> Staged {
        if let Err(refusal) = self.single_words("report.condition", &[&kind, &reason])? {
            return Ok(Err(refusal));
        }
        tidy(&mut message, MESSAGE_LIMIT);
        let key = format!("condition/{kind}");
        let status = convert::condition_status(status);
        self.stage_v0_1("report.condition", key, Effect::Condition { kind, status, reason, message })
    }

    fn event(&mut self, key: String, warning: bool, reason: String, mut message: String) -> Staged {
        if let Err(refusal) = self.single_words("report.event", &[&reason])? {
            return Ok(Err(refusal));
        }
        tidy(&mut message, MESSAGE_LIMIT);
        self.stage_v0_1("report.event", key, Effect::Event { warning, reason, message })
    }

    fn log(&mut self, level: report::Level, message: String) -> wasmtime::Result<()> {
        Ok(CallState::log(self, convert::level(level), message)?)
    }
}
