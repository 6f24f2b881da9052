//! One agent on a workbench: a clock in the hand, a disk that works or not, requests that wait for an answer.

use std::time::Duration;

use crate::fencing::agent::{
    Agent, Base, Effect, Event, HostFile, Lease, Me, Peer, RequestId, ResetSteps, Settings, WriteId, WriteResult,
};
use crate::fencing::juror::{AskerBounds, PeerAnswer};
use crate::fencing::record::{AgentRecord, BootId, FenceIntent, LeaseView, Terms, Watchdog};
use crate::fencing::timing::Tuning;
use crate::time::Mono;

/// `T` of [`settings`]: 3 x (2 + 1) + 1 + max(2, 1 + 2) = 13 s.
pub const T: Duration = Duration::from_secs(13);

pub fn settings() -> Settings {
    Settings {
        tuning: Tuning {
            api_check_interval: Duration::from_secs(2),
            api_server_timeout: Duration::from_secs(1),
            max_api_error_threshold: 3,
            peer_dial_timeout: Duration::from_secs(1),
            peer_request_timeout: Duration::from_secs(2),
        },
        min_peers: 1,
        generation: 1,
        software_reboot: true,
        watchdog: true,
        steps: ResetSteps::default(),
        diagnose: false,
        spread: false,
    }
}

pub fn boot(id: &str) -> BootId {
    BootId::new(id).unwrap()
}

pub fn me() -> Me {
    Me { node: "n0".into(), boot_id: boot("b1"), address: "10.0.0.1:1".into() }
}

pub fn peers(count: usize) -> Vec<Peer> {
    let peer =
        |n| Peer { node: format!("n{n}"), address: format!("10.0.0.{n}:1"), zone: String::new(), control_plane: false };
    (1..=count).map(peer).collect()
}

pub fn device() -> Watchdog {
    Watchdog { identity: "bench".into(), timeout_millis: 10_000, resets: true }
}

pub fn intent(boot_id: &str, terms: Terms) -> FenceIntent {
    FenceIntent { uid: "intent-1".into(), boot_id: boot(boot_id), terms, based_on_sequence: 1, owners: vec![] }
}

pub struct Bench {
    pub agent: Agent,
    pub now: Mono,
    /// Everything the agent wanted since the last look.
    pub wanted: Vec<Effect>,
    pub disk: Option<HostFile>,
    pub disk_works: bool,
    /// A disk that takes its time: these writes are not answered yet.
    pub slow_disk: Option<Vec<WriteId>>,
    /// What the feeder was told last.
    pub permit: Option<Mono>,
    pub feeding_ended: bool,
    pub version: u64,
}

impl Bench {
    pub fn new(settings: Settings, file: Option<HostFile>, now: Mono) -> Self {
        let agent = Agent::start(now, me(), settings, true, file.clone());
        Self {
            agent,
            now,
            wanted: Vec::new(),
            disk: file,
            disk_works: true,
            slow_disk: None,
            permit: None,
            feeding_ended: false,
            version: 100,
        }
    }

    pub fn event(&mut self, event: Event) {
        for effect in self.agent.on(self.now, event) {
            match effect.clone() {
                Effect::Permit(until) => self.permit = until,
                Effect::StopFeeding => self.feeding_ended = true,
                _ => {}
            }
            let write = match &effect {
                Effect::WriteHostFile { write, file } => Some((*write, file.clone())),
                _ => None,
            };
            self.wanted.push(effect);
            if let Some((write, file)) = write {
                if let Some(waiting) = &mut self.slow_disk {
                    waiting.push(write);
                    continue;
                }
                if self.disk_works {
                    self.disk = Some(*file);
                }
                self.event(Event::HostFileWritten { write, stored: self.disk_works });
            }
        }
    }

