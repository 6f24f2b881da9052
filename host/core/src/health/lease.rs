//! The lease of a node, by which everybody who takes a node down keeps the others off: node maintenance, other
//! policies, other operators.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use palisade_api::keys::node_health_check::HOLDER_PREFIX;

/// What a step without a time limit asks for, and how long after that its lease is renewed at the latest.
pub const CLASSIC: Duration = Duration::from_mins(10);

/// Added to the time of a step, so that the lease outlives the moment in which the next step takes over.
pub const BUFFER: Duration = Duration::from_mins(1);

/// The lease as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeLease {
    /// Who holds it; empty: nobody.
    pub holder: String,
    /// When the holder last said that it still does.
    pub renewed: Option<Timestamp>,
    /// How long that holds.
    pub duration: Option<Duration>,
    /// Whether it says when it was acquired.
    pub has_acquired: bool,
    /// How often it changed hands.
    pub transitions: i32,
    /// Version of the object, for a write that must not overwrite another.
    pub version: String,
    /// UID of the object.
    pub uid: String,
}

/// What a policy that wants a node has to do about its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// There is none: make it.
    Create,
    /// It is ours and lasts.
    Keep,
    /// It is ours and would end too early: renew it.
    Renew,
    /// Somebody else's, but over, released or unreadable: take it over.
    TakeOver,
    /// Somebody else's.
    Held {
        /// Whose.
        holder: String,
        /// For how long, unless it is renewed.
        left: Duration,
    },
}

/// Name of the lease of a node.
pub fn lease_name(node: &str) -> String {
    format!("node-{}", node.to_lowercase())
}

/// Who a policy is among the holders.
pub fn holder(policy: &str) -> String {
    format!("{HOLDER_PREFIX}{policy}")
}

/// What the policy does about the lease of a node that it wants for `wanted`.
pub fn claim(lease: Option<&NodeLease>, policy: &str, wanted: Duration, now: Timestamp) -> Claim {
    claim_as(lease, &holder(policy), wanted, now)
}

/// The same for any holder.
pub fn claim_as(lease: Option<&NodeLease>, holder: &str, wanted: Duration, now: Timestamp) -> Claim {
    let Some(lease) = lease else { return Claim::Create };
    let left = lease.left(now);
    if lease.holder == holder {
        return if left.is_some_and(|left| left >= wanted) { Claim::Keep } else { Claim::Renew };
    }
    match left {
        Some(left) if !lease.holder.is_empty() => Claim::Held { holder: lease.holder.clone(), left },
        _ => Claim::TakeOver,
    }
}

impl NodeLease {
    /// Whether the policy holds it.
    pub fn is_of(&self, policy: &str) -> bool {
        self.holder == holder(policy)
    }

    /// What is left of it; `None` if it is over or does not say. A stamp ahead of our clock counts as long as the lease
    /// could have been renewed by a clock that is ahead by less than its length.
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        let (renewed, duration) = (self.renewed?, self.duration?);
        let length = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        if renewed.duration_since(now) > length {
            return None;
        }
        let end = renewed.saturating_add(length).unwrap_or(Timestamp::MAX);
        Duration::try_from(end.duration_since(now)).ok().filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    fn lease(holder: &str, age: i64, length: u64) -> NodeLease {
        NodeLease {
            holder: holder.to_owned(),
            renewed: Some(now() - SignedDuration::from_secs(age)),
            duration: Some(Duration::from_secs(length)),
            ..NodeLease::default()
        }
    }

    fn wants(lease: Option<&NodeLease>) -> Claim {
        claim(lease, "nhc", CLASSIC, now())
    }

    #[test]
    fn a_node_without_lease_gets_one() {
        assert_eq!(wants(None), Claim::Create);
        assert_eq!(lease_name("Worker-0.Example"), "node-worker-0.example");
    }

    #[test]
    fn our_own_lease_is_renewed_only_if_it_would_end_too_early() {
        assert_eq!(wants(Some(&lease("NodeHealthCheck-nhc", 10, 660))), Claim::Keep);
        assert_eq!(wants(Some(&lease("NodeHealthCheck-nhc", 61, 660))), Claim::Renew);
        assert_eq!(wants(Some(&lease("NodeHealthCheck-nhc", 9_000, 660))), Claim::Renew, "even when it is over");
    }

    #[test]
    fn somebody_elses_lease_is_respected_until_it_is_over() {
        let left = Duration::from_secs(50);
        let held = Claim::Held { holder: "node-maintenance".to_owned(), left };
        assert_eq!(wants(Some(&lease("node-maintenance", 10, 60))), held);
        assert_eq!(wants(Some(&lease("node-maintenance", 60, 60))), Claim::TakeOver);
        // Another policy is somebody else.
        assert!(matches!(wants(Some(&lease("NodeHealthCheck-other", 0, 660))), Claim::Held { .. }));
    }

    #[test]
    fn a_lease_that_nobody_holds_or_that_does_not_say_how_long_is_free() {
        assert_eq!(wants(Some(&lease("", 0, 660))), Claim::TakeOver);
        assert_eq!(wants(Some(&NodeLease { renewed: None, ..lease("x", 0, 660) })), Claim::TakeOver);
        assert_eq!(wants(Some(&NodeLease { duration: None, ..lease("x", 0, 660) })), Claim::TakeOver);
    }

    #[test]
    fn a_holder_whose_clock_is_ahead_still_holds_but_a_nonsensical_stamp_does_not() {
        assert!(matches!(wants(Some(&lease("x", -30, 60))), Claim::Held { .. }));
        assert_eq!(wants(Some(&lease("x", -3_600, 60))), Claim::TakeOver);
    }
}
