//! The messages in plain Rust types: lengths instead of milliseconds, enums instead of optional fields.

use std::time::Duration;

use palisade_core::time::millis;

use crate::proto;

/// A node asks a peer to store its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The exact annotation text that was signed.
    pub record: String,
    /// Base64 signature.
    pub signature: String,
    /// PEM certificate of the asking node.
    pub certificate: String,
    /// Largest time to live the node sent since its last confirmed lease.
    pub largest_time_to_live: Duration,
    /// Largest reset bound (`2 Wd`) the node sent since its last confirmed lease.
    pub largest_reset_bound: Duration,
    /// Smallest time to live the node sent since its last confirmed lease.
    pub smallest_time_to_live: Duration,
}

/// What a peer answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskAnswer {
    /// The record is stored over an object of the same boot without an intent for it (R2).
    Relayed,
    /// There is an intent for the boot of the record.
    IntentExists {
        /// UID of the intent.
        intent_uid: String,
        /// The boot it is for.
        boot_id: String,
    },
    /// The juror's own last confirmed renewal is older than its limit (R3).
    NoApi,
    /// Counts for nothing.
    Unknown {
        /// For people.
        why: String,
    },
}

/// The controller asks a juror to answer "an intent exists" from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromiseRequest {
    /// UID of the intent.
    pub intent_uid: String,
    /// The node it is for.
    pub node: String,
    /// The boot it is for.
    pub boot_id: String,
    /// `T` of the terms that the intent carries.
    pub time_to_live: Duration,
    /// `2 Wd` (or the reset steps) of the terms that the intent carries: `Terms::reset_bound`.
    pub reset_bound: Duration,
    /// `host:port` of the node's agent, so that the juror can wake it; empty: it is not woken. Proves nothing.
    pub node_address: String,
}

/// What the juror answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromiseAnswer {
    /// From now on this juror answers "an intent exists".
    Promised {
        /// How long before the answer it last said `NoApi` to this boot. The instant on the asker's own clock is at
        /// the latest *the arrival of the answer minus this age*.
        last_no_api_age: Option<Duration>,
    },
    /// Not promised; ask again later.
    Refused {
        /// For people: too young, another name, …
        why: String,
    },
}

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusAnswer {
    /// Node name.
    pub node: String,
    /// Its boot.
    pub boot_id: String,
    /// It stopped feeding for good in this boot.
    pub fenced: bool,
    /// What is left of its right to live.
    pub remaining_life: Option<Duration>,
    /// Age of its last confirmed renewal.
    pub last_renewal_age: Option<Duration>,
    /// One line about the watchdog.
    pub watchdog: String,
    /// Jury of the last confirmed lease.
    pub jury: Vec<String>,
    /// Age of the process.
    pub process_age: Duration,
}

impl From<Ask> for proto::AskRequest {
    fn from(ask: Ask) -> Self {
        Self {
            record: ask.record,
            signature: ask.signature,
            certificate: ask.certificate,
            largest_time_to_live_millis: millis(ask.largest_time_to_live),
            largest_reset_bound_millis: millis(ask.largest_reset_bound),
            smallest_time_to_live_millis: millis(ask.smallest_time_to_live),
        }
    }
}

impl From<proto::AskRequest> for Ask {
    fn from(ask: proto::AskRequest) -> Self {
        Self {
            record: ask.record,
            signature: ask.signature,
            certificate: ask.certificate,
            largest_time_to_live: Duration::from_millis(ask.largest_time_to_live_millis),
            largest_reset_bound: Duration::from_millis(ask.largest_reset_bound_millis),
            smallest_time_to_live: Duration::from_millis(ask.smallest_time_to_live_millis),
        }
    }
}

