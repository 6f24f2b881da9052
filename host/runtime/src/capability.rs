//! Capabilities: the interfaces of the contract, as names that a manifest asks for and an administrator grants.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One interface of the host API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Read the node.
    Target,
    /// Read the state of the node's agent.
    Agent,
    /// Ask for fencing, receive the proof.
    Fencing,
    /// Read what is left, release and restore.
    Workloads,
    /// Cordon, own taints.
    Scheduling,
    /// Conditions, events, log.
    Report,
    /// The machine behind the node.
    Machines,
    /// Its management device.
    Power,
    /// Ask people.
    Approval,
    /// Run the administrator's jobs.
    Jobs,
}

/// All that this host knows; also the list shown when somebody asks for another one.
pub const CAPABILITIES: [Capability; 10] = [
    Capability::Target,
    Capability::Agent,
    Capability::Fencing,
    Capability::Workloads,
    Capability::Scheduling,
    Capability::Report,
    Capability::Machines,
    Capability::Power,
    Capability::Approval,
    Capability::Jobs,
];

impl Capability {
    /// The name in manifests and grants; also the name of the WIT interface.
    pub fn name(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Agent => "agent",
            Self::Fencing => "fencing",
            Self::Workloads => "workloads",
            Self::Scheduling => "scheduling",
            Self::Report => "report",
            Self::Machines => "machines",
            Self::Power => "power",
            Self::Approval => "approval",
            Self::Jobs => "jobs",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no capability of this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability {name:?}; this host offers: {}", names(&CAPABILITIES))]
pub struct UnknownCapability {
    /// What was asked for.
    pub name: String,
}

impl FromStr for Capability {
    type Err = UnknownCapability;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        CAPABILITIES
            .into_iter()
            .find(|capability| capability.name() == name)
            .ok_or_else(|| UnknownCapability { name: name.to_owned() })
    }
}

/// What a remediator may use: manifest, administrator's grant and cluster policy, intersected by the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Granted(BTreeSet<Capability>);

impl Granted {
    /// Everything this host offers; for built-in remediators.
    pub fn all() -> Self {
        CAPABILITIES.into_iter().collect()
    }

    /// Whether it is among them.
    pub fn allows(&self, capability: Capability) -> bool {
        self.0.contains(&capability)
    }

    /// What both allow.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// The capabilities of `asked` that are not here, for a condition that names them.
    pub fn missing(&self, asked: &[Capability]) -> Vec<Capability> {
        asked.iter().copied().filter(|capability| !self.allows(*capability)).collect()
    }
}

impl FromIterator<Capability> for Granted {
    fn from_iter<I: IntoIterator<Item = Capability>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

/// Comma-separated names.
pub(crate) fn names(capabilities: &[Capability]) -> String {
    capabilities.iter().map(|capability| capability.name()).collect::<Vec<_>>().join(", ")
}
