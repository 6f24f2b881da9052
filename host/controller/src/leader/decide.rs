//! What a candidate does about the Lease it sees. Time is this process's own: a Lease says who, never when.

use std::time::Duration;

/// The Lease as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sight {
    /// There is none.
    Absent,
    /// There is one.
    Present {
        /// Its holder, empty after a release.
        holder: String,
        /// How long it has not changed under the eyes of this process.
        unchanged: Duration,
        /// Silence after which its holder is taken for gone.
        duration: Duration,
    },
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// Make the Lease.
    Create,
    /// Take it over.
    Take,
    /// It is ours: lead, and renew it when due.
    Lead,
    /// Follow, and look again after this time if nothing happens.
    Follow(Duration),
}

/// Decides.
pub(super) fn decide(identity: &str, sight: &Sight) -> Move {
    match sight {
        Sight::Absent => Move::Create,
        Sight::Present { holder, .. } if holder == identity => Move::Lead,
        Sight::Present { holder, .. } if holder.is_empty() => Move::Take,
        Sight::Present { unchanged, duration, .. } => match duration.checked_sub(*unchanged) {
            None | Some(Duration::ZERO) => Move::Take,
            Some(left) => Move::Follow(left),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(holder: &str, unchanged: u64) -> Sight {
        let (unchanged, duration) = (Duration::from_secs(unchanged), Duration::from_secs(15));
        Sight::Present { holder: holder.to_owned(), unchanged, duration }
    }

    #[test]
    fn a_free_lease_is_taken_at_once() {
        assert_eq!(decide("a", &Sight::Absent), Move::Create);
        assert_eq!(decide("a", &seen("", 0)), Move::Take);
    }

    #[test]
    fn a_holder_is_followed_until_it_was_silent_for_the_whole_duration() {
        assert_eq!(decide("a", &seen("b", 0)), Move::Follow(Duration::from_secs(15)));
        assert_eq!(decide("a", &seen("b", 14)), Move::Follow(Duration::from_secs(1)));
        assert_eq!(decide("a", &seen("b", 15)), Move::Take);
    }

    #[test]
    fn who_holds_it_leads_however_old_it_is() {
        assert_eq!(decide("a", &seen("a", 99)), Move::Lead);
    }
}
