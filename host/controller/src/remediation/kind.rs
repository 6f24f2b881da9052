//! What the remediation kinds that this controller serves have in common.

use std::collections::HashMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use palisade_api::machine_deletion_remediation::MachineDeletionRemediationStatus;
use palisade_api::reasons::{condition, phase, reason};
use palisade_api::self_node_remediation::SelfNodeRemediationStatus;
use palisade_api::wasm_remediation::WasmRemediationStatus;
use palisade_api::{MachineDeletionRemediation, RemediationStrategy, SelfNodeRemediation, WasmRemediation, keys};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::context::Target;

/// The status, in one shape for all kinds: that of the stock kind.
pub type Status = SelfNodeRemediationStatus;

/// Which remediator a remediation wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    /// By strategy of a stock kind.
    Strategy(RemediationStrategy),
    /// By name of a Remediator object, with parameters.
    Named(String, Value),
    /// Of a stock kind without strategies: the built-in one of this name, with parameters made from the specification,
    /// unless a Remediator serves the kind.
    Builtin(&'static str, Value),
}

/// Does something for every kind that this controller serves: the one list of them.
macro_rules! every_kind {
    ($kind:ident => $body:expr) => {{
        {
            type $kind = palisade_api::SelfNodeRemediation;
            $body
        }
        {
            type $kind = palisade_api::WasmRemediation;
            $body
        }
        {
            type $kind = palisade_api::MachineDeletionRemediation;
            $body
        }
        {
            type $kind = palisade_api::FenceAgentsRemediation;
            $body
        }
        {
            type $kind = palisade_api::CustomizedUserRemediation;
            $body
        }
    }};
}
pub(crate) use every_kind;

type Look = (String, String);

type Looks = (HashMap<&'static str, UnboundedSender<Look>>, HashMap<&'static str, UnboundedReceiver<Look>>);

/// Both ends of the channels through which remediations are looked at, by kind.
pub fn triggers() -> Looks {
    let (mut senders, mut receivers) = (HashMap::new(), HashMap::new());
    every_kind!(K => {
        let (sender, receiver) = unbounded_channel();
        senders.insert(<K as Remediation>::KIND, sender);
        receivers.insert(<K as Remediation>::KIND, receiver);
    });
    (senders, receivers)
}

/// A remediation kind.
pub trait Remediation:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// Kind.
    const KIND: &'static str;
    /// Our finalizer on it.
    const FINALIZER: &'static str;
    /// Whether it rests while the configuration of the stock kind is missing.
    const NEEDS_CONFIG: bool;
    /// Whether it goes on when the node object is gone, because that is what it leads to.
    const OUTLIVES_NODE: bool = false;
    /// Reason of its conditions when it is done.
    const FINISHED: &'static str = reason::FINISHED;
    /// Reason of its conditions when its detector gave up.
    const TIMED_OUT: &'static str = reason::TIMED_OUT;
    /// Reason of its conditions when the node does not exist.
    const NODE_NOT_FOUND: &'static str = reason::NODE_NOT_FOUND;

    /// Its status.
    fn status(&self) -> Status;
    /// Replaces its status.
    fn set_status(&mut self, status: Status);
    /// Which remediator it wants.
    fn choice(&self) -> Choice;

    /// What it is about, once the node is known.
    fn target(&self, node: String) -> Target {
        Target {
            kind: Self::KIND,
            api_version: Self::api_version(&()).into_owned(),
            namespace: self.namespace().unwrap_or_default(),
            name: self.name_any(),
            uid: self.uid().unwrap_or_default(),
            node,
        }
    }

    /// Whether our finalizer is on it.
    fn held(&self) -> bool {
        self.finalizers().iter().any(|finalizer| finalizer == Self::FINALIZER)
    }

    /// Whether it is being deleted.
    fn deleting(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// Whether its detector gave up on it; the presence of the annotation alone matters.
    fn timed_out(&self) -> bool {
        self.annotations().contains_key(keys::remediation::TIMED_OUT)
    }
}

impl Remediation for SelfNodeRemediation {
    const KIND: &'static str = "SelfNodeRemediation";
    const FINALIZER: &'static str = keys::self_node::FINALIZER;
    const NEEDS_CONFIG: bool = true;

    fn status(&self) -> Status {
        self.status.clone().unwrap_or_default()
    }

    fn set_status(&mut self, status: Status) {
        self.status = Some(status);
    }

    fn choice(&self) -> Choice {
        Choice::Strategy(self.spec.remediation_strategy.clone())
    }
}

impl Remediation for WasmRemediation {
    const KIND: &'static str = "WasmRemediation";
    const FINALIZER: &'static str = keys::palisade::FINALIZER;
    const NEEDS_CONFIG: bool = false;

    fn status(&self) -> Status {
        let status = self.status.clone().unwrap_or_default();
        Status {
            conditions: status.conditions,
            last_error: status.last_error,
            phase: status.phase,
            time_assumed_rebooted: status.time_assumed_rebooted,
            palisade: status.palisade,
        }
    }

    fn set_status(&mut self, status: Status) {
        self.status = Some(WasmRemediationStatus {
            conditions: status.conditions,
            last_error: status.last_error,
            phase: status.phase,
            time_assumed_rebooted: status.time_assumed_rebooted,
            palisade: status.palisade,
        });
    }

    fn choice(&self) -> Choice {
        Choice::Named(self.spec.remediator.clone(), Value::Object(self.spec.parameters.clone()))
    }
}

impl Remediation for MachineDeletionRemediation {
    const KIND: &'static str = "MachineDeletionRemediation";
    const FINALIZER: &'static str = keys::palisade::FINALIZER;
    const NEEDS_CONFIG: bool = false;
    const OUTLIVES_NODE: bool = true;
    const FINISHED: &'static str = "MachineDeleted";
    const TIMED_OUT: &'static str = "RemediationStoppedByNHC";
    const NODE_NOT_FOUND: &'static str = "RemediationCannotStartNodeNotFound";

    fn status(&self) -> Status {
        let status = self.status.clone().unwrap_or_default();
        // The kind has no phase: that it is done is what its condition says.
        let done = status.conditions.iter().any(|known| known.type_ == condition::SUCCEEDED && known.status == "True");
        Status {
            conditions: status.conditions,
            phase: done.then(|| phase::FENCING_COMPLETED.to_owned()),
            palisade: status.palisade,
            ..Status::default()
        }
    }

    fn set_status(&mut self, mut status: Status) {
        // It has no place for an error either: people read it in the condition.
        if let Some(error) = status.last_error.take() {
            for known in status.conditions.iter_mut().filter(|known| known.type_ == condition::PROCESSING) {
                known.message = error.chars().take(1_024).collect();
            }
        }
        self.status =
            Some(MachineDeletionRemediationStatus { conditions: status.conditions, palisade: status.palisade });
    }

    fn choice(&self) -> Choice {
        Choice::Builtin("machine-deletion", Value::Object(serde_json::Map::new()))
    }
}
