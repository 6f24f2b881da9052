//! One pass over one remediation, in the order of its gates.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use palisade_api::progress::Progress;
use palisade_api::reasons::{condition, event, reason};
use palisade_api::{SelfNodeRemediationConfig, Stage};
use palisade_core::fencing::record::{FenceIntent, LeaseView};
use palisade_core::time::Mono;
use serde_json::json;

use super::echo::Echoes;
use super::kind::{Remediation, Status};
use super::outside;
use super::snapshot;
use super::spent;
use super::status::{self, Standing};
use super::target::{self, Named};
use crate::clock;
use crate::context::{Context, Target, node_reference};
use crate::error::{Error, within};
use crate::events::Kind;
use crate::fence::lease;
use crate::fence::read::{boot_of, is_ready};

/// Pause before a look at something that nothing announces.
pub(super) const IDLE: Duration = Duration::from_secs(10);
/// Pause after a lost race for the status.
const RACE: Duration = Duration::from_millis(200);
/// No pass takes longer. A large release goes on in the next one.
const LIMIT: Duration = Duration::from_mins(1);
/// The answer to a write stands for a read for this long, as a consistent read does before a deletion.
const JUST_NOW: Duration = Duration::from_secs(1);
/// Nor does storing the last error.
const SAVE_LIMIT: Duration = Duration::from_secs(10);

/// A pass over one remediation.
pub struct Pass<K> {
    pub(super) context: Arc<Context>,
    pub(super) object: K,
    pub(super) target: Target,
    pub(super) status: Status,
    saved: Status,
    echoes: Arc<Echoes>,
    /// The node of this name is not the one that the remediation was taken up for.
    pub(super) replaced: bool,
    /// A release was tried in this pass, and held back.
    pub(super) held_back: bool,
    /// The component came a step further in this pass.
    pub(super) stepped: bool,
    /// When the write of the status began that made the object in hand the newest there is.
    written: Option<Mono>,
}

/// Looks at a remediation and does what is due.
pub async fn reconcile<K: Remediation>(
    object: Arc<K>,
    context: Arc<Context>,
    echoes: Arc<Echoes>,
) -> Result<Action, Error> {
    let mut pass = Pass::new(context, (*object).clone(), echoes);
    let uid = pass.target.uid.clone();
    // Dropped at whatever line it is: that is what a crash would do, too.
    let result = within(LIMIT, "the pass", pass.run()).await;
    // Whoever lost a race looks again: that is no failure.
    if !matches!(result, Err(Error::Conflict)) {
        pass.context.metrics.reconciled(result.is_err());
    }
    match result {
        Ok(action) => {
            pass.retries().remove(&uid);
            Ok(action)
        }
        // Somebody else (or an earlier write of ours that the watch has not shown yet) was first.
        Err(Error::Conflict) => Ok(Action::requeue(RACE)),
        Err(error) => {
            pass.status.last_error = Some(error.to_string());
            if let Err(error) = within(SAVE_LIMIT, "the write", pass.save()).await {
                tracing::debug!(%error, remediation = pass.target.name, "last error not stored");
            }
            Err(error)
        }
    }
}

/// What to do after an error: try this object again, later and later; all others go on.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the reconciler wants")]
pub fn after_error<K: Remediation>(object: Arc<K>, error: &Error, context: Arc<Context>) -> Action {
    let uid = object.uid().unwrap_or_default();
    let mut retries = context.retries.lock().unwrap_or_else(PoisonError::into_inner);
    let failures = retries.entry(uid).or_default();
    *failures = failures.saturating_add(1);
    let pause = Duration::from_millis(250) * 2u32.saturating_pow((*failures - 1).min(6));
    tracing::warn!(remediation = object.name_any(), %error, ?pause, "pass failed, it is tried again");
    Action::requeue(pause.min(Duration::from_secs(15)))
}

impl<K: Remediation> Pass<K> {
    fn new(context: Arc<Context>, object: K, echoes: Arc<Echoes>) -> Self {
        let target = object.target(target::node_name(&object));
        let status = object.status();
        Self {
            context,
            object,
            target,
            saved: status.clone(),
            echoes,
            status,
            replaced: false,
            held_back: false,
            stepped: false,
            written: None,
        }
    }

