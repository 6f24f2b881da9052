//! Events about policies.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::api::ObjectMeta;
use palisade_api::keys::remediation::EVENT_PREFIX;
use palisade_api::reasons::{event, reason};
use palisade_core::health::{Judgement, Plan, Scope, StormChange};

use super::observe::{News, Observe};
use super::scribe::{Scribe, Silence};
use super::{Guarded, status};

/// Name under which the events appear.
const COMPONENT: &str = "NodeHealthCheck";
/// Events about cluster-scoped objects live there.
const NAMESPACE: &str = "default";

/// Whether somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Normal,
    Warning,
}

/// What is true of a policy now and was reported when it became true: `(kind, reason, message, node)` by what it is about.
type Standing = BTreeMap<String, (Kind, &'static str, String, Option<String>)>;

/// What stands for whether the policy is acted on.
const PHASE: &str = "phase";
/// So many events of one reason are written in one pass; the rest is counted in one more.
const SAID: usize = 32;
/// So many nodes are named in one message.
const NAMED: usize = 10;
/// What stands for the latest failure.
const FAILURE: &str = "failure";

/// Says what happens.
pub(super) struct Reporter {
    /// None where nothing is written.
    scribe: Option<Scribe>,
    instance: String,
    observers: Vec<Arc<dyn Observe>>,
    standing: Mutex<HashMap<String, Standing>>,
}

impl Reporter {
    pub fn new(scribe: Option<Scribe>, instance: String, observers: Vec<Arc<dyn Observe>>) -> Self {
        let instance = if instance.is_empty() { COMPONENT.to_owned() } else { instance };
        Self { scribe, instance, observers, standing: Mutex::default() }
    }

    /// Until this is dropped no request is made for what is said.
    pub fn silence(&self) -> Option<Silence> {
        self.scribe.as_ref().map(Scribe::silence)
    }

    /// Something happened.
    pub fn happened(&self, policy: &Guarded, kind: Kind, reason: &str, message: &str, node: Option<&str>) {
        self.offer(policy, kind, reason, message, node);
        self.record(policy, kind, reason, message);
        // Who looks at the node wants to know what was done to it; what is only thought about it is said of the policy.
        if let Some(node) = node {
            let about = crate::context::node_reference(node);
            self.write(about, kind, reason, message);
        }
    }

    fn offer(&self, policy: &Guarded, kind: Kind, reason: &str, message: &str, node: Option<&str>) {
        if let Ok(policy) = &policy.0 {
            let news = News { reason, warning: kind == Kind::Warning, message, node };
            self.observers.iter().for_each(|observer| observer.happened(policy, &news));
        }
    }

    fn record(&self, policy: &Guarded, kind: Kind, reason: &str, message: &str) {
        let about = ObjectReference { namespace: None, ..policy.object_ref(&()) };
        self.write(about, kind, reason, message);
    }

    fn write(&self, about: ObjectReference, kind: Kind, reason: &str, message: &str) {
        let Some(scribe) = &self.scribe else { return };
        let now = Time(Timestamp::now());
        let name = about.name.clone().unwrap_or_default();
        let object = Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{}", uuid::Uuid::new_v4().simple())),
                namespace: Some(NAMESPACE.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: about,
            type_: Some(if kind == Kind::Normal { "Normal" } else { "Warning" }.to_owned()),
            reason: Some(reason.to_owned()),
            // The API server takes 1024 bytes.
            message: Some(format!("{EVENT_PREFIX}{message}").chars().take(1_000).collect()),
            source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: None }),
            reporting_component: Some(COMPONENT.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            count: Some(1),
            ..Event::default()
        };
        scribe.write(object);
    }

    /// Reports what a plan found and what it skips, each thing once as long as it stays so: a pass that changes nothing
    /// is no news, and neither is one that looks at the policy before the watch shows the status just written.
    pub fn planned(&self, policy: &Guarded, plan: &Plan, judgement: &Judgement) {
        let name = policy.meta().name.clone().unwrap_or_default();
        let current = standing(plan, judgement);
        let reported = status::disabled_reason(policy.0.as_ref().ok().and_then(|policy| policy.status.as_ref()));
        let news: Vec<_> = {
            let mut all = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut before = all.insert(name.clone(), current.clone()).unwrap_or_default();
            // A failure stands until a pass succeeds.
            if let Some(failure) = before.remove(FAILURE) {
                all.entry(name).or_default().insert(FAILURE.to_owned(), failure);
            }
            let is_news = |about: &str, now: &str| match before.get(about) {
                Some(then) => then.1 != now,
                // Before a restart it was reported if the status says so.
                None => about != PHASE || reported != Some(now),
            };
            current.into_iter().filter(|(about, now)| is_news(about, now.1)).collect()
        };
        // When thousands of nodes fail together, the API server shall not have as many events to store.
        let mut said: BTreeMap<&str, (Kind, usize)> = BTreeMap::new();
        let mut events = Vec::new();
        for (about, (kind, reason, message, node)) in &news {
            let reason = match kind {
                _ if about != PHASE => *reason,
                Kind::Normal => event::ENABLED,
                Kind::Warning => event::DISABLED,
            };
            self.offer(policy, *kind, reason, message, node.as_deref());
            let (_, count) = said.entry(reason).or_insert((*kind, 0));
            *count += 1;
            if *count <= SAID {
                events.push((*kind, reason, message.clone(), on_node(reason, node.as_deref())));
            }
        }
        for (reason, (kind, count)) in said {
            if count > SAID {
                events.push((
                    kind,
                    reason,
                    format!("the same of {} more nodes; see status.unhealthyNodes", count - SAID),
                    None,
                ));
            }
        }
        for (kind, reason, message, node) in events {
            self.record(policy, kind, reason, &message);
            if let Some(node) = node {
                self.write(crate::context::node_reference(node), kind, reason, &message);
            }
        }
    }

    /// Reports what became of a storm, after the status says so.
    pub fn weather(&self, policy: &Guarded, plan: &Plan) {
        let (healthy, needed, observed) = (plan.healthy, plan.needed, plan.observed);
        let count = format!("{healthy} of {observed} selected nodes are healthy, {needed} must be");
        let (kind, reason, message) = match plan.storm_change {
            Some(StormChange::Started) => {
                (Kind::Warning, event::STORM_STARTED, format!("no new remediation starts during the storm: {count}"))
            }
            Some(StormChange::Cooling) => {
                (Kind::Warning, event::STORM_COOLDOWN, format!("the cooldown after the storm begins: {count}"))
            }
            Some(StormChange::Ended) => (Kind::Normal, event::STORM_ENDED, format!("the storm is over: {count}")),
            Some(StormChange::Resumed | StormChange::Forgotten) | None => return,
        };
        self.happened(policy, kind, reason, &message, None);
    }

    /// Reports a failure, once as long as it stays the same.
    pub fn failing(&self, policy: &Guarded, message: &str) {
        let name = policy.meta().name.clone().unwrap_or_default();
        let is_news = {
            let mut all = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
            let now = (Kind::Warning, event::FAILED, message.to_owned(), None);
            all.entry(name).or_default().insert(FAILURE.to_owned(), now.clone()) != Some(now)
        };
        if is_news {
            self.happened(policy, Kind::Warning, event::FAILED, message, None);
        }
    }

    /// A pass succeeded: the next failure is news again.
    pub fn succeeded(&self, policy: &str) {
        if let Some(standing) = self.standing.lock().unwrap_or_else(PoisonError::into_inner).get_mut(policy) {
            standing.remove(FAILURE);
        }
    }

    /// Forgets a policy that is gone.
    pub fn forget(&self, policy: &str) {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).remove(policy);
    }
}

