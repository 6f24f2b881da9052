//! The part of a pass that looks outside of the node.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use palisade_api::keys::machine_deletion::{MACHINE, MACHINE_OWNER};
use palisade_api::outside::MachineRecord;
use palisade_api::progress::Progress;
use palisade_core::fencing::proof::{Proof, ProofKind};
use palisade_runtime::{Answered, Capability, Effect, FenceStage, Module, Outside, PowerAction, RefusalReason};
use serde_json::{Value, json};

use super::{About, Sighting, approval, machines};
use crate::error::Error;
use crate::fence::FenceState;
use crate::remediation::committed;
use crate::remediation::kind::Remediation;
use crate::remediation::pass::Pass;

/// Capabilities with which a boot can be ended, or known to have ended, without an agent on the node.
const OUTSIDE: [Capability; 4] = [Capability::Machines, Capability::Power, Capability::Approval, Capability::Jobs];

/// Whether a component may act from outside of the node.
pub fn acts_from_outside(module: &Module) -> bool {
    module.manifest().capabilities.iter().any(|capability| OUTSIDE.contains(capability))
}

/// Whether a job was committed or run.
fn ran_jobs(progress: &Progress) -> bool {
    committed::effects(progress).any(|effect| matches!(effect, Effect::RunJob { .. }))
}

/// A controller that was never given jobs has none to end, and must let go of the remediation all the same.
fn jobs_ended(result: Result<(), Error>, ran: bool) -> Result<(), Error> {
    match result {
        Err(error) if error.is_forbidden() && !ran => Ok(()),
        result => result,
    }
}

/// A right that the controller lacks is an answer to the component: it must not stop a pass, which may be one that
/// cleans up.
fn permitted<T>(answer: Result<T, Error>) -> Result<Answered<T>, Error> {
    match answer {
        Err(error) if error.is_forbidden() => Ok(Err(RefusalReason::PermissionDenied(format!(
            "{error}; give the controller this right (deploy/rbac/remediator-*.yaml)"
        )))),
        answer => answer.map(Ok),
    }
}

impl<K: Remediation> Pass<K> {
    /// The remediation as providers get it.
    pub(in crate::remediation) fn as_value(&self) -> Value {
        // Plain objects with string keys: serialisation has no failing case.
        serde_json::to_value(&self.object).unwrap_or_default()
    }

    /// Looks at what the component asks for, and hands evidence to the fencing session.
    pub(in crate::remediation) async fn look_outside(
        &mut self,
        module: &Module,
        node: &Node,
        fence: Option<&FenceState>,
    ) -> Result<Outside, Error> {
        let asks = |capability| module.manifest().capabilities.contains(&capability);
        let mut outside = Outside::default();
        if !acts_from_outside(module) {
            return Ok(outside);
        }
        if asks(Capability::Approval) {
            // Answers are taken into the status before anything follows from them.
            let untrusted = match permitted(approval::is_checked(&self.context).await)? {
                Ok(untrusted) => untrusted,
                Err(missing) => Some(format!("nobody can tell whether the cluster checks who answers: {missing}")),
            };
            let boot = crate::fence::read::boot_of(node);
            let annotations = self.object.annotations().clone();
            let requester = self.requester().map(str::to_owned);
            let scene = approval::Scene {
                boot: boot.as_ref(),
                ready: crate::fence::read::is_ready(node),
                fence,
                untrusted: untrusted.is_some(),
                requester: requester.as_deref(),
            };
            let news = approval::take_in(self.progress(), &annotations, scene);
            self.save().await?;
            for (kind, reason, message) in news {
                self.event(kind, reason, &message).await;
            }
            outside.approval = approval::view(self.progress(), untrusted.as_deref());
        }
        let (object, context, target) = (self.as_value(), self.context.clone(), self.target.clone());
        let progress = self.progress().clone();
        let node = Some(node).filter(|node| node.uid().is_some());
        let about = About { context: &context, target: &target, object: &object, node, progress: &progress, fence };
        let mut seen: Vec<Sighting> = Vec::new();
        let wanted = fence.is_some_and(|fence| fence.stage >= FenceStage::Intended && fence.proof.is_none());
        if asks(Capability::Machines) {
            (outside.machine, outside.deletable, outside.replacement) = match permitted(machines::look(&about).await)? {
                Ok(found) => (found.machine, found.deletable, found.replacement),
                Err(missing) => (Err(missing.clone()), Err(missing.clone()), Err(missing)),
            };
            if wanted {
                seen.extend(machines::evidence(&about).await?);
            }
        }
        if asks(Capability::Power) {
            outside.power = permitted(context.providers.power.status(&about).await)?.and_then(|known| known);
            if wanted {
                seen.extend(context.providers.power.evidence(&about).await?);
            }
        }
        if asks(Capability::Jobs) {
            outside.jobs = permitted(context.providers.jobs.listed(&about).await)?.and_then(|known| known);
            if wanted {
                seen.extend(context.providers.jobs.evidence(&about).await?);
            }
        }
        if asks(Capability::Approval) && wanted {
            seen.extend(approval::evidence(&about));
        }
        for sighting in seen {
            self.context.fences.evidence(&self.target.uid, sighting.into());
        }
        Ok(outside)
    }