    /// Time passes, with a tick at every deadline on the way.
    pub fn pass(&mut self, length: Duration) {
        let end = self.now + length;
        for _ in 0..10_000 {
            let next = self.agent.next_deadline().unwrap_or(end).max(self.now);
            if next >= end {
                break;
            }
            self.now = next;
            self.event(Event::Tick);
            self.now = self.now + Duration::from_millis(1);
        }
        self.now = end;
        self.event(Event::Tick);
    }

    pub fn feeds(&self) -> bool {
        !self.feeding_ended && self.permit.is_some_and(|until| self.now < until)
    }

    pub fn forget(&mut self) {
        self.wanted.clear();
    }

    pub fn wants(&self, test: impl Fn(&Effect) -> bool) -> bool {
        self.wanted.iter().any(test)
    }

    /// The latest direct write since the last look.
    pub fn write(&mut self) -> (RequestId, AgentRecord, Base) {
        let found = self.wanted.iter().rev().find_map(|effect| match effect {
            Effect::WriteLease { request, record, base } => Some((*request, record.clone(), base.clone())),
            _ => None,
        });
        let found = found.unwrap_or_else(|| panic!("no write among {:#?}", self.wanted));
        self.forget();
        found
    }

    /// The latest question to peers since the last look.
    pub fn ask(&mut self) -> (RequestId, AgentRecord, Vec<Peer>, AskerBounds) {
        let found = self.wanted.iter().rev().find_map(|effect| match effect {
            Effect::AskPeers { request, record, peers, bounds } => {
                Some((*request, record.clone(), peers.clone(), *bounds))
            }
            _ => None,
        });
        let found = found.unwrap_or_else(|| panic!("no question among {:#?}", self.wanted));
        self.forget();
        found
    }

    pub fn lease(&mut self, record: Option<AgentRecord>, intent: Option<FenceIntent>) -> Lease {
        self.version += 1;
        Lease { version: self.version.to_string(), view: LeaseView { record, intent } }
    }

    pub fn stored(&mut self, request: RequestId, record: AgentRecord) {
        let lease = self.lease(Some(record), None);
        self.event(Event::WriteAnswer { request, result: WriteResult::Stored(lease) });
    }

    pub fn failed(&mut self, request: RequestId) {
        self.event(Event::WriteAnswer { request, result: WriteResult::Failed("cut".into()) });
    }

    pub fn said(&mut self, request: RequestId, node: &str, answer: PeerAnswer) {
        self.event(Event::PeerAnswer { request, node: node.into(), answer });
    }

    /// Reads that no lease exists, writes the first record without a claim, and has it confirmed.
    pub fn first_contact(&mut self) -> AgentRecord {
        self.event(Event::Tick);
        let read = self.wanted.iter().find_map(|effect| match effect {
            Effect::ReadLease { request } => Some(*request),
            _ => None,
        });
        if let Some(request) = read {
            self.event(Event::ReadAnswer { request, result: Ok(None) });
        }
        let (request, record, _) = self.write();
        self.stored(request, record.clone());
        record
    }

    /// An agent with a jury of `count`, armed, whose lease claims that it fences itself.
    pub fn claimed(settings: Settings, count: usize) -> Self {
        let mut bench = Self::new(settings, None, Mono(1_000_000));
        bench.event(Event::RosterChanged(peers(count)));
        bench.first_contact();
        if bench.wants(|effect| *effect == Effect::OpenWatchdog) {
            bench.event(Event::WatchdogOpened(Ok(device())));
        }
        let (request, record, _) = bench.write();
        bench.stored(request, record);
        bench.forget();
        bench
    }

    /// The API is gone: direct attempts fail until peers are asked. Returns the instant of the last success.
    pub fn lose_api(&mut self) {
        for _ in 0..1000 {
            if self.wants(|effect| matches!(effect, Effect::AskPeers { .. })) {
                return;
            }
            let next = self.agent.next_deadline().unwrap();
            self.now = next.max(self.now);
            self.event(Event::Tick);
        }
        panic!("peers were never asked");
    }
}
