//! Promises of the jury: "for this intent and boot I answer *intent exists* from now on".

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::fencing::proof::PromisedBy;
use crate::fencing::record::Terms;
use crate::fencing::timing::{self, CLOCK_RATE_DENOMINATOR};
use crate::time::Mono;

/// What a juror said.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum JurorAnswer {
    /// It promised; its last `NoApi` to this boot was so long ago.
    Promised {
        /// Age of the last `NoApi` at the moment of the answer.
        no_api_age: Option<Duration>,
    },
    /// It answered, and did not promise.
    Refused {
        /// Its reason.
        why: String,
    },
    /// It could not be asked.
    Unreachable {
        /// What went wrong.
        why: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Given {
    asked: Mono,
    answered: Mono,
    no_api_age: Option<Duration>,
}

/// The answers so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Promises {
    given: BTreeMap<String, Given>,
    missing: BTreeMap<String, String>,
    /// Latest instant at which any promising juror can have said `NoApi`.
    last_no_api: Option<Mono>,
    /// Who made the majority. Once made it stands: a juror drops its promise only when the intent is gone.
    majority: Option<Vec<PromisedBy>>,
}

/// The jury without repetitions: a name that stands twice has one vote.
pub(super) fn jury(terms: &Terms) -> BTreeSet<&str> {
    terms.jury.iter().map(String::as_str).collect()
}

/// How many of a jury of so many members have to promise: a strict majority.
pub fn quorum(members: usize) -> usize {
    if members == 0 { 0 } else { members / 2 + 1 }
}

/// `Wd + margin`: a majority must have been asked within this, or a restarted juror could stand in two majorities.
pub(super) fn window(terms: &Terms) -> Duration {
    let watchdog =
        terms.watchdog.as_ref().map_or(Duration::ZERO, |watchdog| Duration::from_millis(watchdog.timeout_millis));
    watchdog + timing::margin(watchdog)
}

impl Promises {
    pub(super) fn record(&mut self, terms: &Terms, juror: &str, asked: Mono, answered: Mono, answer: JurorAnswer) {
        if !jury(terms).contains(juror) {
            return;
        }
        match answer {
            JurorAnswer::Promised { no_api_age } => {
                self.missing.remove(juror);
                if let Some(age) = no_api_age {
                    // The answer left no later than it arrived; the juror's clock may run fast by the allowed rate.
                    let at = answered - age.saturating_sub(age / CLOCK_RATE_DENOMINATOR);
                    self.last_no_api = self.last_no_api.max(Some(at));
                }
                self.given.insert(juror.to_owned(), Given { asked, answered, no_api_age });
                if self.majority.is_none() {
                    self.majority = self.find_majority(terms);
                }
            }
            JurorAnswer::Refused { why } | JurorAnswer::Unreachable { why } => {
                self.missing.insert(juror.to_owned(), why);
            }
        }
    }

    /// A strict majority of the jury, all asked and answered within the window.
    fn find_majority(&self, terms: &Terms) -> Option<Vec<PromisedBy>> {
        let needed = quorum(jury(terms).len());
        let window = window(terms);
        self.given.values().map(|first| first.asked).find_map(|start| {
            let together: Vec<PromisedBy> = self
                .given
                .iter()
                .filter(|(_, given)| given.asked >= start && given.answered <= start + window)
                .map(|(node, given)| PromisedBy { node: node.clone(), no_api_age: given.no_api_age })
                .collect();
            (needed > 0 && together.len() >= needed).then_some(together)
        })
    }

    pub(super) fn majority(&self) -> Option<&[PromisedBy]> {
        self.majority.as_deref()
    }

    pub(super) fn last_no_api(&self) -> Option<Mono> {
        self.last_no_api
    }

    /// Jurors to ask now: those that never promised, and those whose promise is too old to stand beside a new one.
    pub(super) fn to_ask(&self, terms: &Terms, now: Mono) -> Vec<String> {
        if self.majority.is_some() {
            return Vec::new();
        }
        let window = window(terms);
        jury(terms)
            .into_iter()
            // Half the window leaves the other half for the new round's answers.
            .filter(|juror| self.given.get(*juror).is_none_or(|given| given.asked + window / 2 < now))
            .map(str::to_owned)
            .collect()
    }

    /// `2 of 3 promised (n2, n4); missing n5: connection refused`.
    pub(super) fn describe(&self, terms: &Terms) -> String {
        let members = jury(terms);
        let promised: Vec<&str> = self.given.keys().map(String::as_str).collect();
        let by = if promised.is_empty() { String::new() } else { format!(" ({})", promised.join(", ")) };
        let missing: Vec<String> = members
            .iter()
            .filter(|juror| !self.given.contains_key(**juror))
            .map(|juror| match self.missing.get(*juror) {
                Some(why) => format!("{juror}: {why}"),
                None => format!("{juror}: not answered yet"),
            })
            .collect();
        let without = if missing.is_empty() { String::new() } else { format!("; missing {}", missing.join("; ")) };
        format!("{} of {} jurors promised{by}{without}", promised.len(), members.len())
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.given.keys().cloned().collect()
    }

    pub(super) fn promised(&self) -> usize {
        self.given.len()
    }
}