    /// Who asked for this remediation, if that person may not answer its questions (four eyes).
    fn requester(&self) -> Option<&str> {
        let annotations = self.object.annotations();
        annotations.get(palisade_api::keys::approval::REQUESTED_BY).map(String::as_str).filter(|who| !who.is_empty())
    }

    /// Applies an effect outside of the node; whether it is applied now.
    pub(in crate::remediation) async fn apply_outside(&mut self, node: &Node, effect: &Effect) -> Result<bool, Error> {
        let (object, context, target) = (self.as_value(), self.context.clone(), self.target.clone());
        let fence = self.fence();
        let node = Some(node).filter(|node| node.uid().is_some());
        let mut progress = self.progress().clone();
        match effect {
            Effect::DeleteMachine { uid } => {
                let about = About {
                    context: &context,
                    target: &target,
                    object: &object,
                    node,
                    progress: &progress,
                    fence: fence.as_ref(),
                };
                let Some(record) = machines::intend(&about, uid).await? else { return Ok(true) };
                self.record_machine(record).await?;
                machines::delete(&context, self.progress().machine.as_ref()).await
            }
            Effect::PowerOff | Effect::PowerOn => {
                let action = if *effect == Effect::PowerOff { PowerAction::Off } else { PowerAction::On };
                let about = About {
                    context: &context,
                    target: &target,
                    object: &object,
                    node,
                    progress: &progress,
                    fence: fence.as_ref(),
                };
                if let Some(intent) = context.providers.power.intend(&about, action) {
                    *self.progress() = intent;
                    self.save().await?;
                    progress = self.progress().clone();
                }
                let about = About {
                    context: &context,
                    target: &target,
                    object: &object,
                    node,
                    progress: &progress,
                    fence: fence.as_ref(),
                };
                context.providers.power.apply(&about, action).await
            }
            Effect::RunJob { name } => {
                let about = About {
                    context: &context,
                    target: &target,
                    object: &object,
                    node,
                    progress: &progress,
                    fence: fence.as_ref(),
                };
                context.providers.jobs.run(&about, name).await
            }
            Effect::Ask { question, message, persons, expires_millis } => {
                let Some(boot) = node.and_then(crate::fence::read::boot_of) else { return Ok(false) };
                let asked =
                    approval::ask(self.progress(), &target, *question, message, *persons, *expires_millis, &boot);
                self.save().await?;
                if let Some(message) = asked {
                    self.event(crate::events::Kind::Normal, "ApprovalRequested", &message).await;
                }
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    /// Why a proof from outside does not hold any more, read for this release.
    pub(in crate::remediation) async fn still_holds_outside(
        &mut self,
        node: &Node,
        proof: &Proof,
    ) -> Result<Option<String>, Error> {
        if proof.kind != ProofKind::PoweredOff {
            return Ok(None);
        }
        let (object, context, target) = (self.as_value(), self.context.clone(), self.target.clone());
        let (progress, fence) = (self.progress().clone(), self.fence());
        let node = Some(node).filter(|node| node.uid().is_some());
        let about = About {
            context: &context,
            target: &target,
            object: &object,
            node,
            progress: &progress,
            fence: fence.as_ref(),
        };
        let by_power = context.providers.power.evidence(&about).await?;
        let seen = match by_power {
            Some(seen) => Some(seen),
            None => context.providers.jobs.evidence(&about).await?,
        };
        Ok(match seen {
            Some(seen) if seen.boot == proof.boot => None,
            _ => Some("the device does not read back as off any more".to_owned()),
        })
    }

    /// Ends jobs that were made for this remediation: nobody waits for what they do any more.
    pub(in crate::remediation) async fn stop_jobs(&mut self) -> Result<(), Error> {
        let progress = self.progress().clone();
        if !ran_jobs(&progress) {
            return Ok(());
        }
        let (object, context, target) = (self.as_value(), self.context.clone(), self.target.clone());
        let about =
            About { context: &context, target: &target, object: &object, node: None, progress: &progress, fence: None };
        context.providers.jobs.clean_up(&about).await
    }

    /// How long the node has to come back, once it was switched on again by us.
    pub(in crate::remediation) fn patience(&mut self) -> Option<Duration> {
        let (object, context, target) = (self.as_value(), self.context.clone(), self.target.clone());
        let progress = self.progress().clone();
        let about =
            About { context: &context, target: &target, object: &object, node: None, progress: &progress, fence: None };
        context.providers.power.patience(&about)
    }

    /// Marks its device as one that could not be helped.
    pub(in crate::remediation) async fn condemn_device(&mut self) -> Result<(), Error> {
        let (object, context, target) = (self.as_value(), self.context.clone(), self.target.clone());
        let progress = self.progress().clone();
        let about =
            About { context: &context, target: &target, object: &object, node: None, progress: &progress, fence: None };
        context.providers.power.condemn(&about).await
    }

    /// Lets go of devices and jobs.
    pub(in crate::remediation) async fn clean_up_outside(&mut self, node: Option<&Node>) -> Result<(), Error> {
        let (object, context, target) = (self.as_value(), self.context.clone(), self.target.clone());
        let progress = self.progress().clone();
        let about =
            About { context: &context, target: &target, object: &object, node, progress: &progress, fence: None };
        context.providers.power.clean_up(&about).await?;
        jobs_ended(context.providers.jobs.clean_up(&about).await, ran_jobs(&progress))?;
        approval::withdraw(self.progress());
        Ok(())
    }
}

impl<K: Remediation> Pass<K> {
    /// Records the machine before its deletion is asked for: in the status, and where older tools look for it.
    async fn record_machine(&mut self, record: MachineRecord) -> Result<(), Error> {
        let machine = format!("{}/{}", record.namespace, record.name);
        let owner = record.owner.as_ref().map(|owner| format!("{}/{}", owner.kind, owner.name));
        self.progress().machine = Some(record);
        self.save().await?;
        if self.object.annotations().get(MACHINE) == Some(&machine) {
            return Ok(());
        }
        self.annotate(json!({ MACHINE: machine, MACHINE_OWNER: owner })).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> Result<(), Error> {
        let status = kube::core::Status { code, message: "no".to_owned(), ..kube::core::Status::default() };
        Err(kube::Error::Api(Box::new(status)).into())
    }

    #[test]
    fn a_missing_right_is_an_answer_and_anything_else_stays_an_error() {
        let missing = permitted(refused(403)).ok().and_then(Result::err);
        assert!(matches!(missing, Some(RefusalReason::PermissionDenied(why)) if why.contains("give the controller")));
        assert!(permitted(refused(500)).is_err());
        assert!(matches!(permitted(Ok(1)), Ok(Ok(1))));
    }
    #[test]
    fn without_rights_for_jobs_a_remediation_that_ran_none_is_let_go() {
        assert!(jobs_ended(refused(403), false).is_ok());
        assert!(jobs_ended(refused(403), true).is_err(), "a job may be running");
        assert!(jobs_ended(refused(500), false).is_err() && jobs_ended(Ok(()), true).is_ok());
    }
}
