//! Contract 0.1, the interfaces about what is outside of the node: machines, power, approval, jobs.

use wasmtime::component::Resource;

use super::v0_1::{Staged, approval, jobs, machines, power, types};
use super::v0_1_convert as convert;
use super::v0_1_convert_outside as outside;
use crate::capability::Capability;
use crate::effect::Effect;
use crate::outside::{Answered, Question};
use crate::proof::ProofKind;
use crate::report::RefusalReason;
use crate::state::{CallState, ProofHandle};

type Read<T> = wasmtime::Result<Result<T, types::Refusal>>;

impl CallState {
    /// A read that can say why it has no answer.
    fn answer<T, U>(
        &mut self,
        capability: Capability,
        function: &str,
        read: impl FnOnce(&crate::outside::Outside) -> Answered<T>,
        convert_to: impl FnOnce(T) -> U,
    ) -> Read<U> {
        self.enter(function, "")?;
        let answer = self.granted(capability).and_then(|()| read(&self.input.snapshot.outside));
        Ok(answer.map(convert_to).map_err(convert::refusal))
    }

    fn granted(&self, capability: Capability) -> Answered<()> {
        if self.input.granted.allows(capability) { Ok(()) } else { Err(crate::gate::not_granted(capability)) }
    }

    /// The proof the host holds, if it is of this kind.
    fn proof_of(
        &mut self,
        capability: Capability,
        function: &str,
        kind: ProofKind,
    ) -> Read<Option<Resource<ProofHandle>>> {
        self.enter(function, "")?;
        if let Err(why) = self.granted(capability) {
            return Ok(Err(convert::refusal(why)));
        }
        let Some(claim) = self.input.proof.clone().filter(|claim| claim.kind == kind) else { return Ok(Ok(None)) };
        Ok(Ok(Some(self.table.push(ProofHandle(claim))?)))
    }

    /// Stages, unless what the snapshot shows already refuses it.
    fn stage_if(&mut self, function: &str, key: String, effect: Effect, allowed: Answered<()>) -> Staged {
        let allowed = self.granted(effect.capability()).and(allowed);
        Ok(self.stage_allowed(function, key, effect, allowed)?.map_err(convert::refusal))
    }
}

impl machines::Host for CallState {
    fn get(&mut self) -> Read<machines::Machine> {
        self.answer(Capability::Machines, "machines.get", |world| world.machine.clone(), outside::machine)
    }

    fn get_replacement(&mut self) -> Read<machines::Replacement> {
        let read = |world: &crate::outside::Outside| world.replacement.clone();
        self.answer(Capability::Machines, "machines.get-replacement", read, outside::replacement)
    }

    fn delete(&mut self, key: String, expected_uid: String) -> Staged {
        let world = &self.input.snapshot.outside;
        let allowed = world.machine.clone().and_then(|machine| {
            if machine.uid == expected_uid {
                return world.deletable.clone();
            }
            Err(RefusalReason::Refused(format!(
                "machine {}/{} has UID {}, not {expected_uid:?}; delete only the machine that `get` showed",
                machine.namespace, machine.name, machine.uid
            )))
        });
        self.stage_if("machines.delete", key, Effect::DeleteMachine { uid: expected_uid }, allowed)
    }

    fn get_proof(&mut self) -> Read<Option<Resource<ProofHandle>>> {
        self.proof_of(Capability::Machines, "machines.get-proof", ProofKind::MachineGone)
    }
}

impl power::Host for CallState {
    fn off(&mut self, key: String) -> Staged {
        let allowed = self.input.snapshot.outside.power.clone().map(drop);
        self.stage_if("power.off", key, Effect::PowerOff, allowed)
    }

    fn on(&mut self, key: String) -> Staged {
        let allowed = self.input.snapshot.outside.power.clone().map(drop);
        self.stage_if("power.on", key, Effect::PowerOn, allowed)
    }

    fn get_status(&mut self) -> Read<power::PowerStatus> {
        self.answer(Capability::Power, "power.get-status", |world| world.power.clone(), outside::power)
    }

    fn get_proof(&mut self) -> Read<Option<Resource<ProofHandle>>> {
        self.proof_of(Capability::Power, "power.get-proof", ProofKind::PoweredOff)
    }
}

impl approval::Host for CallState {
    fn ask(
        &mut self,
        key: String,
        question: approval::Question,
        mut message: String,
        persons: u32,
        expires_after: Option<u64>,
    ) -> Staged {
        crate::state::tidy(&mut message, super::v0_1::MESSAGE_LIMIT);
        let question = outside::question(question);
        let allowed = self.input.snapshot.outside.approval.clone().map(drop).and_then(|()| {
            if question == Question::ConfirmIsolated
                && self.input.snapshot.fencing.stage < crate::view::FenceStage::Intended
            {
                let why = "isolation is confirmed only after the pods of the node were marked and the fence intent \
                           was stored: call fencing.request first, and ask again when its stage is `intended`";
                return Err(RefusalReason::Refused(why.to_owned()));
            }
            Ok(())
        });
        let effect = Effect::Ask { question, message, persons, expires_millis: expires_after };
        self.stage_if("approval.ask", key, effect, allowed)
    }

    fn get_answer(&mut self, question: approval::Question) -> Read<approval::Answer> {
        let question = outside::question(question);
        let read = |world: &crate::outside::Outside| {
            world.approval.as_ref().map(|view| view.answer(question).clone()).map_err(Clone::clone)
        };
        self.answer(Capability::Approval, "approval.get-answer", read, outside::answer)
    }

    fn get_proof(&mut self) -> Read<Option<Resource<ProofHandle>>> {
        self.proof_of(Capability::Approval, "approval.get-proof", ProofKind::HumanConfirmed)
    }
}

impl jobs::Host for CallState {
    fn run(&mut self, key: String, name: String) -> Staged {
        let world = &self.input.snapshot.outside;
        let allowed = match &world.jobs {
            Ok(jobs) => jobs.named(&name).map(drop),
            Err(why) => Err(why.clone()),
        };
        self.stage_if("jobs.run", key, Effect::RunJob { name }, allowed)
    }

    fn get_result(&mut self, name: String) -> Read<jobs::JobResult> {
        let read = |world: &crate::outside::Outside| match &world.jobs {
            Ok(jobs) => jobs.named(&name).cloned(),
            Err(why) => Err(why.clone()),
        };
        self.answer(Capability::Jobs, "jobs.get-result", read, outside::job)
    }
}
