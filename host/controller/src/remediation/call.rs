//! One call of the component: snapshot → call → gate → commit → apply → record.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::controller::Action;
use palisade_api::Stage;
use palisade_api::progress::{ModuleReference, PendingEffect};
use palisade_api::reasons::{condition, event, phase, reason};
use palisade_runtime::{CallInput, CallReport, Effect, FailureCause, GateContext, Outcome, Proof, StagedEffect, gate};

use super::kind::Remediation;
use super::modules::{self, Served};
use super::pass::Pass;
use super::status::{self, Standing};
use super::{apply::Applied, committed, snapshot, spent};
use crate::clock;
use crate::error::Error;
use crate::events::Kind;
use crate::fence::FenceState;

/// Pause before the next look when the component names none.
const DEFAULT_PAUSE: Duration = Duration::from_secs(10);
/// Pause before the next call when this one came a step further: time enough for what the step set off.
const STEP_PAUSE: Duration = Duration::from_millis(300);
/// While a release is under way its progress is looked at this often.
const RELEASE_PAUSE: Duration = Duration::from_secs(1);
/// Pause before a component that cannot be used is tried again.
const UNSERVED_PAUSE: Duration = Duration::from_secs(10);

/// After so many seconds with the out-of-service taint the status says that something is in the way: as long as
/// Kubernetes itself takes at most (its loops run every 20 s), three times.
const SLOW_RELEASE: i64 = 60;

/// Condition: the boot gave a sign of life after its end was proven.
const CONTRADICTED: &str = "Contradicted";

impl<K: Remediation> Pass<K> {
    /// Does what is due for a remediation that is under way.
    pub(super) async fn call(&mut self, node: &Node) -> Result<Action, Error> {
        self.note_contradiction().await?;
        let served = match self.serve().await {
            Ok(served) => served,
            Err(why) => return self.unserved(&why.to_string()).await,
        };
        if let Some(why) = self.context.modules.broken(served.module.digest()) {
            let remedy = "replace the component, or delete this remediation";
            let message = format!("remediator {} is not called: {why}; {remedy}", served.remediator);
            return self.unserved(&message).await;
        }
        if super::outside::acts_from_outside(&served.module)
            && let Some(wait) = self.keep_node(node).await?
        {
            return Ok(wait);
        }
        status::stand(&mut self.status, Standing::Started, "");
        self.latch(&served).await;
        self.keep_up_fencing();
        self.apply_pending(node).await?;

        let fence = self.fence_state().await;
        self.note_contradiction().await?;
        let proof = self.proof(fence.as_ref());
        let report = self.invoke(&served, node, fence.as_ref(), proof.as_ref()).await?;
        self.progress().fuel = i64::try_from(report.fuel).ok();
        let outcome = match &report.outcome {
            Ok(outcome) => outcome.clone(),
            Err(failure) => {
                if failure.cause == FailureCause::BadMemory && self.progress().memory.is_some() {
                    // Evidence and effects are the host's: nothing is lost with it.
                    self.progress().memory = None;
                    self.save().await?;
                    return Ok(Action::requeue(Duration::ZERO));
                }
                let message = failure.message.clone();
                if failure.cause.blames_module() {
                    self.context.modules.called(served.module.digest(), Some(&message));
                }
                let failures = self.progress().failures.unwrap_or_default() + 1;
                self.progress().failures = Some(failures);
                self.event(Kind::Warning, event::FAILED, &message).await;
                return Err(Error::Blocked(message));
            }
        };
        self.context.modules.called(served.module.digest(), None);
        self.progress().failures = None;
        for refusal in &report.refusals {
            self.event(Kind::Warning, event::FAILED, &format!("remediator {}: {refusal}", served.remediator)).await;
        }
        let effects = self.gated(&served, proof.as_ref(), report.effects.clone()).await?;
        self.commit(&report, &outcome, &effects, node);
        self.save().await?;
        self.keep_up_fencing();

        let settled = self.apply_all(node, &effects, fence.as_ref()).await?;
        self.conclude(&outcome, settled).await
    }

    /// The same for an object that is being deleted; whether the component is done.
    pub(super) async fn call_for_restore(&mut self, node: &Node) -> Result<bool, Error> {
        let served = self.serve().await.map_err(|why| Error::Blocked(why.to_string()))?;
        if let Some(why) = self.context.modules.broken(served.module.digest()) {
            return Err(Error::Blocked(why));
        }
        let report = self.invoke(&served, node, None, None).await?;
        let outcome = match &report.outcome {
            Ok(outcome) => outcome.clone(),
            Err(failure) => {
                self.context.modules.called(served.module.digest(), Some(&failure.message));
                return Err(Error::Blocked(failure.message.clone()));
            }
        };
        let mut effects = self.gated(&served, None, report.effects.clone()).await?;
        effects.retain(|staged| super::restore::takes_back(&staged.effect));
        self.commit(&report, &outcome, &effects, node);
        self.save().await?;
        self.apply_all(node, &effects, None).await?;
        Ok(!matches!(outcome, Outcome::Working { .. }))
    }

