//! What goes into the prover and what comes out.

use std::fmt;
use std::time::Duration;

use super::promises::JurorAnswer;
use crate::fencing::proof::{Grade, Proof, ProofKind};
use crate::fencing::record::{AgentRecord, BootId, FenceIntent};
use crate::time::Mono;

/// What does not change during one fencing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The node.
    pub node: String,
    /// This remediation, as it stands among the intent's owners.
    pub owner: String,
    /// Policy: the least grade that counts.
    pub require: Grade,
    /// `safeTimeToAssumeNodeRebootedSeconds`: P3 waits at least so long after the intent.
    pub floor: Duration,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Time passed.
    Tick,
    /// Step 1 is stored.
    Marked,
    /// Step 1 failed.
    MarkFailed {
        /// Why.
        why: String,
    },
    /// A consistent read (no resource version) of node and lease came back.
    Read(Box<Snapshot>),
    /// It did not.
    ReadFailed {
        /// Why.
        why: String,
    },
    /// How the compare-and-swap of step 3 ended.
    IntentWritten(WriteOutcome),
    /// A juror answered, now.
    PromiseAnswer {
        /// The intent it was asked about.
        intent_uid: String,
        /// Its node, proved by its certificate.
        juror: String,
        /// When it was asked.
        asked: Mono,
        /// What it said.
        answer: JurorAnswer,
    },
    /// All jurors of the round answered or ran out of time.
    RoundEnded,
    /// P4 to P6.
    Evidence(Evidence),
}

/// End of a compare-and-swap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WriteOutcome {
    /// Stored.
    Stored,
    /// The lease had moved on.
    Conflict,
    /// No clear answer: it may or may not be stored.
    Unknown {
        /// What happened.
        why: String,
    },
}

/// Evidence from outside the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// P4, P5 or P6.
    pub kind: ProofKind,
    /// As what it counts.
    pub grade: Grade,
    /// The boot it is about.
    pub boot: BootId,
    /// When it was read back.
    pub observed: Mono,
    /// Device, machine or person.
    pub explanation: String,
}

/// Node and lease, read consistently one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// When the reads began.
    pub begun: Mono,
    /// `None`: not found.
    pub node: Option<NodeRead>,
    /// `None`: not found.
    pub lease: Option<LeaseRead>,
    /// A UID nobody used before, should an intent have to be written on this read.
    pub fresh_uid: String,
}

/// What matters of a Node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeRead {
    /// UID of the object.
    pub uid: String,
    /// `status.nodeInfo.bootID`, `None` if empty.
    pub boot: Option<BootId>,
    /// The kubelet's newest sign of life.
    pub heartbeat: Option<Heartbeat>,
}

/// A sign of life of the kubelet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// In the Node's status, beside the boot id: it belongs to that boot.
    pub status: Option<Beat>,
    /// In the kubelet's lease, which names no boot: a new boot may renew it before its Node names it.
    pub lease: Option<Beat>,
    /// How much later than the agent's last renewal it was, by the clock of the machine that wrote both. Zero if
    /// earlier, `None` if not known.
    pub after_agent: Option<Duration>,
}

/// One heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Beat {
    /// Differs from heartbeat to heartbeat.
    pub token: String,
    /// First sight of it, by read or watch.
    pub first_seen: Mono,
}

/// What matters of an agent lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseRead {
    /// UID of the object.
    pub uid: String,
    /// Resource version.
    pub version: String,
    /// The agent's record, if its signature verifies.
    pub record: Option<AgentRecord>,
    /// Why the record does not count.
    pub unverified: Option<String>,
    /// The stored intent.
    pub intent: Option<FenceIntent>,
    /// First sight of this version, by read or watch.
    pub first_seen: Mono,
    /// From when `D` counts for the stored intent (see `Sightings::intent`).
    pub intent_first_seen: Option<Mono>,
}

/// A compare-and-swap of the intent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WriteIntent {
    /// Precondition.
    pub lease_uid: String,
    /// Precondition.
    pub lease_version: String,
    /// What to store.
    pub intent: FenceIntent,
    /// First sight of that version, to be remembered under the intent's UID before the write is sent.
    pub counted_from: Mono,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Step 1: own taint, graceful deletion of the first class.
    Mark,
    /// Step 2, and every later look: read consistently.
    Read,
    /// Step 3.
    WriteIntent(Box<WriteIntent>),
    /// Step 4: ask all of them at once.
    AskPromises {
        /// About this intent.
        intent_uid: String,
        /// And boot.
        boot: BootId,
        /// Names of their nodes.
        jurors: Vec<String>,
    },
    /// Tick at this time, or earlier.
    Wait {
        /// When.
        until: Mono,
    },
    /// The boot has ended.
    Proven(Box<Proof>),
    /// The boot showed life after its end was proven: withdraw.
    Contradiction {
        /// The intent under which it was fenced.
        intent_uid: String,
        /// What was seen.
        what: String,
    },
}

/// Something that cannot be done now, in words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// What is refused.
    pub what: String,
    /// Why.
    pub why: String,
    /// What would unblock it.
    pub unblocks: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; what would unblock it: {}", self.what, self.why, self.unblocks)
    }
}
