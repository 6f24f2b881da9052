//! Taking back what is ours: one routine for every way out, idempotent, from the records in the status.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::controller::Action;
use palisade_api::Stage;
use palisade_api::reasons::event;
use palisade_runtime::Effect;
use serde_json::json;

use super::kind::{Remediation, every_kind};
use super::pass::Pass;
use super::{committed, status, target};
use crate::clock;
use crate::error::Error;
use crate::events::Kind;
use crate::fence::lease::{self, LetGo};
use crate::fence::read::{boot_of, is_ready};
use crate::taints::{self, Edit};

/// So often a component is called in one pass to put things back; the host does what it left out.
const CALLS: usize = 3;

impl<K: Remediation> Pass<K> {
    /// The object is being deleted: restore, then let it go. Before a proof this is an abort: nothing is deleted.
    pub(super) async fn clean_up(&mut self, node: Option<&Node>) -> Result<Action, Error> {
        self.context.fences.stop(&self.target.uid);
        self.certify_new_boot(node).await?;
        self.recovered(node);
        self.tell_of_unfinished_release(node).await;
        // What was committed and not applied must never be applied now, least of all a release.
        self.progress().pending.retain(|pending| {
            // A machine that may have been switched off must be known until it was let go.
            committed::effect(pending).is_some_and(|effect| takes_back(&effect) || effect == Effect::PowerOff)
        });
        if let Some(node) = node {
            for _ in 0..CALLS {
                match self.call_for_restore(node).await {
                    Ok(true) => break,
                    Ok(false) => {}
                    // A broken component must not keep anybody's node: the host restores without it.
                    Err(Error::Blocked(why)) => {
                        tracing::warn!(remediation = self.target.name, why, "restoring without the component");
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        self.context.fences.stop(&self.target.uid);
        self.clean_up_outside(node).await?;
        self.restore().await?;
        self.release_node().await?;
        status::happened(self.progress(), Stage::Restored, &clock::wall(), "taints", "taints removed, intent let go");
        self.save().await?;
        let left: Vec<String> =
            self.object.finalizers().iter().filter(|finalizer| *finalizer != K::FINALIZER).cloned().collect();
        match self.set_finalizers(&left).await {
            // Gone with its last finalizer, or by another controller.
            Ok(()) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        self.event(Kind::Normal, "RemoveFinalizer", "finalizer removed").await;
        self.event(Kind::Normal, event::FINISHED, "the remediation is finished and its marks are taken back").await;
        self.context.triggers.forget(&self.target.uid);
        Ok(Action::await_change())
    }

    /// The node may have come back, and its detector may let the remediation go, before any session read the new boot.
    /// The intent still names the old one, so the proof (P1) is recorded as long as both are there.
    async fn certify_new_boot(&mut self, node: Option<&Node>) -> Result<(), Error> {
        if self.replaced || self.progress().certificate.is_some() {
            return Ok(());
        }
        let Some((node, boot)) = node.and_then(|node| Some((node, boot_of(node)?))) else { return Ok(()) };
        let Some((lease_uid, intent)) = self.own_intent().await? else { return Ok(()) };
        if intent.boot_id == boot {
            return Ok(());
        }
        let ids = (node.uid().unwrap_or_default(), lease_uid);
        let (target, observer) = (self.target.node.clone(), self.context.options.observer.clone());
        let progress = self.progress();
        let intended = progress.timeline.iter().rev().find(|entry| entry.stage == Stage::Intended);
        let proof = status::boot_changed(&target, ids, &intent, &boot, intended.map(|entry| &entry.at));
        let about = format!("{} ({}), boot {}, intent {}", proof.kind, proof.grade, proof.boot, proof.intent_uid);
        let detail = format!("{about}: {}", proof.explanation);
        status::happened(progress, Stage::Proven, &clock::wall(), &about, &detail);
        progress.certificate = Some(status::certificate(&proof, &observer));
        self.save().await
    }

    /// The out-of-service taint goes with the remediation, whether Kubernetes has freed everything by then or not.
    async fn tell_of_unfinished_release(&self, node: Option<&Node>) {
        let taint = taints::out_of_service();
        let ours = self.owned_release_taints().iter().any(|owned| owned.key == taint.key);
        let stands = ours && node.is_some_and(|node| taints::has(node, &taint));
        if stands && !status::is_completed(&self.status) {
            let message = "the remediation was deleted before all pods and volumes of the old boot were freed; the \
                           out-of-service taint is removed";
            self.node_event(Kind::Warning, "OutOfServiceTimestampExpired", message).await;
        }
    }

    /// Everything of ours, in the order in which it may go: first what drives pods away, last the intent.
    pub(super) async fn restore(&mut self) -> Result<(), Error> {
        self.remove_release_taints().await?;
        if self.progress().owned.cordoned == Some(true) {
            self.cordon(false).await?;
            self.progress().owned.cordoned = None;
        }
        let own = taints::own();
        let mut unwanted: Vec<_> = self.progress().owned.taints.iter().filter_map(|text| parse(text)).collect();
        if self.shared_with_others().await? {
            unwanted.retain(|taint| taint.key != own.key);
        } else if !self.replaced {
            unwanted.push(own);
        }
        if taints::remove(&self.context.client, &self.target.node, &unwanted).await? == Edit::Changed {
            self.node_event(Kind::Normal, "RemoveNoScheduleTaint", "the node takes new pods again").await;
        }
        self.progress().owned.taints.clear();
        let owner = self.target.owner();
        let let_go =
            lease::let_go(&self.context.client, &self.context.options.namespace, &self.target.node, &owner).await?;
        if let_go != LetGo::OthersHold {
            let (client, namespace) = (&self.context.client, &self.context.options.namespace);
            lease::remove_bare(client, namespace, &self.target.node).await?;
        }
        if let_go == LetGo::Cleared {
            tracing::info!(node = self.target.node, "fence intent cleared");
        }
        Ok(())
    }

    /// Whether anything of ours is left.
    pub(super) async fn holds_anything(&mut self, node: &Node) -> Result<bool, Error> {
        let own = taints::has(node, &taints::own());
        let owned = !self.progress().owned.taints.is_empty() || self.progress().owned.cordoned.is_some();
        if owned || self.context.fences.runs(&self.target.uid) {
            return Ok(true);
        }
        if committed::effects(self.progress()).next().is_none() {
            return Ok(false);
        }
        // The intent is one request; whether others share the taint takes a list of every kind.
        Ok(self.owns_intent().await? || (own && !self.shared_with_others().await?))
    }

    async fn owns_intent(&self) -> Result<bool, Error> {
        Ok(self.own_intent().await?.is_some())
    }

    /// The node-wide taints of a release must not meet new pods: they go as soon as the node is back or ready, whoever
    /// is in charge of the remediation.
    pub(super) async fn guard_taints(&mut self, node: Option<&Node>) -> Result<(), Error> {
        let Some(node) = node.filter(|_| !self.replaced) else { return Ok(()) };
        if !self.owned_release_taints().iter().any(|taint| taints::has(node, taint)) {
            return Ok(());
        }
        let dead = self.progress().certificate.as_ref().map(|certificate| certificate.boot_id.clone());
        let same = dead.is_some() && boot_of(node).map(|boot| boot.to_string()) == dead;
        if !same || is_ready(node) {
            self.remove_release_taints().await?;
            self.save().await?;
        }
        Ok(())
    }

    /// Removes the out-of-service taint and the own `NoExecute` taint, if they are ours.
    pub(super) async fn remove_release_taints(&mut self) -> Result<(), Error> {
        let ours = self.owned_release_taints();
        if ours.is_empty() {
            return Ok(());
        }
        let had_out_of_service = ours.iter().any(|taint| taint.key == taints::out_of_service().key);
        if taints::remove(&self.context.client, &self.target.node, &ours).await? == Edit::Changed && had_out_of_service
        {
            self.node_event(Kind::Normal, "RemoveOutOfService", "out-of-service taint removed").await;
        }
        let gone: Vec<String> = ours.iter().map(taints::text).collect();
        self.progress().owned.taints.retain(|taint| !gone.contains(taint));
        Ok(())
    }

    fn owned_release_taints(&self) -> Vec<k8s_openapi::api::core::v1::Taint> {
        let owned = self.status.palisade.as_ref().map(|progress| progress.owned.taints.as_slice()).unwrap_or_default();
        [taints::out_of_service(), taints::released()]
            .into_iter()
            .filter(|taint| owned.contains(&taints::text(taint)))
            .collect()
    }

    /// Sets or removes `spec.unschedulable`.
    pub(super) async fn cordon(&self, cordoned: bool) -> Result<(), Error> {
        let patch = json!({ "spec": { "unschedulable": if cordoned { json!(true) } else { json!(null) } } });
        let api: Api<Node> = Api::all(self.context.client.clone());
        match api.patch(&self.target.node, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether another remediation of ours works on the same node: then the common taint stays.
    async fn shared_with_others(&self) -> Result<bool, Error> {
        every_kind!(O => if self.others::<O>().await? {
            return Ok(true);
        });
        Ok(false)
    }

    async fn others<O: Remediation>(&self) -> Result<bool, Error> {
        let api: Api<O> = Api::all(self.context.client.clone());
        let Ok(list) = tokio::time::timeout(Duration::from_secs(10), api.list(&ListParams::default())).await else {
            return Err(Error::Busy("the API server did not list remediations in time".to_owned()));
        };
        match list {
            Ok(list) => Ok(list.items.iter().any(|other| {
                other.meta().uid.as_deref() != Some(self.target.uid.as_str())
                    && other.held()
                    && !other.deleting()
                    && target::node_name(other) == self.target.node
            })),
            // The kind is not installed: nobody can have one.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether an effect may still be applied while the object is being deleted: it only takes back, or tells.
pub(super) fn takes_back(effect: &Effect) -> bool {
    match effect {
        Effect::Restore { .. }
        | Effect::PowerOn
        | Effect::UntaintOwn { .. }
        | Effect::Uncordon
        | Effect::Condition { .. }
        | Effect::Event { .. } => true,
        Effect::RequestFence { .. }
        | Effect::Release { .. }
        | Effect::Cordon
        | Effect::TaintOwn { .. }
        | Effect::DeleteMachine { .. }
        | Effect::PowerOff
        | Effect::Ask { .. }
        | Effect::RunJob { .. } => false,
    }
}

/// `key=value:effect` or `key:effect`.
fn parse(text: &str) -> Option<k8s_openapi::api::core::v1::Taint> {
    let (name, effect) = text.rsplit_once(':')?;
    let (key, value) = match name.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (name, None),
    };
    Some(taints::taint(key, value, effect))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_begins_nothing() {
        let fence = Effect::RequestFence { method: palisade_runtime::FenceMethod::SelfFence };
        assert!(!takes_back(&fence) && !takes_back(&Effect::Cordon));
        assert!(takes_back(&Effect::Uncordon));
        assert!(takes_back(&Effect::Restore { what: palisade_runtime::Restoration::Everything }));
    }

    #[test]
    fn records_of_taints_read_back() {
        for taint in [taints::own(), taints::out_of_service(), taints::released()] {
            let read = parse(&taints::text(&taint)).unwrap();
            assert_eq!((read.key, read.value, read.effect), (taint.key, taint.value, taint.effect));
        }
        assert!(parse("nonsense").is_none());
    }
}
