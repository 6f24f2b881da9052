//! Applying committed effects. Each is idempotent: after a crash it is applied again, on what is true then.
//!
//! This is the one place where effects become requests. Acting under the remediator's own service account is a matter
//! of the client used here.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use palisade_api::Stage;
use palisade_api::reasons::event;
use palisade_core::fencing::proof::{Grade, Proof};
use palisade_runtime::{Effect, FenceMethod, OwnTaintEffect, ReleaseMethod, Restoration, StagedEffect};

use super::kind::Remediation;
use super::pass::Pass;
use super::{committed, snapshot, status};
use crate::clock;
use crate::error::Error;
use crate::events::Kind;
use crate::fence::{FenceState, Wanted};
use crate::taints;
use crate::workloads::inventory;
use crate::workloads::release::{self, Guard, Released};

/// How far the effects of a call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// All of them are applied.
    All,
    /// Some wait for something.
    Waits,
}

impl<K: Remediation> Pass<K> {
    /// What an earlier pass (perhaps of an earlier process) committed and did not get to. A release waits until this
    /// process holds the proof itself.
    pub(super) async fn apply_pending(&mut self, node: &Node) -> Result<(), Error> {
        let pending: Vec<StagedEffect> = self
            .progress()
            .pending
            .iter()
            .filter_map(|pending| Some(StagedEffect { key: pending.key.clone(), effect: committed::effect(pending)? }))
            .collect();
        if pending.is_empty() {
            return Ok(());
        }
        let fence = self.context.fences.state(&self.target.uid);
        self.apply_all(node, &pending, fence.as_ref()).await.map(|_| ())
    }

    /// Applies effects in order and records each.
    pub(super) async fn apply_all(
        &mut self,
        node: &Node,
        effects: &[StagedEffect],
        fence: Option<&FenceState>,
    ) -> Result<Applied, Error> {
        let mut all = Applied::All;
        for staged in effects {
            let once = staged.effect.once() && self.progress().applied.iter().any(|known| known.key == staged.key);
            if once || staged.effect.changeable() {
                continue;
            }
            if !matches!(staged.effect, Effect::RequestFence { .. } | Effect::Event { .. }) {
                self.context.seen.forget_read(&self.target.node);
            }
            if self.apply(node, &staged.effect, fence).await? {
                self.record(staged);
            } else {
                all = Applied::Waits;
            }
        }
        self.save().await?;
        Ok(all)
    }

    fn record(&mut self, staged: &StagedEffect) {
        let progress = self.progress();
        let Some(index) = progress.pending.iter().position(|pending| pending.key == staged.key) else { return };
        let done = progress.pending.remove(index);
        progress.applied.retain(|known| known.key != done.key);
        progress.applied.push(done);
    }

    /// Whether the effect is applied now.
    async fn apply(&mut self, node: &Node, effect: &Effect, fence: Option<&FenceState>) -> Result<bool, Error> {
        match effect {
            Effect::DeleteMachine { .. }
            | Effect::PowerOff
            | Effect::PowerOn
            | Effect::Ask { .. }
            | Effect::RunJob { .. } => self.apply_outside(node, effect).await,
            Effect::Release { proof, how } => self.release(node, proof.as_str(), *how, fence).await,
            Effect::Restore { what: Restoration::OutOfServiceTaint } => {
                self.remove_release_taints().await?;
                Ok(true)
            }
            Effect::Restore { what: Restoration::Everything } => {
                self.context.fences.stop(&self.target.uid);
                self.restore().await?;
                Ok(true)
            }
            Effect::Cordon => {
                let already = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default();
                if !already {
                    self.progress().owned.cordoned = Some(true);
                    self.save().await?;
                    self.cordon(true).await?;
                }
                Ok(true)
            }
            Effect::Uncordon => {
                if self.progress().owned.cordoned == Some(true) {
                    self.cordon(false).await?;
                    self.progress().owned.cordoned = None;
                }
                Ok(true)
            }
            Effect::TaintOwn { taint } => {
                let wanted = own(taint);
                if !taints::has(node, &wanted) {
                    status::own_taint(self.progress(), &taints::text(&wanted));
                    self.save().await?;
                    taints::add(&self.context.client, &self.target.node, &wanted, |_| Ok(())).await?;
                }
                Ok(true)
            }
            Effect::UntaintOwn { taint } => {
                let unwanted = own(taint);
                let text = taints::text(&unwanted);
                if self.progress().owned.taints.contains(&text) {
                    taints::remove(&self.context.client, &self.target.node, &[unwanted]).await?;
                    self.progress().owned.taints.retain(|known| *known != text);
                }
                Ok(true)
            }
            // A fencing session runs for as long as its commit stands.
            Effect::Condition { .. } | Effect::RequestFence { .. } => Ok(true),
            Effect::Event { warning, reason, message } => {
                let kind = if *warning { Kind::Warning } else { Kind::Normal };
                self.event(kind, reason, message).await;
                Ok(true)
            }
        }
    }

