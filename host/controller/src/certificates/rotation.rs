//! The authority's own rotation, one stage at a time, so that at no moment somebody shows what somebody else does not
//! believe: first the next authority is made known, much later it issues, and only long after that the old one is
//! forgotten. Pure: the Secret's content and a time in, the next content out.
//!
//! Stages are taken when a controller starts; a running one keeps the authority it has, which stays believed.

use std::time::Duration;

use palisade_rpc::{Authority, IdentityError};

/// Age at which an authority makes room for the next one; half of its certificate's ten years.
const AGE: Duration = Duration::from_hours(5 * 365 * 24);
/// How long the next authority is believed before it issues. Agents look for trust at least every `peerUpdateInterval`
/// (15 minutes by default); a day also covers nodes that lose the API for a while.
const KNOWN_FIRST: Duration = Duration::from_hours(24);
/// How long the last authority is believed after it stopped issuing: every running agent gets a new certificate within
/// minutes, and one that was off asks again when it comes back.
const REMEMBERED: Duration = Duration::from_hours(30 * 24);

/// A certificate with its key, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Certificate.
    pub certificate: String,
    /// Private key.
    pub key: String,
}

impl Pair {
    /// A new authority.
    pub fn create() -> Result<Self, IdentityError> {
        let authority = Authority::create()?;
        Ok(Self { certificate: authority.certificate_pem().to_owned(), key: authority.key_pem() })
    }
}

/// What the Secret holds. Times are seconds since 1970 on some controller's clock; an error of hours does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities {
    /// The one that issues, and since when; `None` for a Secret made before there was a rotation.
    pub current: (Pair, Option<u64>),
    /// The one that is to follow, and since when it is believed.
    pub next: Option<(Pair, u64)>,
    /// Certificate of the one before, and since when it issues no more.
    pub previous: Option<(String, u64)>,
}

impl Authorities {
    /// The first one.
    pub fn first(now: u64) -> Result<Self, IdentityError> {
        Ok(Self { current: (Pair::create()?, Some(now)), next: None, previous: None })
    }

    /// The next stage, if one is due; `asked` is an administrator's wish to rotate now.
    pub fn step(&self, now: u64, asked: bool) -> Result<Option<Self>, IdentityError> {
        let passed = |since: u64| Duration::from_secs(now.saturating_sub(since));
        let mut after = self.clone();
        if after.previous.as_ref().is_some_and(|(_, since)| passed(*since) >= REMEMBERED) {
            after.previous = None;
        }
        let begun = *after.current.1.get_or_insert(now);
        match after.next.take() {
            Some((next, since)) if passed(since) >= KNOWN_FIRST => {
                after.previous = Some((after.current.0.certificate, now));
                after.current = (next, Some(now));
            }
            Some(waiting) => after.next = Some(waiting),
            // One rotation after the other: the last one has to be over.
            None if after.previous.is_none() && (asked || passed(begun) >= AGE) => {
                after.next = Some((Pair::create()?, now));
            }
            None => {}
        }
        Ok((after != *self).then_some(after))
    }

    /// The authority to use, which believes all that are to be believed.
    pub fn open(&self) -> Result<Authority, IdentityError> {
        let others: Vec<&str> = self
            .next
            .iter()
            .map(|(next, _)| next.certificate.as_str())
            .chain(self.previous.iter().map(|(certificate, _)| certificate.as_str()))
            .collect();
        let (current, _) = &self.current;
        Ok(Authority::from_pem(&current.certificate, &current.key)?.believing(&others.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    use palisade_rpc::{Key, Trust};

    use super::*;

    const DAY: u64 = 24 * 3600;

    /// Whether a certificate issued by the one is believed by the other.
    fn believed(by: &Authority, from: &Authority) -> bool {
        let key = Key::generate().unwrap();
        let certificate = from.issue_agent(&key.signing_request("n").unwrap(), "n").unwrap();
        let trust = Trust::from_pem(&by.bundle()).unwrap();
        trust.verify_record(&certificate, "n", b"x", &key.sign(b"x").unwrap()).is_ok()
    }

    #[test]
    fn nothing_happens_to_a_young_authority() {
        let first = Authorities::first(0).unwrap();
        assert_eq!(first.step(4 * 365 * DAY, false).unwrap(), None);
        // One from before there was a rotation only gets its birthday.
        let old = Authorities { current: (first.current.0.clone(), None), ..first.clone() };
        assert_eq!(old.step(7, false).unwrap().unwrap().current.1, Some(7));
    }

    #[test]
    fn through_a_whole_rotation_neighbours_in_time_believe_each_other() {
        // Given an authority that is to be rotated,
        let mut stages = vec![Authorities::first(0).unwrap()];
        // when days go by,
        for day in 1..60 {
            let last = stages.last().unwrap();
            let next = last.step(day * DAY, day == 1).unwrap();
            stages.push(next.unwrap_or_else(|| last.clone()));
        }
        // then the issuer changed once, the old one is forgotten in the end,
        let (first, last) = (&stages[0], &stages[59]);
        assert_ne!(first.current.0, last.current.0);
        assert_eq!((&last.next, &last.previous), (&None, &None));
        // and whoever is one stage behind is believed, and believes.
        stages.dedup();
        assert_eq!(stages.len(), 4, "known, issuing, forgotten");
        for pair in stages.windows(2) {
            let (before, after) = (pair[0].open().unwrap(), pair[1].open().unwrap());
            assert!(believed(&after, &before));
            if pair[0].current == pair[1].current || pair[0].next.is_some() {
                assert!(believed(&before, &after));
            }
        }
    }

    #[test]
    fn a_second_wish_waits_for_the_end_of_the_first_rotation() {
        let first = Authorities::first(0).unwrap();
        let known = first.step(DAY, true).unwrap().unwrap();
        assert_eq!(known.step(DAY + 60, true).unwrap(), None);
        let issuing = known.step(3 * DAY, true).unwrap().unwrap();
        assert!(issuing.next.is_none() && issuing.previous.is_some());
        assert_eq!(issuing.step(4 * DAY, true).unwrap(), None);
    }
}