    pub(super) async fn unserved(&mut self, message: &str) -> Result<Action, Error> {
        status::stand(&mut self.status, Standing::Stopped(reason::FAILED), message);
        self.status.last_error = Some(message.to_owned());
        self.event(Kind::Warning, event::FAILED, message).await;
        self.save().await?;
        Ok(Action::requeue(UNSERVED_PAUSE))
    }

    pub(super) async fn serve(&mut self) -> Result<Served, modules::Unserved> {
        let began = self.progress().module.clone();
        modules::serve(&self.context, K::KIND, &self.object.choice(), began.as_ref()).await
    }

    /// A remediation stays with the component it began with, whatever its Remediator comes to mean meanwhile.
    async fn latch(&mut self, served: &Served) {
        let module = ModuleReference {
            remediator: served.remediator.clone(),
            version: served.module.manifest().version.clone(),
            digest: served.module.digest().to_owned(),
        };
        self.context.modules.pin(&self.target.uid, &module.digest);
        let Some(before) = self.progress().module.replace(module.clone()).filter(|before| *before != module) else {
            return;
        };
        let message = if before.remediator == module.remediator {
            served.instead.clone()
        } else {
            // What another component remembered is not for this one. Evidence and effects are the host's, they stay.
            self.progress().memory = None;
            self.progress().step_name = None;
            Some(format!(
                "remediator {} does not serve it any more; it goes on with remediator {}",
                before.remediator, module.remediator
            ))
        };
        if let Some(message) = message {
            self.event(Kind::Warning, "RemediatorReplaced", &message).await;
        }
    }

    /// Fencing that was asked for goes on, also after a restart of the controller.
    fn keep_up_fencing(&mut self) {
        if committed::effects(self.progress()).any(|effect| matches!(effect, Effect::RequestFence { .. })) {
            self.ensure_fencing();
        }
    }

    async fn fence_state(&mut self) -> Option<FenceState> {
        let fence = self.fence()?;
        let new_taint =
            fence.tainted && !self.progress().owned.taints.contains(&crate::taints::text(&crate::taints::own()));
        let new_deadline = self.status.time_assumed_rebooted.is_none();
        let acknowledged = |progress: &palisade_api::progress::Progress| {
            progress.timeline.iter().filter(|entry| entry.stage == Stage::Acknowledged).count()
        };
        let acknowledged_before = acknowledged(self.progress());
        let observer = self.context.options.observer.clone();
        status::take_over(&mut self.status, &fence, &observer);
        if new_taint {
            self.node_event(Kind::Normal, "AddNoScheduleTaint", "the node takes no new pods during its remediation")
                .await;
        }
        // Told by the controller: agents have no rights to write events.
        if acknowledged(self.progress()) > acknowledged_before {
            let boot = fence.boot.as_ref().map_or("?", |boot| boot.as_str());
            let message = format!("the agent stopped feeding the watchdog and reboots the node; this ends boot {boot}");
            self.node_event(Kind::Normal, event::NODE_REBOOT, &message).await;
        }
        if new_deadline && let Some(time) = &self.status.time_assumed_rebooted {
            let message = format!("the boot has ended at {} at the latest", time.0);
            self.event(Kind::Normal, "UpdateTimeAssumedRebooted", &message).await;
        }
        Some(fence)
    }

    /// The session's state of this moment. A contradiction outlives the process that saw it: nothing more is released
    /// by force for that intent.
    pub(super) fn fence(&self) -> Option<FenceState> {
        let mut fence = self.context.fences.state(&self.target.uid)?;
        let progress = self.status.palisade.as_ref();
        if let (Some(progress), Some(intent)) = (progress, &fence.intent_uid)
            && status::contradicted(progress, intent)
        {
            fence.contradict("the boot gave a sign of life after its end");
        }
        Some(fence)
    }

    /// Stores a contradiction before anything else is done: the next process must know of it.
    pub(super) async fn note_contradiction(&mut self) -> Result<(), Error> {
        let Some(fence) = self.fence() else { return Ok(()) };
        let (Some(what), Some(intent)) = (&fence.contradiction, &fence.intent_uid) else { return Ok(()) };
        if !status::contradict(self.progress(), intent) {
            return Ok(());
        }
        for step in fence.happened.iter().filter(|step| step.stage == Stage::Contradicted) {
            status::happened(self.progress(), step.stage, &step.at, &step.about, &step.detail);
        }
        let message = format!("CONTRADICTION, nothing more is released: {what}");
        status::set(&mut self.status.conditions, CONTRADICTED, "True", "SignOfLife", &message);
        self.save().await?;
        self.context.metrics.contradicted(K::KIND);
        tracing::error!(node = self.target.node, intent, what, "contradiction");
        self.event(Kind::Warning, event::FAILED, &message).await;
        Ok(())
    }

