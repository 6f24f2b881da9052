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
    /// Those of a cluster where nobody changed anything: `SelfNodeRemediationConfig`, `NodeHealthCheck`, kubelet and
    /// controller manager with their defaults. A device has no default; 10 s is what the documentation reckons with.
    pub fn unchanged() -> Self {
        Self {
            tuning: Tuning {
                api_check_interval: Duration::from_secs(15),
                api_server_timeout: Duration::from_secs(5),
                max_api_error_threshold: 3,
                peer_dial_timeout: Duration::from_secs(5),
                peer_request_timeout: Duration::from_secs(7),
            },
            watchdog: Duration::from_secs(10),
            boot: Duration::from_secs(15),
            node_grace: Duration::from_secs(50),
            heartbeat: Duration::from_secs(10),
            unhealthy_for: Duration::from_mins(5),
            outage: Duration::from_mins(2),
        }
    }

    /// Pause between looks of the controller manager at the nodes: 5 s, as it comes, unless the grace is shortened.
    pub fn node_monitor(&self) -> Duration {
        Duration::from_secs((self.node_grace.as_secs() / 10).clamp(1, 5))
    }

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

#[cfg(test)]
mod tests {
    use palisade_api::self_node_remediation_config::SelfNodeRemediationConfigSpec;

    use super::*;

    #[test]
    fn unchanged_is_what_the_configuration_kind_comes_with() {
        let (unchanged, spec) = (Timings::unchanged().tuning, SelfNodeRemediationConfigSpec::default());
        let ours = [
            unchanged.api_check_interval,
            unchanged.api_server_timeout,
            unchanged.peer_dial_timeout,
            unchanged.peer_request_timeout,
        ];
        let theirs =
            [spec.api_check_interval, spec.api_server_timeout, spec.peer_dial_timeout, spec.peer_request_timeout];
        assert_eq!(ours, theirs.map(palisade_api::GoDuration::to_std));
        assert_eq!(i64::from(unchanged.max_api_error_threshold), spec.max_api_error_threshold);
    }
}
