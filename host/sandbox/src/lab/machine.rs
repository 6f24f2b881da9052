//! A machine double: power, boots, watchdog, and what starts on it by itself (the kubelet, and the agent as a real
//! child process).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal as Unix;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use super::boot::{Boot, End};
use super::device::{Device, Signal};
use super::kubelet::{self, KubeletSpec};
use super::network::{Endpoint, Network};
use super::oracle::Ledger;
use super::process::{self, Launcher, Process, Program};
use super::writer::Containers;

/// Something that happened to a machine.
#[derive(Debug, Clone)]
pub struct Happening {
    /// Node name.
    pub node: String,
    /// When.
    pub at: Instant,
    /// What.
    pub what: What,
}

/// Kinds of [`Happening`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A boot began.
    BootStarted(String),
    /// A boot ended.
    BootEnded(String, End),
    /// The watchdog was opened by the agent.
    Armed,
    /// The agent closed the watchdog in order.
    Disarmed,
    /// The agent process ended although nobody asked for it.
    AgentDied(String),
}

/// How a machine is built.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// Number of the node, from 1.
    pub number: u8,
    /// Name of the node.
    pub name: String,
    /// Folder of this machine.
    pub dir: PathBuf,
    /// From reset to a running kubelet.
    pub boot_time: Duration,
    /// Watchdog timeout `Wd`.
    pub watchdog: Duration,
    /// The agent's command line.
    pub agent: Program,
}

impl MachineSpec {
    /// Socket of the machine double.
    pub fn socket(dir: &std::path::Path) -> PathBuf {
        dir.join("machine.sock")
    }

    /// Stands for `/proc/sys/kernel/random/boot_id`.
    pub fn boot_id_file(dir: &std::path::Path) -> PathBuf {
        dir.join("boot_id")
    }

    /// Stands for `/run/palisade`: a reboot clears it.
    pub fn host_dir(dir: &std::path::Path) -> PathBuf {
        dir.join("run")
    }
}

/// What one can do to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Start it if it is off.
    PowerOn,
    /// Pull the plug; it stays off.
    PowerOff,
    /// Kill the agent and keep it dead for the rest of this boot.
    KillAgent,
    /// Kill the kubelet; its containers go on.
    KillKubelet,
    /// Freeze agent and kubelet; containers go on.
    Hang,
}

