//! What goes into the agent's state machine and what comes out.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::life::Published;
use crate::fencing::juror::{AskerBounds, PeerAnswer};
use crate::fencing::record::{AgentRecord, BootId, LeaseView, Watchdog};
use crate::fencing::timing::Tuning;
use crate::hashing::{self, hash_with_sequence};
use crate::time::Mono;

/// Names a request, so that an answer counts only for the request it answers. Later requests have greater names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Names one write of the host file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId(pub u64);

impl Hash for RequestId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hashing::tagged(state, hashing::REQUEST, self.0);
    }
}

impl Hash for WriteId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hashing::tagged(state, hashing::WRITE, self.0);
    }
}

/// Who this agent is, for the life of its process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Me {
    /// Node name.
    pub node: String,
    /// The boot it runs in.
    pub boot_id: BootId,
    /// `host:port` where peers and controller reach it.
    pub address: String,
}

/// Another agent, as its lease describes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Node name; what its certificate proves.
    pub node: String,
    /// `host:port`; proves nothing.
    pub address: String,
    /// Zone label, empty if there is none.
    #[serde(default)]
    pub zone: String,
    /// Its lease says that it may exempt itself by R4: it is a control-plane node.
    #[serde(default)]
    pub control_plane: bool,
}

/// Time limits of the steps from "fenced" to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResetSteps {
    /// Storing "fenced" in the host file.
    pub store: Duration,
    /// Publishing the acknowledgement.
    pub acknowledge: Duration,
    /// Waiting for sysrq `b` to take effect.
    pub sysrq: Duration,
    /// Waiting for `reboot(2)` to take effect.
    pub reboot: Duration,
}

impl Default for ResetSteps {
    fn default() -> Self {
        Self {
            store: Duration::from_secs(1),
            acknowledge: Duration::from_secs(3),
            sysrq: Duration::from_secs(1),
            reboot: Duration::from_secs(2),
        }
    }
}

impl ResetSteps {
    /// All steps together.
    pub fn total(&self) -> Duration {
        self.store + self.acknowledge + self.sysrq + self.reboot
    }

    /// The steps, shortened where needed so that together they take less than the watchdog, which is the backstop.
    #[must_use]
    pub fn within(&self, watchdog: Option<Duration>) -> Self {
        let total = self.total();
        match watchdog.map(|timeout| timeout * 3 / 4) {
            Some(room) if room < total && !total.is_zero() => {
                let scale = |step: Duration| step.mul_f64(room.as_secs_f64() / total.as_secs_f64());
                Self {
                    store: scale(self.store),
                    acknowledge: scale(self.acknowledge),
                    sysrq: scale(self.sysrq),
                    reboot: scale(self.reboot),
                }
            }
            _ => *self,
        }
    }
}

/// Configuration of the agent. A change of any of it is published before it counts, where it lengthens a life.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)] // each is a switch of the configuration
pub struct Settings {
    /// Intervals and time limits.
    pub tuning: Tuning,
    /// `minPeersForRemediation`.
    pub min_peers: u32,
    /// Configuration generation, published for people and rollouts.
    pub generation: i64,
    /// `isSoftwareRebootEnabled`.
    pub software_reboot: bool,
    /// Whether a watchdog device is to be used.
    pub watchdog: bool,
    /// Limits of the reset steps.
    pub steps: ResetSteps,
    /// A control-plane node configured to `Diagnose`: its lease says that it may exempt itself by R4.
    pub diagnose: bool,
    /// Renewals and questions come up to an eighth early, each time by another part of it, so that agents do not keep
    /// step with each other. Never late: no bound depends on it.
    pub spread: bool,
}

/// The agent's own Lease as stored in the API.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Resource version, the base of the next compare-and-swap.
    pub version: String,
    /// What its annotations say.
    pub view: LeaseView,
}

/// What a compare-and-swap compares with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Base {
    /// The object does not exist: create it.
    Absent,
    /// The object has this resource version.
    At(String),
}

