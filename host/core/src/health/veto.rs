//! A person keeps remediation away from a node, or from all nodes of a policy, for a while: who, why and until when.
//!
//! One annotation on the Node or on the policy, `palisade.dev/veto`, in the form
//! `owner=ann@example.com; until=2026-11-22T23:00:00Z; reason=disk is being replaced`. The order does not matter;
//! `until=never` has no end. A veto that cannot be understood is in force until it is corrected or removed: whoever wrote
//! it wanted something left alone, and a typing error must not turn that into its opposite. It is reported as a warning.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

/// The form, for messages.
const FORM: &str = "owner=WHO; until=2026-01-31T18:00:00Z; reason=WHY (until=never has no end)";

/// A veto.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Veto {
    /// Who asked.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it ends; `None`: never.
    pub until: Option<Timestamp>,
}

/// A text that is no veto.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VetoError {
    /// A part without a value.
    #[error("{0:?} is not of the form key=value; write {FORM}")]
    NoValue(String),
    /// A part that nobody knows.
    #[error("{0:?} is not known; write {FORM}")]
    UnknownKey(String),
    /// A part that occurs twice.
    #[error("{0} is given twice; write {FORM}")]
    Twice(&'static str),
    /// A part that is missing.
    #[error("{0} is missing; write {FORM}")]
    Missing(&'static str),
    /// No time.
    #[error("until is {0:?}, which is neither a time with its offset (RFC 3339) nor never; write {FORM}")]
    Time(String),
}

/// How an annotation stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It holds.
    InForce(Veto),
    /// It is over and counts no more.
    Expired(Veto),
    /// It cannot be understood, and holds.
    Malformed(VetoError),
}

impl fmt::Display for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.owner, self.reason)
    }
}

/// Reads the annotation.
pub fn parse(text: &str) -> Result<Veto, VetoError> {
    let (mut owner, mut reason, mut until) = (None, None, None);
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or_else(|| VetoError::NoValue(part.to_owned()))?;
        let value = value.trim();
        if value.is_empty() {
            return Err(VetoError::NoValue(part.to_owned()));
        }
        let (name, slot) = match key.trim() {
            "owner" => ("owner", &mut owner),
            "reason" => ("reason", &mut reason),
            "until" => ("until", &mut until),
            other => return Err(VetoError::UnknownKey(other.to_owned())),
        };
        if slot.replace(value.to_owned()).is_some() {
            return Err(VetoError::Twice(name));
        }
    }
    let until = until.ok_or(VetoError::Missing("until"))?;
    let until = match until.as_str() {
        "never" => None,
        time => Some(time.parse().map_err(|_| VetoError::Time(time.to_owned()))?),
    };
    Ok(Veto {
        owner: owner.ok_or(VetoError::Missing("owner"))?,
        reason: reason.ok_or(VetoError::Missing("reason"))?,
        until,
    })
}

/// How an annotation stands.
pub fn standing(text: &str, now: Timestamp) -> Standing {
    match parse(text) {
        Ok(veto) if veto.until.is_some_and(|until| until <= now) => Standing::Expired(veto),
        Ok(veto) => Standing::InForce(veto),
        Err(error) => Standing::Malformed(error),
    }
}

/// How long a veto lasts from now; `None`: until somebody removes it.
pub fn left(veto: &Veto, now: Timestamp) -> Option<Duration> {
    veto.until.map(|until| Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_veto_holds_until_it_ends() {
        let text = "owner=ann@example.com; until=1970-01-01T00:01:40Z; reason=disk = new; ";
        let veto = parse(text).unwrap();
        assert_eq!((veto.owner.as_str(), veto.reason.as_str()), ("ann@example.com", "disk = new"));
        assert_eq!(standing(text, at(99)), Standing::InForce(veto.clone()));
        assert_eq!(left(&veto, at(40)), Some(Duration::from_mins(1)));
        assert_eq!(standing(text, at(100)), Standing::Expired(veto));
    }

    #[test]
    fn order_and_offset_do_not_matter_and_never_has_no_end() {
        assert_eq!(parse("reason=r;owner=o;until=1970-01-01T01:00:00+01:00").unwrap().until, Some(at(0)));
        let never = parse("until=never;owner=o;reason=r").unwrap();
        assert_eq!((never.until, left(&never, at(5))), (None, None));
    }

    #[test]
    fn what_cannot_be_understood_holds_and_says_what_would_be_right() {
        for (text, fragment) in [
            ("", "until is missing"),
            ("true", "\"true\" is not of the form key=value"),
            ("owner=;until=never;reason=r", "\"owner=\" is not of the form"),
            ("until=never;reason=r", "owner is missing"),
            ("owner=o;until=never", "reason is missing"),
            ("owner=o;owner=p;until=never;reason=r", "owner is given twice"),
            ("owner=o;until=tomorrow;reason=r", "until is \"tomorrow\""),
            ("owner=o;until=2026-01-31T18:00:00;reason=r", "which is neither a time with its offset"),
            ("owner=o;expiry=never;reason=r", "\"expiry\" is not known"),
        ] {
            let Standing::Malformed(error) = standing(text, at(0)) else { panic!("{text:?} is taken for a veto") };
            let message = error.to_string();
            assert!(message.contains(fragment) && message.contains("write owner=WHO"), "{text:?}: {message}");
        }
    }
}