/// The node on which an event is written too: why nothing is done about it is what people look for there. That it is
/// unhealthy is what they see anyway, and that event would be a request before the remediation.
fn on_node<'a>(reason: &str, node: Option<&'a str>) -> Option<&'a str> {
    node.filter(|_| reason != event::DETECTED_UNHEALTHY)
}

fn standing(plan: &Plan, judgement: &Judgement) -> Standing {
    let mut standing = Standing::new();
    for node in &plan.detected {
        if let Some(verdict) = judgement.verdicts.get(node) {
            let message = format!("node {node} is {verdict}");
            standing.insert(
                format!("detected {node}"),
                (Kind::Normal, event::DETECTED_UNHEALTHY, message, Some(node.clone())),
            );
        }
    }
    let (kind, word, message) = match &plan.disabled {
        Some(hold) => (Kind::Warning, hold.reason, hold.message.clone()),
        None => (Kind::Normal, reason::ENABLED, "the policy is acted on".to_owned()),
    };
    standing.insert(PHASE.to_owned(), (kind, word, message, None));
    for skip in &plan.skips {
        let Some((reason, warn)) = skip.reason.event() else { continue };
        let kind = if warn { Kind::Warning } else { Kind::Normal };
        let rule = skip.reason.rule();
        let (about, message, node) = match skip.reason.scope() {
            // What is about the policy as a whole is said once, not for every node.
            Scope::Policy => {
                let about = format!("policy {rule}");
                if standing.contains_key(&about) {
                    continue;
                }
                let same = plan.skips.iter().filter(|other| other.reason.rule() == rule);
                let nodes: BTreeSet<&str> = same.map(|skip| skip.node.as_str()).collect();
                let more = nodes.len().saturating_sub(NAMED);
                let named = nodes.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
                let named = if more > 0 { format!("{named} and {more} more") } else { named };
                (about, format!("{}; unhealthy: {named}", skip.reason), None)
            }
            Scope::Node => {
                let node = &skip.node;
                let message = format!("node {node} is unhealthy but not remediated: {}", skip.reason);
                (format!("node {node} {rule}"), message, Some(node.clone()))
            }
        };
        standing.insert(about, (kind, reason, message, node));
    }
    for note in &plan.extras.notes {
        let kind = if note.warn { Kind::Warning } else { Kind::Normal };
        standing.insert(note.about.clone(), (kind, note.reason, note.message.clone(), note.node.clone()));
    }
    for node in &plan.invalid_labels {
        let message = format!(
            "label {} of node {node} has no value and excludes nothing; set it to \"true\" or remove it",
            palisade_api::keys::remediation::EXCLUDE
        );
        standing
            .insert(format!("label {node}"), (Kind::Warning, event::INVALID_NODE_LABEL, message, Some(node.clone())));
    }
    standing
}
