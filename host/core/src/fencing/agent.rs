//! The node's side of the protocol: how long this boot may live, and how it ends.
//!
//! Pure: the driver feeds events with the time on the node's own boottime clock, and carries out the effects. The
//! agent of a real node, the simulation and the model checker run this same code.
//!
//! - [`life`]: `L`, and the terms in force that bound it.
//! - `publish`: what the lease is to say, and when that changes.
//! - `renew`: the direct way (R1), one request at a time, each described in the host file before it is sent.
//! - `ask`: the way through peers (R2, R3).
//! - `exempt`: what a control-plane node makes of their answers and of its own diagnostics (R4).
//! - `guard`: watchdog, first claim, lost time, graceful stop.
//! - `fence`: the end.
//! - `spread`: how agents keep out of step.

mod ask;
mod exempt;
mod fence;
mod guard;
pub mod jury;
pub mod life;
mod publish;
mod renew;
pub mod spread;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

pub use life::Published;
pub use types::{
    Base, Effect, Event, Fenced, HostFile, Lease, Level, Me, Peer, RequestId, ResetSteps, Settings, WriteId,
    WriteResult,
};

use self::ask::Asking;
use self::exempt::Diagnosis;
use self::fence::Fence;
use self::guard::{Stopping, WatchdogState};
use self::life::{Life, ResetTimes};
use self::renew::{Direct, KnownLease};
use super::record::{AgentRecord, Watchdog};
use crate::hashing;
use crate::time::Mono;

/// Requests remembered for late answers.
const REMEMBERED_REQUESTS: usize = 64;
/// Pause after the host file could not be written.
const LOCAL_RETRY: Duration = Duration::from_secs(1);

/// The state machine of one agent process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Agent {
    me: Me,
    settings: Settings,
    /// The agent can sign and prove its name.
    identity: bool,
    roster: Vec<Peer>,
    /// Where every node was reached last; outlives the roster, because a jury does.
    addresses: BTreeMap<String, Peer>,
    life: Life,
    sequence: Sequence,
    /// The host file, or the lease, told which sequence numbers this boot used.
    sequence_known: bool,
    lease: KnownLease,
    requests: BTreeMap<RequestId, Request>,
    next_request: RequestId,
    file_writes: BTreeMap<WriteId, Then>,
    next_write: WriteId,
    direct: Direct,
    asking: Asking,
    watchdog: WatchdogState,
    /// The device that is armed for certain, by this process or an earlier one of this boot. Cleared, on disk too,
    /// before a device is disarmed: only what stands here may be relied on to end this boot.
    device: Option<Watchdog>,
    /// Disarming failed; when it is tried again.
    disarm_refused: Option<Mono>,
    /// A contact of this boot is in the host file: the watchdog may be armed and self-fencing claimed.
    contacted: bool,
    /// The machine lost time before this request was made; feeding waits for R1 or R2 by it or a later one.
    lost_time: Option<RequestId>,
    stopping: Option<Stopping>,
    fence: Option<Fence>,
    permitted: Option<Mono>,
    last_renewal: Option<Mono>,
    effects: Vec<Effect>,
}

/// A sequence number of this boot's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sequence(u64);

impl Hash for Sequence {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hashing::tagged(state, hashing::SEQUENCE, self.0);
    }
}

/// One request under way, or remembered for a late answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Request {
    kind: Kind,
    /// When it was first sent; `None` until the host file that describes it is stored.
    sent: Option<Mono>,
    record: Option<AgentRecord>,
    peers: Vec<Peer>,
    answered: BTreeSet<String>,
    no_api: BTreeSet<String>,
    diagnosis: Diagnosis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Read,
    Write,
    Ask,
}

/// What waits for a write of the host file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Then {
    Nothing,
    Send(RequestId),
    Contacted,
    Fenced,
    Disarm,
}

