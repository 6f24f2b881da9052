//! After too many nodes were unhealthy at once: nothing new starts until enough are healthy again and a cooldown is over.

use std::time::Duration;

use jiff::Timestamp;

use super::plan::remaining;

/// What the status remembers of a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Storm {
    /// There is one.
    pub active: bool,
    /// Since when enough nodes have been healthy again.
    pub cooldown: Option<Timestamp>,
}

/// What became of a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StormChange {
    /// It began.
    Started,
    /// Enough nodes are healthy again: the cooldown began.
    Cooling,
    /// Too few are healthy again: the cooldown was taken back.
    Resumed,
    /// It is over.
    Ended,
    /// The policy knows no storms any more.
    Forgotten,
}

/// How the policy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Fewer nodes are healthy than needed.
    pub below: bool,
    /// At least one node is unhealthy, not only about to be.
    pub unhealthy: bool,
}

impl Storm {
    /// What is left of the cooldown; `None` if it has not begun.
    pub fn left(self, length: Duration, now: Timestamp) -> Option<Duration> {
        self.cooldown.map(|since| remaining(since, length, now).unwrap_or_default())
    }

    /// The storm now. It also ends when every node recovers: nothing has to fail for that.
    pub fn next(self, length: Option<Duration>, weather: Weather, now: Timestamp) -> (Self, Option<StormChange>) {
        let Some(length) = length else {
            let forgotten = (self.active || self.cooldown.is_some()).then_some(StormChange::Forgotten);
            return (Self::default(), forgotten);
        };
        match (self.active, weather.below, self.cooldown) {
            (false, true, _) if weather.unhealthy => {
                (Self { active: true, cooldown: None }, Some(StormChange::Started))
            }
            (false, ..) => (Self::default(), None),
            (true, true, Some(_)) if weather.unhealthy => {
                (Self { active: true, cooldown: None }, Some(StormChange::Resumed))
            }
            (true, false, None) => (Self { active: true, cooldown: Some(now) }, Some(StormChange::Cooling)),
            (true, false, Some(since)) if remaining(since, length, now).is_none_or(|left| left.is_zero()) => {
                (Self::default(), Some(StormChange::Ended))
            }
            // A node that is only about to be unhealthy neither begins a cooldown nor takes it back.
            (true, ..) => (self, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOLDOWN: Option<Duration> = Some(Duration::from_mins(1));
    const FAIR: Weather = Weather { below: false, unhealthy: false };
    const BAD: Weather = Weather { below: true, unhealthy: true };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_storm_begins_cools_down_and_ends() {
        // Given too many unhealthy nodes
        let (storm, change) = Storm::default().next(COOLDOWN, BAD, at(0));
        assert_eq!((storm.active, change), (true, Some(StormChange::Started)));
        assert_eq!(storm.next(COOLDOWN, BAD, at(5)), (storm, None), "it is said once");
        // When enough recover, although one is still unhealthy
        let one_left = Weather { below: false, unhealthy: true };
        let (storm, change) = storm.next(COOLDOWN, one_left, at(10));
        assert_eq!((storm.cooldown, change), (Some(at(10)), Some(StormChange::Cooling)));
        assert_eq!(storm.left(Duration::from_mins(1), at(30)), Some(Duration::from_secs(40)));
        assert_eq!(storm.next(COOLDOWN, one_left, at(69)), (storm, None));
        // When the cooldown is over
        assert_eq!(storm.next(COOLDOWN, one_left, at(70)), (Storm::default(), Some(StormChange::Ended)));
    }

    #[test]
    fn another_failure_takes_the_cooldown_back_and_it_begins_anew_in_full() {
        let cooling = Storm { active: true, cooldown: Some(at(10)) };
        let (storm, change) = cooling.next(COOLDOWN, BAD, at(40));
        assert_eq!((storm, change), (Storm { active: true, cooldown: None }, Some(StormChange::Resumed)));
        let (storm, _) = storm.next(COOLDOWN, FAIR, at(50));
        assert_eq!(storm.cooldown, Some(at(50)));
        assert_eq!(storm.next(COOLDOWN, FAIR, at(109)).1, None);
        assert_eq!(storm.next(COOLDOWN, FAIR, at(110)).1, Some(StormChange::Ended));
    }

    #[test]
    fn a_node_about_to_be_unhealthy_is_no_storm_and_holds_the_cooldown_where_it_is() {
        let soon = Weather { below: true, unhealthy: false };
        assert_eq!(Storm::default().next(COOLDOWN, soon, at(0)), (Storm::default(), None));
        let cooling = Storm { active: true, cooldown: Some(at(10)) };
        assert_eq!(cooling.next(COOLDOWN, soon, at(100)), (cooling, None));
    }

    #[test]
    fn without_the_field_there_is_no_storm() {
        let active = Storm { active: true, cooldown: None };
        assert_eq!(active.next(None, BAD, at(0)), (Storm::default(), Some(StormChange::Forgotten)));
        assert_eq!(Storm::default().next(None, BAD, at(0)), (Storm::default(), None));
    }
}
