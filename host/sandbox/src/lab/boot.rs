//! One boot of a machine double: what runs on it runs only while it lives.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why a boot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// Nobody fed the watchdog.
    Watchdog,
    /// The agent asked for a reset.
    Software,
    /// Somebody pulled the plug.
    Power,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Watchdog => "its watchdog was not fed",
            Self::Software => "its agent asked for a reset",
            Self::Power => "power was cut",
        })
    }
}

#[derive(Debug)]
struct Gate {
    alive: bool,
    /// When the armed watchdog fires, and its timeout.
    watchdog: Option<(Instant, Duration)>,
}

impl Gate {
    /// A watchdog is hardware: it is never late, however late this process notices.
    fn alive(&self, now: Instant) -> bool {
        self.alive && self.watchdog.is_none_or(|(fires, _)| now < fires)
    }
}

/// A boot and its watchdog.
#[derive(Debug)]
pub struct Boot {
    /// Name of the node.
    pub node: String,
    /// The kernel boot id.
    pub id: String,
    gate: Mutex<Gate>,
}

impl Boot {
    /// A living boot with a disarmed watchdog.
    pub fn new(node: &str, id: &str) -> Arc<Self> {
        let gate = Mutex::new(Gate { alive: true, watchdog: None });
        Arc::new(Self { node: node.to_owned(), id: id.to_owned(), gate })
    }

    fn gate<R>(&self, act: impl FnOnce(&mut Gate, Instant) -> R) -> R {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut gate, Instant::now())
    }

    /// Runs `act` if the boot lives, and does not let it end meanwhile.
    pub fn while_alive<R>(&self, act: impl FnOnce() -> R) -> Option<R> {
        self.gate(|gate, now| gate.alive(now).then(act))
    }

    /// Whether it lives at this instant.
    pub fn is_alive(&self) -> bool {
        self.gate(|gate, now| gate.alive(now))
    }

    /// Opens the watchdog device, which also feeds it. False if the machine is over.
    pub fn arm(&self, timeout: Duration) -> bool {
        self.gate(|gate, now| {
            let alive = gate.alive(now);
            if alive {
                gate.watchdog = Some((now + timeout, timeout));
            }
            alive
        })
    }

    /// Feeds an armed watchdog; a fired one stays fired.
    pub fn feed(&self) {
        self.gate(|gate, now| {
            if gate.alive(now)
                && let Some((fires, timeout)) = &mut gate.watchdog
            {
                *fires = now + *timeout;
            }
        });
    }

    /// The magic close.
    pub fn disarm(&self) {
        self.gate(|gate, now| {
            if gate.alive(now) {
                gate.watchdog = None;
            }
        });
    }

    /// When the watchdog fires if nobody feeds it.
    pub fn fires(&self) -> Option<Instant> {
        self.gate(|gate, _| gate.watchdog.filter(|_| gate.alive).map(|(fires, _)| fires))
    }

    /// Ends it; everything that ran on it is gone once this returns.
    pub fn end(&self) {
        self.gate(|gate, _| gate.alive = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfed_watchdog_ends_the_boot_even_if_nobody_looks() {
        let boot = Boot::new("n", "b");
        assert!(boot.arm(Duration::ZERO));
        assert!(!boot.is_alive());
        boot.feed();
        assert!(!boot.is_alive(), "a fired watchdog cannot be fed back to life");
    }

    #[test]
    fn the_magic_close_disarms() {
        let boot = Boot::new("n", "b");
        assert!(boot.arm(Duration::from_hours(1)));
        assert!(boot.fires().is_some());
        boot.disarm();
        assert!(boot.fires().is_none() && boot.is_alive());
    }
}
