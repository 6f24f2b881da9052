//! Faults, per node and cluster wide.

use std::fmt;
use std::str::FromStr;

/// What is to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The kubelet process is dead; pods and agent go on.
    Kubelet,
    /// The agent is killed and stays dead until the machine was reset.
    Agent,
    /// Kubelet and agent lose the API; peers stay in reach.
    Api,
    /// API, controller and peers cut, both directions.
    Isolate,
    /// The machine is off at once; it is powered on again after the release.
    Power,
    /// Agent and kubelet freeze; pods go on until the watchdog resets the machine.
    Hang,
    /// Nobody reaches the API for a while.
    ApiOutage,
    /// One of three zones is cut from the API, the controller and the other zones.
    ZoneCut,
}

impl Fault {
    /// All of them, per node first.
    pub const ALL: [Fault; 8] = [
        Fault::Kubelet,
        Fault::Agent,
        Fault::Api,
        Fault::Isolate,
        Fault::Power,
        Fault::Hang,
        Fault::ApiOutage,
        Fault::ZoneCut,
    ];

    /// The name used on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kubelet => "kubelet",
            Fault::Agent => "agent",
            Fault::Api => "api",
            Fault::Isolate => "isolate",
            Fault::Power => "power",
            Fault::Hang => "hang",
            Fault::ApiOutage => "api-outage",
            Fault::ZoneCut => "zone-cut",
        }
    }

    /// One sentence for the timeline; `nodes` names who is hit.
    pub fn describe(self, nodes: &str) -> String {
        match self {
            Fault::Kubelet => format!("the kubelet of {nodes} dies; its pods run on"),
            Fault::Agent => format!("the agent of {nodes} is killed and stays dead until the machine resets"),
            Fault::Api => format!("{nodes} loses the API server; its peers stay in reach"),
            Fault::Isolate => format!("{nodes} is cut off from everybody; its pods run on"),
            Fault::Power => format!("{nodes} loses power"),
            Fault::Hang => format!("agent and kubelet of {nodes} freeze; its pods run on"),
            Fault::ApiOutage => "nobody reaches the API server any more".to_owned(),
            Fault::ZoneCut => format!("a whole zone is cut off: {nodes}; their pods run on"),
        }
    }

    /// Whether the lab has to undo it: the others end when the machine boots again.
    pub fn is_connectivity(self) -> bool {
        matches!(self, Fault::Api | Fault::Isolate | Fault::ApiOutage | Fault::ZoneCut)
    }

    /// Fewest nodes with which it can be shown.
    pub fn fewest_nodes(self) -> u8 {
        if self == Fault::ZoneCut { 6 } else { 3 }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = || Fault::ALL.map(Fault::name).join(", ");
        Fault::ALL
            .into_iter()
            .find(|fault| fault.name() == text)
            .ok_or_else(|| format!("no fault is called {text:?}; there are {}", known()))
    }
}
