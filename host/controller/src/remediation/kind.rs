//! What the remediation kinds that this controller serves have in common.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use palisade_api::self_node_remediation::SelfNodeRemediationStatus;
use palisade_api::wasm_remediation::WasmRemediationStatus;
use palisade_api::{RemediationStrategy, SelfNodeRemediation, WasmRemediation, keys};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

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
