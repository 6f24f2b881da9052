//! Flags and environment of the process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use palisade_api::GoDuration;
use palisade_api::self_node_remediation_config::{ControlPlanePolicy, SelfNodeRemediationConfigSpec};
use palisade_core::fencing::agent::{ResetSteps, Settings};
use palisade_core::fencing::timing::Tuning;

use crate::devices::{Equipment, RebootBy, WatchdogBy};

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
#[allow(clippy::struct_excessive_bools)] // flags
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
    /// `hostPort`: where to listen for peers and the controller, on all addresses, IPv6 and IPv4.
    #[arg(long, env = "HOST_PORT", default_value_t = 30001, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Listen here only, instead of on all addresses.
    #[arg(long, env = "PALISADE_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Address of the pod, IPv4 or IPv6: published together with the port.
    #[arg(long, env = "POD_IP")]
    pub pod_ip: Option<IpAddr>,
    /// Where peers and the controller reach this agent, `host:port`. Default: the address of the pod, or `--listen`.
    #[arg(long, env = "PALISADE_ADVERTISE")]
    pub advertise: Option<String>,
    /// Address of the node, where its kubelet answers; for the diagnostics of control-plane nodes.
    #[arg(long, env = "NODE_IP")]
    pub node_ip: Option<IpAddr>,
    /// This is a control-plane node, whatever the controller tells.
    #[arg(long, env = "PALISADE_CONTROL_PLANE")]
    pub control_plane: bool,
    /// `controlPlanePolicy`: whether a control-plane node may exempt itself from ending (`Diagnose`) or not (`SelfFence`).
    #[arg(long, env = "CONTROL_PLANE_POLICY", default_value = "SelfFence", value_parser = policy_by)]
    pub control_plane_policy: ControlPlanePolicy,
    /// `endpointHealthCheckUrl`: what a control-plane node with the policy `Diagnose` has to reach, besides its kubelet.
    #[arg(long, env = "END_POINT_HEALTH_CHECK_URL", default_value = "")]
    pub endpoint: String,
    /// Follow the `SelfNodeRemediationConfig` of this name, without a restart. Flags are what it begins with.
    #[arg(long, env = "PALISADE_FOLLOW_CONFIG")]
    pub follow_config: Option<String>,
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
    /// Ask the watchdog for this timeout; without it the device keeps its own. What it then tells is what counts.
    #[arg(long, env = "PALISADE_WATCHDOG_TIMEOUT", value_parser = length)]
    pub watchdog_timeout: Option<Duration>,
    /// Load the kernel's softdog when the watchdog device is missing.
    #[arg(long, env = "PALISADE_LOAD_SOFTDOG")]
    pub load_softdog: bool,
    /// How to reboot by software: `sysrq`, `sim:SOCKET`, or `none`.
    #[arg(long, default_value = "sysrq", value_parser = reboot_by)]
    pub reboot: RebootBy,
    /// `isSoftwareRebootEnabled`: `false` is the same as `--reboot none`.
    #[arg(
        long, env = "IS_SOFTWARE_REBOOT_ENABLED", default_value_t = true, action = clap::ArgAction::Set,
        value_name = "true|false"
    )]
    pub software_reboot: bool,
    /// `apiCheckInterval`: pause between renewals.
    #[arg(long, env = "API_CHECK_INTERVAL", default_value = "15s", value_parser = length)]
    pub api_check_interval: Duration,
    /// `apiServerTimeout`: time limit of one renewal.
    #[arg(long, env = "API_SERVER_TIMEOUT", default_value = "5s", value_parser = length)]
    pub api_server_timeout: Duration,
    /// `maxApiErrorThreshold`: failures in a row before peers are asked.
    #[arg(long, env = "MAX_API_ERROR_THRESHOLD", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_api_error_threshold: u32,
    /// `peerDialTimeout`: time limit for connecting to a peer.
    #[arg(long, env = "PEER_DIAL_TIMEOUT", default_value = "5s", value_parser = length)]
    pub peer_dial_timeout: Duration,
    /// `peerRequestTimeout`: time limit of a peer's answer; at least `apiServerTimeout` + 2s is used.
    #[arg(long, env = "PEER_REQUEST_TIMEOUT", default_value = "7s", value_parser = length)]
    pub peer_request_timeout: Duration,
    /// `peerUpdateInterval`: longest pause between two looks at the other agents' leases.
    #[arg(long, env = "PEER_UPDATE_INTERVAL", default_value = "15m", value_parser = length)]
    pub peer_update_interval: Duration,
    /// `minPeersForRemediation`: with a smaller jury the node does not fence itself on isolation.
    #[arg(long, env = "MIN_PEERS_FOR_REMEDIATION", default_value_t = 1)]
    pub min_peers: u32,
    /// Generation of the configuration these flags come from.
    #[arg(long, env = "PALISADE_CONFIG_GENERATION", default_value_t = 0)]
    pub config_generation: i64,
    /// Folder with the key pair of the stock product's agents (`caPem`, `certPem`, `keyPem`): while a cluster moves from
    /// them to these, they are answered.
    #[arg(long, env = "PALISADE_STOCK_CERTIFICATES")]
    pub stock_certificates: Option<PathBuf>,
    /// Do not ask for real-time priority and locked memory.
    #[arg(long)]
    pub no_realtime: bool,
    /// How log lines look.
    #[arg(long, env = "PALISADE_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

