//! The juror: what an agent says about *other* nodes.
//!
//! A juror does two things for a node that lost the API: it carries the node's signed record to the API (rule R2), or
//! it confirms that nobody can write there (`NoApi`, rule R3). And it does one thing for the controller: it promises to
//! answer "an intent exists" from now on. Promises and `NoApi` exclude each other, so both are decided here, under one
//! lock: recorded first, sent after.
//!
//! Both live in the memory of a process, so a process that started less than the asker's `T + 2 Wd + margin` ago gives
//! neither: its earlier life may have promised, or have said `NoApi`, and it would not know. That is the limit of "a
//! whole-API outage reboots nobody": it is kept to every node of whose jury a strict majority has run for that long
//! when the outage begins (defaults with a watchdog of 10 s: 93.4 s). After all agents started together, and for a jury
//! of two whenever one of them has restarted, an outage within that time may end nodes; never is a workload released
//! for it without a proof. The model's configurations `calm-fleet`, `calm-fleet-restart`, `calm-fleet-young` and
//! `calm-fleet-pair` show both sides, its mutant `young-juror-answers` why it cannot be shorter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::record::{AgentRecord, BootId, LeaseView};
use super::timing;
use crate::time::Mono;

/// `NoApi` answers older than this bound no life any more (the longest sensible `T + 2 Wd` is minutes).
const FORGET_NO_API: Duration = Duration::from_hours(24);

/// What a peer says to a node that asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerAnswer {
    /// The record of this request is stored, over an object of the same boot without an intent for it.
    Relayed,
    /// There is an intent for the boot of the record.
    IntentExists {
        /// UID of the intent.
        uid: String,
        /// The boot it is for.
        boot_id: BootId,
    },
    /// The juror's own last confirmed renewal is older than its limit.
    NoApi,
    /// The peer answered, proved by its certificate, and cannot tell. No majority counts it; for rule R4 it shows that
    /// the peer is there.
    Undecided {
        /// For people.
        why: String,
    },
    /// No answer, or none that can be trusted. Counts for nothing.
    Unknown {
        /// For people.
        why: String,
    },
}

/// How long the asking node may live, by what it sent since its last confirmed lease. Never the juror's own values: a
/// juror with a small `T` would forget a `NoApi` that a node with a large one still lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AskerBounds {
    /// Largest `T`.
    pub largest_time_to_live: Duration,
    /// Largest `2 Wd`.
    pub largest_reset_bound: Duration,
    /// Smallest `T`.
    pub smallest_time_to_live: Duration,
}

/// What the lease as just read allows a relaying peer to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Relay {
    /// Store the record by compare-and-swap on the version read.
    Store,
    /// Another peer stored this very record.
    AlreadyStored,
    /// There is an intent for this boot: nothing may extend its life.
    IntentExists {
        /// UID of the intent.
        uid: String,
    },
    /// It must not be stored.
    Refuse(&'static str),
}

/// How the attempt to relay ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// The record is in the lease.
    Stored,
    /// The lease carries an intent for the boot.
    IntentExists {
        /// UID of the intent.
        uid: String,
    },
    /// The lease does not allow it.
    Refused(String),
    /// The API did not do it in time: unreachable, or it refuses writes.
    Failed(String),
}

/// Decides by rule R2 whether `record` may be stored over the lease as read. `None`: there is no lease.
///
/// A relay never changes the boot and never goes back. An acknowledging record may be stored although the intent
/// exists; it never extends a life.
pub fn judge_relay(record: &AgentRecord, lease: Option<&LeaseView>) -> Relay {
    let Some(stored) = lease.and_then(|lease| lease.record.as_ref()) else {
        return Relay::Refuse("the lease holds no record yet, and a relay never begins a boot");
    };
    if stored.boot_id != record.boot_id {
        return Relay::Refuse("the lease names another boot, and a relay never changes it");
    }
    let intent = lease.and_then(|lease| lease.intent_for(&record.boot_id));
    if record.acknowledged.is_none() {
        if let Some(intent) = intent {
            return Relay::IntentExists { uid: intent.uid.clone() };
        }
        if stored.acknowledged.is_some() {
            return Relay::Refuse("this boot acknowledged its end; nothing takes that back");
        }
    }
    if stored == record {
        return Relay::AlreadyStored;
    }
    if stored.sequence >= record.sequence {
        return Relay::Refuse("the lease holds a newer record");
    }
    Relay::Store
}

/// Own timing of the juror's agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JurorTiming {
    /// Its own `T`.
    pub time_to_live: Duration,
    /// One round: dialling and one request.
    pub round: Duration,
}

impl JurorTiming {
    /// How old the own last confirmed renewal must be for `NoApi`: smaller than the smallest `T` minus one round. Half
    /// of it, so that a node that asks in its last round before `L` finds every juror past its limit.
    fn limit(&self, asker: &AskerBounds) -> Duration {
        self.time_to_live.min(asker.smallest_time_to_live).saturating_sub(self.round) / 2
    }
}

/// Why a promise is not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromiseRefused {
    /// A `NoApi` of an earlier life of this process could still keep the boot alive.
    #[error("this agent's process is too young: it cannot know what it answered before; ask again in {0:?}")]
    TooYoung(Duration),
}