    /// Starts the fencing session, unless it runs.
    pub(super) fn ensure_fencing(&self) {
        self.start_fencing(None);
    }

    /// The same, or, after a release by this proof, one that only looks.
    pub(super) fn start_fencing(&self, released: Option<Proof>) {
        let mut known = self.status.palisade.iter().flat_map(committed::effects);
        let external = known.any(|effect| matches!(effect, Effect::RequestFence { method: FenceMethod::External }));
        let floor = self
            .context
            .config()
            .and_then(|config| config.spec.safe_time_to_assume_node_rebooted_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .unwrap_or_default();
        let wanted = Wanted {
            target: self.target.clone(),
            require: self.context.options.require,
            floor: std::time::Duration::from_secs(floor),
            released,
            external,
        };
        self.context.fences.ensure(&self.context, wanted);
    }

    async fn release(
        &mut self,
        node: &Node,
        named: &str,
        how: ReleaseMethod,
        fence: Option<&FenceState>,
    ) -> Result<bool, Error> {
        // The state of this very moment, not of the beginning of the pass.
        let Some(fence) = self.fence().filter(|_| fence.is_some()) else { return Ok(false) };
        let Some(proof) = fence.usable_proof() else { return Ok(false) };
        if snapshot::claim(&self.target.uid, proof).id().as_str() != named || proof.grade < self.require() {
            return Ok(false);
        }
        if self.held_back {
            // Each try reads the device: once in a pass is enough.
            return Ok(false);
        }
        self.held_back = true;
        if let Some(why) = self.withdrawn(proof).await? {
            tracing::warn!(node = self.target.node, why, "nothing is released");
            return Ok(false);
        }
        if let Some(why) = self.still_holds_outside(node, proof).await? {
            self.event(Kind::Warning, event::STOPPED, &format!("nothing is released now: {why}")).await;
            return Ok(false);
        }
        let marked = inventory::uids(&fence.marked);
        let (context, uid) = (self.context.clone(), self.target.uid.clone());
        let live = || context.fences.holds(&uid, proof);
        let guard = Guard::new(&context.client, &context.options.namespace, proof, live);
        match release::release(guard, &marked, how).await? {
            Released::Stopped(why) => {
                tracing::warn!(node = self.target.node, why, "release stopped");
                self.context.fences.wake(&self.target.node);
                self.event(Kind::Normal, event::STOPPED, &format!("nothing is released now: {why}")).await;
                Ok(false)
            }
            Released::Done { pods, attachments, tainted } => {
                if let Some(taint) = &tainted {
                    if how == ReleaseMethod::OutOfServiceTaint {
                        self.node_event(Kind::Normal, "AddOutOfService", "out-of-service taint set").await;
                    }
                    status::own_taint(self.progress(), taint);
                }
                let intent = &proof.intent_uid;
                let detail = match how {
                    _ if !proof.kind.forces() => {
                        format!("nothing is forced for intent {intent}: the new boot confirms the marked pods")
                    }
                    ReleaseMethod::ResourceDeletion => {
                        format!("for intent {intent}: {pods} pods and {attachments} volume attachments deleted")
                    }
                    ReleaseMethod::OutOfServiceTaint => {
                        format!(
                            "for intent {intent}: out-of-service taint set and {pods} marked pods deleted, Kubernetes frees \
                             the others and the volumes"
                        )
                    }
                };
                status::happened(self.progress(), Stage::Released, &clock::wall(), &proof.intent_uid, &detail);
                Ok(true)
            }
        }
    }

    /// Why nothing may be released by this proof, by what the API has of this remediation now: another controller may
    /// have seen what this one has not.
    async fn withdrawn(&self, proof: &Proof) -> Result<Option<String>, Error> {
        let current = self.current().await?;
        let Some(current) = current.filter(|current| current.uid().as_ref() == Some(&self.target.uid)) else {
            return Ok(Some("the remediation is gone".to_owned()));
        };
        let progress = current.status().palisade.unwrap_or_default();
        Ok(if current.deleting() {
            Some("the remediation is being deleted".to_owned())
        } else if proof.kind.forces() && status::contradicted(&progress, &proof.intent_uid) {
            Some(format!("the boot of intent {} gave a sign of life after its end", proof.intent_uid))
        } else {
            None
        })
    }

    fn require(&self) -> Grade {
        self.context.options.require
    }
}

fn own(taint: &palisade_runtime::OwnTaint) -> k8s_openapi::api::core::v1::Taint {
    let effect = match taint.effect {
        OwnTaintEffect::NoSchedule => "NoSchedule",
        OwnTaintEffect::PreferNoSchedule => "PreferNoSchedule",
    };
    taints::taint(&taint.key, Some(&taint.value).filter(|value| !value.is_empty()).map(String::as_str), effect)
}
