//! Watchdog, first claim, lost time and graceful stop.

use std::fmt;
use std::time::Duration;

use super::life::ResetTimes;
use super::types::{Effect, Level};
use super::{Agent, Then};
use crate::fencing::record::Watchdog;
use crate::time::Mono;

/// Pause before a device that could not be opened or fed is tried again.
const REOPEN: Duration = Duration::from_secs(30);

/// The watchdog device as this process knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum WatchdogState {
    /// Not opened, or disarmed.
    Closed,
    Opening,
    Armed(Watchdog),
    /// It could not be opened or fed.
    Failed {
        why: String,
        retry: Mono,
    },
    Disarming(Watchdog),
}

impl WatchdogState {
    /// The device, if it is armed by this process.
    pub(super) fn armed(&self) -> Option<&Watchdog> {
        match self {
            Self::Armed(watchdog) | Self::Disarming(watchdog) => Some(watchdog),
            _ => None,
        }
    }

    /// Whether it is known what the device can do.
    pub(super) fn settled(&self) -> bool {
        matches!(self, Self::Armed(_) | Self::Failed { .. })
    }
}

impl fmt::Display for WatchdogState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("not armed"),
            Self::Opening => f.write_str("being armed"),
            Self::Armed(watchdog) | Self::Disarming(watchdog) => {
                let action = if watchdog.resets { "resets the machine" } else { "does not reset the machine" };
                write!(f, "armed: {}, {} ms, {action}", watchdog.identity, watchdog.timeout_millis)
            }
            Self::Failed { why, .. } => write!(f, "failed: {why}"),
        }
    }
}

/// A graceful stop under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stopping {
    until: Mono,
    phase: StopPhase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum StopPhase {
    /// "Disarmed" is to be confirmed by compare-and-swap, with no intent: that is the fresh contact.
    Publishing,
    Disarming,
    Over,
}

impl Agent {
    /// At `L` a node that claims it ends itself. One that does not is not reset by its watchdog either.
    pub(super) fn check_life(&mut self, now: Mono) {
        if self.fence.is_some() || self.life.until().is_none_or(|until| now < until) {
            return;
        }
        if self.life.must_self_fence() {
            self.fence(now, "the right to live is over: neither the API nor a majority of the jury was reached");
        } else if matches!(self.watchdog, WatchdogState::Armed(_))
            && self.disarm_refused.is_none_or(|again| now >= again)
        {
            self.begin_disarm();
            self.say(
                Level::Warn,
                "isolated, but the lease does not claim self-fencing (too few peers): the watchdog is disarmed",
            );
        }
    }

    /// When the end of the right to live, or a device that could not be disarmed at it, has to be looked at.
    pub(super) fn end_deadline(&self) -> Option<Mono> {
        let until = self.life.until()?;
        if self.life.must_self_fence() {
            return Some(until);
        }
        matches!(self.watchdog, WatchdogState::Armed(_)).then(|| until.max(self.disarm_refused.unwrap_or_default()))
    }

    /// From here on the device is not relied on. That is on disk before it is disarmed: a process killed in between must
    /// not leave a successor that acknowledges on the strength of a device that guards nothing.
    fn begin_disarm(&mut self) {
        let WatchdogState::Armed(watchdog) = &self.watchdog else { return };
        self.watchdog = WatchdogState::Disarming(watchdog.clone());
        self.device = None;
        self.store(Then::Disarm);
    }

    pub(super) fn disarm_stored(&mut self, now: Mono, stored: bool) {
        if self.fence.is_some() {
            // Now it is needed.
            self.watchdog_disarmed(now, Err("this boot has to end".to_owned()));
        } else if stored {
            self.effects.push(Effect::Disarm);
        } else {
            self.watchdog_disarmed(now, Err("the host file could not be written before".to_owned()));
        }
    }

    /// Opens the device: within the right to live, after a contact that is in the host file, and never while time is
    /// in doubt.
    pub(super) fn arm_if_due(&mut self, now: Mono) {
        if let WatchdogState::Failed { retry, .. } = self.watchdog
            && now >= retry
        {
            self.watchdog = WatchdogState::Closed;
        }
        let alive = self.life.until().is_some_and(|until| now < until);
        let wanted = self.settings.watchdog && (self.identity || self.life.must_self_fence());
        if wanted
            && alive
            && self.contacted
            && self.watchdog == WatchdogState::Closed
            && self.lost_time.is_none()
            && self.stopping.is_none()
        {
            self.watchdog = WatchdogState::Opening;
            self.emit_permit();
            self.effects.push(Effect::OpenWatchdog);
        }
    }

    pub(super) fn watchdog_opened(&mut self, now: Mono, outcome: Result<Watchdog, String>) {
        match outcome {
            Ok(watchdog) => {
                self.device = Some(watchdog.clone());
                self.disarm_refused = None;
                self.watchdog = WatchdogState::Armed(watchdog);
                self.store(Then::Nothing);
                let line = self.watchdog_line();
                self.say(Level::Info, format!("watchdog {line}"));
            }
            Err(why) => {
                self.say(Level::Error, format!("the watchdog cannot be used: {why}"));
                self.watchdog = WatchdogState::Failed { why, retry: now + REOPEN };
                self.device_lost();
            }
        }
        self.update_reset_times();
        self.direct.hurry(now);
    }

