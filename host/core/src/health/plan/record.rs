//! What a plan remembers in the status of the policy.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use palisade_api::node_health_check::{Remediation, UnhealthyNode};

use super::planner::Planner;
use crate::health::ladder::Step;
use crate::health::view::{ObjectKey, RemediationView};

impl Planner<'_> {
    /// Keeps a node that is unhealthy, is about to be, or is not selected any more.
    pub(super) fn remember(&mut self, node: &str) {
        let is_known = self.entry(node).is_some();
        let is_new = self.plan.detected.iter().any(|detected| detected == node);
        let remediations = self.recorded(node, true);
        if is_known || is_new || !remediations.is_empty() {
            let entry = UnhealthyNode {
                name: node.to_owned(),
                node_uid: self.uid(node),
                remediations,
                ..UnhealthyNode::default()
            };
            self.plan.unhealthy.push(entry);
        }
    }

    /// Keeps a node whose conditions are healthy while its remediations are still there.
    pub(super) fn remember_healthy(&mut self, node: &str, delayed: bool) {
        let since = self.entry(node).and_then(|entry| entry.conditions_healthy_timestamp.clone());
        let entry = UnhealthyNode {
            name: node.to_owned(),
            node_uid: self.uid(node),
            remediations: self.recorded(node, false),
            conditions_healthy_timestamp: Some(since.unwrap_or(Time(self.outlook.now))),
            healthy_delayed: delayed.then_some(true),
            ..UnhealthyNode::default()
        };
        self.plan.unhealthy.push(entry);
    }

    /// Whether this step was tried for the node and given up, and its remediation deleted since.
    pub(super) fn gave_up_before(&self, node: &str, step: &Step) -> bool {
        self.entry(node).is_some_and(|entry| {
            entry.remediations.iter().any(|recorded| {
                recorded.timed_out.is_some()
                    && recorded.resource.kind.as_deref() == Some(&step.kind)
                    && recorded.template_name.as_ref().is_none_or(|name| *name == step.template)
            })
        })
    }

    pub(super) fn is_remembered_as_timed_out(&self, node: &str, key: &ObjectKey) -> bool {
        self.known(node, key).is_some_and(|recorded| recorded.timed_out.is_some())
    }

    fn entry(&self, node: &str) -> Option<&UnhealthyNode> {
        self.index.entry(node)
    }

    /// Of a node that is gone, what is remembered; of one that was made anew, that of its predecessor as long as there is
    /// something left of it, so that nothing of it is remembered of the new one.
    fn uid(&self, node: &str) -> Option<String> {
        if let Some(orphan) = self.index.own(node).find(|remediation| self.index.is_orphan(remediation)) {
            return orphan.node_uid.clone();
        }
        match self.index.node(node) {
            Some(node) => (!node.uid.is_empty()).then(|| node.uid.clone()),
            None => self.entry(node)?.node_uid.clone(),
        }
    }

    fn known(&self, node: &str, key: &ObjectKey) -> Option<&Remediation> {
        let entry = self.entry(node)?;
        entry.remediations.iter().find(|recorded| recorded.resource.uid.as_deref() == Some(&key.uid))
    }

    /// The remediations that exist, oldest first, and those that were given up and then deleted by somebody: a step is
    /// not tried twice for one failure of the node.
    fn recorded(&self, node: &str, keep_given_up: bool) -> Vec<Remediation> {
        let mut existing: Vec<&RemediationView> = self.index.own(node).collect();
        // Stamps have whole seconds: of two made in one, the lower step of the ladder came first.
        let step = |view: &RemediationView| self.steps.iter().position(|step| step.made(view));
        existing.sort_by(|a, b| (a.created, step(a), &a.key).cmp(&(b.created, step(b), &b.key)));
        let mut recorded: Vec<Remediation> = existing.into_iter().map(|view| self.record(node, view)).collect();
        if keep_given_up {
            let gone = self.entry(node).into_iter().flat_map(|entry| &entry.remediations).filter(|known| {
                known.timed_out.is_some()
                    && !recorded.iter().any(|existing| existing.resource.uid == known.resource.uid)
            });
            let gone: Vec<Remediation> = gone.cloned().collect();
            recorded.splice(0..0, gone);
        }
        recorded
    }

    fn record(&self, node: &str, view: &RemediationView) -> Remediation {
        let known = self.known(node, &view.key).and_then(|known| known.timed_out.clone());
        Remediation {
            resource: reference(&view.key),
            started: Time(view.created),
            timed_out: known.or_else(|| view.timed_out.then_some(Time(self.outlook.now))),
            template_name: view.template.clone(),
        }
    }
}

fn reference(key: &ObjectKey) -> ObjectReference {
    ObjectReference {
        api_version: Some(key.api_version.clone()),
        kind: Some(key.kind.clone()),
        namespace: (!key.namespace.is_empty()).then(|| key.namespace.clone()),
        name: Some(key.name.clone()),
        uid: Some(key.uid.clone()),
        ..ObjectReference::default()
    }
}