type Subject = (String, BootId);

/// Memory of one juror process. Lost with the process: hence "too young".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Juror {
    started: Mono,
    renewed: Option<Mono>,
    timing: JurorTiming,
    /// Intent UID to the instant of the promise.
    promises: BTreeMap<Subject, BTreeMap<String, Mono>>,
    no_api: BTreeMap<Subject, Mono>,
}

impl Juror {
    /// A juror whose process started now. A first start counts like a restart.
    pub fn new(started: Mono, timing: JurorTiming) -> Self {
        Self { started, renewed: None, timing, promises: BTreeMap::new(), no_api: BTreeMap::new() }
    }

    /// New timing by configuration.
    pub fn retime(&mut self, timing: JurorTiming) {
        self.timing = timing;
    }

    /// The juror's own lease was confirmed; `sent` is the instant at which that renewal was first sent.
    pub fn renewed(&mut self, sent: Mono) {
        self.renewed = self.renewed.max(Some(sent));
    }

    /// The controller asks for a promise. Given: how long ago the last `NoApi` to this boot was.
    ///
    /// `life_bound` is `T + 2 Wd + margin` of the terms which the intent carries.
    pub fn promise(
        &mut self,
        now: Mono,
        node: &str,
        boot: &BootId,
        intent_uid: &str,
        life_bound: Duration,
    ) -> Result<Option<Duration>, PromiseRefused> {
        let age = now.since(self.started);
        if age < life_bound {
            return Err(PromiseRefused::TooYoung(life_bound.saturating_sub(age)));
        }
        let subject = (node.to_owned(), boot.clone());
        let last_no_api = self.no_api.get(&subject).map(|said| now.since(*said));
        // Asked again means promised again: only a read newer than the *last* asking may release it.
        self.promises.entry(subject).or_default().insert(intent_uid.to_owned(), now);
        Ok(last_no_api)
    }

    /// A consistent read of the node's lease, begun at `begun`, showed this (`None`: no lease). Promises given before
    /// the read began, whose intent the read shows gone, are dropped. Nothing else ever drops a promise.
    pub fn saw(&mut self, node: &str, begun: Mono, lease: Option<&LeaseView>) {
        let standing = lease.and_then(|lease| lease.intent.as_ref()).map(|intent| intent.uid.as_str());
        self.promises.retain(|(subject, _), promises| {
            if subject == node {
                promises.retain(|uid, promised| *promised >= begun || standing == Some(uid));
            }
            !promises.is_empty()
        });
    }

    /// The nodes whose boots it holds promises for. As long as there are any, their leases have to be read again and
    /// again: a promise that outlives its intent would end a healthy boot in the next outage.
    pub fn promised_nodes(&self) -> BTreeSet<String> {
        self.promises.keys().map(|(node, _)| node.clone()).collect()
    }

    /// The intent that this juror promised to tell of, if any.
    pub fn promised(&self, node: &str, boot: &BootId) -> Option<&str> {
        let promises = self.promises.get(&(node.to_owned(), boot.clone()))?;
        promises.keys().next().map(String::as_str)
    }

    /// The final word to a node that asked, after the attempt to relay. To be called and recorded under the lock that
    /// guards the promises, before anything is sent.
    pub fn answer(&mut self, now: Mono, record: &AgentRecord, attempt: Attempt, asker: &AskerBounds) -> PeerAnswer {
        let boot_id = record.boot_id.clone();
        let acknowledges = record.acknowledged.is_some();
        if !acknowledges && let Some(uid) = self.promised(&record.node, &boot_id) {
            return PeerAnswer::IntentExists { uid: uid.to_owned(), boot_id };
        }
        match attempt {
            Attempt::Stored => PeerAnswer::Relayed,
            Attempt::IntentExists { uid } => PeerAnswer::IntentExists { uid, boot_id },
            Attempt::Refused(why) => PeerAnswer::Undecided { why },
            Attempt::Failed(why) if acknowledges => PeerAnswer::Undecided { why },
            Attempt::Failed(why) => self.no_api(now, record, &why, asker),
        }
    }

    fn no_api(&mut self, now: Mono, record: &AgentRecord, why: &str, asker: &AskerBounds) -> PeerAnswer {
        let age = now.since(self.started);
        if age < timing::life_bound(asker.largest_time_to_live, asker.largest_reset_bound) {
            let why = format!("this juror's process is too young to say more ({why})");
            return PeerAnswer::Undecided { why };
        }
        let silence = self.renewed.map_or(age, |renewed| now.since(renewed));
        let limit = self.timing.limit(asker);
        if silence <= limit {
            let why = format!("relay failed ({why}), but this juror renewed its own lease {silence:?} ago");
            return PeerAnswer::Undecided { why };
        }
        self.no_api.retain(|_, said| now.since(*said) < FORGET_NO_API);
        self.no_api.insert((record.node.clone(), record.boot_id.clone()), now);
        PeerAnswer::NoApi
    }
}

#[cfg(test)]
mod promise_tests;
#[cfg(test)]
mod tests;