    fn proof(&self, fence: Option<&FenceState>) -> Option<Proof> {
        let proof = fence?.usable_proof()?;
        self.context.authority.mint(snapshot::claim(&self.target.uid, proof))
    }

    async fn invoke(
        &mut self,
        served: &Served,
        node: &Node,
        fence: Option<&FenceState>,
        proof: Option<&Proof>,
    ) -> Result<CallReport, Error> {
        let input = CallInput {
            remediation: self.view(&served.parameters),
            snapshot: self.snapshot(&served.module, node, fence).await?,
            proof: proof.cloned(),
            ledger: self.ledger(),
        };
        let (module, limits, granted) = (served.module.clone(), served.limits.clone(), served.granted.clone());
        let report = crate::blocking::in_turn(move || module.call(&input, &limits, &granted))
            .await
            .ok_or_else(|| Error::Busy("the call of the component was cancelled".to_owned()))?;
        let answered = report.outcome.is_ok();
        self.context.modules.measured(served.module.digest(), report.took, answered);
        self.context.metrics.called(&served.remediator, report.took, answered);
        Ok(report)
    }

    /// Effects committed before, by key.
    fn ledger(&mut self) -> BTreeMap<String, Effect> {
        let progress = self.progress();
        progress
            .applied
            .iter()
            .chain(&progress.pending)
            .filter_map(|known| Some((known.key.clone(), committed::effect(known)?)))
            .collect()
    }

    async fn gated(
        &mut self,
        served: &Served,
        proof: Option<&Proof>,
        effects: Vec<StagedEffect>,
    ) -> Result<Vec<StagedEffect>, Error> {
        let ledger = self.ledger();
        let granted = served.granted.and(&served.module.manifest().capabilities.iter().copied().collect());
        let context = GateContext {
            remediation_uid: &self.target.uid,
            node: &self.target.node,
            granted: &granted,
            authority: &self.context.authority,
            proof,
            ledger: &ledger,
        };
        match gate(effects, &context) {
            Ok(effects) => Ok(effects),
            Err(refusal) => {
                let message = format!("the gate refused all effects of remediator {}: {refusal}", served.remediator);
                self.context.modules.called(served.module.digest(), Some(&message));
                self.event(Kind::Warning, event::FAILED, &message).await;
                Err(Error::Blocked(message))
            }
        }
    }

    /// Puts into the status what this call came to; the write that follows is the commit.
    fn commit(&mut self, report: &CallReport, outcome: &Outcome, effects: &[StagedEffect], node: &Node) {
        for staged in effects {
            match &staged.effect {
                Effect::Condition { kind, status: value, reason: why, message } => {
                    let reserved = [condition::PROCESSING, condition::SUCCEEDED, condition::DISABLED];
                    if !reserved.contains(&kind.as_str()) {
                        status::set(&mut self.status.conditions, kind, &format!("{value:?}"), why, message);
                    }
                }
                // What will be ours is recorded before it is there. A taint that is there already is somebody else's.
                Effect::Release { how, .. } => {
                    let taint = match how {
                        palisade_runtime::ReleaseMethod::ResourceDeletion => crate::taints::released(),
                        palisade_runtime::ReleaseMethod::OutOfServiceTaint => crate::taints::out_of_service(),
                    };
                    if !crate::taints::has(node, &taint) {
                        status::own_taint(self.progress(), &crate::taints::text(&taint));
                    }
                }
                _ => {}
            }
        }
        let progress = self.progress();
        let memory = (!report.memory.is_empty()).then(|| STANDARD.encode(&report.memory));
        let step = (!report.step.is_empty()).then(|| report.step.clone());
        let mut changed = progress.memory != memory || progress.step_name != step;
        progress.memory = memory;
        progress.step_name = step;
        for staged in effects.iter().filter(|staged| !staged.effect.changeable()) {
            let Ok(effect) = serde_json::to_value(&staged.effect) else { continue };
            let known = |list: &[PendingEffect]| list.iter().any(|known| known.key == staged.key);
            if !known(&progress.applied) && !known(&progress.pending) {
                let done = committed::is_done_by_commit(&staged.effect);
                let list = if done { &mut progress.applied } else { &mut progress.pending };
                list.push(PendingEffect { key: staged.key.clone(), effect });
                changed = true;
            }
        }
        progress.step += i64::from(changed);
        self.stepped = changed;
        if let Outcome::Failed { reason: why } = outcome {
            let word = reason_of(&report.step).unwrap_or_else(|| reason::FAILED.to_owned());
            status::stand(&mut self.status, Standing::Stopped(&word), why);
        }
        self.status.last_error = None;
    }

