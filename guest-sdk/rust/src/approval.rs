//! Capability `approval`: ask people.

use std::time::Duration;

pub use crate::__bindings::palisade::remediation::approval::{Answer, AnswerState, Person, Question};

use crate::fencing::Proof;
use crate::{Refusal, host};

/// Asks, once for the life of the remediation for each question. So many different persons have to say yes.
pub fn ask(
    key: &str,
    question: Question,
    message: &str,
    persons: u32,
    expires_after: Option<Duration>,
) -> Result<(), Refusal> {
    let expires_after = expires_after.map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
    host::ask(key, question, message, persons, expires_after)
}

/// The answer so far.
pub fn answer(question: Question) -> Result<Answer, Refusal> {
    host::answer(question)
}

/// Proof that people confirmed the isolation.
pub fn proof() -> Result<Option<Proof>, Refusal> {
    Ok(host::approval_proof()?.map(Proof))
}