impl From<AskAnswer> for proto::AskAnswer {
    fn from(answer: AskAnswer) -> Self {
        use proto::ask_answer::Answer;
        let answer = match answer {
            AskAnswer::Relayed => Answer::Relayed(proto::Relayed {}),
            AskAnswer::IntentExists { intent_uid, boot_id } => {
                Answer::IntentExists(proto::IntentExists { intent_uid, boot_id })
            }
            AskAnswer::NoApi => Answer::NoApi(proto::NoApi {}),
            AskAnswer::Unknown { why } => Answer::Unknown(proto::Unknown { why }),
        };
        Self { answer: Some(answer) }
    }
}

impl From<proto::AskAnswer> for AskAnswer {
    fn from(answer: proto::AskAnswer) -> Self {
        use proto::ask_answer::Answer;
        match answer.answer {
            Some(Answer::Relayed(_)) => Self::Relayed,
            Some(Answer::IntentExists(intent)) => {
                Self::IntentExists { intent_uid: intent.intent_uid, boot_id: intent.boot_id }
            }
            Some(Answer::NoApi(_)) => Self::NoApi,
            Some(Answer::Unknown(unknown)) => Self::Unknown { why: unknown.why },
            None => Self::Unknown { why: "the answer is of a newer kind".into() },
        }
    }
}

impl From<PromiseRequest> for proto::PromiseRequest {
    fn from(request: PromiseRequest) -> Self {
        Self {
            intent_uid: request.intent_uid,
            node: request.node,
            boot_id: request.boot_id,
            time_to_live_millis: millis(request.time_to_live),
            reset_bound_millis: millis(request.reset_bound),
            node_address: request.node_address,
        }
    }
}

impl From<proto::PromiseRequest> for PromiseRequest {
    fn from(request: proto::PromiseRequest) -> Self {
        Self {
            intent_uid: request.intent_uid,
            node: request.node,
            boot_id: request.boot_id,
            time_to_live: Duration::from_millis(request.time_to_live_millis),
            reset_bound: Duration::from_millis(request.reset_bound_millis),
            node_address: request.node_address,
        }
    }
}

impl From<PromiseAnswer> for proto::PromiseAnswer {
    fn from(answer: PromiseAnswer) -> Self {
        use proto::promise_answer::Answer;
        let answer = match answer {
            PromiseAnswer::Promised { last_no_api_age } => {
                Answer::Promised(proto::Promised { last_no_api_age_millis: last_no_api_age.map(millis) })
            }
            PromiseAnswer::Refused { why } => Answer::Refused(proto::Refused { why }),
        };
        Self { answer: Some(answer) }
    }
}

impl From<proto::PromiseAnswer> for PromiseAnswer {
    fn from(answer: proto::PromiseAnswer) -> Self {
        use proto::promise_answer::Answer;
        match answer.answer {
            Some(Answer::Promised(promised)) => {
                Self::Promised { last_no_api_age: promised.last_no_api_age_millis.map(Duration::from_millis) }
            }
            Some(Answer::Refused(refused)) => Self::Refused { why: refused.why },
            None => Self::Refused { why: "the answer is of a newer kind".into() },
        }
    }
}

impl From<StatusAnswer> for proto::StatusAnswer {
    fn from(status: StatusAnswer) -> Self {
        Self {
            node: status.node,
            boot_id: status.boot_id,
            fenced: status.fenced,
            remaining_life_millis: status.remaining_life.map(millis),
            last_renewal_age_millis: status.last_renewal_age.map(millis),
            watchdog: status.watchdog,
            jury: status.jury,
            process_age_millis: millis(status.process_age),
        }
    }
}

impl From<proto::StatusAnswer> for StatusAnswer {
    fn from(status: proto::StatusAnswer) -> Self {
        Self {
            node: status.node,
            boot_id: status.boot_id,
            fenced: status.fenced,
            remaining_life: status.remaining_life_millis.map(Duration::from_millis),
            last_renewal_age: status.last_renewal_age_millis.map(Duration::from_millis),
            watchdog: status.watchdog,
            jury: status.jury,
            process_age: Duration::from_millis(status.process_age_millis),
        }
    }
}
