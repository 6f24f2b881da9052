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
pub mod port;
pub mod process;
pub mod standin;
pub mod timings;
pub mod wiring;
pub mod workload;
pub mod writer;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::Client;
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use fault::Fault;
use kubelet::KubeletSpec;
use machine::{Happening, Machine, MachineSpec, Order};
use network::{Endpoint, Network, Proxy, Quality};
use oracle::Ledger;
use process::{Launcher, Program};
use timings::{Timings, go};
use wiring::{AGENT_PORT, Wires, Wiring};

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
    /// Where agents and controller live, if not here behind proxies. Kubelets are tasks of this process either way.
    pub wiring: Option<Arc<dyn Wiring>>,
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
    /// Kubeconfig for the controller, by its own way to the API server.
    pub controller_kubeconfig: PathBuf,
    /// How a program is started where the controller lives.
    pub controller_enter: Vec<OsString>,
    machines: BTreeMap<String, Machine>,
    zones: BTreeMap<String, String>,
    /// Held, because a dropped proxy closes.
    proxies: Vec<Proxy>,
    /// An agent listens only while its machine runs; nobody else may have its port meanwhile.
    reserved: Vec<TcpSocket>,
    /// Held, because dropped wires are gone.
    wires: Option<Box<dyn Wires>>,
    _tasks: JoinSet<()>,
}

