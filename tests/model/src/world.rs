//! The whole state: machines, processes, the API server, messages under way.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use palisade_core::fencing::agent::{Agent, Base, Event, HostFile, RequestId};
use palisade_core::fencing::juror::{AskerBounds, Juror};
use palisade_core::fencing::proof::ProofKind;
use palisade_core::fencing::prover::{JurorAnswer, Prover, WriteIntent};
use palisade_core::fencing::record::{AgentRecord, BootId, LeaseView};
use palisade_core::fencing::sightings::Sightings;
use palisade_core::time::Mono;
use std::time::Duration;

use crate::budget::Budget;
use crate::canon::Canon;

/// The state of everything. Parts are shared between states and copied when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// Real time in milliseconds; every process sees it through its own clock.
    pub now: u64,
    pub api: Arc<Api>,
    pub nodes: Vec<Arc<Node>>,
    pub controllers: Vec<Arc<Controller>>,
    /// Messages under way: they arrive in this order, or are held back.
    pub net: Vec<Arc<Message>>,
    /// Messages held back: they arrive at any time, in any order, or never.
    pub held: Vec<(u64, Arc<Message>)>,
    pub budget: Budget,
    /// What must never happen, and did.
    pub foul: Option<Foul>,
    /// Something was taken away by force: the end of this history.
    pub released: Option<ProofKind>,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { now, api, nodes, controllers, net, held, budget, foul, released } = self;
        let mut canon = Canon::new(*now);
        // Where between two ticks.
        canon.write_u64(*now % 1_000);
        api.hash(&mut canon);
        for node in nodes {
            canon.clock(clock(node.slow, *now).0);
            node.hash(&mut canon);
        }
        canon.clock(*now);
        (controllers, net, budget, foul, released).hash(&mut canon);
        for (_, message) in held {
            message.hash(&mut canon);
        }
        state.write_u64(canon.finish());
    }
}

/// What a clock that runs slow by 1 part in `slow` shows at this real time.
pub fn clock(slow: u64, now: u64) -> Mono {
    Mono(if slow > 0 { now * slow / (slow + 1) } else { now })
}

/// What must never happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Foul {
    /// A pod was released by force while this node still runs it.
    RunningTwice { node: usize, boot: u8, proof: ProofKind },
    /// A proof says that this boot ended, and it runs.
    FalseProof { node: usize, boot: u8, proof: ProofKind },
    /// A node ended its boot although nobody could write to the API.
    RebootedInOutage { node: usize, why: String },
    /// A fenced boot lives longer than its terms allow.
    OutlivedItsBound { node: usize, boot: u8 },
}

/// What the API server works like for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    Up,
    WritesFail,
    Down,
    /// No node reaches it, the controllers do.
    NodesCut,
}

/// The API server: the objects of node 0 and, in a fleet, of all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Api {
    pub service: Service,
    pub leases: Vec<Option<LeaseObject>>,
    pub node: NodeObject,
    pub pods: Vec<Pod>,
    /// Names leases; never used twice.
    pub uids: u32,
    /// Resource version of the latest write of a lease; see [`crate::canon`].
    pub version: Version,
    /// The boot that the stored intent is for has to be gone by then, in real time.
    pub doom: Option<Doom>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseObject {
    pub uid: u32,
    pub version: Version,
    pub view: LeaseView,
}

/// What a stored intent promises: after the bound, counted from the last thing that can have extended its life, the
/// boot is gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Doom {
    pub boot: u8,
    pub from: Mono,
    pub bound: u64,
}

/// A resource version, printed and hashed as [`crate::canon`] wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u64);

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.to_string().as_bytes());
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", crate::canon::VERSION + self.0)
    }
}

/// The Node object of node 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeObject {
    pub uid: u32,
    /// Boot named in `status.nodeInfo`; 0: none.
    pub boot: u8,
}

/// A pod bound to node 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// Of the first class: marked before the intent.
    pub first_class: bool,
    pub marked: bool,
    /// The boot whose kubelet started it.
    pub running: Option<u8>,
    pub version: u8,
    pub gone: bool,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)] // what is the case with it
pub struct Node {
    /// The running boot, 0 when off.
    pub boot: u8,
    /// Boots so far.
    pub boots: u8,
    /// The kubelet of this boot named it in the Node object.
    pub published: bool,
    pub device: Option<Device>,
    /// A software reset under way takes effect then.
    pub resets_at: Option<Mono>,
    pub process: Option<Process>,
    /// Processes so far, so that no answer reaches the wrong one.
    pub processes: u8,
    pub juror: Option<Juror>,
    pub disk: Option<HostFile>,
    /// SIGSTOP.
    pub paused: bool,
    /// No path to the API.
    pub cut: bool,
    /// No path to peers either.
    pub alone: bool,
    /// The controllers do not reach it, its peers do.
    pub deaf: bool,
    /// Node 0 does not reach it.
    pub unreachable: bool,
    /// Writes of the host file fail.
    pub disk_full: bool,
    /// `apiCheckInterval` as configured.
    pub check: u64,
    /// How many peers the roster shows.
    pub roster: usize,
    /// The kubelet's newest sign of life, and the agent's newest renewal, by the node's own clock.
    pub kubelet_at: Mono,
    pub renewed_at: Mono,
    /// Its clock runs slow by 1 part in so many; 0: right.
    pub slow: u64,
    /// Pods that the kubelet of this boot listed before it published itself, by bit; only a mutant does that.
    pub listed: Option<u8>,
}

/// The watchdog device: armed, fed last at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    pub fed: Mono,
}

/// The agent process of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub agent: Agent,
    pub permit: Option<Mono>,
    /// It has the device open.
    pub open: bool,
    pub stopped: bool,
    /// A mutant feeds until then, whatever the agent says.
    pub beyond: Option<Mono>,
}

/// A controller process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    pub sightings: Sightings,
    pub prover: Option<Prover>,
    pub due: Mono,
    pub paused: bool,
    pub cut: bool,
    /// Promise requests under way.
    pub asking: u8,
    pub release: Option<Release>,
    /// Evidence from outside that it has not heard of yet: kind, boot and when it was read.
    pub reading: Option<(ProofKind, BootId, Mono)>,
    /// Answers of jurors kept back by a mutant.
    pub kept: Vec<(String, JurorAnswer, Mono)>,
}

/// A proof is there; what it allows is to be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    pub kind: ProofKind,
    pub intent_uid: String,
    pub boot: BootId,
    /// The consistent read was made then, and showed these versions of the pods.
    pub checked: Option<(Mono, Vec<u8>)>,
}

/// A message under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// The agent's compare-and-swap.
    Write { node: usize, process: u8, request: RequestId, record: AgentRecord, base: Base, sent: Mono },
    /// The agent's question to a peer.
    Ask { node: usize, process: u8, request: RequestId, to: usize, record: AgentRecord, bounds: AskerBounds },
    /// An answer on its way to an agent.
    Answer { node: usize, process: u8, event: Event, sent: Mono },
    /// The controller's compare-and-swap of the intent.
    Intend { controller: usize, write: Box<WriteIntent> },
    /// The controller's question to a juror.
    Promise { controller: usize, juror: usize, intent_uid: String, boot: BootId, bound: Duration, asked: Mono },
}