/// Handle of a running machine; the machine stops when it is dropped.
#[derive(Debug)]
pub struct Machine {
    /// How it was built.
    pub spec: MachineSpec,
    orders: mpsc::Sender<(Order, oneshot::Sender<()>)>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Machine {
    /// Builds the machine and powers it on, without waiting for a boot time.
    pub fn start(
        spec: MachineSpec,
        kubelet: KubeletSpec,
        launcher: Launcher,
        network: Network,
        ledger: Ledger,
        happenings: mpsc::UnboundedSender<Happening>,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(&spec.dir)?;
        let (signal_sender, signals) = mpsc::unbounded_channel();
        let device = Device::start(&MachineSpec::socket(&spec.dir), spec.watchdog, signal_sender)?;
        let (orders, order_receiver) = mpsc::channel(8);
        let (stop, stopped) = oneshot::channel();
        let chassis = Chassis {
            spec: spec.clone(),
            kubelet: Arc::new(kubelet),
            launcher,
            network,
            ledger,
            happenings,
            device,
            state: State::Booting(Instant::now()),
        };
        let task = tokio::spawn(chassis.run(order_receiver, signals, stopped));
        Ok(Self { spec, orders, stop: Some(stop), task })
    }

    /// Does something to it; returns once done.
    pub async fn order(&self, order: Order) {
        let (done, wait) = oneshot::channel();
        if self.orders.send((order, done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Ends everything on it.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = (&mut self.task).await;
    }
}

/// What runs during one boot.
struct Running {
    boot: Arc<Boot>,
    kubelet: Option<AbortHandle>,
    agent: Option<Process>,
    /// When to start the agent again after it died by itself; `None` if it is to stay dead.
    agent_restart: Option<Instant>,
}

enum State {
    Off,
    /// Up at that instant.
    Booting(Instant),
    On(Box<Running>),
}

struct Chassis {
    spec: MachineSpec,
    kubelet: Arc<KubeletSpec>,
    launcher: Launcher,
    network: Network,
    ledger: Ledger,
    happenings: mpsc::UnboundedSender<Happening>,
    device: Device,
    state: State,
}

/// Pause before a container that died by itself is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

impl Chassis {
    fn tell(&self, what: What) {
        let _ = self.happenings.send(Happening { node: self.spec.name.clone(), at: Instant::now(), what });
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::Node(self.spec.number)
    }

    async fn run(
        mut self,
        mut orders: mpsc::Receiver<(Order, oneshot::Sender<()>)>,
        mut signals: mpsc::UnboundedReceiver<(Arc<Boot>, Signal)>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        loop {
            let wake = self.next_deadline();
            let (agent, deadline) = match &mut self.state {
                State::On(running) => (running.agent.as_mut(), wake),
                _ => (None, wake),
            };
            tokio::select! {
                _ = &mut stopped => break,
                order = orders.recv() => match order {
                    Some((order, done)) => {
                        self.obey(order).await;
                        let _ = done.send(());
                    }
                    None => break,
                },
                Some((boot, signal)) = signals.recv() => self.signalled(&boot, signal).await,
                status = ended(agent) => self.agent_died(&process::describe(status)),
                () = sleep_until(deadline) => self.deadline_passed().await,
            }
        }
        self.end(End::Power, false).await;
    }

    fn next_deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Off => None,
            State::Booting(up) => Some(*up),
            State::On(running) => {
                let fires = running.boot.fires().map(Instant::from_std);
                fires.into_iter().chain(running.agent_restart).min()
            }
        }
    }

    async fn deadline_passed(&mut self) {
        match &mut self.state {
            State::Off => {}
            State::Booting(up) => {
                if *up <= Instant::now() {
                    self.boot();
                }
            }
            State::On(running) => {
                if !running.boot.is_alive() {
                    self.end(End::Watchdog, true).await;
                } else if running.agent_restart.is_some_and(|at| at <= Instant::now()) {
                    running.agent_restart = None;
                    self.start_agent();
                }
            }
        }
    }

    async fn signalled(&mut self, boot: &Arc<Boot>, signal: Signal) {
        let State::On(running) = &self.state else { return };
        if running.boot.id != boot.id {
            return;
        }
        match signal {
            Signal::Armed => self.tell(What::Armed),
            Signal::Disarmed => self.tell(What::Disarmed),
            Signal::Reset => self.end(End::Software, true).await,
        }
    }

    async fn obey(&mut self, order: Order) {
        match (order, &mut self.state) {
            (Order::PowerOn, State::Off) => self.state = State::Booting(Instant::now() + self.spec.boot_time),
            (Order::PowerOff, _) => self.end(End::Power, false).await,
            (Order::KillAgent, State::On(running)) => {
                running.agent_restart = None;
                if let Some(mut agent) = running.agent.take() {
                    agent.kill().await;
                }
            }
            (Order::KillKubelet, State::On(running)) => {
                if let Some(kubelet) = running.kubelet.take() {
                    kubelet.abort();
                }
            }
            (Order::Hang, State::On(running)) => {
                running.agent_restart = None;
                if let Some(agent) = &running.agent {
                    agent.signal(Unix::SIGSTOP);
                }
                if let Some(kubelet) = running.kubelet.take() {
                    kubelet.abort();
                }
            }
            (Order::PowerOn | Order::KillAgent | Order::KillKubelet | Order::Hang, _) => {}
        }
    }

    /// Ends the present boot, and begins the next one if `again`.
    async fn end(&mut self, why: End, again: bool) {
        let next = if again { State::Booting(Instant::now() + self.spec.boot_time) } else { State::Off };
        let State::On(running) = std::mem::replace(&mut self.state, next) else { return };
        running.boot.end();
        self.device.belongs_to(None);
        self.network.darken(self.endpoint());
        self.tell(What::BootEnded(running.boot.id.clone(), why));
        if let Some(kubelet) = running.kubelet {
            kubelet.abort();
        }
        if let Some(mut agent) = running.agent {
            agent.kill().await;
        }
        if let Err(error) = clear(&MachineSpec::host_dir(&self.spec.dir)) {
            tracing::error!(node = self.spec.name, %error, "cannot clear the host folder");
        }
    }

    fn boot(&mut self) {
        let id = uuid::Uuid::new_v4().to_string();
        let prepared = std::fs::create_dir_all(MachineSpec::host_dir(&self.spec.dir))
            .and_then(|()| std::fs::write(MachineSpec::boot_id_file(&self.spec.dir), format!("{id}\n")));
        if let Err(error) = prepared {
            tracing::error!(node = self.spec.name, %error, "cannot boot");
            self.state = State::Off;
            return;
        }
        let boot = Boot::new(&self.spec.name, &id);
        self.device.belongs_to(Some(Arc::clone(&boot)));
        self.network.relight(self.endpoint());
        let containers = Containers::new(Arc::clone(&boot), self.ledger.clone());
        let kubelet = tokio::spawn(kubelet::run(Arc::clone(&self.kubelet), Arc::clone(&boot), containers));
        self.state = State::On(Box::new(Running {
            boot,
            kubelet: Some(kubelet.abort_handle()),
            agent: None,
            agent_restart: None,
        }));
        self.tell(What::BootStarted(id));
        self.start_agent();
    }

    fn start_agent(&mut self) {
        let started = self.launcher.start(&self.spec.agent, false);
        let State::On(running) = &mut self.state else { return };
        match started {
            Ok(agent) => running.agent = Some(agent),
            Err(error) => {
                running.agent_restart = Some(Instant::now() + RESTART_PAUSE);
                self.tell(What::AgentDied(error.to_string()));
            }
        }
    }

    fn agent_died(&mut self, how: &str) {
        let State::On(running) = &mut self.state else { return };
        running.agent = None;
        running.agent_restart = Some(Instant::now() + RESTART_PAUSE);
        self.tell(What::AgentDied(how.to_owned()));
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn ended(agent: Option<&mut Process>) -> std::process::ExitStatus {
    match agent {
        Some(agent) => match agent.ended().await {
            Ok(status) => status,
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

fn clear(dir: &std::path::Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
