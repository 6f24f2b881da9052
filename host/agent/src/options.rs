//! Flags and environment of the process.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use palisade_api::GoDuration;
use palisade_core::fencing::agent::{ResetSteps, Settings};
use palisade_core::fencing::timing::Tuning;

use crate::devices::{RebootBy, WatchdogBy};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The native node agent of Palisade: renews its lease, feeds the watchdog while the node may live, answers its peers.
#[derive(Debug, Clone, Parser)]
#[command(name = "palisade-agent", version)]
pub struct Options {
    /// Name of the node this agent runs on.
    #[arg(long, env = "MY_NODE_NAME")]
    pub node_name: String,
    /// Namespace of the agents' leases.
    #[arg(long, env = "DEPLOYMENT_NAMESPACE", default_value = "palisade-system")]
    pub namespace: String,
    /// Kubeconfig; without it the service account of the pod.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Where to listen for peers and the controller.
    #[arg(long, env = "PALISADE_LISTEN", default_value = "0.0.0.0:30001")]
    pub listen: SocketAddr,
    /// Where peers and the controller reach this agent, `host:port`. Default: the listen address.
    #[arg(long, env = "PALISADE_ADVERTISE")]
    pub advertise: Option<String>,
    /// Local address of connections to peers.
    #[arg(long)]
    pub source_address: Option<IpAddr>,
    /// Zone of the node; becomes a label of its lease, so that juries spread over zones.
    #[arg(long, env = "PALISADE_ZONE")]
    pub zone: Option<String>,
    /// Where the kernel tells the boot id.
    #[arg(long, default_value = "/proc/sys/kernel/random/boot_id")]
    pub boot_id_file: PathBuf,
    /// Directory on the host that a reboot clears.
    #[arg(long, default_value = "/run/palisade")]
    pub host_dir: PathBuf,
    /// Watchdog device, `sim:SOCKET`, or `none`.
    #[arg(long, env = "WATCHDOG_PATH", default_value = "/dev/watchdog", value_parser = watchdog_by)]
    pub watchdog: WatchdogBy,
    /// How to reboot by software: `sysrq`, `sim:SOCKET`, or `none` (`isSoftwareRebootEnabled: false`).
    #[arg(long, default_value = "sysrq", value_parser = reboot_by)]
    pub reboot: RebootBy,
    /// `apiCheckInterval`: pause between renewals.
    #[arg(long, default_value = "15s", value_parser = length)]
    pub api_check_interval: Duration,
    /// `apiServerTimeout`: time limit of one renewal.
    #[arg(long, default_value = "5s", value_parser = length)]
    pub api_server_timeout: Duration,
    /// `maxApiErrorThreshold`: failures in a row before peers are asked.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_api_error_threshold: u32,
    /// `peerDialTimeout`: time limit for connecting to a peer.
    #[arg(long, default_value = "5s", value_parser = length)]
    pub peer_dial_timeout: Duration,
    /// `peerRequestTimeout`: time limit of a peer's answer; at least `apiServerTimeout` + 2s is used.
    #[arg(long, default_value = "7s", value_parser = length)]
    pub peer_request_timeout: Duration,
    /// `peerUpdateInterval`: longest pause between two looks at the other agents' leases.
    #[arg(long, default_value = "15m", value_parser = length)]
    pub peer_update_interval: Duration,
    /// `minPeersForRemediation`: with a smaller jury the node does not fence itself on isolation.
    #[arg(long, default_value_t = 1)]
    pub min_peers: u32,
    /// Generation of the configuration these flags come from.
    #[arg(long, default_value_t = 0)]
    pub config_generation: i64,
    /// Do not ask for real-time priority and locked memory.
    #[arg(long)]
    pub no_realtime: bool,
    /// How log lines look.
    #[arg(long, env = "PALISADE_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

fn length(text: &str) -> Result<Duration, String> {
    let length: GoDuration = text.parse().map_err(|error| format!("{error}"))?;
    if length.as_nanos() <= 0 { Err("must be longer than zero".into()) } else { Ok(length.to_std()) }
}

// clap wants parsers that can fail, and every text is a path.
#[allow(clippy::unnecessary_wraps)]
fn watchdog_by(text: &str) -> Result<WatchdogBy, String> {
    Ok(match text.strip_prefix("sim:") {
        Some(socket) => WatchdogBy::Sim(socket.into()),
        None if text == "none" || text.is_empty() => WatchdogBy::None,
        None => WatchdogBy::Device(text.into()),
    })
}

fn reboot_by(text: &str) -> Result<RebootBy, String> {
    match (text, text.strip_prefix("sim:")) {
        (_, Some(socket)) => Ok(RebootBy::Sim(socket.into())),
        ("sysrq", None) => Ok(RebootBy::Sysrq),
        ("none", None) => Ok(RebootBy::None),
        _ => Err("use sysrq, sim:SOCKET or none".into()),
    }
}

impl Options {
    /// Configuration of the state machine.
    pub fn settings(&self) -> Settings {
        Settings {
            tuning: Tuning {
                api_check_interval: self.api_check_interval,
                api_server_timeout: self.api_server_timeout,
                max_api_error_threshold: self.max_api_error_threshold,
                peer_dial_timeout: self.peer_dial_timeout,
                peer_request_timeout: self.peer_request_timeout,
            },
            min_peers: self.min_peers,
            generation: self.config_generation,
            software_reboot: self.reboot != RebootBy::None,
            watchdog: self.watchdog != WatchdogBy::None,
            steps: ResetSteps::default(),
        }
    }

    /// Address that the lease publishes.
    pub fn address(&self) -> String {
        self.advertise.clone().unwrap_or_else(|| self.listen.to_string())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_those_of_the_configuration_kind() {
        let options = Options::parse_from(["palisade-agent", "--node-name", "n1"]);
        assert_eq!(options.settings().tuning.time_to_live(), Duration::from_secs(72));
        assert_eq!(options.watchdog, WatchdogBy::Device("/dev/watchdog".into()));
        assert_eq!(options.reboot, RebootBy::Sysrq);
        assert_eq!(options.min_peers, 1);
        assert!(options.settings().software_reboot);
    }

    #[test]
    fn the_lab_drives_a_machine_double() {
        let options = Options::parse_from([
            "palisade-agent",
            "--node-name=n1",
            "--watchdog=sim:/tmp/machine.sock",
            "--reboot=sim:/tmp/machine.sock",
            "--api-check-interval=1.5s",
        ]);
        assert_eq!(options.watchdog, WatchdogBy::Sim("/tmp/machine.sock".into()));
        assert_eq!(options.reboot, RebootBy::Sim("/tmp/machine.sock".into()));
        assert_eq!(options.api_check_interval, Duration::from_millis(1500));
    }

    #[test]
    fn nonsense_is_refused() {
        for flags in
            [["--reboot=hard"], ["--api-check-interval=0s"], ["--peer-dial-timeout=5"], ["--max-api-error-threshold=0"]]
        {
            let arguments = ["palisade-agent", "--node-name=n1"].into_iter().chain(flags);
            assert!(Options::try_parse_from(arguments).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn without_software_reboot_and_watchdog_nothing_is_wanted() {
        let options = Options::parse_from(["palisade-agent", "--node-name=n1", "--watchdog=none", "--reboot=none"]);
        assert!(!options.settings().software_reboot);
        assert!(!options.settings().watchdog);
    }
}