/// Plain numbers below this are not taken for nanoseconds but for a forgotten unit.
const LEAST_NANOSECONDS: u64 = 1_000_000;

/// A Go duration, or whole nanoseconds as the replaced product's DaemonSet writes them.
fn length(text: &str) -> Result<Duration, String> {
    if let Some(nanoseconds) = text.parse::<u64>().ok().filter(|number| *number >= LEAST_NANOSECONDS) {
        return Ok(Duration::from_nanos(nanoseconds));
    }
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

fn policy_by(text: &str) -> Result<ControlPlanePolicy, String> {
    match text {
        "SelfFence" => Ok(ControlPlanePolicy::SelfFence),
        "Diagnose" => Ok(ControlPlanePolicy::Diagnose),
        _ => Err("use SelfFence or Diagnose".into()),
    }
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
            software_reboot: self.software_reboot && self.reboot != RebootBy::None,
            watchdog: self.watchdog != WatchdogBy::None,
            steps: ResetSteps::default(),
            // Without an address the kubelet cannot be asked, and a claim to diagnose would be an empty one.
            diagnose: self.control_plane_policy == ControlPlanePolicy::Diagnose && self.node_ip.is_some(),
            spread: true,
        }
    }

    /// These options with everything that can change in a running agent as the configuration says.
    ///
    /// Watchdog device, port and the pause between looks at the other agents need a new process. As long as one of the
    /// first two differs, the lease goes on naming the generation that this process was started with.
    ///
    /// # Errors
    /// If the configuration is not valid: then all stays as it is.
    pub fn following(&self, spec: &SelfNodeRemediationConfigSpec, generation: i64) -> Result<Self, String> {
        let length = |field: &str, value: &GoDuration, least: Duration| {
            let given = value.to_std();
            if value.as_nanos() > 0 && given >= least {
                Ok(given)
            } else {
                Err(format!("{field} is {value} and cannot be less than {}", GoDuration::from(least)))
            }
        };
        let short = Duration::from_millis(10);
        let number = |field: &str, value: i64, least: i64| {
            let number = u32::try_from(value).ok().filter(|_| value >= least);
            number.ok_or_else(|| format!("{field} is {value} and must be from {least} to {}", u32::MAX))
        };
        let device = Some(spec.watchdog_file_path.as_str()).filter(|path| !path.is_empty()).unwrap_or("/dev/watchdog");
        let same_process = (self.watchdog == WatchdogBy::None || watchdog_by(device).as_ref() == Ok(&self.watchdog))
            && i64::from(self.port) == spec.host_port;
        Ok(Self {
            api_check_interval: length("apiCheckInterval", &spec.api_check_interval, Duration::from_secs(1))?,
            api_server_timeout: length("apiServerTimeout", &spec.api_server_timeout, short)?,
            max_api_error_threshold: number("maxApiErrorThreshold", spec.max_api_error_threshold, 1)?,
            peer_dial_timeout: length("peerDialTimeout", &spec.peer_dial_timeout, short)?,
            peer_request_timeout: length("peerRequestTimeout", &spec.peer_request_timeout, short)?,
            min_peers: number("minPeersForRemediation", spec.min_peers_for_remediation, 0)?,
            software_reboot: spec.is_software_reboot_enabled,
            control_plane_policy: spec.control_plane_policy.unwrap_or_default(),
            endpoint: spec.endpoint_health_check_url.clone().unwrap_or_default(),
            config_generation: if same_process { generation } else { self.config_generation },
            ..self.clone()
        })
    }

    /// Address that the lease publishes.
    pub fn address(&self) -> String {
        let port = self.listen.map_or(self.port, |listen| listen.port());
        match (&self.advertise, self.pod_ip, self.listen) {
            (Some(advertise), ..) => advertise.clone(),
            (None, Some(pod), _) => SocketAddr::new(pod, port).to_string(),
            (None, None, Some(listen)) => listen.to_string(),
            (None, None, None) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port).to_string(),
        }
    }

    /// How this node is rebooted by software: only where it is enabled, or was when the claim in force was made. Which of
    /// the two, the core knows.
    pub fn reboot_by(&self) -> RebootBy {
        self.reboot.clone()
    }

    /// Watchdog and reset of this node.
    pub fn equipment(&self) -> Equipment {
        Equipment {
            watchdog: self.watchdog.clone(),
            timeout: self.watchdog_timeout,
            load_softdog: self.load_softdog,
            reboot: self.reboot_by(),
            realtime: !self.no_realtime,
        }
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
    fn the_daemon_set_of_the_replaced_product_speaks_nanoseconds() {
        let options = Options::parse_from(["palisade-agent", "--node-name=n1", "--api-check-interval=15000000000"]);
        assert_eq!(options.api_check_interval, Duration::from_secs(15));
    }

    #[test]
    fn the_pod_is_reached_at_its_address_of_either_family() {
        let at =
            |flags: &[&str]| Options::parse_from(["palisade-agent", "--node-name=n1"].iter().chain(flags)).address();
        assert_eq!(at(&["--pod-ip=10.1.2.3"]), "10.1.2.3:30001");
        assert_eq!(at(&["--pod-ip=fd00::7", "--port=9000"]), "[fd00::7]:9000");
        assert_eq!(at(&["--listen=127.0.1.1:4000"]), "127.0.1.1:4000");
        assert_eq!(at(&["--listen=127.0.1.1:4000", "--pod-ip=fd00::7"]), "[fd00::7]:4000");
        assert_eq!(at(&["--pod-ip=fd00::7", "--advertise=node.example:1"]), "node.example:1");
    }

    #[test]
    fn software_reboot_is_off_by_either_flag() {
        let off = |flag: &str| {
            let options = Options::parse_from(["palisade-agent", "--node-name=n1", flag]);
            assert!(!options.settings().software_reboot);
            options.equipment().reboot
        };
        assert_eq!(off("--reboot=none"), RebootBy::None);
        // The means stay: a claim that an earlier configuration of this boot made is kept until it is taken back.
        assert_eq!(off("--software-reboot=false"), RebootBy::Sysrq);
    }

    #[test]
    fn only_a_control_plane_policy_with_a_node_to_diagnose_is_one() {
        let diagnoses = |flags: &[&str]| {
            let flags = ["palisade-agent", "--node-name=n1"].iter().chain(flags);
            Options::parse_from(flags).settings().diagnose
        };
        assert!(!diagnoses(&["--node-ip=10.0.0.1"]));
        assert!(!diagnoses(&["--control-plane-policy=Diagnose"]), "nobody could be asked");
        assert!(diagnoses(&["--control-plane-policy=Diagnose", "--node-ip=10.0.0.1"]));
    }

    #[test]
    fn a_configuration_is_followed_without_a_new_process_where_that_is_possible() {
        let options = Options::parse_from(["palisade-agent", "--node-name=n1", "--config-generation=3"]);
        let spec = SelfNodeRemediationConfigSpec {
            api_check_interval: GoDuration::from_secs(2),
            is_software_reboot_enabled: false,
            min_peers_for_remediation: 0,
            ..SelfNodeRemediationConfigSpec::default()
        };
        let settings = options.following(&spec, 4).unwrap().settings();
        assert_eq!(settings.tuning.api_check_interval, Duration::from_secs(2));
        assert!(!settings.software_reboot);
        assert_eq!((settings.min_peers, settings.generation), (0, 4));
        // What only a new process can do keeps the generation of the old one.
        let port = SelfNodeRemediationConfigSpec { host_port: 9000, ..spec.clone() };
        let followed = options.following(&port, 4).unwrap();
        assert_eq!((followed.settings().generation, followed.port), (3, 30001));
        // Nonsense that got past the API server changes nothing.
        let nonsense = SelfNodeRemediationConfigSpec { api_check_interval: GoDuration::from_secs(0), ..spec };
        let why = options.following(&nonsense, 5).unwrap_err();
        assert!(why.contains("apiCheckInterval is 0s"), "{why}");
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
