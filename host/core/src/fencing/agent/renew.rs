//! The direct way: read when needed, write by compare-and-swap, observe what comes back (R1).

use std::time::Duration;

use super::types::{Base, Effect, Lease, Level, RequestId, WriteResult};
use super::{Agent, Kind, Sequence, Then};
use crate::time::Mono;

/// Conflicts that are retried at once; after so many in a row the agent takes a breath.
const QUICK_CONFLICTS: u32 = 4;
const BREATH: Duration = Duration::from_millis(300);
/// Without a host file it is not known what an earlier process of this boot sent: its records, still on their way
/// through slow peers, must not count as newer than ours.
const SEQUENCE_JUMP: u64 = 1 << 20;

/// What is known of the own Lease object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum KnownLease {
    /// Never read by this process.
    Unknown,
    /// It does not exist.
    Absent,
    /// Its latest known resource version, and the sequence number that this boot stored in it.
    At { version: String, sequence: Sequence },
}

impl KnownLease {
    /// What a write compares with, unless nothing is known.
    pub(super) fn base(&self) -> Option<Base> {
        match self {
            Self::Unknown => None,
            Self::Absent => Some(Base::Absent),
            Self::At { version, .. } => Some(Base::At(version.clone())),
        }
    }

    /// A watch may deliver versions older than an answer; resource versions of one object are compared as numbers, and
    /// a wrong guess costs one conflict, nothing else.
    fn update(&mut self, version: String, sequence: u64) {
        let number = |version: &str| version.parse::<u64>().ok();
        if let Self::At { version: known, .. } = self
            && let (Some(known), Some(new)) = (number(known), number(&version))
            && new < known
        {
            return;
        }
        *self = Self::At { version, sequence: Sequence(sequence) };
    }

    /// Whether a record with this sequence number would go back. The same rule as for relays: a lease that goes back
    /// would publish terms that the agent no longer counts as in force.
    pub(super) fn holds_newer_than(&self, record: u64) -> bool {
        matches!(self, Self::At { sequence, .. } if sequence.0 >= record)
    }
}

/// The direct attempts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Direct {
    pub(super) inflight: Option<RequestId>,
    deadline: Mono,
    pub(super) due: Mono,
    pub(super) failures: u32,
    conflicts: u32,
}

impl Direct {
    pub(super) fn new(now: Mono) -> Self {
        Self { inflight: None, deadline: now, due: now, failures: 0, conflicts: 0 }
    }

    pub(super) fn hurry(&mut self, now: Mono) {
        self.due = self.due.min(now);
    }

    pub(super) fn next_deadline(&self) -> Mono {
        if self.inflight.is_some() { self.deadline } else { self.due }
    }
}

impl Agent {
    pub(super) fn direct_step(&mut self, now: Mono) {
        if let Some(id) = self.direct.inflight {
            if now < self.direct.deadline {
                return;
            }
            // The request stays remembered: a late answer still counts, for this request.
            let limit = self.settings.tuning.api_server_timeout;
            self.direct_failed(now, id, &format!("no answer within {limit:?}"));
        }
        if now < self.direct.due || self.finished_stopping() {
            return;
        }
        self.direct.deadline = now + self.settings.tuning.api_server_timeout;
        if self.lease == KnownLease::Unknown {
            let id = self.remember(Kind::Read, None, Vec::new());
            self.direct.inflight = Some(id);
            self.effects.push(Effect::ReadLease { request: id });
            return;
        }
        let record = self.next_record(now);
        let id = self.remember(Kind::Write, Some(record), Vec::new());
        self.direct.inflight = Some(id);
        self.store(Then::Send(id));
    }

    pub(super) fn direct_failed(&mut self, now: Mono, id: RequestId, why: &str) {
        if self.direct.inflight != Some(id) {
            return;
        }
        self.direct.inflight = None;
        let threshold = self.settings.tuning.max_api_error_threshold.max(1);
        self.direct.failures = (self.direct.failures + 1).min(threshold);
        self.direct.due = now + self.spread(self.settings.tuning.api_check_interval);
        let failures = self.direct.failures;
        self.say(
            Level::Warn,
            format!("cannot renew the lease ({failures} of {threshold} before peers are asked): {why}"),
        );
    }

