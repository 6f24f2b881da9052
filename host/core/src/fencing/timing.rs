//! Bounds of the protocol: time to live, margins, deadlines.

use std::time::Duration;

/// Allowed difference of clock *rates* between two machines: 1 part in `CLOCK_RATE_DENOMINATOR`.
pub const CLOCK_RATE_DENOMINATOR: u32 = 100;

/// How late the feeder may run between its check of `L` and its write to the device.
pub const SCHEDULING_MARGIN: Duration = Duration::from_millis(500);

/// Inputs of the time to live, under the names of the `SelfNodeRemediationConfig` fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuning {
    /// Pause between API checks.
    pub api_check_interval: Duration,
    /// Time limit of one API check.
    pub api_server_timeout: Duration,
    /// Consecutive failures before peers are asked.
    pub max_api_error_threshold: u32,
    /// Time limit for connecting to a peer.
    pub peer_dial_timeout: Duration,
    /// Time limit of one peer request.
    pub peer_request_timeout: Duration,
}

impl Tuning {
    /// `T = maxApiErrorThreshold x (apiCheckInterval + apiServerTimeout) + peerDialTimeout +
    /// max(peerRequestTimeout, apiServerTimeout + 2s)`.
    pub fn time_to_live(&self) -> Duration {
        (self.api_check_interval + self.api_server_timeout) * self.max_api_error_threshold.max(1)
            + self.peer_dial_timeout
            + self.effective_peer_request_timeout()
    }

    /// `max(peerRequestTimeout, apiServerTimeout + 2s)`: a peer that waits for its own API server can still answer.
    pub fn effective_peer_request_timeout(&self) -> Duration {
        self.peer_request_timeout.max(self.api_server_timeout + Duration::from_secs(2))
    }
}

/// `margin` for a bound of the given length: clock rate difference plus the scheduling margin.
pub fn margin(bound: Duration) -> Duration {
    bound / CLOCK_RATE_DENOMINATOR + SCHEDULING_MARGIN
}

/// `T + 2 Wd + margin`: after the last thing that can have extended a life, the boot has ended once this passed.
pub fn life_bound(time_to_live: Duration, reset_bound: Duration) -> Duration {
    let bound = time_to_live + reset_bound;
    bound + margin(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_give_seventy_two_seconds() {
        let defaults = Tuning {
            api_check_interval: Duration::from_secs(15),
            api_server_timeout: Duration::from_secs(5),
            max_api_error_threshold: 3,
            peer_dial_timeout: Duration::from_secs(5),
            peer_request_timeout: Duration::from_secs(7),
        };
        assert_eq!(defaults.time_to_live(), Duration::from_secs(72));
    }

    #[test]
    fn the_bounds_are_documented_as_they_are_computed() {
        let seconds = Duration::from_secs;
        let defaults = Tuning {
            api_check_interval: seconds(15),
            api_server_timeout: seconds(5),
            max_api_error_threshold: 3,
            peer_dial_timeout: seconds(5),
            peer_request_timeout: seconds(7),
        };
        let tuned = Tuning { api_check_interval: seconds(3), ..defaults };
        let tight = Tuning {
            api_check_interval: seconds(2),
            api_server_timeout: seconds(1),
            max_api_error_threshold: 3,
            peer_dial_timeout: seconds(1),
            peer_request_timeout: seconds(3),
        };
        let mut rows = Vec::new();
        for (name, tuning) in [("defaults", defaults), ("`apiCheckInterval: 3s`", tuned), ("all tight", tight)] {
            for watchdog in [60, 10] {
                let (life, reset) = (tuning.time_to_live(), 2 * seconds(watchdog));
                let text = |time: Duration| format!("{:.1} s", time.as_secs_f64());
                rows.push(vec![
                    name.to_owned(),
                    text(life),
                    text(seconds(watchdog)),
                    text(reset + margin(reset)),
                    text(life_bound(life, reset)),
                    "0 s".to_owned(),
                ]);
            }
        }
        let head =
            ["configuration", "`T`", "`Wd`", "acknowledged", "isolated, hung or off", "silent for longer than that"];
        crate::documented::is("times.md", "bounds", &crate::documented::table(&head, &rows));
    }
}
