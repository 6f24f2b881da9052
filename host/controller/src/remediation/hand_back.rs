//! Handing a Machine back: its health check reads nothing from a remediation, so a remediator that cannot help says so on
//! the Machine itself, and the Machine's owner replaces it. It cannot help if it fails, if it is told to stop, and if a
//! machine that it switched on again does not come back in its time.
//!
//! What a node's health check made is not handed back: that one reads conditions, and goes on with its next step.
//!
//! The condition is `OwnerRemediated=False` in every form that a version of Cluster API reads: the current list, and the
//! list that the version before or after it keeps beside.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use palisade_api::Stage;
use palisade_api::reasons::{condition, event};
use serde_json::{Value, json};

use super::kind::{Remediation, Status};
use super::outside::machines::{self, CLUSTER_API};
use super::pass::Pass;
use super::{status, target};
use crate::clock;
use crate::error::Error;
use crate::events::Kind;
use crate::fence::read::limited;

/// Condition on the remediation: it is done.
const HANDED_BACK: &str = "MachineHandedBack";
/// Condition on the Machine.
const OWNER_REMEDIATED: &str = "OwnerRemediated";
/// Its reason.
const WAITING: &str = "WaitingForRemediation";

impl<K: Remediation> Pass<K> {
    /// Tells the owner of the Machine that made this remediation, once, that it has to help itself.
    pub(super) async fn hand_back(&mut self) {
        let done = self.status.conditions.iter().any(|known| known.type_ == HANDED_BACK && known.status == "True");
        let owner = target::detecting_machine(&self.object).cloned();
        let Some(owner) = owner.filter(|owner| !done && machines::group(&owner.api_version) == CLUSTER_API) else {
            return;
        };
        let namespace = self.object.namespace().unwrap_or_default();
        let machine = format!("Machine {namespace}/{}", owner.name);
        let api = machines::api(&self.context.client, &owner.api_version, &namespace);
        let told = match tell(&api, &owner.name, &owner.uid, &owner.api_version).await {
            Ok(true) => self.condemn_device().await.map(|()| true),
            other => other,
        };
        match told {
            Ok(true) => {
                let message = format!("{machine} is handed back to its owner: {OWNER_REMEDIATED}=False");
                status::set(&mut self.status.conditions, HANDED_BACK, "True", WAITING, &message);
                self.event(Kind::Normal, HANDED_BACK, &message).await;
            }
            // It is gone, or another one has its name: nobody is left to be told.
            Ok(false) => {}
            // It failed all the same: what it holds is let go as without a Machine.
            Err(error) => {
                let message = format!(
                    "{machine} cannot be handed back to its owner yet: {error}; the controller needs the right to patch \
                     machines/status of {CLUSTER_API}, and that to patch the device"
                );
                if self.status.last_error.as_ref() != Some(&message) {
                    self.event(Kind::Warning, event::FAILED, &message).await;
                }
                status::set(&mut self.status.conditions, HANDED_BACK, "False", "NotWritten", &message);
                self.status.last_error = Some(message);
            }
        }
    }

    /// The same for a machine that was fenced, released and switched on again, and whose node is not ready in the time
    /// that it has for that.
    pub(super) async fn hand_back_if_it_stays_away(&mut self) {
        let Some(patience) = self.patience() else { return };
        if stays_away(&self.status, patience, clock::timestamp()) {
            self.hand_back().await;
        }
    }
}

/// Whether the time is over in which a released node has to come back. No workload depends on it, so a wall clock will
/// do.
fn stays_away(status: &Status, patience: Duration, now: Timestamp) -> bool {
    let back = status
        .palisade
        .as_ref()
        .is_some_and(|progress| progress.timeline.iter().any(|entry| entry.stage == Stage::Recovered));
    let since = status
        .conditions
        .iter()
        .find(|known| known.type_ == condition::SUCCEEDED && known.status == "True")
        .map(|known| known.last_transition_time.0);
    since.is_some_and(|since| !back && now.duration_since(since).unsigned_abs() >= patience && now > since)
}