impl Agent {
    /// A process that starts now. `file` is the host file as found; one of another boot is of no meaning.
    pub fn start(now: Mono, me: Me, settings: Settings, identity: bool, file: Option<HostFile>) -> Self {
        let file = file.filter(|file| file.boot_id == me.boot_id);
        let resets = ResetTimes { watchdog: None, software: settings.steps.total() };
        let mut agent = Self {
            me,
            settings,
            identity,
            roster: Vec::new(),
            addresses: BTreeMap::new(),
            life: Life::inherited(now, None, None, Vec::new(), resets),
            sequence: Sequence(0),
            sequence_known: false,
            lease: KnownLease::Unknown,
            requests: BTreeMap::new(),
            next_request: RequestId(1),
            file_writes: BTreeMap::new(),
            next_write: WriteId(1),
            direct: Direct::new(now),
            asking: Asking::default(),
            watchdog: WatchdogState::Closed,
            device: None,
            disarm_refused: None,
            contacted: false,
            lost_time: None,
            stopping: None,
            fence: None,
            permitted: None,
            last_renewal: None,
            effects: Vec::new(),
        };
        if let Some(file) = file {
            agent.sequence = Sequence(file.sequence);
            agent.sequence_known = true;
            agent.contacted = file.confirmed.is_some();
            agent.device = file.device;
            agent.life = Life::inherited(now, file.until, file.confirmed, file.sent, resets);
            agent.addresses = file.peers.iter().map(|peer| (peer.node.clone(), peer.clone())).collect();
            agent.roster = file.peers;
            if let Some(fenced) = file.fenced {
                agent.resume_fence(now, fenced);
            }
        }
        agent
    }

    /// Takes what happened, says what to do. `now` never goes back.
    pub fn on(&mut self, now: Mono, event: Event) -> Vec<Effect> {
        match event {
            Event::Tick => {}
            Event::LeaseSeen(lease) => self.observe(now, Some(lease)),
            Event::ReadAnswer { request, result } => self.read_answered(now, request, result),
            Event::WriteAnswer { request, result } => self.write_answered(now, request, result),
            Event::PeerAnswer { request, node, answer } => self.peer_answered(now, request, &node, answer),
            Event::Diagnosed { request, result } => self.diagnosed(now, request, result),
            Event::HostFileWritten { write, stored } => self.file_written(now, write, stored),
            Event::RosterChanged(roster) => self.roster_changed(now, roster),
            Event::SettingsChanged(settings) => self.settings_changed(now, settings),
            Event::IdentityChanged { ready } => {
                if self.identity != ready {
                    self.identity = ready;
                    self.direct.hurry(now);
                }
            }
            Event::WatchdogOpened(outcome) => self.watchdog_opened(now, outcome),
            Event::WatchdogFailed(why) => self.watchdog_failed(now, why),
            Event::WatchdogDisarmed(outcome) => self.watchdog_disarmed(now, outcome),
            Event::Woken { by } => self.woken(now, &by),
            Event::TimeLost => self.time_lost(now),
            Event::GracefulStop { limit } => self.graceful_stop(now, limit),
        }
        self.step(now);
        std::mem::take(&mut self.effects)
    }

    /// What is due now, whatever the event was.
    fn step(&mut self, now: Mono) {
        self.check_life(now);
        if self.fence.is_some() {
            self.fence_step(now);
        } else {
            self.arm_if_due(now);
            self.direct_step(now);
            self.ask_step(now);
            self.stop_step(now);
        }
        self.emit_permit();
    }

