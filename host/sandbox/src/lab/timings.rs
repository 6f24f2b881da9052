//! Timings of a lab: short, so that a demonstration takes a minute and not ten.

use std::time::Duration;

use palisade_core::fencing::timing::Tuning;

/// Everything that decides how long things take.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// Timings of the agents, under the names of `SelfNodeRemediationConfig`.
    pub tuning: Tuning,
    /// Watchdog timeout `Wd`.
    pub watchdog: Duration,
    /// From a reset to a running kubelet.
    pub boot: Duration,
    /// Silence after which a node's conditions become Unknown.
    pub node_grace: Duration,
    /// Pause between heartbeats of a kubelet.
    pub heartbeat: Duration,
    /// How long a condition must last until the NodeHealthCheck calls a node unhealthy.
    pub unhealthy_for: Duration,
    /// Length of a whole-API outage.
    pub outage: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            tuning: Tuning {
                api_check_interval: Duration::from_secs(1),
                api_server_timeout: Duration::from_secs(1),
                max_api_error_threshold: 2,
                peer_dial_timeout: Duration::from_millis(500),
                peer_request_timeout: Duration::from_secs(2),
            },
            watchdog: Duration::from_secs(2),
            boot: Duration::from_secs(15),
            node_grace: Duration::from_secs(6),
            heartbeat: Duration::from_secs(1),
            unhealthy_for: Duration::from_secs(2),
            outage: Duration::from_secs(20),
        }
    }
}

impl Timings {
    /// Detection so late that the node's life has provably run out long before anybody looks.
    #[must_use]
    pub fn long_silence(self) -> Self {
        let life = self.tuning.time_to_live() + 2 * self.watchdog;
        Self { unhealthy_for: life + Duration::from_secs(6), ..self }
    }
}

/// A length as Go prints it, for command lines and manifests.
pub fn go(length: Duration) -> String {
    let millis = length.as_millis();
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}
