//! What can go wrong.

use std::time::Duration;

use crate::network::{Cut, FailedWrite, Weather};

/// Something that goes wrong, for the length given beside it where that means anything.
#[derive(Debug, Clone)]
pub enum Fault {
    /// These nodes reach nobody, and nobody them.
    Isolate(Vec<u16>, Cut),
    /// These nodes lose the API server.
    ApiCut(Vec<u16>, Cut),
    /// These nodes lose all peers.
    PeerCut(Vec<u16>),
    /// What this node sends does not arrive (true), or what is sent to it (false).
    OneWay(u16, bool),
    /// All nodes of one zone lose the API, the controllers and the other zones.
    ZoneCut(String),
    /// A node is isolated and not, again and again, with this period.
    Flap(u16, Duration),
    /// Writes fail for everybody, or for one node.
    Writes(Option<u16>, FailedWrite),
    /// The API server answers nobody.
    Outage(Cut),
    /// The same; when it is back these nodes stay cut from it for the given time.
    OutageThenCut(Cut, Vec<u16>, Duration),
    /// The kubelet is dead for the time.
    Kubelet(u16),
    /// The agent is dead for the time.
    Agent(u16),
    /// SIGSTOP for the agent.
    PauseAgent(u16),
    /// SIGTERM for the agent; started again after the time.
    StopAgent(u16),
    /// Agent and kubelet frozen.
    Hang(u16),
    /// The whole machine suspended.
    Suspend(u16),
    /// Power off for the time.
    Power(u16),
    /// A reboot by itself.
    Reboot(u16),
    /// The Node object is deleted while the machine is off.
    DeleteNode(u16),
    /// All watches of a node's agent, or of a controller, break.
    WatchDrop(Option<u16>),
    /// Bad weather for the time.
    Weather(Weather),
    /// A controller is dead for the time.
    ControllerCrash(u16),
    /// SIGSTOP for a controller.
    ControllerPause(u16),
    /// A controller loses the agents, or the API.
    ControllerCut(u16, bool),
    /// Somebody asks for the remediation of a node, whatever its state, and takes it back after the time.
    Remediate(u16),
    /// Somebody with the rights of a controller takes the pods of a node away by force, without any proof. Never
    /// random: it is there to see the oracle find it.
    Rogue(u16),
}

impl Fault {
    /// Its kind, for counting.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Isolate(..) => "isolate",
            Self::ApiCut(..) => "api-cut",
            Self::PeerCut(..) => "peer-cut",
            Self::OneWay(..) => "one-way",
            Self::ZoneCut(..) => "zone-cut",
            Self::Flap(..) => "flap",
            Self::Writes(..) => "writes-fail",
            Self::Outage(..) => "outage",
            Self::OutageThenCut(..) => "outage-then-cut",
            Self::Kubelet(..) => "kubelet",
            Self::Agent(..) => "agent-killed",
            Self::PauseAgent(..) => "agent-stopped",
            Self::StopAgent(..) => "agent-ends",
            Self::Hang(..) => "hang",
            Self::Suspend(..) => "suspend",
            Self::Power(..) => "power",
            Self::Reboot(..) => "reboot",
            Self::DeleteNode(..) => "node-deleted",
            Self::WatchDrop(..) => "watch-drop",
            Self::Weather(..) => "weather",
            Self::ControllerCrash(..) => "controller-killed",
            Self::ControllerPause(..) => "controller-stopped",
            Self::ControllerCut(..) => "controller-cut",
            Self::Remediate(..) => "remediate",
            Self::Rogue(..) => "rogue",
        }
    }
}

/// A fault, when it begins and for how long it lasts.
#[derive(Debug, Clone)]
pub struct Planned {
    /// After the cluster was ready.
    pub at: Duration,
    /// For so long.
    pub length: Duration,
    /// What.
    pub fault: Fault,
}
