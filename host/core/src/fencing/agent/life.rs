//! The right to live `L`, and the terms that bound it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fencing::juror::AskerBounds;
use crate::fencing::record::Terms;
use crate::hashing::hash_with_sequence;
use crate::time::Mono;

/// Stands for "nothing here resets this boot": far beyond every wait, so that nobody can use it as a bound.
pub const NEVER_RESETS: Duration = Duration::from_hours(10 * 365 * 24);

/// Terms, with the sequence number of the record that carried them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// Sequence number.
    pub sequence: u64,
    /// The terms.
    pub terms: Terms,
}

hash_with_sequence!(Published { sequence; terms });

/// `L` and everything that may be in force: the terms of the last confirmed lease, and all terms sent since, because
/// any of those may have been stored although no answer came.
///
/// The two halves of one rule live here: what shortens a life counts from before it is sent, what lengthens it only
/// after the lease that publishes it is confirmed. Every question is answered for the worst of the terms in force.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Life {
    until: Option<Mono>,
    confirmed: Option<Published>,
    sent: Vec<Published>,
    resets: ResetTimes,
}

/// How long a reset really takes on this machine now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ResetTimes {
    /// `2 Wd` of the open device.
    pub watchdog: Option<Duration>,
    /// The limits of the software steps together.
    pub software: Duration,
}

impl ResetTimes {
    /// How much later than these terms claim the end can come. Without a claim nothing is promised.
    fn late(&self, terms: &Terms) -> Duration {
        let takes = match (terms.claims.self_fences, &terms.watchdog) {
            (false, _) => Duration::ZERO,
            (true, Some(_)) => self.watchdog.unwrap_or(self.software),
            // Claimed for the software steps: an open device beside them delays nothing.
            (true, None) => self.software,
        };
        takes.saturating_sub(terms.reset_bound())
    }
}

impl Life {
    /// A life as the host file of this boot describes it. Never longer than its own terms allow from now.
    pub fn inherited(
        now: Mono,
        until: Option<Mono>,
        confirmed: Option<Published>,
        sent: Vec<Published>,
        resets: ResetTimes,
    ) -> Self {
        let mut life = Self { until, confirmed, sent, resets };
        life.cut(now);
        life
    }

    /// `L`.
    pub fn until(&self) -> Option<Mono> {
        self.until
    }

    /// Terms of the last confirmed lease.
    pub fn confirmed(&self) -> Option<&Published> {
        self.confirmed.as_ref()
    }

    /// Terms sent since the last confirmed lease.
    pub fn sent(&self) -> &[Published] {
        &self.sent
    }

    fn in_force(&self) -> impl Iterator<Item = &Terms> {
        self.confirmed.iter().chain(&self.sent).map(|published| &published.terms)
    }

    /// How long after a contact the node may live: the smallest `T` in force. A device that takes longer to reset than
    /// a claim in force says eats up the difference.
    fn allowance(&self) -> Option<Duration> {
        self.in_force().map(|terms| terms.time_to_live().saturating_sub(self.resets.late(terms))).min()
    }

    fn cut(&mut self, now: Mono) {
        if let (Some(until), Some(allowance)) = (self.until, self.allowance()) {
            self.until = Some(until.min(now + allowance));
        }
    }

    /// These terms are about to be sent: from now on they may be in force, and a smaller `T` cuts `L` at once.
    pub fn sending(&mut self, now: Mono, sequence: u64, terms: &Terms) {
        match self.sent.iter_mut().find(|published| published.terms == *terms) {
            Some(known) => known.sequence = known.sequence.max(sequence),
            None => self.sent.push(Published { sequence, terms: terms.clone() }),
        }
        self.cut(now);
    }