/// A bad line, but one on which nodes must live: every packet late, one of fifty lost.
const SLOW: Quality = Quality { delay: Duration::from_millis(40), lost_of_thousand: 20 };

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
        let wires = spec.wiring.as_ref().map(|wiring| wiring.lay(&network, api)).transpose().context("wires")?;
        let mut lab = Self {
            client,
            network,
            ledger,
            controller_kubeconfig: spec.dir.join("controller.kubeconfig"),
            controller_enter: Vec::new(),
            machines: BTreeMap::new(),
            zones: BTreeMap::new(),
            proxies: Vec::new(),
            reserved: Vec::new(),
            wires,
            _tasks: tasks,
            spec,
        };
        lab.add_controller(api).await.context("the controller's place")?;
        for number in 1..=lab.spec.nodes {
            lab.add_node(number, api, &happenings).await.with_context(|| format!("node {number}"))?;
        }
        Ok(lab)
    }

    async fn add_controller(&mut self, api: SocketAddr) -> anyhow::Result<()> {
        let address = if let Some(wires) = &self.wires {
            let place = wires.place(Endpoint::Controller)?;
            self.controller_enter = place.enter;
            place.api
        } else {
            let who = Some(Endpoint::Controller);
            let proxy = Proxy::start(&self.network, LOOPBACK, who, Endpoint::Api, api).await?;
            let address = proxy.address;
            self.proxies.push(proxy);
            address
        };
        write(&self.controller_kubeconfig, &kubeconfig::redirect(&self.spec.controller_kubeconfig, address)?)
    }

    /// Where the agent of a node lives; `api` is the proxy of the node to the API server.
    async fn home(&mut self, number: u8, api: SocketAddr) -> anyhow::Result<Home> {
        let node = Endpoint::Node(number);
        if let Some(wires) = &self.wires {
            let place = wires.place(node)?;
            let own = SocketAddr::new(place.own, AGENT_PORT);
            return Ok(Home { enter: place.enter, listen: own, advertised: own, api: place.api });
        }
        let front = SocketAddr::from((Endpoint::proxy_address(number), 0));
        let behind = SocketAddr::from((Endpoint::agent_address(number), 0));
        // A target without port means the same port, behind the proxy.
        let proxy = Proxy::start(&self.network, front, None, node, behind).await?;
        let advertised = proxy.address;
        self.proxies.push(proxy);
        let listen = SocketAddr::new(behind.ip(), advertised.port());
        self.reserved.push(port::reserve(listen)?);
        Ok(Home { enter: Vec::new(), listen, advertised, api })
    }

    async fn add_node(
        &mut self,
        number: u8,
        api: SocketAddr,
        happenings: &mpsc::UnboundedSender<Happening>,
    ) -> anyhow::Result<()> {
        let node = Endpoint::Node(number);
        let to_api = Proxy::start(&self.network, LOOPBACK, Some(node), Endpoint::Api, api).await?;
        let kubelet_api = to_api.address;
        self.proxies.push(to_api);
        let home = self.home(number, kubelet_api).await?;
        let spec = &self.spec;
        let name = if spec.name.is_empty() { format!("node-{number}") } else { format!("{}-node-{number}", spec.name) };
        let zone = format!("zone-{}", (b'a' + (number - 1) % spec.zones.max(1)) as char);
        let dir = spec.dir.join(&name);
        std::fs::create_dir_all(&dir)?;
        let kubeconfig_file = dir.join("agent.kubeconfig");
        write(&kubeconfig_file, &kubeconfig::redirect(&spec.agent_kubeconfig, home.api)?)?;
        let kubelet_config = kubeconfig::redirect(&spec.admin_kubeconfig, kubelet_api)?;
        workload::install_driver(&self.client, &name).await?;
        let kubelet = KubeletSpec {
            node: name.clone(),
            lab: spec.name.clone(),
            zone: zone.clone(),
            address: home.advertised.ip().to_string(),
            client: kubeconfig::client(&kubelet_config).await?,
            heartbeat: spec.timings.heartbeat,
        };
        let agent = Program {
            name: format!("agent-{name}"),
            program: spec.agent.clone(),
            args: agent_args(spec, &name, &zone, &dir, &kubeconfig_file, &home),
            env: vec![("RUST_LOG".to_owned(), log_filter()), ("NO_COLOR".to_owned(), "1".to_owned())],
        }
        .within(&home.enter);
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

    /// Names of the nodes of all zones but one; the given node is among them.
    pub fn all_but_one_zone(&self, node: &str) -> Vec<String> {
        let own = self.zones.get(node);
        let spared = self.zones.values().filter(|zone| Some(*zone) != own).max();
        self.zones.iter().filter(|(_, zone)| Some(*zone) != spared).map(|(name, _)| name.clone()).collect()
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
            _ => None,
        };
        if let Some(order) = order {
            for node in nodes {
                self.order(node, order).await;
            }
            return Ok(());
        }
        let hit: Vec<Endpoint> = nodes.iter().map(|node| self.endpoint(node)).collect::<anyhow::Result<_>>()?;
        let all: Vec<Endpoint> = self.machines.values().map(|machine| Endpoint::Node(machine.spec.number)).collect();
        let others = || all.iter().filter(|other| !hit.contains(other));
        let outside = || others().chain(&[Endpoint::Api, Endpoint::Controller]);
        let pairs = || hit.iter().flat_map(|node| outside().map(move |other| (*node, *other)));
        match fault {
            Fault::Api => hit.iter().for_each(|node| self.network.cut(*node, Endpoint::Api)),
            Fault::ApiOutage => {
                all.iter().chain(&[Endpoint::Controller]).for_each(|who| self.network.cut(*who, Endpoint::Api));
            }
            Fault::PeerCut => {
                for node in &hit {
                    all.iter().filter(|other| *other != node).for_each(|other| self.network.cut(*node, *other));
                }
            }
            Fault::Mute => pairs().for_each(|(node, other)| self.network.cut_one_way(node, other)),
            Fault::Deaf => pairs().for_each(|(node, other)| self.network.cut_one_way(other, node)),
            Fault::SlowNetwork => self.network.worsen(SLOW),
            _ => pairs().for_each(|(node, other)| self.network.cut(node, other)),
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

/// Where an agent lives and is reached.
struct Home {
    enter: Vec<OsString>,
    listen: SocketAddr,
    advertised: SocketAddr,
    api: SocketAddr,
}

/// Log level of the processes of a lab.
pub fn log_filter() -> String {
    std::env::var("PALISADE_LAB_LOG").unwrap_or_else(|_| "info,palisade=debug".to_owned())
}

fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    std::fs::write(path, content).with_context(|| path.display().to_string())
}

fn agent_args(spec: &LabSpec, node: &str, zone: &str, dir: &Path, kubeconfig: &Path, home: &Home) -> Vec<OsString> {
    let tuning = &spec.timings.tuning;
    let simulated = format!("sim:{}", MachineSpec::socket(dir).display());
    let mut args: Vec<OsString> = Vec::new();
    let mut flag = |name: &str, value: OsString| args.extend([OsString::from(name), value]);
    flag("--node-name", node.into());
    flag("--zone", zone.into());
    flag("--namespace", NAMESPACE.into());
    flag("--kubeconfig", kubeconfig.into());
    flag("--listen", home.listen.to_string().into());
    flag("--advertise", home.advertised.to_string().into());
    flag("--source-address", home.listen.ip().to_string().into());
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
