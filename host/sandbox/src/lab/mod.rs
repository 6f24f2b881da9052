//! Fake nodes on top of any API server: kubelets, machines with watchdogs, a network that can be cut, and pods that
//! stamp a file while their boot lives. Agents are real processes.

pub mod boot;
pub mod device;
pub mod fault;
pub mod kubeconfig;
pub mod kubelet;
pub mod machine;
pub mod network;
pub mod oracle;
pub mod process;
pub mod standin;
pub mod timings;
pub mod workload;
pub mod writer;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use kube::Client;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use fault::Fault;
use kubelet::KubeletSpec;
use machine::{Happening, Machine, MachineSpec, Order};
use network::{Endpoint, Network, Proxy};
use oracle::Ledger;
use process::{Launcher, Program};
use timings::{Timings, go};

/// Namespace of agents and controller.
pub const NAMESPACE: &str = "palisade-system";

/// How to build a lab.
#[derive(Debug, Clone)]
pub struct LabSpec {
    /// Name of the lab, a label of its nodes and the prefix of their names unless empty.
    pub name: String,
    /// Folder for everything.
    pub dir: PathBuf,
    /// Number of nodes.
    pub nodes: u8,
    /// Number of zones the nodes are spread over.
    pub zones: u8,
    /// Timings.
    pub timings: Timings,
    /// The agent program.
    pub agent: PathBuf,
    /// Starts processes.
    pub launcher: Launcher,
    /// Kubeconfig of kubelets and lab, straight to the API server.
    pub admin_kubeconfig: String,
    /// Kubeconfig of the agents.
    pub agent_kubeconfig: String,
    /// Kubeconfig of the controller.
    pub controller_kubeconfig: String,
    /// Whether nodes, scheduling and so on need stand-ins.
    pub standins: bool,
}

/// A running lab; everything ends when it is dropped, in better order by [`Lab::stop`].
pub struct Lab {
    /// How it was built.
    pub spec: LabSpec,
    /// The network.
    pub network: Network,
    /// The stamp files.
    pub ledger: Ledger,
    /// Straight to the API server.
    pub client: Client,
    /// Kubeconfig for the controller, through its own proxy.
    pub controller_kubeconfig: PathBuf,
    machines: BTreeMap<String, Machine>,
    zones: BTreeMap<String, String>,
    /// Held, because a dropped proxy closes.
    proxies: Vec<Proxy>,
    _tasks: JoinSet<()>,
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

impl Lab {
    /// Starts nodes and stand-ins; returns at once, nodes register by themselves.
    pub async fn start(spec: LabSpec, happenings: mpsc::UnboundedSender<Happening>) -> anyhow::Result<Self> {
        let api = kubeconfig::server(&spec.admin_kubeconfig)?;
        let client = kubeconfig::client(&spec.admin_kubeconfig).await?;
        let network = Network::default();
        let ledger = Ledger::new(spec.dir.join("stamps")).context("stamp files")?;
        let mut tasks = JoinSet::new();
        tasks.spawn(standin::attacher(client.clone()));
        if spec.standins {
            let standins = standin::start(&client, spec.timings.node_grace);
            // The set moves into one task: dropping the lab drops it.
            tasks.spawn(async move {
                let mut standins = standins;
                while standins.join_next().await.is_some() {}
            });
        }
        let proxy = Proxy::start(&network, LOOPBACK, Some(Endpoint::Controller), Endpoint::Api, api).await?;
        let controller_kubeconfig = spec.dir.join("controller.kubeconfig");
        write(&controller_kubeconfig, &kubeconfig::redirect(&spec.controller_kubeconfig, proxy.address)?)?;
        let mut lab = Self {
            client,
            network,
            ledger,
            controller_kubeconfig,
            machines: BTreeMap::new(),
            zones: BTreeMap::new(),
            proxies: vec![proxy],
            _tasks: tasks,
            spec,
        };
        for number in 1..=lab.spec.nodes {
            lab.add_node(number, api, &happenings).await.with_context(|| format!("node {number}"))?;
        }
        Ok(lab)
    }

    async fn add_node(
        &mut self,
        number: u8,
        api: SocketAddr,
        happenings: &mpsc::UnboundedSender<Happening>,
    ) -> anyhow::Result<()> {
        let spec = &self.spec;
        let name = if spec.name.is_empty() { format!("node-{number}") } else { format!("{}-node-{number}", spec.name) };
        let zone = format!("zone-{}", (b'a' + (number - 1) % spec.zones.max(1)) as char);
        let dir = spec.dir.join(&name);
        std::fs::create_dir_all(&dir)?;
        let node = Endpoint::Node(number);
        let to_api = Proxy::start(&self.network, LOOPBACK, Some(node), Endpoint::Api, api).await?;
        let front = SocketAddr::from((Endpoint::proxy_address(number), 0));
        let behind = SocketAddr::from((Endpoint::agent_address(number), 0));
        // A target without port means the same port, behind the proxy.
        let to_agent = Proxy::start(&self.network, front, None, node, behind).await?;
        let kubeconfig_file = dir.join("agent.kubeconfig");
        write(&kubeconfig_file, &kubeconfig::redirect(&spec.agent_kubeconfig, to_api.address)?)?;
        let kubelet_config = kubeconfig::redirect(&spec.admin_kubeconfig, to_api.address)?;
        workload::install_driver(&self.client, &name).await?;
        let kubelet = KubeletSpec {
            node: name.clone(),
            lab: spec.name.clone(),
            zone: zone.clone(),
            address: front.ip().to_string(),
            client: kubeconfig::client(&kubelet_config).await?,
            heartbeat: spec.timings.heartbeat,
        };
        let agent = Program {
            name: format!("agent-{name}"),
            program: spec.agent.clone(),
            args: agent_args(spec, &name, &zone, &dir, &kubeconfig_file, number, to_agent.address),
            env: vec![("RUST_LOG".to_owned(), log_filter()), ("NO_COLOR".to_owned(), "1".to_owned())],
        };
        let machine = MachineSpec {
            number,
            name: name.clone(),
            dir,
            boot_time: spec.timings.boot,
            watchdog: spec.timings.watchdog,
            agent,
        };
        let machine = Machine::start(
            machine,
            kubelet,
            spec.launcher.clone(),
            self.network.clone(),
            self.ledger.clone(),
            happenings.clone(),
        )?;
        self.machines.insert(name.clone(), machine);
        self.zones.insert(name, zone);
        self.proxies.extend([to_api, to_agent]);
        Ok(())
    }