    fn retries(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<String, u32>> {
        self.context.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&mut self) -> Result<Action, Error> {
        let context = self.context.clone();
        if self.object.deleting() && !self.object.held() {
            context.fences.stop(&self.target.uid);
            context.triggers.forget(&self.target.uid);
            return Ok(Action::await_change());
        }
        match target::resolve(&context.client, &self.object).await? {
            Named::Node(node) => self.target.node = node,
            Named::Nothing(_) if self.object.deleting() => {}
            Named::Nothing(why) => return self.no_node(why).await,
        }
        context.triggers.remember(&self.target);
        let node = self.node().await?;
        self.note_replacement(node.as_ref());
        self.guard_taints(node.as_ref()).await?;
        if self.object.deleting() {
            return self.clean_up(node.as_ref()).await;
        }
        self.progress().node = Some(self.target.node.clone());

        if K::NEEDS_CONFIG && !self.enabled().await? {
            return self.disabled().await;
        }
        status::unset(&mut self.status.conditions, condition::DISABLED);
        if status::is_completed(&self.status) {
            return self.completed(node.as_ref()).await;
        }
        if status::gave_up(&self.status) {
            return self.failed().await;
        }
        if self.object.timed_out() {
            return self.given_up().await;
        }
        let node = match node {
            Some(node) => node,
            // The node goes with its machine: that is no reason to stop looking.
            None if K::OUTLIVES_NODE && self.may_do_without_node() => ghost(&self.target.node),
            None => return self.no_node(format!("node {:?} does not exist", self.target.node)).await,
        };
        if self.replaced && !K::OUTLIVES_NODE {
            return self.another_node(&node).await;
        }
        if target::is_excluded(&node) {
            context.fences.stop(&self.target.uid);
            let message =
                format!("node {} carries label remediation.medik8s.io/exclude-from-remediation", self.target.node);
            status::stand(&mut self.status, Standing::Stopped(event::SKIPPED), &message);
            self.event(Kind::Normal, event::SKIPPED, &message).await;
            self.save().await?;
            return Ok(Action::requeue(IDLE));
        }
        if !status::phase_is_known(&self.status) {
            return Err(Error::Blocked(format!(
                "status.phase is {:?}, which is no phase; clear it with kubectl edit --subresource=status",
                self.status.phase.as_deref().unwrap_or_default()
            )));
        }
        if !self.object.held() {
            let served = match self.serve().await {
                Ok(served) => served,
                // Parameters that cannot be right, or a component that is not there: nothing is touched.
                Err(why) => return self.unserved(&why.to_string()).await,
            };
            let outside = outside::acts_from_outside(&served.module);
            if outside && let Some(wait) = self.keep_node(&node).await? {
                return Ok(wait);
            }
            self.take_up(outside).await?;
        }
        // Told by the status and not by the finalizer: a controller may have died between the two.
        if self.progress().timeline.is_empty() {
            let about = format!("node {}", self.target.node);
            status::happened(self.progress(), Stage::Started, &clock::wall(), &about, &about);
            let created = self.object.meta().creation_timestamp.clone();
            spent::before_us(self.progress(), &node, created.as_ref());
        }
        self.call(&node).await
    }

    /// The node: as the session found it a moment ago, before anything is released; a release reads for itself.
    async fn node(&self) -> Result<Option<Node>, Error> {
        let released = self.status.palisade.as_ref().and_then(snapshot::released).is_some();
        if self.object.held()
            && !self.object.deleting()
            && !released
            && let Some(node) = self.context.seen.just_read(&self.target.node)
        {
            return Ok(Some(node));
        }
        let begun = clock::now();
        let node = Api::<Node>::all(self.context.client.clone()).get_opt(&self.target.node).await?;
        if let Some(node) = &node {
            self.context.seen.note_read(begun, node);
        }
        Ok(node)
    }

    /// Without the node object there is something to do if a machine is known: recorded, or as owner.
    fn may_do_without_node(&self) -> bool {
        let recorded = self.status.palisade.as_ref().is_some_and(|progress| progress.machine.is_some());
        recorded || self.object.owner_references().iter().any(target::is_machine)
    }

    /// Whether there is a configuration. Before anything is touched it is asked for: the watch may not have shown yet
    /// that somebody switched remediation off a moment ago.
    async fn enabled(&self) -> Result<bool, Error> {
        if self.context.config().is_none() || self.object.held() {
            return Ok(self.context.config().is_some());
        }
        let configs: Api<SelfNodeRemediationConfig> =
            Api::namespaced(self.context.client.clone(), &self.context.options.namespace);
        let config = configs.get_opt(palisade_api::keys::self_node::CONFIG_NAME).await?;
        Ok(config.is_some_and(|config| config.metadata.deletion_timestamp.is_none()))
    }

    async fn disabled(&mut self) -> Result<Action, Error> {
        let message = format!(
            "SelfNodeRemediationConfig {}/{} does not exist; create it to enable remediation",
            self.context.options.namespace,
            palisade_api::keys::self_node::CONFIG_NAME
        );
        status::set(&mut self.status.conditions, condition::DISABLED, "True", reason::CONFIG_NOT_FOUND, &message);
        self.save().await?;
        // The configuration's watch also wakes us.
        Ok(Action::requeue(IDLE))
    }

    /// The detector gave up: nothing new is begun; taints and finalizer stay until the deletion.
    async fn given_up(&mut self) -> Result<Action, Error> {
        self.context.fences.stop(&self.target.uid);
        self.context.providers.power.halt(&self.target.uid);
        if !status::succeeded(&self.status, "True") {
            super::outside::approval::withdraw(self.progress());
            let irrevocable = self.progress().machine.as_ref().map_or_else(String::new, |machine| {
                format!(
                    "the deletion of machine {}/{} was asked for already and cannot be taken back",
                    machine.namespace, machine.name
                )
            });
            status::stand(&mut self.status, Standing::Stopped(K::TIMED_OUT), &irrevocable);
            self.event(Kind::Normal, event::STOPPED, "the detector gave up waiting; nothing new is begun").await;
        }
        // A node's health check goes on with its next step; that of a machine has none.
        self.hand_back().await;
        self.save().await?;
        self.stop_jobs().await?;
        self.release_node().await?;
        Ok(Action::requeue(IDLE))
    }

    async fn no_node(&mut self, message: String) -> Result<Action, Error> {
        status::stand(&mut self.status, Standing::Stopped(K::NODE_NOT_FOUND), &message);
        self.event(Kind::Warning, event::CANNOT_START, &message).await;
        Err(Error::Blocked(message))
    }

    /// Released. What is left is to see the node come back.
    async fn completed(&mut self, node: Option<&Node>) -> Result<Action, Error> {
        // The session goes on looking: a sign of the old boot is told also now.
        self.keep_watching(node).await?;
        self.note_contradiction().await?;
        self.recovered(node);
        self.hand_back_if_it_stays_away().await;
        self.save().await?;
        Ok(Action::requeue(IDLE))
    }

    /// A process that did not prove the end itself looks all the same: as long as the intent stands and the node names
    /// the ended boot, a sign of that boot must be told.
    async fn keep_watching(&mut self, node: Option<&Node>) -> Result<(), Error> {
        if self.context.fences.runs(&self.target.uid) {
            return Ok(());
        }
        let Some(certificate) = self.status.palisade.as_ref().and_then(|progress| progress.certificate.clone()) else {
            return Ok(());
        };
        let Some(node) = node.filter(|node| boot_of(node).is_some_and(|boot| boot.as_str() == certificate.boot_id))
        else {
            return Ok(());
        };
        let Some((lease_uid, intent)) = self.own_intent().await? else { return Ok(()) };
        if certificate.intent_uid.as_deref() != Some(intent.uid.as_str())
            || certificate.boot_id != intent.boot_id.as_str()
        {
            return Ok(());
        }
        let ids = (node.uid().unwrap_or_default(), lease_uid);
        if let Some(proof) = status::certified(&certificate, ids, &intent) {
            self.start_fencing(Some(proof));
        }
        Ok(())
    }

    /// UID of the agent lease, and the intent in it, if it is ours too.
    pub(super) async fn own_intent(&self) -> Result<Option<(String, FenceIntent)>, Error> {
        let leases = lease::api(&self.context.client, &self.context.options.namespace);
        let Some(found) = leases.get_opt(&self.target.node).await? else { return Ok(None) };
        let owner = self.target.owner();
        let intent = LeaseView::from_annotations(found.annotations()).ok().and_then(|view| view.intent);
        Ok(intent
            .filter(|intent| intent.owners.contains(&owner))
            .map(|intent| (found.uid().unwrap_or_default(), intent)))
    }

    /// The component said that it cannot be done: escalation moves on, and nothing is begun again here.
    async fn failed(&mut self) -> Result<Action, Error> {
        self.context.fences.stop(&self.target.uid);
        self.context.providers.power.halt(&self.target.uid);
        self.hand_back().await;
        self.save().await?;
        self.stop_jobs().await?;
        self.release_node().await?;
        Ok(Action::requeue(IDLE))
    }

    /// Notes that the node is back with another boot.
    pub(super) fn recovered(&mut self, node: Option<&Node>) {
        let Some(node) = node.filter(|node| is_ready(node)) else { return };
        let Some(boot) = boot_of(node) else { return };
        let progress = self.progress();
        let old = progress.certificate.as_ref().map(|certificate| certificate.boot_id.clone());
        if old.is_some_and(|old| old != boot.as_str()) {
            let about = format!("boot {boot}");
            status::happened(
                progress,
                Stage::Recovered,
                &clock::wall(),
                &about,
                &format!("the node is ready with {about}"),
            );
        }
    }

    /// Before anything is touched: the node must have an agent that can end it, and the object must be held.
    async fn take_up(&mut self, from_outside: bool) -> Result<(), Error> {
        status::stand(&mut self.status, Standing::Started, "");
        let node = &self.target.node;
        let able = if from_outside {
            Ok(())
        } else {
            // Only what the watch shows against it is asked for anew: whatever is decided later reads for itself.
            let mut able = self.able(self.context.agent_lease(node).as_deref());
            if able.is_err() {
                let leases = lease::api(&self.context.client, &self.context.options.namespace);
                able = self.able(leases.get_opt(node).await?.as_ref());
            }
            able
        };
        if let Err(why) = able {
            return Err(Error::Blocked(format!(
                "node {node} cannot end itself: {why}; nothing is touched until its agent has published its lease in {}",
                self.context.options.namespace
            )));
        }
        self.event(Kind::Normal, event::STARTED, "the remediation is taken up").await;
        let mut finalizers = self.object.finalizers().to_vec();
        finalizers.push(K::FINALIZER.to_owned());
        self.set_finalizers(&finalizers).await?;
        self.event(Kind::Normal, "AddFinalizer", "finalizer added").await;
        Ok(())
    }

    /// Whether the node can end itself, by the lease of its agent; else why not.
    fn able(&self, lease: Option<&Lease>) -> Result<(), String> {
        let lease = lease.ok_or("it has no agent lease")?;
        let record = lease::verified(lease, &self.context.trust)?;
        // Other remediators need no agent that can reset its node; this one does nothing else.
        if K::NEEDS_CONFIG && !lease::can_end(&record) {
            return Err("it has no watchdog that resets it, and software reboot is disabled".to_owned());
        }
        Ok(())
    }

    /// Writes the finalizers, guarded by the resource version. The status in hand stays as it is.
    pub(super) async fn set_finalizers(&mut self, finalizers: &[String]) -> Result<(), Error> {
        let patch = json!({ "metadata": {
            "resourceVersion": self.object.resource_version(),
            "finalizers": finalizers,
        } });
        let mut object = self.object.clone();
        object.meta_mut().finalizers = Some(finalizers.to_vec());
        self.echoes.expect(&object);
        self.object = self.api().patch(&self.target.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// Writes annotations of ours on the object, guarded by the resource version.
    pub(super) async fn annotate(&mut self, annotations: serde_json::Value) -> Result<(), Error> {
        let patch = json!({ "metadata": {
            "resourceVersion": self.object.resource_version(),
            "annotations": annotations,
        } });
        self.object = self.api().patch(&self.target.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// The commit: one status write, guarded by the resource version that this pass began with.
    pub(super) async fn save(&mut self) -> Result<(), Error> {
        if self.status == self.saved {
            return Ok(());
        }
        let generation = self.object.meta().generation;
        for condition in &mut self.status.conditions {
            condition.observed_generation = generation;
        }
        let mut object = self.object.clone();
        object.set_status(self.status.clone());
        self.echoes.expect(&object);
        let begun = clock::now();
        self.object = self.api().replace_status(&self.target.name, &PostParams::default(), &object).await?;
        self.written = Some(begun);
        self.saved = self.status.clone();
        Ok(())
    }

    /// The object as the API has it now: what a write of the last moment was answered with, or read anew.
    pub(super) async fn current(&self) -> Result<Option<K>, Error> {
        if self.written.is_some_and(|written| clock::now().since(written) <= JUST_NOW) {
            return Ok(Some(self.object.clone()));
        }
        Ok(self.api().get_opt(&self.target.name).await?)
    }

    pub(super) fn api(&self) -> Api<K> {
        Api::namespaced(self.context.client.clone(), &self.target.namespace)
    }

    pub(super) fn progress(&mut self) -> &mut Progress {
        self.status.palisade.get_or_insert_default()
    }

    /// An event about the remediation.
    pub(super) async fn event(&self, kind: Kind, reason: &str, message: &str) {
        self.context.events.post(&self.context.client, self.target.reference(), kind, reason, message).await;
    }

    /// An event about its node.
    pub(super) async fn node_event(&self, kind: Kind, reason: &str, message: &str) {
        let node = node_reference(&self.target.node);
        self.context.events.post(&self.context.client, node, kind, reason, message).await;
    }
}

/// Stands for a node whose object is gone: it has a name, and nothing else can be said about it.
fn ghost(name: &str) -> Node {
    let mut node = Node::default();
    node.metadata.name = Some(name.to_owned());
    node
}