    pub(super) fn read_answered(&mut self, now: Mono, id: RequestId, result: Result<Option<Lease>, String>) {
        if self.requests.remove(&id).is_none() {
            return;
        }
        match result {
            Ok(lease) => {
                self.observe(now, lease);
                if self.direct.inflight == Some(id) {
                    self.direct.inflight = None;
                    self.direct.due = now;
                    self.acknowledge_soon(now);
                }
            }
            Err(why) => self.direct_failed(now, id, &why),
        }
    }

    pub(super) fn write_answered(&mut self, now: Mono, id: RequestId, result: WriteResult) {
        let request = self.requests.remove(&id);
        match result {
            WriteResult::Stored(lease) => {
                let stored = lease.view.record.clone();
                self.observe(now, Some(lease));
                let Some((record, sent)) = request.and_then(|request| request.record.zip(request.sent)) else { return };
                if stored.as_ref() != Some(&record) {
                    self.direct_failed(now, id, "the API answered with another record than was written");
                    return;
                }
                if self.direct.inflight == Some(id) {
                    self.direct.inflight = None;
                }
                if record.acknowledged.is_some() {
                    self.acknowledged(now);
                } else if self.fence.is_none() {
                    self.direct.conflicts = 0;
                    self.life.confirm(record.sequence, &record.terms);
                    self.life.extend(sent);
                    self.renewed(now, id, sent);
                    if record.disarmed {
                        self.published_disarmed(now);
                    }
                }
            }
            WriteResult::Conflict(lease) => {
                self.observe(now, lease);
                if self.direct.inflight == Some(id) {
                    self.direct.inflight = None;
                    self.direct.conflicts += 1;
                    let quick = !self.direct.conflicts.is_multiple_of(QUICK_CONFLICTS);
                    self.direct.due = if quick { now } else { now + BREATH };
                    if quick {
                        self.acknowledge_soon(now);
                    }
                }
            }
            WriteResult::Failed(why) => {
                if let Some(request) = request {
                    // "Failed" may still be "stored, and the answer was lost", but this answer is used up.
                    drop(request);
                    self.direct_failed(now, id, &why);
                }
            }
        }
    }

    /// R1 or R2 for this request, first sent at `sent`: the life is already extended.
    pub(super) fn renewed(&mut self, now: Mono, id: RequestId, sent: Mono) {
        if self.direct.failures > 0 {
            self.say(Level::Info, "the lease is renewed again");
        }
        self.contact(now);
        self.last_renewal = self.last_renewal.max(Some(sent));
        self.effects.push(Effect::Renewed { sent });
        if self.lost_time.is_some_and(|fresh| id >= fresh) {
            self.lost_time = None;
            self.say(Level::Info, "fresh contact after lost time: the watchdog is fed again");
        }
        if !self.contacted {
            self.store(Then::Contacted);
        }
        self.publish_if_changed(now);
    }

    /// Any of R1 to R3: nothing has to be asked before another full threshold, unless a juror wakes this node.
    pub(super) fn contact(&mut self, now: Mono) {
        self.direct.failures = 0;
        self.asking.over();
        self.direct.due = now + self.spread(self.settings.tuning.api_check_interval);
    }

    /// The own lease as it is in the API: by answer, read, watch or conflict.
    pub(super) fn observe(&mut self, now: Mono, lease: Option<Lease>) {
        let Some(lease) = lease else {
            self.lease = KnownLease::Absent;
            return;
        };
        let own = lease.view.record.as_ref().filter(|record| record.boot_id == self.me.boot_id);
        self.lease.update(lease.version, own.map_or(0, |record| record.sequence));
        if let Some(intent) = lease.view.intent_for(&self.me.boot_id) {
            let uid = intent.uid.clone();
            self.fenced_by_intent(now, uid, None);
        }
        let Some(record) = lease.view.record.filter(|record| record.boot_id == self.me.boot_id) else { return };
        self.sequence.0 = self.sequence.0.max(record.sequence);
        if !std::mem::replace(&mut self.sequence_known, true) {
            self.sequence.0 += SEQUENCE_JUMP;
        }
        if let Some(uid) = record.acknowledged {
            // Only possible when the host file was lost: what this boot acknowledged stays true.
            self.fenced_by_intent(now, uid, None);
        } else if self.life.knows(&record.terms) {
            // It publishes these terms; it answers no request, so it extends nothing.
            self.life.confirm(record.sequence, &record.terms);
        }
    }
}