/// Writes the condition on the Machine with this UID; false if there is none.
async fn tell(api: &Api<DynamicObject>, name: &str, uid: &str, api_version: &str) -> Result<bool, Error> {
    let Some(machine) = limited("machine", api.get_opt(name)).await? else { return Ok(false) };
    if machine.uid().as_deref() != Some(uid) {
        return Ok(false);
    }
    let now = jiff::Timestamp::from_second(clock::wall().0.as_second()).unwrap_or(clock::wall().0).to_string();
    let Some(told) = told(&machine.data["status"], api_version, &now) else { return Ok(true) };
    // Lists are replaced as a whole, so that nobody else may have written meanwhile.
    let patch = json!({ "metadata": { "resourceVersion": machine.resource_version() }, "status": told });
    let write = async { api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop) };
    limited("hand-back of the machine", write).await?;
    Ok(true)
}

/// The part of the status that says it, in both forms; `None` if it is said already.
fn told(status: &Value, api_version: &str, now: &str) -> Option<Value> {
    let text = "the remediation of this machine has failed";
    let current = json!({ "type": OWNER_REMEDIATED, "status": "False", "reason": WAITING, "message": text,
        "lastTransitionTime": now });
    let mut older = current.clone();
    older["severity"] = json!("Warning");
    let lists = |pointer: &str, condition: Value| {
        let mut all = status.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        let said = all.iter().any(|one| one["type"] == OWNER_REMEDIATED && one["status"] == "False");
        if !said {
            all.retain(|one| one["type"] != OWNER_REMEDIATED);
            all.push(condition);
        }
        (Value::Array(all), said)
    };
    // v1beta1 keeps the newer form beside its own, later versions the older one.
    let (told, said) = if api_version.ends_with("/v1beta1") {
        let ((own, first), (beside, second)) = (lists("/conditions", older), lists("/v1beta2/conditions", current));
        (json!({ "conditions": own, "v1beta2": { "conditions": beside } }), first && second)
    } else {
        let ((own, first), (beside, second)) =
            (lists("/conditions", current), lists("/deprecated/v1beta1/conditions", older));
        (json!({ "conditions": own, "deprecated": { "v1beta1": { "conditions": beside } } }), first && second)
    };
    (!said).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m3_20_a_node_that_is_not_ready_has_until_its_time_is_over_and_no_longer() {
        let since: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = |seconds: i64| since + jiff::SignedDuration::from_secs(seconds);
        let limit = Duration::from_mins(10);
        let mut known = Status::default();
        assert!(!stays_away(&known, limit, at(9_000)), "nothing was released");
        status::set(&mut known.conditions, condition::SUCCEEDED, "True", "Done", "");
        known.conditions[0].last_transition_time.0 = since;
        assert!(!stays_away(&known, limit, at(599)) && !stays_away(&known, limit, at(-9_000)));
        assert!(stays_away(&known, limit, at(600)));
        let back = palisade_api::progress::TimelineEntry {
            stage: Stage::Recovered,
            at: known.conditions[0].last_transition_time.clone(),
            detail: None,
        };
        known.palisade.get_or_insert_default().timeline.push(back);
        assert!(!stays_away(&known, limit, at(9_000)), "it is back");
    }

    #[test]
    fn both_forms_are_written_beside_what_others_wrote_and_only_once() {
        let ready = json!({ "type": "Ready", "status": "True" });
        let status = json!({ "conditions": [ready], "deprecated": { "v1beta1": { "conditions": [ready] } } });
        let now = "2026-01-01T00:00:00Z";
        let told_once = told(&status, "cluster.x-k8s.io/v1beta2", now).unwrap();
        for pointer in ["/conditions", "/deprecated/v1beta1/conditions"] {
            let list = told_once.pointer(pointer).unwrap().as_array().unwrap();
            assert_eq!((list.len(), &list[0]), (2, &ready), "{pointer}");
            assert_eq!((&list[1]["type"], &list[1]["status"]), (&json!("OwnerRemediated"), &json!("False")));
        }
        assert_eq!(told_once["deprecated"]["v1beta1"]["conditions"][1]["severity"], "Warning");
        assert!(told_once["conditions"][1]["severity"].is_null());
        assert_eq!(told(&told_once, "cluster.x-k8s.io/v1beta2", now), None);

        let older = told(&json!({}), "cluster.x-k8s.io/v1beta1", now).unwrap();
        assert_eq!(older["conditions"][0]["severity"], "Warning");
        assert_eq!(older["v1beta2"]["conditions"][0]["reason"], "WaitingForRemediation");
    }
}