    pub(super) fn watchdog_failed(&mut self, now: Mono, why: String) {
        self.say(Level::Error, format!("the watchdog cannot be fed: {why}"));
        self.watchdog = WatchdogState::Failed { why, retry: now + REOPEN };
        self.device_lost();
        self.update_reset_times();
        self.direct.hurry(now);
    }

    /// It may still fire, but nobody may rely on it.
    fn device_lost(&mut self) {
        if self.device.take().is_some() {
            self.store(Then::Nothing);
        }
    }

    pub(super) fn watchdog_disarmed(&mut self, now: Mono, outcome: Result<(), String>) {
        let failed = outcome.err();
        if let Some(why) = &failed {
            self.say(Level::Error, format!("the watchdog could not be disarmed: {why}"));
            if let WatchdogState::Disarming(watchdog) = &self.watchdog {
                // The feeder has it back.
                self.device = Some(watchdog.clone());
                self.watchdog = WatchdogState::Armed(watchdog.clone());
                self.disarm_refused = Some(now + REOPEN);
                self.store(Then::Nothing);
            }
        } else {
            self.watchdog = WatchdogState::Closed;
            self.disarm_refused = None;
            self.update_reset_times();
        }
        if self.fence.is_none() && self.stopping.as_ref().is_some_and(|stopping| stopping.phase == StopPhase::Disarming)
        {
            self.store(Then::Nothing);
            match failed {
                None => self.exit(true, "the lease says disarmed, and the watchdog is"),
                Some(why) => self.exit(false, &format!("the lease says disarmed, but the watchdog is not: {why}")),
            }
        }
    }

    pub(super) fn update_reset_times(&mut self) {
        let timeout = self.watchdog.armed().map(|watchdog| Duration::from_millis(watchdog.timeout_millis));
        self.life.resets_take(ResetTimes {
            watchdog: timeout.map(|timeout| timeout * 2),
            software: self.settings.steps.within(timeout).total(),
        });
    }

    /// The machine was paused: nothing is fed before a fresh R1 or R2, and nothing is fenced for it either.
    pub(super) fn time_lost(&mut self, now: Mono) {
        self.say(Level::Warn, "the machine lost time: feeding waits for a fresh contact with the API");
        self.lost_time = Some(self.next_request);
        self.direct.inflight = None;
        self.direct.due = now;
    }

    pub(super) fn graceful_stop(&mut self, now: Mono, limit: Duration) {
        if self.fence.is_some() {
            self.say(Level::Warn, "asked to stop, but this boot is fenced: staying until it ends");
            return;
        }
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping { until: now + limit, phase: StopPhase::Publishing });
        if !self.life.must_self_fence() && self.watchdog.armed().is_none() {
            self.exit(true, "nothing is armed and nothing is claimed");
            return;
        }
        self.direct.inflight = None;
        self.direct.due = now;
    }

    /// "Disarmed" is stored, by compare-and-swap over an object without an intent.
    pub(super) fn published_disarmed(&mut self, now: Mono) {
        let must_self_fence = self.life.must_self_fence();
        let armed = matches!(self.watchdog, WatchdogState::Armed(_));
        let Some(stopping) = &mut self.stopping else { return };
        if stopping.phase != StopPhase::Publishing {
            return;
        }
        if must_self_fence {
            // An older claim sent since may still be in force: publish once more.
            self.direct.due = now;
        } else if armed {
            stopping.phase = StopPhase::Disarming;
            self.begin_disarm();
        } else {
            self.store(Then::Nothing);
            self.exit(true, "the lease says disarmed");
        }
    }

    pub(super) fn finished_stopping(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.phase != StopPhase::Publishing)
    }

    pub(super) fn stop_step(&mut self, now: Mono) {
        let Some(stopping) = &self.stopping else { return };
        if stopping.phase != StopPhase::Over && now >= stopping.until {
            self.exit(false, "the API did not confirm in time that this node is disarmed: the watchdog stays armed");
        }
    }

    fn exit(&mut self, disarmed: bool, why: &str) {
        if let Some(stopping) = &mut self.stopping {
            stopping.phase = StopPhase::Over;
        }
        self.effects.push(Effect::Exit { disarmed, why: why.to_owned() });
    }

    pub(super) fn guard_deadline(&self) -> Option<Mono> {
        let stop = self.stopping.as_ref().filter(|stopping| stopping.phase != StopPhase::Over);
        let retry = match self.watchdog {
            WatchdogState::Failed { retry, .. } => Some(retry),
            _ => None,
        };
        [stop.map(|stopping| stopping.until), retry].into_iter().flatten().min()
    }

    /// A device that cannot be disarmed, on a node that claims nothing: it is fed beyond `L`. No proof by time exists for
    /// such a boot, and letting the device fire would make every outage a reboot of a node that does not fence itself.
    fn feeds_beyond_the_end(&self) -> bool {
        self.disarm_refused.is_some() && self.watchdog.armed().is_some() && !self.life.must_self_fence()
    }

    /// Tells the feeder how long it may feed. It depends on `L`, on the fence and on lost time, and on nothing else,
    /// except where nothing rests on `L`.
    pub(super) fn emit_permit(&mut self) {
        let allowed = if self.fence.is_some() || self.lost_time.is_some() {
            None
        } else if self.feeds_beyond_the_end() {
            Some(Mono(u64::MAX))
        } else {
            self.life.until()
        };
        if allowed != self.permitted {
            self.permitted = allowed;
            self.effects.push(Effect::Permit(allowed));
        }
    }
}
