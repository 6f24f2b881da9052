//! What agent and controller write into the one Lease object of a node: the agent's signed record and the
//! controller's fence intent, each as one JSON annotation.
//!
//! The Lease object stays the only place of truth between them, because compare-and-swap on its resource version is
//! what orders "I am alive" against "you are to be fenced".

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::timing;
use crate::hashing::hash_with_sequence;

/// Annotation with the agent's [`AgentRecord`], exactly the bytes that were signed.
pub const RECORD: &str = "palisade.dev/agent";
/// Annotation with the base64 signature over the value of [`RECORD`], made with the key of [`CERTIFICATE`].
pub const RECORD_SIGNATURE: &str = "palisade.dev/agent-signature";
/// Annotation with the PEM certificate of the node's agent, issued by the controller.
pub const CERTIFICATE: &str = "palisade.dev/agent-certificate";
/// Annotation with the PEM certificate signing request of the node's agent.
pub const SIGNING_REQUEST: &str = "palisade.dev/agent-signing-request";
/// Annotation with the controller's [`FenceIntent`].
pub const INTENT: &str = "palisade.dev/fence-intent";

/// Annotation that the controller sets to `true` on the agent leases of control-plane nodes, as their Node objects are
/// labelled. It only tells the agent its role: what counts is what the agent then publishes in its record.
pub const CONTROL_PLANE: &str = "palisade.dev/control-plane";

/// A kernel boot id (`/proc/sys/kernel/random/boot_id` = `Node.status.nodeInfo.bootID`), never empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BootId(String);

impl BootId {
    /// Accepts any non-blank text; `None` for an empty one, which no rule may ever treat as a boot.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into().trim().to_owned();
        (!text.is_empty()).then_some(Self(text))
    }

    /// The id as the kernel prints it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BootId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text).ok_or("a boot id must not be empty")
    }
}

impl From<BootId> for String {
    fn from(id: BootId) -> String {
        id.0
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the watchdog of a node does when it is not fed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watchdog {
    /// Identity that the driver reports.
    pub identity: String,
    /// Real device timeout `Wd` as the device reports it, in milliseconds.
    pub timeout_millis: u64,
    /// Whether firing resets the machine. False for softdog with `soft_noboot`, timers without action and the like:
    /// then no proof that rests on it is certain.
    pub resets: bool,
}

/// What the agent promises about itself; in force once the lease that publishes it is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    /// The node ends its own boot at `L`.
    pub self_fences: bool,
    /// The node may exempt itself by rule R4 (control-plane diagnostics); P3 is not available then.
    pub may_exempt: bool,
}

/// The terms under which a node lives: everything that a bound on its life depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// Time to live `T`, in milliseconds.
    pub time_to_live_millis: u64,
    /// The watchdog, `None` when the node has none that is armed.
    pub watchdog: Option<Watchdog>,
    /// Sum of the time limits of the software reset steps, in milliseconds; stands in for `2 Wd` without a watchdog.
    pub reset_steps_millis: u64,
    /// Names of the nodes whose agents are this node's jury, at most [`JURY_LIMIT`].
    pub jury: Vec<String>,
    /// A jury smaller than this does not make the node fence itself on isolation.
    pub min_peers: u32,
    /// Promises of the agent.
    pub claims: Claims,
}

/// Largest jury: one parallel round to so many peers bounds the time independently of the cluster's size.
pub const JURY_LIMIT: usize = 15;

impl Terms {
    /// `T`.
    pub fn time_to_live(&self) -> Duration {
        Duration::from_millis(self.time_to_live_millis)
    }

    /// `2 Wd`, or the sum of the reset steps without a watchdog. Twice, because the kernel pings the device on open and
    /// when a process dies with it open.
    pub fn reset_bound(&self) -> Duration {
        match &self.watchdog {
            Some(watchdog) => Duration::from_millis(watchdog.timeout_millis.saturating_mul(2)),
            None => Duration::from_millis(self.reset_steps_millis),
        }
    }

    /// `T + 2 Wd + margin`: after the last thing that can have extended a life, the boot has ended once this passed.
    pub fn life_bound(&self) -> Duration {
        timing::life_bound(self.time_to_live(), self.reset_bound())
    }
}

/// The signed content of a node's lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentRecord {
    /// Node name.
    pub node: String,
    /// The boot that wrote it.
    pub boot_id: BootId,
    /// Rises with every write of this boot.
    pub sequence: u64,
    /// `host:port` where peers and the controller reach the agent.
    pub address: String,
    /// The terms in force once this record is confirmed.
    pub terms: Terms,
    /// Configuration generation the terms come from.
    pub generation: i64,
    /// UID of the fence intent that this boot obeys; feeding has stopped for good.
    pub acknowledged: Option<String>,
    /// The watchdog was disarmed by a graceful stop: nothing guards this node until an agent runs again.
    pub disarmed: bool,
}

hash_with_sequence!(AgentRecord { sequence; node, boot_id, address, terms, generation, acknowledged, disarmed });

/// The controller's decision that a boot has to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FenceIntent {
    /// Fresh for every compare-and-swap, never derived from the remediation.
    pub uid: String,
    /// The boot to end.
    pub boot_id: BootId,
    /// Copy of the terms of the lease version it was based on.
    pub terms: Terms,
    /// Sequence number of the record it was based on.
    pub based_on_sequence: u64,
    /// The remediations attached to it (`kind/namespace/name/uid`); the intent is cleared when the last one lets go.
    pub owners: Vec<String>,
}

hash_with_sequence!(FenceIntent { based_on_sequence; uid, boot_id, terms, owners });

/// What the annotations of a node's lease say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LeaseView {
    /// The agent's record.
    pub record: Option<AgentRecord>,
    /// The controller's intent.
    pub intent: Option<FenceIntent>,
}

/// An annotation of the lease that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("annotation {annotation} of the agent lease is not valid: {detail}")]
pub struct MalformedLease {
    /// Annotation key.
    pub annotation: &'static str,
    /// What the decoder said.
    pub detail: String,
}

impl LeaseView {
    /// Reads the annotations of a lease; signatures are checked by the caller, who knows the trust.
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Result<Self, MalformedLease> {
        Ok(Self { record: decode(annotations, RECORD)?, intent: decode(annotations, INTENT)? })
    }

    /// The intent, if it is for this boot.
    pub fn intent_for(&self, boot: &BootId) -> Option<&FenceIntent> {
        self.intent.as_ref().filter(|intent| intent.boot_id == *boot)
    }
}

fn decode<T: for<'de> Deserialize<'de>>(
    annotations: &BTreeMap<String, String>,
    annotation: &'static str,
) -> Result<Option<T>, MalformedLease> {
    annotations
        .get(annotation)
        .filter(|text| !text.is_empty())
        .map(|text| {
            serde_json::from_str(text).map_err(|error| MalformedLease { annotation, detail: error.to_string() })
        })
        .transpose()
}

/// The annotation text of a record or an intent.
pub fn encode<T: Serialize>(value: &T) -> String {
    // Plain structs with string keys: serialisation has no failing case.
    serde_json::to_string(value).unwrap_or_default()
}
