//! A world of one node, one lease and one prover, driven by hand.

use std::time::Duration;

use super::super::*;
use crate::fencing::proof::{Grade, ProofKind};
use crate::fencing::record::{AgentRecord, BootId, Claims, Terms, Watchdog};

pub const T: u64 = 10_000;
pub const WD: u64 = 5_000;

pub fn boot(name: &str) -> BootId {
    BootId::new(name).unwrap()
}

pub fn terms() -> Terms {
    Terms {
        time_to_live_millis: T,
        watchdog: Some(Watchdog { identity: "iTCO".into(), timeout_millis: WD, resets: true }),
        reset_steps_millis: 3_000,
        jury: vec!["n2".into(), "n3".into(), "n4".into()],
        min_peers: 1,
        claims: Claims { self_fences: true, may_exempt: false },
    }
}

/// A world of one node, one lease and one prover, driven by hand.
pub struct World {
    pub prover: Prover,
    pub now: Mono,
    pub node_boot: Option<BootId>,
    pub heartbeat: (String, Mono),
    pub kubelet_lease: Option<Beat>,
    pub after_agent: Option<Duration>,
    pub lease: Option<LeaseRead>,
    pub version: u64,
    pub uids: u64,
    pub effects: Vec<Effect>,
    pub asked_write: Option<WriteIntent>,
}

impl World {
    pub fn new(terms: Terms) -> Self {
        Self::with(
            terms,
            Settings { node: "n1".into(), owner: "snr-1".into(), require: Grade::Assumed, floor: Duration::ZERO },
        )
    }

    pub fn with(terms: Terms, settings: Settings) -> Self {
        let now = Mono(1_000_000);
        let record = AgentRecord {
            node: "n1".into(),
            boot_id: boot("b1"),
            sequence: 7,
            address: "127.0.1.1:1".into(),
            terms,
            generation: 1,
            acknowledged: None,
            disarmed: false,
        };
        Self {
            prover: Prover::new(settings, now),
            now,
            node_boot: Some(boot("b1")),
            heartbeat: ("h1".into(), now),
            kubelet_lease: Some(Beat { token: "l1".into(), first_seen: now }),
            after_agent: Some(Duration::ZERO),
            lease: Some(LeaseRead {
                uid: "lease".into(),
                version: "1".into(),
                record: Some(record),
                unverified: None,
                intent: None,
                first_seen: now,
                intent_first_seen: None,
            }),
            version: 1,
            uids: 0,
            effects: vec![],
            asked_write: None,
        }
    }

    pub fn on(&mut self, event: Event) {
        let effects = self.prover.on(event, self.now);
        self.effects.extend(effects);
    }

    pub fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.on(Event::Tick);
    }

    pub fn snapshot(&mut self) -> Snapshot {
        self.uids += 1;
        Snapshot {
            begun: self.now,
            node: Some(NodeRead {
                uid: "node".into(),
                boot: self.node_boot.clone(),
                heartbeat: Some(Heartbeat {
                    status: Some(Beat { token: self.heartbeat.0.clone(), first_seen: self.heartbeat.1 }),
                    lease: self.kubelet_lease.clone(),
                    after_agent: self.after_agent,
                }),
            }),
            lease: self.lease.clone(),
            fresh_uid: format!("intent-{}", self.uids),
        }
    }

    pub fn read(&mut self) {
        let snapshot = self.snapshot();
        self.on(Event::Read(Box::new(snapshot)));
    }

    /// Changes the lease: a new version, first seen now.
    pub fn change_lease(&mut self, change: impl FnOnce(&mut LeaseRead)) {
        self.version += 1;
        let (version, now) = (self.version, self.now);
        let lease = self.lease.as_mut().unwrap();
        change(lease);
        lease.version = version.to_string();
        lease.first_seen = now;
    }

    pub fn change_record(&mut self, change: impl FnOnce(&mut AgentRecord)) {
        self.change_lease(|lease| change(lease.record.as_mut().unwrap()));
    }

    /// The API's side of a compare-and-swap.
    pub fn store(&mut self) -> WriteOutcome {
        let Some(write) = self.pending_write() else { panic!("no write was asked for") };
        let lease = self.lease.clone().unwrap();
        if lease.version != write.lease_version || lease.uid != write.lease_uid {
            return WriteOutcome::Conflict;
        }
        self.change_lease(|lease| {
            lease.intent = Some(write.intent);
            lease.intent_first_seen = Some(write.counted_from);
        });
        WriteOutcome::Stored
    }

    pub fn pending_write(&self) -> Option<WriteIntent> {
        self.effects
            .iter()
            .rev()
            .find_map(|effect| match effect {
                Effect::WriteIntent(write) => Some((**write).clone()),
                _ => None,
            })
            .or_else(|| self.asked_write.clone())
    }

    /// Steps 1 to 3.
    pub fn intended(mut self) -> Self {
        self.on(Event::Tick);
        self.on(Event::Marked);
        self.read();
        let outcome = self.store();
        self.on(Event::IntentWritten(outcome));
        self
    }

    pub fn promise(&mut self, juror: &str, asked: Mono, no_api_age: Option<u64>) {
        let uid = self.prover.intent().unwrap().uid.clone();
        self.on(Event::PromiseAnswer {
            intent_uid: uid,
            juror: juror.into(),
            asked,
            answer: JurorAnswer::Promised { no_api_age: no_api_age.map(Duration::from_millis) },
        });
    }

    pub fn asked(&self) -> Vec<Vec<String>> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::AskPromises { jurors, .. } => Some(jurors.clone()),
                _ => None,
            })
            .collect()
    }

    /// Passes time in small steps with reads until a proof or a limit.
    pub fn run(&mut self, millis: u64) {
        for _ in 0..millis / 100 {
            self.pass(100);
            self.read();
        }
    }

    /// Passes time as a driver does that reads and marks only when it is asked to.
    pub fn idle(&mut self, millis: u64) {
        for _ in 0..millis / 100 {
            let known = self.effects.len();
            self.pass(100);
            let asked = self.effects.split_off(known);
            let (mark, read) = (
                asked.iter().any(|effect| matches!(effect, Effect::Mark)),
                asked.iter().any(|effect| matches!(effect, Effect::Read)),
            );
            self.effects.extend(asked);
            if mark {
                self.on(Event::Marked);
            }
            if read || mark {
                self.read();
            }
        }
    }

    pub fn count(&self, which: impl Fn(&Effect) -> bool) -> usize {
        self.effects.iter().filter(|effect| which(effect)).count()
    }

    pub fn kind(&self) -> Option<ProofKind> {
        self.prover.proof().map(|proof| proof.kind)
    }
}

pub fn bound() -> u64 {
    u64::try_from(terms().life_bound().as_millis()).unwrap()
}