    /// Nothing is given up when Kubernetes takes its time with the out-of-service taint, but somebody should know.
    async fn note_slow_release(&mut self) {
        if snapshot::released(self.progress()) != Some(palisade_runtime::ReleaseMethod::OutOfServiceTaint) {
            return;
        }
        let released = self.progress().timeline.iter().rev().find(|entry| entry.stage == Stage::Released);
        let Some(since) = released.map(|entry| entry.at.0) else { return };
        let waited = clock::wall().0.as_second().saturating_sub(since.as_second());
        if waited < SLOW_RELEASE {
            return;
        }
        let message = format!(
            "pods or volume attachments of node {} are still there {SLOW_RELEASE} s after the out-of-service taint was \
             set; it stays until they are gone: look for finalizers on them",
            self.target.node
        );
        self.status.last_error = Some(message.clone());
        self.event(Kind::Warning, event::FAILED, &message).await;
    }

    async fn conclude(&mut self, outcome: &Outcome, settled: Applied) -> Result<Action, Error> {
        match outcome {
            Outcome::Working { requeue_after_millis } => {
                self.note_slow_release().await;
                self.save().await?;
                let wanted = requeue_after_millis.map_or(DEFAULT_PAUSE, Duration::from_millis);
                let releasing = snapshot::released(self.progress()).is_some() || settled == Applied::Waits;
                let pause = if releasing { wanted.min(RELEASE_PAUSE) } else { wanted };
                let pause = if self.stepped { pause.min(STEP_PAUSE) } else { pause };
                Ok(Action::requeue(pause.clamp(Duration::from_millis(100), DEFAULT_PAUSE)))
            }
            Outcome::Succeeded => {
                self.status.phase = Some(phase::FENCING_COMPLETED.to_owned());
                status::stand(&mut self.status, Standing::Finished(K::FINISHED), "");
                self.progress().pending.clear();
                let created = self.object.meta().creation_timestamp.clone();
                let spans = self.context.fences.state(&self.target.uid).map(|fence| fence.spans);
                spent::released(self.progress(), spans.as_ref(), created.as_ref());
                self.save().await?;
                if snapshot::released(self.progress()).is_some() {
                    self.node_event(Kind::Normal, "DeleteResources", "the workloads of the ended boot are released")
                        .await;
                } else {
                    self.event(Kind::Normal, event::FINISHED, &report_of(&self.status)).await;
                }
                tracing::info!(remediation = self.target.name, node = self.target.node, at = ?clock::now(), "fencing completed");
                Ok(Action::requeue(RELEASE_PAUSE))
            }
            Outcome::Failed { reason: why } => {
                self.status.last_error = Some(why.clone());
                // Nothing of it is tried again, but a machine that may have been switched off must be known until it was
                // let go.
                self.progress().pending.retain(|pending| committed::effect(pending) == Some(Effect::PowerOff));
                self.context.fences.stop(&self.target.uid);
                self.context.providers.power.halt(&self.target.uid);
                let at = clock::wall();
                status::happened(self.progress(), Stage::Failed, &at, why, why);
                self.save().await?;
                self.event(Kind::Warning, event::FAILED, why).await;
                self.release_node().await?;
                Ok(Action::requeue(DEFAULT_PAUSE))
            }
        }
    }
}

/// What was done, in the words of the last step.
fn report_of(status: &super::kind::Status) -> String {
    let step = status.palisade.as_ref().and_then(|progress| progress.step_name.clone()).unwrap_or_default();
    format!("done: {}", step.replace('-', " "))
}

/// A step that says why it cannot be done becomes the reason of the conditions: `cannot-start-no-controller-owner` is
/// `RemediationCannotStartNoControllerOwner`. Other steps say only where it failed.
fn reason_of(step: &str) -> Option<String> {
    if !["cannot-", "rejected-", "expired-"].iter().any(|start| step.starts_with(start)) {
        return None;
    }
    let words = step.split('-').filter_map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
    });
    Some(words.fold("Remediation".to_owned(), |reason, word| reason + &word))
}

#[cfg(test)]
mod tests {
    use super::reason_of;

    #[test]
    fn steps_that_say_why_become_reasons() {
        let reason = reason_of("cannot-start-no-controller-owner");
        assert_eq!(reason.as_deref(), Some("RemediationCannotStartNoControllerOwner"));
        assert_eq!(reason_of("waiting-for-proof"), None);
    }
}