    /// When a [`Event::Tick`] is needed next, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Mono> {
        if self.fence.is_some() {
            return self.fence_deadline();
        }
        [self.end_deadline(), Some(self.direct.next_deadline()), self.ask_deadline(), self.guard_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether this boot is to end.
    pub fn is_fenced(&self) -> bool {
        self.fence.is_some()
    }

    /// `L`.
    pub fn until(&self) -> Option<Mono> {
        self.life.until()
    }

    /// When the last renewal confirmed by R1 or R2 was sent.
    pub fn last_renewal(&self) -> Option<Mono> {
        self.last_renewal
    }

    /// Terms of the last confirmed lease.
    pub fn confirmed(&self) -> Option<&Published> {
        self.life.confirmed()
    }

    /// One line about the watchdog.
    pub fn watchdog_line(&self) -> String {
        self.watchdog.to_string()
    }

    fn say(&mut self, level: Level, text: impl Into<String>) {
        self.effects.push(Effect::Say(level, text.into()));
    }

    fn remember(&mut self, kind: Kind, record: Option<AgentRecord>, peers: Vec<Peer>) -> RequestId {
        let id = self.next_request;
        self.next_request.0 += 1;
        let request = Request {
            kind,
            sent: None,
            record,
            peers,
            answered: BTreeSet::new(),
            no_api: BTreeSet::new(),
            diagnosis: Diagnosis::NotWanted,
        };
        self.requests.insert(id, request);
        while self.requests.len() > REMEMBERED_REQUESTS {
            self.requests.pop_first();
        }
        id
    }

    fn store(&mut self, then: Then) {
        let write = self.next_write;
        self.next_write.0 += 1;
        self.file_writes.insert(write, then);
        let jurors = self.life.jurors();
        let fellows = self.fellows();
        let kept = |peer: &&Peer| jurors.contains(&peer.node) || fellows.iter().any(|fellow| fellow.node == peer.node);
        let peers = self.addresses.values().filter(kept).cloned().collect();
        let file = HostFile {
            boot_id: self.me.boot_id.clone(),
            sequence: self.sequence.0,
            until: self.life.until(),
            confirmed: self.life.confirmed().cloned(),
            sent: self.life.sent().to_vec(),
            fenced: self.fence.as_ref().map(|fence| fence.fenced.clone()),
            device: self.device.clone(),
            peers,
        };
        self.effects.push(Effect::WriteHostFile { write, file: Box::new(file) });
    }

    fn file_written(&mut self, now: Mono, write: WriteId, stored: bool) {
        let Some(then) = self.file_writes.remove(&write) else { return };
        if !stored {
            self.say(Level::Error, "the host file could not be written: nothing that it describes is sent");
        }
        match (then, stored) {
            (Then::Disarm, stored) => self.disarm_stored(now, stored),
            (Then::Fenced, stored) => self.fence_stored(now, stored),
            (Then::Send(request), true) if self.fence.is_none() => self.send(now, request),
            (Then::Send(request), _) => self.dropped(now + LOCAL_RETRY, request),
            (Then::Contacted, true) if self.fence.is_none() => {
                self.contacted = true;
                if !self.settings.watchdog {
                    // Otherwise the claim waits for the device to be armed.
                    self.direct.hurry(now);
                }
            }
            _ => {}
        }
    }

    /// The request is described on disk: now it goes out, and this is the `s` of its answers.
    fn send(&mut self, now: Mono, id: RequestId) {
        let bounds = self.life.bounds();
        let base = self.lease.base();
        let may_exempt = self.life.may_exempt();
        let limit = self.settings.tuning.effective_peer_request_timeout();
        let goes_back = |record: &AgentRecord| self.lease.holds_newer_than(record.sequence);
        let Some(request) = self.requests.get_mut(&id) else { return };
        let Some(record) = request.record.clone() else { return };
        match request.kind {
            Kind::Write if self.direct.inflight == Some(id) => {
                // A peer stored a newer record meanwhile, or there is no base to compare with: begin again.
                let Some(base) = base.filter(|_| !goes_back(&record)) else { return self.dropped(now, id) };
                request.sent = Some(now);
                self.effects.push(Effect::WriteLease { request: id, record, base });
            }
            Kind::Ask if self.asking.inflight == Some(id) => {
                request.sent = Some(now);
                let peers = request.peers.clone();
                if may_exempt {
                    request.diagnosis = Diagnosis::UnderWay;
                    self.effects.push(Effect::Diagnose { request: id, limit });
                }
                self.effects.push(Effect::AskPeers { request: id, record, peers, bounds });
            }
            Kind::Read | Kind::Write | Kind::Ask => {}
        }
    }

    /// The host file could not describe the request, or it is outdated, so it is not sent.
    fn dropped(&mut self, again: Mono, id: RequestId) {
        self.requests.remove(&id);
        if self.direct.inflight == Some(id) {
            self.direct.inflight = None;
            self.direct.due = again;
        }
        if self.asking.inflight == Some(id) {
            self.asking.inflight = None;
            self.asking.due = again;
        }
    }
}
