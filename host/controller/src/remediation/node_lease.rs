//! The lease of the node, for remediations that nobody takes it for.
//!
//! A `NodeHealthCheck` holds the lease of a node for as long as its remediations run. One that was made by hand, or by a
//! machine's health check, takes it itself, so that of two that act on the node from outside only one does at a time, and
//! none during planned maintenance. Remediations that end a boot through the node's own agent need none: they share the
//! fence intent, and with it the proof. The lease is about order between actors, never about safety.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use palisade_core::health::{CLASSIC, Claim, claim_as, lease_name};
use serde_json::{Value, json};

use super::kind::Remediation;
use super::pass::Pass;
use super::status::{self, Standing};
use super::target;
use crate::error::Error;
use crate::events::Kind;
use crate::fence::read::limited;
use crate::health::leases;

/// A lease of somebody else is looked at this often.
const LOOK: Duration = Duration::from_secs(5);
/// It is renewed when less than this is left of it.
const RENEW: Duration = Duration::from_mins(5);

impl<K: Remediation> Pass<K> {
    /// Takes the node's lease, or keeps it; `Some`: somebody else has it, and nothing may be done before it ends, or
    /// somebody else is to do it.
    pub(super) async fn keep_node(&mut self, node: &Node) -> Result<Option<Action>, Error> {
        if self.leaves_it_to_another().await {
            return Ok(Some(Action::requeue(LOOK)));
        }
        let Some(uid) = node.uid().filter(|_| !target::is_of_node_check(&self.object)) else { return Ok(None) };
        match self.claim_node(&uid).await {
            Ok(None) => Ok(None),
            Ok(Some(holder)) => {
                let name = &self.target.node;
                let message = format!(
                    "{holder} holds node {name} (Lease {}/{}); nothing is done before it lets go of it, or its lease ends",
                    self.context.options.lease_namespace,
                    lease_name(name)
                );
                let news = !says(&self.status, &message);
                status::stand(&mut self.status, Standing::Started, &message);
                self.save().await?;
                if news {
                    self.event(Kind::Normal, "WaitingForNodeLease", &message).await;
                }
                Ok(Some(Action::requeue(LOOK)))
            }
            Err(error) if error.is_forbidden() => {
                let message = format!("the lease of the node is not followed: {error}");
                self.event(Kind::Warning, "NodeLeaseNotFollowed", &message).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether another replica gets the lead first: a controller would go down with the node that it fences, in the middle
    /// of its work.
    async fn leaves_it_to_another(&self) -> bool {
        let (node, context) = (&self.target.node, &self.context);
        if context.options.node.as_ref() != Some(node) || !context.leadership.may_hand_over(&self.target.uid) {
            return false;
        }
        let message = format!(
            "controller {} runs on node {node} itself: another replica gets the lead; if there is none, this one goes on in \
             {} s",
            context.options.observer,
            crate::leader::DURATION.as_secs()
        );
        // Told first: with the lead this pass ends.
        self.event(Kind::Normal, "LeadHandedOver", &message).await;
        context.leadership.hand_over(&self.target.uid);
        true
    }

    fn holder(&self) -> String {
        format!("{}/{}/{}", K::KIND, self.target.namespace, self.target.name)
    }

    /// Who else has it.
    async fn claim_node(&self, node_uid: &str) -> Result<Option<String>, Error> {
        let (api, name, holder) = (self.node_leases(), lease_name(&self.target.node), self.holder());
        let found = limited("lease of the node", api.get_opt(&name)).await?;
        let known = found.as_ref().map(leases::view);
        let now = Timestamp::now();
        let (transitions, version) = match claim_as(known.as_ref(), &holder, RENEW, now) {
            Claim::Keep => return Ok(None),
            Claim::Held { holder, .. } => return Ok(Some(holder)),
            Claim::Create => (Some(0), None),
            Claim::Renew => (None, known.map(|lease| lease.version)),
            Claim::TakeOver => {
                let known = known.unwrap_or_default();
                (Some(known.transitions.saturating_add(1)), Some(known.version))
            }
        };
        let mut object = json!({
            "metadata": { "name": name, "ownerReferences": leases::owners(&self.target.node, node_uid) },
            "spec": body(&holder, now, transitions),
        });
        let Some(version) = version else { return self.make(&api, object).await.map(|()| None) };
        object["metadata"]["resourceVersion"] = json!(version);
        let written = async { api.patch(&name, &PatchParams::default(), &Patch::Merge(object)).await.map(drop) };
        limited("lease of the node", written).await.map(|()| None)
    }

    async fn make(&self, api: &Api<Lease>, object: Value) -> Result<(), Error> {
        // Made of the fields that a lease has; the API server would refuse what does not fit.
        let lease: Lease = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        let parameters = PostParams::default();
        match limited("lease of the node", async { api.create(&parameters, &lease).await.map(drop) }).await {
            Err(error) if error.is_not_found() => {}
            result => return result,
        }
        let metadata = ObjectMeta { name: Some(self.context.options.lease_namespace.clone()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let namespaces: Api<Namespace> = Api::all(self.context.client.clone());
        limited("namespace of leases", async { namespaces.create(&parameters, &namespace).await.map(drop) }).await?;
        limited("lease of the node", async { api.create(&parameters, &lease).await.map(drop) }).await
    }

    /// Lets go of the node's lease, if this remediation has it.
    pub(super) async fn release_node(&self) -> Result<(), Error> {
        if target::is_of_node_check(&self.object) || !self.object.held() {
            return Ok(());
        }
        let (api, name) = (self.node_leases(), lease_name(&self.target.node));
        let found = match limited("lease of the node", api.get_opt(&name)).await {
            Err(error) if error.is_forbidden() => None,
            found => found?,
        };
        let Some(found) = found.filter(|lease| leases::view(lease).holder == self.holder()) else {
            return Ok(());
        };
        let preconditions = Preconditions { uid: found.uid(), resource_version: found.meta().resource_version.clone() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match limited("lease of the node", async { api.delete(&name, &parameters).await.map(drop) }).await {
            // Gone, or somebody else's since a moment ago.
            Err(Error::Conflict) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            result => {
                // Whoever waits for it need not wait for the next look.
                self.context.triggers.fire_node(&self.target.node);
                result
            }
        }
    }

    fn node_leases(&self) -> Api<Lease> {
        Api::namespaced(self.context.client.clone(), &self.context.options.lease_namespace)
    }
}

fn says(status: &super::kind::Status, message: &str) -> bool {
    status.conditions.iter().any(|known| known.message == message)
}

fn body(holder: &str, now: Timestamp, transitions: Option<i32>) -> Value {
    let mut spec = leases::spec(holder, CLASSIC, now, transitions.is_some());
    if let Some(transitions) = transitions {
        spec["leaseTransitions"] = transitions.into();
    }
    spec
}

#[cfg(test)]
mod tests {
    use palisade_core::health::NodeLease;

    use super::*;

    #[test]
    fn a_renewal_says_neither_since_when_nor_how_often() {
        let spec = body("me", "2026-01-01T00:00:00.5Z".parse().unwrap(), None);
        assert_eq!(spec["renewTime"], "2026-01-01T00:00:00.500000Z");
        assert!(spec["acquireTime"].is_null() && spec["leaseTransitions"].is_null());
        let known = NodeLease { holder: "me".into(), ..NodeLease::default() };
        assert_eq!(claim_as(Some(&known), "me", RENEW, Timestamp::now()), Claim::Renew);
        assert_eq!(body("me", Timestamp::now(), Some(3))["leaseTransitions"], 3);
    }
}
