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
    /// Two of three zones are cut from the API, the controller and the third; they reach each other.
    MajorityCut,
    /// Nodes reach API and controller, but not each other.
    PeerCut,
    /// What the node sends is lost; it hears everything.
    Mute,
    /// What is sent to the node is lost; it says everything.
    Deaf,
    /// The node is cut off and back again, over and over.
    Flapping,
    /// Every packet is late, some are lost.
    SlowNetwork,
}

/// What has to come of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Every node that is hit is fenced, proven dead, released, and recovers.
    Remediation,
    /// Nobody reboots, nothing is remediated.
    Nothing,
    /// Nothing can be proven, so nothing is released while it lasts; nobody reboots.
    Standoff,
    /// The node lives on or is remediated; never runs anything twice.
    Either,
}

impl Fault {
    /// All of the demonstration, per node first.
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

    /// Faults of the network beyond the demonstration's.
    pub const NETWORK: [Fault; 6] =
        [Fault::MajorityCut, Fault::PeerCut, Fault::Mute, Fault::Deaf, Fault::Flapping, Fault::SlowNetwork];

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
            Fault::MajorityCut => "majority-cut",
            Fault::PeerCut => "peer-cut",
            Fault::Mute => "mute",
            Fault::Deaf => "deaf",
            Fault::Flapping => "flapping",
            Fault::SlowNetwork => "slow-network",
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
            Fault::MajorityCut => format!("most nodes are cut off together: {nodes}; their pods run on"),
            Fault::PeerCut => format!("{nodes} reach the API server, but nobody reaches a peer"),
            Fault::Mute => format!("nothing that {nodes} sends arrives; it hears everything"),
            Fault::Deaf => format!("nothing that is sent to {nodes} arrives; it says everything"),
            Fault::Flapping => format!("{nodes} is cut off and back again, over and over"),
            Fault::SlowNetwork => "every packet is late, and some are lost".to_owned(),
        }
    }

    /// Whether the lab has to undo it: the others end when the machine boots again.
    pub fn is_connectivity(self) -> bool {
        !matches!(self, Fault::Kubelet | Fault::Agent | Fault::Power | Fault::Hang)
    }

    /// What has to come of it.
    pub fn expected(self) -> Expected {
        match self {
            Fault::ApiOutage | Fault::PeerCut | Fault::SlowNetwork => Expected::Nothing,
            Fault::MajorityCut => Expected::Standoff,
            Fault::Flapping => Expected::Either,
            _ => Expected::Remediation,
        }
    }

    /// Whether zones are cut, and not single nodes.
    pub fn is_zonal(self) -> bool {
        matches!(self, Fault::ZoneCut | Fault::MajorityCut)
    }

    /// Fewest nodes with which it can be shown.
    pub fn fewest_nodes(self) -> u8 {
        if self.is_zonal() { 6 } else { 3 }
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
        let all = || Fault::ALL.into_iter().chain(Fault::NETWORK);
        let known = || all().map(Fault::name).collect::<Vec<_>>().join(", ");
        all()
            .find(|fault| fault.name() == text)
            .ok_or_else(|| format!("no fault is called {text:?}; there are {}", known()))
    }
}