    /// Names of all nodes.
    pub fn nodes(&self) -> Vec<String> {
        self.machines.keys().cloned().collect()
    }

    /// Names of the nodes in the same zone, the given one included.
    pub fn zone_of(&self, node: &str) -> Vec<String> {
        let zone = self.zones.get(node);
        self.zones.iter().filter(|(_, other)| Some(*other) == zone).map(|(name, _)| name.clone()).collect()
    }

    fn endpoint(&self, node: &str) -> anyhow::Result<Endpoint> {
        let machine = self.machines.get(node).with_context(|| format!("there is no node {node}"))?;
        Ok(Endpoint::Node(machine.spec.number))
    }

    /// Does something to the machine of a node.
    pub async fn order(&self, node: &str, order: Order) {
        if let Some(machine) = self.machines.get(node) {
            machine.order(order).await;
        }
    }

    /// Lets it go wrong on these nodes.
    pub async fn inject(&self, fault: Fault, nodes: &[String]) -> anyhow::Result<()> {
        let order = match fault {
            Fault::Kubelet => Some(Order::KillKubelet),
            Fault::Agent => Some(Order::KillAgent),
            Fault::Power => Some(Order::PowerOff),
            Fault::Hang => Some(Order::Hang),
            Fault::Api | Fault::Isolate | Fault::ApiOutage | Fault::ZoneCut => None,
        };
        if let Some(order) = order {
            for node in nodes {
                self.order(node, order).await;
            }
            return Ok(());
        }
        let hit: Vec<Endpoint> = nodes.iter().map(|node| self.endpoint(node)).collect::<anyhow::Result<_>>()?;
        let all = self.machines.values().map(|machine| Endpoint::Node(machine.spec.number));
        match fault {
            Fault::Api => hit.iter().for_each(|node| self.network.cut(*node, Endpoint::Api)),
            Fault::ApiOutage => {
                all.chain([Endpoint::Controller]).for_each(|who| self.network.cut(who, Endpoint::Api));
            }
            _ => {
                let others: Vec<_> = all.filter(|other| !hit.contains(other)).collect();
                for node in &hit {
                    self.network.cut(*node, Endpoint::Api);
                    self.network.cut(*node, Endpoint::Controller);
                    for other in &others {
                        self.network.cut(*node, *other);
                    }
                }
            }
        }
        Ok(())
    }

    /// Undoes what a boot does not undo by itself.
    pub async fn heal(&self) {
        self.network.heal_all();
        for machine in self.machines.values() {
            machine.order(Order::PowerOn).await;
        }
    }

    /// Ends all nodes, and waits until their processes are gone.
    pub async fn stop(self) {
        for (_, machine) in self.machines {
            machine.stop().await;
        }
    }
}

/// Log level of the processes of a lab.
pub fn log_filter() -> String {
    std::env::var("PALISADE_LAB_LOG").unwrap_or_else(|_| "info,palisade=debug".to_owned())
}

fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    std::fs::write(path, content).with_context(|| path.display().to_string())
}

fn agent_args(
    spec: &LabSpec,
    node: &str,
    zone: &str,
    dir: &Path,
    kubeconfig: &Path,
    number: u8,
    advertised: SocketAddr,
) -> Vec<OsString> {
    let tuning = &spec.timings.tuning;
    let own = Endpoint::agent_address(number);
    let simulated = format!("sim:{}", MachineSpec::socket(dir).display());
    let mut args: Vec<OsString> = Vec::new();
    let mut flag = |name: &str, value: OsString| args.extend([OsString::from(name), value]);
    flag("--node-name", node.into());
    flag("--zone", zone.into());
    flag("--namespace", NAMESPACE.into());
    flag("--kubeconfig", kubeconfig.into());
    flag("--listen", SocketAddr::from((own, advertised.port())).to_string().into());
    flag("--advertise", advertised.to_string().into());
    flag("--source-address", own.to_string().into());
    flag("--boot-id-file", MachineSpec::boot_id_file(dir).into());
    flag("--host-dir", MachineSpec::host_dir(dir).into());
    flag("--watchdog", simulated.clone().into());
    flag("--reboot", simulated.into());
    flag("--api-check-interval", go(tuning.api_check_interval).into());
    flag("--api-server-timeout", go(tuning.api_server_timeout).into());
    flag("--max-api-error-threshold", tuning.max_api_error_threshold.to_string().into());
    flag("--peer-dial-timeout", go(tuning.peer_dial_timeout).into());
    flag("--peer-request-timeout", go(tuning.peer_request_timeout).into());
    flag("--peer-update-interval", "2s".into());
    flag("--min-peers", "1".into());
    args
}