    /// The lease with this sequence number is known to be stored. Older ones can no longer be: every write is a
    /// compare-and-swap, and no relay goes back.
    pub fn confirm(&mut self, sequence: u64, terms: &Terms) {
        if self.confirmed.as_ref().is_some_and(|confirmed| confirmed.sequence >= sequence) {
            return;
        }
        self.confirmed = Some(Published { sequence, terms: terms.clone() });
        self.sent.retain(|published| published.sequence > sequence);
    }

    /// Whether terms seen in the lease are ones that this boot sent, as far as is remembered.
    pub fn knows(&self, terms: &Terms) -> bool {
        self.in_force().any(|known| known == terms)
    }

    /// R1, R2 or R3 happened for a request first sent at `sent`.
    pub fn extend(&mut self, sent: Mono) {
        if let Some(allowance) = self.allowance() {
            self.until = self.until.max(Some(sent + allowance));
        }
    }

    /// How long a reset really takes changed (a device was opened or lost): a longer one shortens the life.
    pub fn resets_take(&mut self, resets: ResetTimes) {
        let before = self.allowance();
        self.resets = resets;
        if let (Some(until), Some(before), Some(after)) = (self.until, before, self.allowance()) {
            self.until = Some(until - before.saturating_sub(after));
        }
    }

    /// Whether any terms in force claim that this node ends itself at `L`.
    pub fn must_self_fence(&self) -> bool {
        self.in_force().any(|terms| terms.claims.self_fences)
    }

    /// Whether any terms in force claim it by software alone. Such a claim is kept even when software reboot is switched
    /// off meanwhile: it stands until the lease that takes it back is confirmed.
    pub fn claims_by_software(&self) -> bool {
        let resets = |terms: &Terms| terms.watchdog.as_ref().is_some_and(|watchdog| watchdog.resets);
        self.in_force().any(|terms| terms.claims.self_fences && !resets(terms))
    }

    /// R3: a strict majority of the last confirmed jury *and of every jury sent since* said `NoApi`. Without a
    /// confirmed jury, or with an empty one: impossible.
    pub fn outage_confirmed_by(&self, said: &BTreeSet<String>) -> bool {
        self.majority(said, |_| true)
    }

    /// R4: the same of those jurors that are no control-plane nodes.
    pub fn outage_confirmed_by_workers(&self, said: &BTreeSet<String>, control_plane: &BTreeSet<&str>) -> bool {
        self.majority(said, |member| !control_plane.contains(member))
    }

    fn majority(&self, said: &BTreeSet<String>, counts: impl Fn(&str) -> bool) -> bool {
        self.confirmed.is_some()
            && self.in_force().all(|terms| {
                let members: BTreeSet<&String> = terms.jury.iter().filter(|member| counts(member)).collect();
                let count = members.iter().filter(|member| said.contains(**member)).count();
                2 * count > members.len()
            })
    }

    /// R4: the confirmed lease says that this node may exempt itself, and so does everything sent since. Neither the
    /// configuration nor the roster of the moment has a say: a lease that does not claim it is one that P3 rests on.
    pub fn may_exempt(&self) -> bool {
        self.confirmed.is_some() && self.in_force().all(|terms| terms.claims.may_exempt)
    }

    /// Every node that may be on the jury.
    pub fn jurors(&self) -> BTreeSet<String> {
        self.in_force().flat_map(|terms| terms.jury.iter().cloned()).collect()
    }

    /// What a juror has to know about this node.
    pub fn bounds(&self) -> AskerBounds {
        let largest = |bound: fn(&Terms) -> Duration| self.in_force().map(bound).max().unwrap_or_default();
        AskerBounds {
            largest_time_to_live: largest(Terms::time_to_live),
            // Terms without a bound give no proof by time, so no juror has to be older than them.
            largest_reset_bound: largest(|terms| {
                Some(terms.reset_bound()).filter(|bound| *bound < NEVER_RESETS).unwrap_or_default()
            })
            .max(self.resets.watchdog.unwrap_or_default()),
            smallest_time_to_live: self.in_force().map(Terms::time_to_live).min().unwrap_or_default(),
        }
    }
}