/// How a write to the API ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WriteResult {
    /// Stored; this is the object as the API returned it.
    Stored(Lease),
    /// Somebody wrote in between; this is the object now (`None`: it is gone).
    Conflict(Option<Lease>),
    /// Not known to be stored: unreachable, refused, timed out, unreadable.
    Failed(String),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Time passed.
    Tick,
    /// The watch (or a read for another purpose) shows the own lease.
    LeaseSeen(Lease),
    /// Answer to [`Effect::ReadLease`]; `Ok(None)`: there is no lease.
    ReadAnswer {
        /// The request.
        request: RequestId,
        /// The lease, or why it could not be read.
        result: Result<Option<Lease>, String>,
    },
    /// Answer to [`Effect::WriteLease`].
    WriteAnswer {
        /// The request.
        request: RequestId,
        /// How it ended.
        result: WriteResult,
    },
    /// One peer's answer to [`Effect::AskPeers`].
    PeerAnswer {
        /// The request.
        request: RequestId,
        /// Which peer; proved by its certificate.
        node: String,
        /// What it said. Everything unclear is `Unknown`.
        answer: PeerAnswer,
    },
    /// Answer to [`Effect::Diagnose`].
    Diagnosed {
        /// The request.
        request: RequestId,
        /// Every self diagnostic passed, or why not.
        result: Result<(), String>,
    },
    /// A write of the host file ended.
    HostFileWritten {
        /// Which.
        write: WriteId,
        /// It is on disk.
        stored: bool,
    },
    /// The agents whose leases are published.
    RosterChanged(Vec<Peer>),
    /// New configuration.
    SettingsChanged(Settings),
    /// The agent can (or can no longer) sign and prove its name.
    IdentityChanged {
        /// It can.
        ready: bool,
    },
    /// The watchdog device was opened, or could not be.
    WatchdogOpened(Result<Watchdog, String>),
    /// Feeding failed: the device is gone or broken.
    WatchdogFailed(String),
    /// The watchdog was asked to disarm.
    WatchdogDisarmed(Result<(), String>),
    /// Another agent says that it is worth asking the peers now, for example because it just promised something about this
    /// boot. It carries no news and no authority: whatever is true comes by the answers.
    Woken {
        /// Who says so; proved by its certificate.
        by: String,
    },
    /// The machine was paused and resumed.
    TimeLost,
    /// The process is asked to stop, and has this long.
    GracefulStop {
        /// Time until it gives up and leaves the watchdog armed.
        limit: Duration,
    },
}

/// How loud a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// Normal course.
    Info,
    /// Somebody should know.
    Warn,
    /// The node is about to end, or cannot be protected.
    Error,
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Read the own lease consistently.
    ReadLease {
        /// To be named in the answer.
        request: RequestId,
    },
    /// Sign the record and store it by compare-and-swap.
    WriteLease {
        /// To be named in the answer.
        request: RequestId,
        /// What to publish.
        record: AgentRecord,
        /// What has to be there now.
        base: Base,
    },
    /// Sign the record and ask these peers in parallel to relay it.
    AskPeers {
        /// To be named in the answers.
        request: RequestId,
        /// What to relay.
        record: AgentRecord,
        /// Whom to ask.
        peers: Vec<Peer>,
        /// How long this node may live, for the juror's memory.
        bounds: AskerBounds,
    },
    /// Rule R4: find out whether this node is well, beside a question to the peers.
    Diagnose {
        /// To be named in the answer.
        request: RequestId,
        /// Time limit.
        limit: Duration,
    },
    /// Store the host file. Writes are done in the order of these effects, and every one is answered.
    WriteHostFile {
        /// To be named in the answer.
        write: WriteId,
        /// The whole file.
        file: Box<HostFile>,
    },
    /// Open the watchdog, which arms it.
    OpenWatchdog,
    /// Feed while the clock is below this; `None`: do not feed.
    Permit(Option<Mono>),
    /// Never feed again in this boot. Final.
    StopFeeding,
    /// Disarm the watchdog (magic close).
    Disarm,
    /// End this boot now by software: sysrq, then `reboot(2)`, each within its limit.
    Reset(ResetSteps),
    /// The lease was confirmed by R1 or R2, by a request first sent then: the juror of this process wants to know.
    Renewed {
        /// When the request was first sent.
        sent: Mono,
    },
    /// The process may end.
    Exit {
        /// The lease says "disarmed" and the watchdog is.
        disarmed: bool,
        /// For the log.
        why: String,
    },
    /// For the log.
    Say(Level, String),
}

/// What survives a restart of the agent within one boot. A reboot clears it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostFile {
    /// The boot it belongs to.
    pub boot_id: BootId,
    /// Highest sequence number that may have been sent.
    pub sequence: u64,
    /// Right to live, on this boot's clock.
    pub until: Option<Mono>,
    /// Terms of the last confirmed lease.
    pub confirmed: Option<Published>,
    /// Terms sent since: any of them may be in force.
    pub sent: Vec<Published>,
    /// This boot is fenced.
    pub fenced: Option<Fenced>,
    /// The watchdog that is armed in this boot, whichever process armed it. Without it nothing but software ends the
    /// boot, whatever the lease says.
    #[serde(default)]
    pub device: Option<Watchdog>,
    /// Where the jury was reached last, for a start without the API.
    #[serde(default)]
    pub peers: Vec<Peer>,
}

hash_with_sequence!(HostFile { sequence; boot_id, until, confirmed, sent, fenced, device, peers });

/// Why this boot is fenced.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fenced {
    /// For people.
    pub reason: String,
    /// The intent it obeys, if it was one.
    pub intent_uid: Option<String>,
}
