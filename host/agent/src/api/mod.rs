//! The Lease objects of the agents' namespace, as far as an agent uses them.

pub mod kube;
pub mod sample;

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use palisade_core::fencing::agent::{Base, Lease};
use palisade_core::fencing::record::{self, AgentRecord, FenceIntent, LeaseView};
use tokio::sync::mpsc;

/// A Lease object, reduced to what an agent reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredLease {
    /// Name of the node.
    pub node: String,
    /// Resource version.
    pub version: String,
    /// All annotations.
    pub annotations: BTreeMap<String, String>,
    /// Zone label, empty if there is none.
    pub zone: String,
}

impl StoredLease {
    /// What the annotations say. An unreadable *intent* is an error: nobody may take it for "no intent". An unreadable
    /// record is as good as none.
    pub fn view(&self) -> Result<LeaseView, String> {
        let decode = |key: &str| self.annotations.get(key).filter(|text| !text.is_empty());
        let intent: Option<FenceIntent> = decode(record::INTENT)
            .map(|text| serde_json::from_str(text))
            .transpose()
            .map_err(|error| format!("annotation {} cannot be read: {error}", record::INTENT))?;
        let record: Option<AgentRecord> = decode(record::RECORD).and_then(|text| serde_json::from_str(text).ok());
        Ok(LeaseView { record, intent })
    }

    /// The lease as the state machine wants it.
    pub fn lease(&self) -> Result<Lease, String> {
        Ok(Lease { version: self.version.clone(), view: self.view()? })
    }
}

/// What a write changes. Everything else in the object stays as it is, above all the intent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaseChange {
    /// Annotations to set, or to remove (`None`).
    pub annotations: BTreeMap<String, Option<String>>,
    /// `spec.leaseDurationSeconds`.
    pub seconds: Option<u32>,
    /// Zone label.
    pub zone: Option<String>,
}

/// Why a write is not known to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteFailure {
    /// The base is not the object's version any more. Certainly not stored.
    Conflict,
    /// Anything else.
    Failed(String),
}

/// The API server, as far as an agent needs it. Every call is consistent (no resource version, no cache) and may hang:
/// callers bring their own time limits.
pub trait Api: Send + Sync + 'static {
    /// Reads the lease of a node.
    fn read<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Result<Option<StoredLease>, String>>;
    /// Compare-and-swap; gives the object as stored.
    fn write<'a>(
        &'a self,
        node: &'a str,
        base: &'a Base,
        change: LeaseChange,
    ) -> BoxFuture<'a, Result<StoredLease, WriteFailure>>;
    /// Reads the leases of other agents: all in a small cluster, in a large one a sample that is another for each node
    /// and stays the same while the cluster does. With `fellows` no control-plane node's is missing.
    fn list<'a>(&'a self, node: &'a str, fellows: bool) -> BoxFuture<'a, Result<Vec<StoredLease>, String>>;
    /// Sends every later version of one lease, until the connection ends.
    fn watch<'a>(&'a self, node: &'a str, seen: mpsc::Sender<StoredLease>) -> BoxFuture<'a, Result<(), String>>;
    /// Reads the trust bundle (PEM), if there is one.
    fn trust(&self) -> BoxFuture<'_, Result<Option<String>, String>>;
}
