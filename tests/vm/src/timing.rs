//! The configuration of the guests' agents, and what follows from it.

use std::time::Duration;

use palisade_core::fencing::timing::Tuning;

use crate::machine::Accelerator;

/// Reaction times outside the protocol: the last step of the bound `L + 2 Wd + 2 s`.
pub const SLACK: Duration = Duration::from_secs(2);

/// All lengths of time of a test.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// The agents' intervals.
    pub tuning: Tuning,
    /// The timeout that the agent asks the device for, in seconds.
    pub watchdog: u32,
    /// From power on until the agent claims that it fences itself.
    pub ready: Duration,
}

impl Timing {
    /// A guest that is translated needs ten times longer for everything, so its limits are wider; the bounds are always
    /// computed from what it publishes.
    pub fn for_machine(accelerator: Accelerator) -> Self {
        let seconds = Duration::from_secs;
        match accelerator {
            Accelerator::Kvm => Self {
                tuning: Tuning {
                    api_check_interval: seconds(1),
                    api_server_timeout: seconds(1),
                    max_api_error_threshold: 2,
                    peer_dial_timeout: seconds(1),
                    peer_request_timeout: seconds(3),
                },
                watchdog: 6,
                ready: seconds(60),
            },
            Accelerator::Software => Self {
                tuning: Tuning {
                    api_check_interval: seconds(2),
                    api_server_timeout: seconds(3),
                    max_api_error_threshold: 2,
                    peer_dial_timeout: seconds(2),
                    peer_request_timeout: seconds(5),
                },
                watchdog: 9,
                ready: seconds(180),
            },
        }
    }

    /// `Wd`.
    pub fn device(&self) -> Duration {
        Duration::from_secs(u64::from(self.watchdog))
    }

    /// Flags of an agent.
    pub fn arguments(&self) -> Vec<String> {
        let tuning = &self.tuning;
        [
            ("--api-check-interval", tuning.api_check_interval),
            ("--api-server-timeout", tuning.api_server_timeout),
            ("--peer-dial-timeout", tuning.peer_dial_timeout),
            ("--peer-request-timeout", tuning.peer_request_timeout),
            ("--peer-update-interval", Duration::from_secs(5)),
        ]
        .into_iter()
        .map(|(flag, length)| format!("{flag}={}ms", length.as_millis()))
        .chain([format!("--max-api-error-threshold={}", tuning.max_api_error_threshold), "--min-peers=1".to_owned()])
        .collect()
    }
}
