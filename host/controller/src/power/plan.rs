//! What to do next with a device. Pure: readings and faults in, the next step out.
//!
//! Reality is read before anything is done, and read back after it: a controller that starts in the middle finds the
//! machine off and does nothing. `reboot` does not occur: a machine that comes back by itself was never proven off.

use std::time::Duration;

use palisade_core::time::Mono;

use super::fault::{Fault, Goal, Reading};

/// How long a reading that shows the goal is believed before it is taken again.
pub const AGAIN: Duration = Duration::from_secs(10);
/// What does not exist yet is looked for this often.
pub const MISSING: Duration = Duration::from_secs(3);

/// Bounds of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// So many attempts at most; an attempt is a reading, a switch and a reading.
    pub attempts: u32,
    /// Pause between two of them.
    pub interval: Duration,
}

impl Bounds {
    /// From what a specification says. Zero and less is refused: no attempt is no success.
    pub fn new(attempts: i64, interval: Duration) -> Result<Self, Fault> {
        match u32::try_from(attempts) {
            Ok(attempts @ 1..=100) => Ok(Self { attempts, interval }),
            _ => Err(Fault::Invalid(format!(
                "spec.retrycount is {attempts}; use 1 to 100: without an attempt nothing is fenced"
            ))),
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask the device.
    Read,
    /// Switch it.
    Switch,
    /// Nothing before this instant.
    Wait(Mono),
    /// Nothing more: it failed for good.
    Rest,
}

/// How far the goal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing was begun.
    Waiting,
    /// Under way.
    Running,
    /// The last reading shows the goal.
    Done,
    /// Failed for good.
    Failed,
    /// The same, the last attempt by its limit.
    TimedOut,
}

/// One goal, and what came of it so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    goal: Goal,
    bounds: Bounds,
    /// Attempts that were begun with a switch or ended with a fault.
    attempts: u32,
    /// The reading that belongs to the current attempt.
    fresh: Option<Reading>,
    /// The last reading of all, and when it was asked for: what it shows was true after that.
    last: Option<(Reading, Mono)>,
    /// The next attempt, or the next reading, is not before this.
    not_before: Option<Mono>,
    /// The current attempt has switched.
    switched: bool,
    /// Why the last attempt failed.
    fault: Option<Fault>,
    over: bool,
}

impl Plan {
    /// A new goal.
    pub fn new(goal: Goal, bounds: Bounds) -> Self {
        Self {
            goal,
            bounds,
            attempts: 0,
            fresh: None,
            last: None,
            not_before: None,
            switched: false,
            fault: None,
            over: false,
        }
    }

    /// The goal.
    pub fn goal(&self) -> Goal {
        self.goal
    }

    /// Attempts so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The last reading, and when it was asked for.
    pub fn last(&self) -> Option<(Reading, Mono)> {
        self.last
    }

    /// Why the last attempt failed.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        if self.over {
            return match self.fault {
                Some(Fault::TimedOut(_)) => Progress::TimedOut,
                _ => Progress::Failed,
            };
        }
        match self.last {
            Some((reading, _)) if reading == self.goal.reading() && self.fault.is_none() => Progress::Done,
            None if self.attempts == 0 && self.fault.is_none() => Progress::Waiting,
            _ => Progress::Running,
        }
    }

    /// The next step.
    pub fn next(&self, now: Mono) -> Step {
        if self.over {
            return Step::Rest;
        }
        if let Some(at) = self.not_before.filter(|at| *at > now) {
            return Step::Wait(at);
        }
        match self.fresh {
            Some(reading) if reading != self.goal.reading() && !self.switched => Step::Switch,
            _ => Step::Read,
        }
    }

    /// A reading is wanted now, if the goal was reached.
    pub fn look_again(&mut self) {
        if self.progress() == Progress::Done {
            self.not_before = None;
        }
    }

    /// The device said this, asked at `asked`.
    pub fn read(&mut self, reading: Reading, asked: Mono, now: Mono) {
        self.last = Some((reading, asked));
        if reading == self.goal.reading() {
            // Looked at again: somebody may switch it on.
            self.fresh = None;
            self.switched = false;
            self.fault = None;
            self.not_before = Some(now + AGAIN);
            return;
        }
        if self.switched {
            let why = format!("the device was switched and still reads {reading:?}");
            self.failed(Fault::Failed(why), now);
        } else if self.attempts >= self.bounds.attempts {
            // It was reached once and is lost again; there is nothing left to try with.
            self.over = true;
            self.fault = Some(Fault::Failed(format!("the device reads {reading:?} again, and no attempt is left")));
        } else {
            self.fresh = Some(reading);
        }
    }

    /// The switch is about to be made: from here on it is an attempt, whatever becomes of it.
    pub fn switching(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
        self.switched = true;
    }

    /// The switch was made, by the device's own account; now it is read back.
    pub fn switched(&mut self) {
        self.fresh = None;
    }

    /// A reading or a switch failed.
    pub fn failed(&mut self, fault: Fault, now: Mono) {
        self.fresh = None;
        // A switch counted itself.
        if fault.counts() && !self.switched {
            self.attempts = self.attempts.saturating_add(1);
        }
        self.switched = false;
        self.over = fault.is_final() || (fault.counts() && self.attempts >= self.bounds.attempts);
        let pause = if fault.counts() { self.bounds.interval } else { MISSING };
        self.not_before = Some(now + pause);
        self.fault = Some(fault);
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
